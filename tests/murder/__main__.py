"""Kill the real commands at random moments, resume them, and count what is not as if nothing had happened.

    python -m tests.murder                                        20 moments of each signal, over the four systems
    python -m tests.murder --systems gmeql --signals KILL --moments 3

Every outcome is one line of `OUT/outcomes.jsonl`, and the same command goes on where it stopped. The exit code is
1 where a run was not resumed with the weights, equations and metrics of the one that nobody disturbed, bit
for bit.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.murder.blows import Blow, Outcome, Whole, strike, undisturbed
from tests.murder.systems import COMMANDS

SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT}
_EARLIEST = 0.05  # share of the time of a run below which a blow is not dealt again
_SECONDS_A_BLOW = 40  # on one core that does nothing else


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        Exit code: 0 where every run was resumed as if nothing had happened, otherwise 1.
    """
    options = parsed(words)
    plan = list(_plan(options.systems, options.signals, options.moments, options.seed))
    ledger = Path(options.out) / "outcomes.jsonl"
    known = _known(ledger)
    missing = [entry for entry in plan if _key(entry) not in known]
    print(
        f"{len(missing)} of {len(plan)} blows: about {len(missing) * _SECONDS_A_BLOW // 60 + 1} minutes",
        flush=True,
    )
    wholes: dict[str, Whole] = {}
    for number, (system, name, blow) in enumerate(missing, 1):
        folder = ledger.parent.resolve() / system
        if system not in wholes:
            shutil.rmtree(folder / "whole", ignore_errors=True)
            wholes[system] = undisturbed(COMMANDS[system], folder / "whole")
        begun = time.monotonic()
        outcome = _struck(COMMANDS[system], folder / "cut", blow, wholes[system])
        known[_key((system, name, blow))] = record = _record(system, name, blow, outcome.phase, outcome.faults)
        with ledger.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
        verdict = "; ".join(outcome.faults) or "as if nothing had happened"
        where = f"{outcome.phase}{', a file half written' if blow.while_writing else ''}"
        seconds = time.monotonic() - begun
        print(f"{number:3d} {system}, SIG{name} in {where}: {verdict} ({seconds:.0f} s)", flush=True)
    return _report([known[_key(entry)] for entry in plan])


def _struck(arguments: Sequence[str], folder: Path, blow: Blow, whole: Whole) -> Outcome:
    """The outcome of a blow; one that came after the end is dealt again, earlier: no two runs take as long."""
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        outcome = strike(arguments, folder, blow, whole)
        if outcome.phase != "ended" or blow.share < _EARLIEST:
            return outcome
        blow = replace(blow, share=0.7 * blow.share)


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """The options of a command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.murder", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--systems", type=lambda text: _words(text, COMMANDS), default=list(COMMANDS), metavar="A,B"
    )
    parser.add_argument("--signals", type=lambda text: _words(text, SIGNALS), default=list(SIGNALS), metavar="A,B")
    parser.add_argument("--moments", type=int, default=20, help="of each signal, over all systems")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="results/murder")
    return parser.parse_args(words)


def _words(text: str, allowed: Any) -> list[str]:
    words = text.split(",")
    for word in words:
        if word not in allowed:
            raise argparse.ArgumentTypeError(f"{word} is not one of {', '.join(allowed)}")
    return words


def _plan(systems: Sequence[str], signals: Sequence[str], moments: int, seed: int) -> list[tuple[str, str, Blow]]:
    """The blows of every system together; every third waits for a file that is half written."""
    draws = random.Random(seed)
    plan = [
        (systems[number % len(systems)], name, Blow(SIGNALS[name], draws.random(), number % 3 == 2))
        for name in signals
        for number in range(moments)
    ]
    return sorted(plan, key=lambda entry: systems.index(entry[0]))


def _key(entry: tuple[str, str, Blow]) -> str:
    system, name, blow = entry
    return f"{system} {name} {blow.share:.6f} {blow.while_writing}"


def _record(system: str, name: str, blow: Blow, phase: str, faults: Sequence[str]) -> dict[str, Any]:
    return {
        "key": _key((system, name, blow)),
        "system": system,
        "signal": name,
        "phase": phase,
        "while_writing": blow.while_writing,
        "faults": list(faults),
    }


def _known(ledger: Path) -> dict[str, dict[str, Any]]:
    """The outcomes of an earlier call, by their keys."""
    ledger.parent.mkdir(parents=True, exist_ok=True)
    lines = ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []
    return {record["key"]: record for record in map(json.loads, lines)}


def _report(records: Sequence[dict[str, Any]]) -> int:
    """Print a table of the outcomes."""
    blows = Counter((record["system"], record["signal"]) for record in records)
    well = Counter((record["system"], record["signal"]) for record in records if not record["faults"])
    print("\n| system | signal | blows | as if nothing had happened |\n| :-- | :-- | --: | --: |")
    for system, name in blows:
        print(f"| {system} | SIG{name} | {blows[system, name]} | {well[system, name]} |")
    phases = Counter(record["phase"] for record in records)
    print(f"\n{sum(well.values())} of {len(records)}; phases: {', '.join(f'{k} {v}' for k, v in phases.items())}")
    return int(sum(well.values()) < len(records))


if __name__ == "__main__":
    sys.exit(main())

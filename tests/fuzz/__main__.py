"""Fuzz readers for as long as you like.

    python -m tests.fuzz                        names of the readers
    python -m tests.fuzz onnx --minutes 60      one of them; `all` for each in turn

With the package `atheris` installed (`pip install atheris`) its coverage guides the changes; without it they are
made at random. Ends with exit code 1 where a reader raises anything but a UserError, or takes too long or too much
memory, and leaves the content in `fuzz-READER-NUMBER`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

from foundation.errors import UserError
from tests.fuzz.mutations import mutated
from tests.fuzz.readers import READERS, Reader

SECONDS, MEGABYTES = 1.0, 100


class TooMuchError(Exception):
    """A reader that takes longer, or more memory, than a small file is worth."""


def one_input(reader: Reader, content: bytes) -> bool:
    """Read one content; whether it was accepted.

    Raises:
        TooMuchError: it took too long, or too much memory.
        Exception: whatever the reader raises beside a UserError.
    """
    begun, before = time.process_time(), _peak()
    accepted = True
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            reader.read(content)
        except UserError:
            accepted = False
    seconds, grown = time.process_time() - begun, _peak() - before
    if seconds > SECONDS or grown > MEGABYTES:
        raise TooMuchError(f"{seconds:.1f} s, {grown:.0f} MB")
    return accepted


def _peak() -> float:
    """Largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def by_chance(name: str, seconds: float, seed: int) -> int:
    """Fuzz one reader by random changes; the number of contents that it did not take well."""
    reader, rng = READERS[name], random.Random(seed)
    kept = [reader.valid()]
    one_input(reader, kept[0])  # what it imports and remembers is no content's fault
    begun, tried, accepted, failures = time.monotonic(), 0, 0, 0
    while time.monotonic() - begun < seconds:
        content = mutated(rng.choice(kept), rng)
        tried += 1
        try:
            taken = one_input(reader, content)
        except Exception:
            failures += 1
            path = Path(f"fuzz-{name}-{failures}")
            path.write_bytes(content)
            print(f"{path}:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
            continue
        accepted += taken
        if taken and len(kept) < 50 and len(content) < 4 * len(kept[0]):
            kept.append(content)
    print(f"{name}: {tried} contents, {accepted} accepted, {failures} failures, peak {_peak():.0f} MB", flush=True)
    return failures


def parsed(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the readers of files.")
    parser.add_argument("reader", nargs="?", choices=[*READERS, "all"])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(words)


def main() -> None:
    arguments = parsed()
    if arguments.reader is None:
        print("\n".join(READERS))
        return
    names = list(READERS) if arguments.reader == "all" else [arguments.reader]
    try:
        import atheris
    except ImportError:
        atheris = None
    if atheris is not None and len(names) == 1:
        reader = READERS[names[0]]
        atheris.instrument_all()
        options = [
            f"-max_total_time={round(60 * arguments.minutes)}",
            f"-seed={arguments.seed + 1}",
            "-max_len=65536",
        ]
        corpus = Path(f"fuzz-corpus-{names[0]}")
        corpus.mkdir(exist_ok=True)
        (corpus / "valid").write_bytes(reader.valid())
        atheris.Setup([sys.argv[0], *options, str(corpus)], lambda content: one_input(reader, content) and None)
        atheris.Fuzz()
    sys.exit(1 if sum(by_chance(name, 60 * arguments.minutes, arguments.seed) for name in names) else 0)


if __name__ == "__main__":
    main()

"""`python -m benchmarks SUITE`: side by side with the peers, resumable. See `--help`."""

from __future__ import annotations

import argparse
import math
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine

machine.use_one_thread()  # before anything imports NumPy

from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: E402

from benchmarks.cells import Cell, Ledger, Record, run_cells  # noqa: E402
from benchmarks.suites import SUITES, Suite, suite  # noqa: E402
from foundation.boundary import refused  # noqa: E402
from foundation.durations import duration  # noqa: E402
from foundation.errors import UserError, near  # noqa: E402
from foundation.files import replace_file  # noqa: E402
from foundation.options import Options  # noqa: E402

_PATIENCE = 3.0  # a cell is killed after this many times its estimate …
_GRACE = 120.0  # … plus this many seconds
_FILE_WIDTH = 180  # characters of a table that goes to a file or a pipe
_LONG = 60.0  # above this many seconds a run says beforehand how long it takes


def main(arguments: Sequence[str]) -> int:
    """Run a suite; exit code 0, 2 for a mistake on the command line, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's stop ends the cells as Ctrl-C does
    console = Console(stderr=True)
    try:
        return _run(options, console, shlex.join(["python", "-m", "benchmarks", *arguments]))
    except Exception as error:
        if not refused(error):
            raise
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = Options(
        prog="python -m benchmarks",
        description="Measure this project and its peers on the same problems. Every finished cell is kept in "
        "OUT/SUITE.jsonl, and the same command goes on where it stopped.",
    )
    parser.add_argument("suite", help=f"one of {', '.join(SUITES)}")
    parser.add_argument("--methods", type=_words, default=[], metavar="A,B", help="default: all of the suite's")
    parser.add_argument("--problems", type=_words, default=[], metavar="A,B", help="default: all of the suite's")
    parser.add_argument("--seeds", type=_seeds, default=None, metavar="N|A,B", help="how many, or which")
    parser.add_argument("--seconds", type=_positive, default=None, help="CPU-seconds of each search")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other settings of the suite")
    parser.add_argument("--out", type=Path, default=Path("logs/benchmarks"), metavar="DIR")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time, each on a core of its own")
    parser.add_argument("--again", action="store_true", help="measure again what is finished")
    return parser


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return value


def _seeds(text: str) -> list[int]:
    numbers = [int(word) if word.isdecimal() else 0 for word in _words(text)]
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a count such as 3, or seeds such as 1,2,3")
    return list(range(1, numbers[0] + 1)) if len(numbers) == 1 and "," not in text else numbers


def _settings(chosen: Suite, options: argparse.Namespace) -> dict[str, int | float | str]:
    """What `--set` and `--seconds` ask for, each of the type that its default has.

    Raises:
        UserError: not `key=value`, an unknown key, or a value of another type.
    """
    settings: dict[str, int | float | str] = {}
    for item in options.set:
        key, equals, text = item.partition("=")
        if not equals:
            raise UserError(f"--set {item}: give key=value, for example {next(iter(chosen.settings))}=…")
        if key not in chosen.settings:
            raise UserError(f"{chosen.name} has no setting {key!r}: {near(key, chosen.settings)}")
        kind = type(chosen.settings[key])
        try:
            settings[key] = value = kind(text)
            if not isinstance(value, str) and not 0 <= value < math.inf:
                raise ValueError
        except (ValueError, OverflowError):
            raise UserError(
                f"--set {item}: {key} is a number, at least 0, such as {chosen.settings[key]}"
            ) from None
    if options.seconds is not None:
        if "seconds" not in chosen.settings:
            raise UserError(f"{chosen.name} has no searches, so --seconds means nothing to it: leave it out")
        settings["seconds"] = options.seconds
    return settings


def _run(options: argparse.Namespace, console: Console, command: str) -> int:
    chosen = suite(options.suite)
    cells = chosen.cells(
        methods=options.methods,
        problems=options.problems,
        seeds=options.seeds or chosen.seeds,
        settings=_settings(chosen, options),
        out=str(options.out),
    )
    available = machine.cores()
    if not 1 <= options.jobs <= len(available):
        raise UserError(f"--jobs {options.jobs}: this process may use 1 to {len(available)} cores")
    # The last cores are the quietest: interrupts and other people's work gather on the first.
    cores = available[-options.jobs :]
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {options.out}: {error.strerror}; give a directory that can be written") from None
    ledger = Ledger(options.out / f"{chosen.name}.jsonl")
    if options.again:
        ledger.forget(cells)
    records, interrupted = _measure(chosen, cells, ledger, cores, console)
    _show(chosen, [records[cell.key] for cell in cells if cell.key in records], options, command)
    if interrupted:
        console.print(f"Stopped with {len(cells) - len(records)} cells to go: the same command goes on from here.")
    return 130 if interrupted else 0


def _measure(
    chosen: Suite, cells: list[Cell], ledger: Ledger, cores: list[int], console: Console
) -> tuple[dict[str, Record], bool]:
    """Run what is missing. Returns the records by the cells' keys, and whether Ctrl-C ended it."""
    first = chosen.first([cell for cell in cells if ledger.find(cell) is None])
    ledger.forget(first)  # a network that was deleted is trained again
    todo = [cell for cell in first + cells if ledger.find(cell) is None]
    seconds = sum(map(chosen.estimate, todo)) / len(cores)
    if len(todo) < len(cells) + len(first):
        console.print(f"{len(cells) + len(first) - len(todo)} cells are finished already: {ledger.path}")
    if seconds > _LONG:
        console.print(
            f"{len(todo)} cells on {len(cores)} core(s) will take about {duration(seconds)}. "
            "Ctrl-C keeps what is finished; the same command goes on from there."
        )
    records: dict[str, Record] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(chosen.name, total=len(first) + len(cells))

        def on_record(record: Record) -> None:
            cell = record.cell
            records[cell.key] = record
            progress.update(task, advance=1, description=f"{cell.method} {cell.problem} seed {cell.seed}")

        def limit(cell: Cell) -> float:
            return _PATIENCE * chosen.estimate(cell) + _GRACE

        try:
            for stage in (first, cells):
                run_cells(stage, ledger, cores=cores, limit=limit, on_record=on_record)
        except KeyboardInterrupt:
            return records, True
    return records, False


def _show(chosen: Suite, records: list[Record], options: argparse.Namespace, command: str) -> None:
    report = chosen.report(records)
    terminal = Console()
    if not terminal.is_terminal:
        terminal = Console(width=_FILE_WIDTH)
    for grid in report.grids:
        terminal.print(grid.rich())
    for note in report.notes:
        terminal.print(f"- {note}", highlight=False, markup=False)
    header = f"`{command}`, one core a cell, {options.jobs} at a time: {machine.describe()}."
    target = options.out / f"{chosen.name}.md"
    replace_file(target, report.markdown(header))
    written = [target, *chosen.draw(records, options.out)]
    terminal.print(f"Written to {', '.join(map(str, written))}", highlight=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

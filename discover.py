"""The formula of a column of a table.

    python discover.py TABLE TARGET                      search, show the front while it grows, write everything
    python discover.py houses.csv price --features rooms age --seconds 60
    python discover.py predict DIR NEW.csv               values of that formula for new rows
    python discover.py network FILE                      the equation that a small trained network has learned
    python discover.py network FILE --table TABLE        equations of a network of any width, where its rows lie

What the user can mend is one line on stderr, `error: ...`, and exit code 2. Ctrl-C ends the search at
once, and what was found by then is shown and written.
"""

import sys
import time

BEGUN = time.perf_counter()  # before anything is imported that takes time: it belongs to the budget

import argparse  # noqa: E402
import os  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from typing import TYPE_CHECKING, NoReturn  # noqa: E402

from foundation.child_processes import isolate_children  # noqa: E402
from foundation.options import Options  # noqa: E402
from foundation.terminal import encode_anything  # noqa: E402

if TYPE_CHECKING:
    from reports.discovery import Discovery

__all__ = ["main"]

INTERRUPTED = 130
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main(arguments: Sequence[str] | None = None, program: str = "discover.py") -> int:
    """Run the command line.

    Args:
        arguments: words behind the command; those of this process when not given.
        program: name of the command in its help.

    Returns:
        The exit code: 0, 2 for what the user can mend, 130 for Ctrl-C before anything was found.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb = words.pop(0) if words[:1] and words[0] in VERBS else "discover"
    parser, run = VERBS[verb]
    if verb == "discover" and len(words) == 1 and not words[0].startswith("-"):
        words, run = [*words, "TARGET"], refuse_without_target
    given = parser(program).parse_args(words)
    given.begun = BEGUN if arguments is None else time.perf_counter()
    for name in THREADS:  # matrices are small, and every core has a search of its own
        os.environ.setdefault(name, "1")
    isolate_children()
    encode_anything()
    from foundation.boundary import refused

    try:
        run(given)
    except KeyboardInterrupt:
        print("interrupted before anything was found", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if not refused(error):
            raise
        return 2
    return 0


# --- the formula of a column -------------------------------------------------------------------------------------


def discover_parser(program: str) -> argparse.ArgumentParser:
    """Words of `discover.py TABLE TARGET`."""
    parser = Options(
        prog=program,
        description="The formula of a column of a table.",
        epilog=f"{program} predict DIR NEW.csv gives its values for new rows; {program} network FILE reads the "
        "equation of a small trained network. Both have a --help of their own.",
    )
    add = parser.add_argument
    add(
        "table",
        metavar="TABLE",
        help="CSV, TSV, white space, Parquet, Excel, .gz, - (standard input), sklearn:NAME",
    )
    add("target", metavar="TARGET", help="name of the column to explain, as it stands in the header")
    add("--features", nargs="+", metavar="NAME", help="columns to explain it by (all others)")
    add("--sigma", metavar="NAME", help="column of the target's standard deviations (none: all rows count alike)")
    add("--seconds", type=float, default=30.0, help="budget by the clock, everything included (30)")
    add("--out", metavar="DIR", help="folder for the results (discoveries/TABLE_TARGET)")
    add("--method", default="auto", help="auto, regression, genetic_programming, structures or map (auto)")
    add(
        "--operators",
        nargs="+",
        metavar="NAME",
        help="operators that the formula may hold (add sub mul div exp …)",
    )
    add("--guess", action="append", default=[], metavar="FORMULA", help="formula to start from; may be repeated")
    add("--loss", default="squares", help="squares, or huber for a table with outliers (squares)")
    add("--seed", type=int, default=0, help="random seed (0)")
    add("--jobs", type=int, metavar="N", help="processes (as many as there are cores)")
    return parser


def run_discover(given: argparse.Namespace) -> None:
    """Search, show, write."""
    from rich.console import Console

    from foundation.terminal import say
    from rediscover.wiring.long_tables import reading_line

    long = reading_line(given.table, given.seconds)
    if long is not None:
        say(long)
    from rediscover.discovery import discover, fresh_folder
    from reports.discovery_parts.live import LiveFront
    from reports.discovery_parts.terminal import summary

    console = Console(highlight=False)
    out = given.out or fresh_folder(given.table, given.target)
    with LiveFront(console, given.begun, given.seconds) as live:
        found = discover(
            given.table,
            given.target,
            given.features,
            sigma=given.sigma,
            seconds=given.seconds,
            out=out,
            method=given.method,
            operators=given.operators,
            guesses=given.guess,
            loss=given.loss,
            seed=given.seed,
            jobs=given.jobs,
            begun=given.begun,
            on_table=live.read,
            on_progress=live.show,
        )
    console.print(summary(found))
    say(f"{ended(found)}; {time.perf_counter() - given.begun:.1f} s in all. Files are in {out}")


def refuse_without_target(given: argparse.Namespace) -> NoReturn:
    """Say which columns there are to explain.

    Raises:
        foundation.errors.UserError: always.
    """
    from datamodules.tables.table import check_table
    from foundation.errors import UserError

    columns = check_table(given.table).columns
    raise UserError(f"TARGET is missing: name one of the columns of {given.table}: {', '.join(columns[:40])}")


def ended(found: "Discovery") -> str:
    """Why the search ended, in words."""
    reasons = {
        "exact": "The formula is exact on all rows",
        "settled": "The formula has stayed the same for long, and what it leaves is noise",
        "seconds": "The time is used up",
        "interrupted": "Interrupted",
        "done": "Nothing is left to try",
    }
    return reasons.get(found.stopped, found.stopped)


# --- its values for new rows -------------------------------------------------------------------------------------


def predict_parser(program: str) -> argparse.ArgumentParser:
    """Words of `discover.py predict DIR NEW`."""
    parser = Options(prog=f"{program} predict", description="Values of a formula for new rows.")
    parser.add_argument("directory", metavar="DIR", help="folder of results of a search")
    parser.add_argument("table", metavar="NEW", help="table that has the formula's columns, by name")
    parser.add_argument("--out", metavar="FILE", help="CSV file for the values (standard output)")
    parser.add_argument(
        "--interval",
        action="store_true",
        help="two more columns: where a new measurement lies with 95 %% confidence",
    )
    return parser


def run_predict(given: argparse.Namespace) -> None:
    """Read the formula and the rows, write the values."""
    from foundation.terminal import say
    from rediscover.discovery import load, predict, write_values

    found = load(given.directory)
    values = predict(found, given.table, interval=given.interval)
    write_values(values, found.target, given.out)
    if given.out is not None:
        say(f"{len(values):,} values of {found.target} are in {given.out}")


# --- the equation of a network -----------------------------------------------------------------------------------


def network_parser(program: str) -> argparse.ArgumentParser:
    """Words of `discover.py network FILE`."""
    parser = Options(
        prog=f"{program} network", description="The equation that a small trained network has learned."
    )
    parser.add_argument(
        "file", metavar="FILE", help="safetensors, npz, ONNX, or a state dict that torch has saved"
    )
    add = parser.add_argument
    add("--activation", default="tanh", help="activation between the layers (tanh)")
    add(
        "--table",
        metavar="TABLE",
        help="rows of inputs, with targets behind them or without: a network of any width is searched there",
    )
    add("--blocks", nargs="+", metavar="NAME", help="with --table, layers to explain: 0, 2 … (all of it)")
    add("--seconds", type=float, default=30.0, help="with --table, budget by the clock (30)")
    add("--out", metavar="DIR", help="with --table, folder for the report")
    return parser


def run_network(given: argparse.Namespace) -> None:
    """Read the network, print its equations."""
    from foundation.terminal import say
    from foundation.weight_files import check_network_file

    check_network_file(given.file)  # before torch is imported
    if given.table is not None:
        from rediscover.distillation import distill_file

        found, names = distill_file(
            given.file, given.table, given.blocks, activation=given.activation, seconds=given.seconds
        )
        say(found.text(names))
        if given.out is not None:
            found.save(given.out)
            say(f"The report is in {given.out}")
        return
    from rediscover.network_reading import read_network

    say(read_network(given.file, activation=given.activation))


VERBS = {
    "discover": (discover_parser, run_discover),
    "predict": (predict_parser, run_predict),
    "network": (network_parser, run_network),
}

if __name__ == "__main__":
    sys.exit(main())

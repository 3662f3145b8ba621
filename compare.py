"""Compare runs: `python compare.py [RUN_DIR …] [--sort METRIC] [--ascending] [--html FILE]`.

Without a directory, every run under `logs/` is shown. What is read is what lies on the disk: a run that is not
finished shows the last numbers it logged. Exit code 0; 2 when the question cannot be answered as it was put.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from foundation.boundary import refused
from foundation.options import Options
from foundation.terminal import encode_anything, printable
from reports.run_comparison import COMMON, STYLES, collect, columns, order, remark, terminal_table
from runs.reader import FINISHED

__all__ = ["main"]

_PIPED_WIDTH = 180


def main(arguments: Sequence[str] | None = None, program: str = "compare.py") -> int:
    """Run the command line.

    Args:
        arguments: words behind the command; those of this process when not given.
        program: name of the command in its help and its complaints.

    Returns:
        The exit code.

    Raises:
        SystemExit: the words cannot be understood (code 2), or help was asked for (code 0).
    """
    encode_anything()
    parser = Options(
        prog=program, description="Compare runs, finished or not: a table, and a report in one HTML file."
    )
    parser.add_argument(
        "runs", nargs="*", metavar="RUN_DIR", help="run directories, or some above them (default: logs)"
    )
    parser.add_argument("--sort", metavar="METRIC", help=f"any metric of a run (default: {COMMON[0]}), best first")
    parser.add_argument("--ascending", action="store_true", help="smallest first, whichever is better")
    parser.add_argument(
        "--html", metavar="FILE", help="also write a report that needs no other file and no network"
    )
    options = parser.parse_args(arguments)
    try:
        runs = order(collect(options.runs, curves=options.html is not None), options.sort, options.ascending)
        metrics = columns(runs, options.sort)
        console = Console() if sys.stdout.isatty() else Console(width=_PIPED_WIDTH)
        console.print(terminal_table(runs, metrics))
        for run in runs:
            if run.state != FINISHED:
                console.print(Text(printable(remark(run)), style=STYLES.get(run.state, "yellow")))
        if options.html is not None:
            from reports.html_report import write_report  # sets equations, which the table does without

            write_report(runs, metrics, options.html)
            console.print(Text(printable(f"wrote {options.html}")))
    except BrokenPipeError:  # the reader of our output has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if not refused(error):
            raise
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The last words of a run on the terminal."""

import shutil
from pathlib import Path

from runs.directory import short_path
from runs.record import read_results

__all__ = ["run_summary"]


def run_summary(run_dir: Path) -> str:
    """The flat metrics of the test, the seconds of each phase, and where everything is, a line each."""
    results = read_results(run_dir)
    shown = [
        f"{name} {value:.6g}"
        for name, value in results.get("metrics", {}).items()
        if name.startswith("test/") and value
    ]
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in results.get("seconds", {}).items() if value)
    width = shutil.get_terminal_size().columns
    return "\n".join((", ".join(shown), seconds, f"all in {short_path(run_dir)}"))[: 10 * width]

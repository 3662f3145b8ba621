"""The process of one cell: `python -m benchmarks.worker TASK`, TASK being JSON from `benchmarks.cells`."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from benchmarks import machine
from foundation.files import replace_file


def main(text: str) -> None:
    """Run the cell and write `{"status", "result"}` or `{"status", "reason"}` to the file that the task names."""
    task = json.loads(text)
    machine.use_one_thread()
    machine.pin(int(task["core"]))
    answer = _answer(task["cell"])
    target = Path(task["answer"])
    replace_file(target, json.dumps(answer))


def _answer(fields: dict[str, Any]) -> dict[str, Any]:
    from benchmarks.cells import FAILED, NOT_INSTALLED, OK, Cell
    from benchmarks.suites import PACKAGES, suite

    cell = Cell(**fields)
    try:
        return {"status": OK, "result": suite(cell.suite).run(cell)}
    except ModuleNotFoundError as error:
        if error.name in PACKAGES:
            return {"status": NOT_INSTALLED, "reason": PACKAGES[error.name]}
        traceback.print_exc()
        return {"status": FAILED, "reason": f"ModuleNotFoundError: {error}"}
    except Exception as error:
        traceback.print_exc()
        return {"status": FAILED, "reason": f"{type(error).__name__}: {error}"[:300]}


if __name__ == "__main__":
    main(sys.argv[1])

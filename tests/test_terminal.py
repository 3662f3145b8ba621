"""What is shown on a terminal."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest

from foundation.terminal import encode_anything, printable, say, warn
from tests.house import ROOMS, ROOT

DOORS = ("train.py", "compare.py", "discover.py")
OWN_WORDS = {
    "foundation/terminal.py",
    "reports/baselines.py",  # a process that answers another
    "discover.py",  # what it says before anything is imported
    "rediscover/command.py",  # the same, and its help
}
"""Files that print, and print nothing that has been read."""


def test_what_a_terminal_obeys_is_marked() -> None:
    assert printable("Grüße, 温度 µ²\N{NO-BREAK SPACE}x") == "Grüße, 温度 µ²\ufffdx"
    assert printable("\x1b[31mred\x07\r\n\u202e\ud800") == "\ufffd[31mred\ufffd\ufffd\ufffd\ufffd\ufffd"
    assert printable("one\ntwo\r", lines=True) == "one\ntwo\ufffd"


def test_lines_are_said_and_warnings_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("x\x1b\ny")
    warn("careful\x07")
    assert tuple(capsys.readouterr()) == ("x\ufffd\ny\n", "careful\ufffd\n")


def test_output_that_cannot_hold_a_character_gets_another(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", narrow)
    encode_anything()
    say("ü and \udcff")
    assert narrow.buffer.getvalue() == b"? and ?\n"  # type: ignore[attr-defined]


def sources() -> list[Path]:
    rooms = [path for room in (*ROOMS, "rediscover") for path in sorted((ROOT / room).rglob("*.py"))]
    return [path.relative_to(ROOT) for path in (*rooms, *(ROOT / door for door in DOORS))]


def prints(path: Path) -> bool:
    """Whether a file calls `print`."""
    calls = [node for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))) if isinstance(node, ast.Call)]
    return any(getattr(call.func, "id", "") == "print" for call in calls)


@pytest.mark.parametrize("path", sources(), ids=str)
def test_everything_is_shown_by_way_of_one_place(path: Path) -> None:
    if path.as_posix() not in OWN_WORDS:
        assert not prints(path), f"{path} prints by itself: use foundation.terminal.say or warn"

"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import pytest

from foundation.files import write_whole, writing


def _break_off(stream: IO[bytes]) -> None:
    stream.write(b"aft")
    stream.flush()
    raise KeyboardInterrupt


def test_a_file_whose_writing_is_broken_off_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "front.json"
    write_whole(path, "before")
    with pytest.raises(KeyboardInterrupt), writing(path) as stream:
        _break_off(stream)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path], "and nothing else is left behind"

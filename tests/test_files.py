"""Files are written whole or not at all, in one way."""

import ast
from pathlib import Path

import numpy as np
import pytest

from foundation.durations import duration
from foundation.files import making_folder, replace_file, writing
from tests.test_floors import ROOT, sources

THE_ONE_WAY = Path("foundation", "files.py")


def moves(source: str) -> list[int]:
    """Lines that put a file in the place of another: `os.replace`, `Path.replace`, `rename`, `shutil.move`.

    `str.replace` takes two arguments, the `replace` of a date or a data class takes names.
    """
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (
            ast.unparse(node.func) in ("os.replace", "os.rename", "shutil.move")
            or (node.func.attr in ("replace", "rename") and len(node.args) == 1 and not node.keywords)
        )
    ]


def test_files_are_replaced_in_one_place_only() -> None:
    found = {path: lines for path in sources() if (lines := moves((ROOT / path).read_text(encoding="utf-8")))}
    assert found.keys() == {THE_ONE_WAY}, f"use foundation.files instead: {found}"


@pytest.mark.parametrize("line", ["os.replace(a, b)", "a.replace(b)", "path.rename(target)", "shutil.move(a, b)"])
def test_a_second_way_is_seen(line: str) -> None:
    assert moves(line) == [1]
    assert moves("text.replace('a', 'b'); replace(settings, size=1)") == []


def test_a_file_that_is_not_finished_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    replace_file(file, "old\r\n")

    def breaks_off() -> None:
        with writing(file) as stream:
            stream.write(b"half")
            stream.flush()
            assert file.read_bytes() == b"old\r\n", "a reader sees the old file while the new one is written"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaks_off()
    assert file.read_bytes() == b"old\r\n"
    assert list(tmp_path.iterdir()) == [file]
    replace_file(file, b"new")
    assert file.read_bytes() == b"new"


def test_the_directory_of_a_file_is_made(tmp_path: Path) -> None:
    replace_file(tmp_path / "search" / "front.csv", "x\n")
    assert (tmp_path / "search" / "front.csv").read_text() == "x\n"


def test_a_folder_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    shard = tmp_path / "shard"

    def breaks_off() -> None:
        with making_folder(shard) as folder:
            np.save(folder / "x.npy", np.arange(3))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaks_off()
    assert list(tmp_path.iterdir()) == []
    for content in ("first", "second"):  # the second finds that it came too late
        with making_folder(shard) as unfinished:
            replace_file(unfinished / "name", content)
    assert list(tmp_path.iterdir()) == [shard]
    assert (shard / "name").read_text() == "first"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(40.4, "40 seconds"), (90.0, "2 minutes"), (5399.0, "90 minutes"), (9000.0, "2.5 hours")],
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words

"""Files are written whole or not at all, in one way."""

import ast
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foundation.durations import duration
from foundation.errors import UserError
from foundation.files import (
    FileError,
    MissingFileError,
    locked,
    making_folder,
    read_regular,
    replace_file,
    writing,
)
from runs.directory import claimed, wandb_run_id
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


# ------------------------------------------------------------------------------- files that come from strangers


def link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "secret.txt")


def dangling(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "nothing")


def folder(path: Path, outside: Path) -> None:
    path.mkdir()


def pipe(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def zeros(path: Path, outside: Path) -> None:
    path.symlink_to("/dev/zero")


IRREGULAR = (link, dangling, folder, pipe, zeros)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that nothing may touch."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "secret.txt").write_text("secret")
    return path


@pytest.mark.parametrize("make", IRREGULAR)
def test_only_regular_files_are_read(make: Callable, tmp_path: Path, outside: Path) -> None:
    file = tmp_path / "results.json"
    make(file, outside)
    with pytest.raises(FileError, match=r"results\.json is a .* and not a regular file"):
        read_regular(file, most=1000)


def test_a_device_is_not_opened() -> None:
    with pytest.raises(FileError, match="/dev/zero is a device"):
        read_regular("/dev/zero", most=1000)


def test_the_size_of_a_file_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(b"x" * 1000)
    assert read_regular(file, most=1000) == b"x" * 1000
    with pytest.raises(FileError, match=r"results\.json has 1,000 bytes, more than the 999"):
        read_regular(file, most=999)
    with pytest.raises(FileError, match="has more than the 3 bytes"):
        read_regular("/proc/self/status", most=3)  # which says that it has none


def test_a_file_that_is_not_there_is_both_kinds_of_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="there is no file"):
        read_regular(tmp_path / "results.json", most=1000)
    assert issubclass(MissingFileError, FileNotFoundError)
    assert issubclass(MissingFileError, UserError)


@pytest.mark.parametrize("make", [link, dangling, pipe, zeros])
def test_what_is_in_the_place_of_a_file_is_replaced(make: Callable, tmp_path: Path, outside: Path) -> None:
    file = tmp_path / "results.json"
    make(file, outside)
    replace_file(file, "new")
    assert file.read_text() == "new"
    assert not file.is_symlink()
    assert [path.name for path in outside.iterdir()] == ["secret.txt"]
    assert (outside / "secret.txt").read_text() == "secret"


@pytest.mark.parametrize("make", IRREGULAR)
def test_a_lock_is_a_regular_file(make: Callable, tmp_path: Path, outside: Path) -> None:
    lock = tmp_path / ".lock"
    make(lock, outside)
    with pytest.raises(FileError, match=r"\.lock is a"), locked(lock):
        pass
    assert [path.name for path in outside.iterdir()] == ["secret.txt"]


@pytest.mark.parametrize("place", ["checkpoints", "attempts", "search/x0.json", "wandb_run_id.txt", "wandb"])
@pytest.mark.parametrize("make", [link, dangling, pipe])
def test_a_run_directory_holds_nothing_that_leads_out_of_it(
    make: Callable, place: str, tmp_path: Path, outside: Path
) -> None:
    run = tmp_path / "run"
    (run / place).parent.mkdir(parents=True)
    make(run / place, outside)
    with pytest.raises(FileError, match=rf"{place} is a .* which has no place in"), claimed(run):
        pass


def test_what_wandb_links_to_in_its_own_folder_is_its_own(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "run" / "wandb").mkdir(parents=True)
    link(tmp_path / "run" / "wandb" / "latest-run", outside)
    with claimed(tmp_path / "run"):
        assert (tmp_path / "run" / ".lock").is_file()


def test_a_linked_id_is_replaced(tmp_path: Path, outside: Path) -> None:
    link(tmp_path / "wandb_run_id.txt", outside)
    assert wandb_run_id(tmp_path) != "secret"
    assert (outside / "secret.txt").read_text() == "secret"
    assert wandb_run_id(tmp_path) == wandb_run_id(tmp_path)

"""What leaves a door: one sentence and exit code 2 where the user can mend it, otherwise the fault itself."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.errors import InstantiationException
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf

import compare
import discover
from benchmarks import __main__ as benchmarks
from configs.complaints import explain
from configs.validation import ConfigError
from foundation.boundary import refused, sentence_of
from foundation.errors import UserError
from rediscover.wiring.building import check_devices
from rediscover.wiring.checkpoint_reading import check_fit
from rediscover.wiring.long_tables import reading_line
from runs.directory import RunDirectoryError
from tests.stored_checkpoints import resumable

ROOT = Path(__file__).resolve().parents[1]


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UserError("two\n lines"), "two lines"),
        (OSError(errno.ENOSPC, "full", "a.csv"), "cannot write to a.csv: No space left on device"),
        (FileExistsError(errno.EEXIST, "there", "FILE"), "FILE cannot be used: File exists"),
        (OSError(errno.ENAMETOOLONG, "long", "aaa"), "aaa cannot be used"),
        (MemoryError(), "not enough memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            "not enough memory",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "not enough memory"),
        (caused(InstantiationException("in model"), UserError("no such layer")), "no such layer"),
        (caused(InstantiationException("in model"), MemoryError()), "not enough memory"),
        (
            caused(InstantiationException("x"), TypeError("an unexpected keyword argument 'a'")),
            "unexpected keyword",
        ),
        (MisconfigurationException("no such thing"), "Lightning refuses this: no such thing"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value[:20],
)
def test_what_the_user_can_mend_has_a_sentence(error: Exception, words: str) -> None:
    sentence = sentence_of(error, explain)
    assert sentence is not None
    assert words in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), RuntimeError("shapes"), KeyError("x"), TypeError("an unexpected keyword argument 'a'"),
     FileNotFoundError(errno.ENOENT, "gone", "ours.py"), caused(InstantiationException("x"), KeyError("x"))],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_fault_of_the_program_has_none(error: Exception) -> None:
    assert sentence_of(error, explain) is None


DOORS: dict[str, Callable[[], int]] = {
    "discover": lambda: discover.main(["gas.csv", "pressure"]),
    "compare": lambda: compare.main([]),
    "benchmarks": lambda: benchmarks.main(["gmeql"]),
}
INNER = {
    "discover": "rediscover.discovery.discover",
    "compare": "compare.collect",
    "benchmarks": "benchmarks.__main__.suite",
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_has_the_same_boundary(
    door: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full", "there")

    monkeypatch.setattr(INNER[door], fails)
    assert DOORS[door]() == 2
    assert capsys.readouterr().err.startswith("error: cannot write to there")

    def breaks(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(INNER[door], breaks)
    with pytest.raises(ZeroDivisionError):
        DOORS[door]()


@pytest.mark.parametrize(
    ("door", "line", "words"),
    [
        (discover.main, "gas.csv pressure --seconds soon", "invalid float value: 'soon'; discover.py --help"),
        (discover.main, "gas.csv pressure --target pressure", "unrecognized arguments: --target pressure"),
        (discover.main, "predict", "the following arguments are required: DIR, NEW; discover.py predict --help"),
        (compare.main, "--sort", "argument --sort: expected one argument"),
        (benchmarks.main, "", "the following arguments are required: suite"),
        (benchmarks.main, "gmeql --seeds many", "give a count such as 3"),
        (benchmarks.main, "gmeql --seconds soon", "soon is not a positive number of seconds"),
    ],
)
def test_options_that_cannot_be_understood_are_one_sentence(
    door: Callable, line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        door(line.split())
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "soon"])
def test_a_suite_takes_numbers_that_mean_something(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.main(["gmeql", "--set", f"seconds={value}"]) == 2
    assert "seconds is a number, at least 0" in capsys.readouterr().err


def test_the_first_line_stands_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name in ('torch', 'lightning', 'wandb'): print('imports', name, flush=True); sys.exit(7)\n"
        "sys.meta_path.insert(0, Watch())\n"
        "import train; train.main(['hydra.run.dir=run', 'data.max_rows=100'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    first, second = ended.stdout.splitlines()
    assert ended.returncode == 7, ended.stderr
    assert first.startswith("autoencoder on california, in run; its equations explain its latents")
    assert second == "imports lightning"


def test_a_long_table_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "long.csv"
    table.write_text("a,b\n")
    assert reading_line(str(table)) is None
    for nothing in ("sklearn:iris", "-", "nowhere.csv", "a" * 5000, "a\0b"):
        assert reading_line(nothing) is None
    monkeypatch.setattr("rediscover.wiring.long_tables.LONG_BYTES", 4)
    assert reading_line(str(table)) == f"reading {table}, 0 MB, takes about a second"
    assert reading_line(str(table), 10.0) == reading_line(str(table))
    monkeypatch.setattr("rediscover.wiring.long_tables.BYTES_A_SECOND", 1)
    assert reading_line(str(table), 10.0) == f"reading {table}, 0 MB, takes about 4 seconds"
    line = reading_line(str(table), 2.0)
    assert line is not None
    assert line.endswith(
        "takes about 4 seconds, and 2 are given for everything: write --seconds 40 or so, to have a search"
    )
    (tmp_path / "long.csv.gz").write_bytes(b"12345")
    assert reading_line(str(tmp_path / "long.csv.gz"), 2.0) == f"reading {tmp_path / 'long.csv.gz'}, 0 MB"


@pytest.mark.parametrize(
    ("trainer", "words"),
    [
        ({"accelerator": "cpu", "devices": 100_000}, "trainer.devices=100000 is more than"),
        ({"accelerator": "cpu", "devices": 1, "strategy": "foo"}, "invalid strategy"),
        ({"accelerator": "tpu", "devices": 1}, "trainer: "),
        ({"accelerator": "cpu", "devices": 1, "gradient_clip_val": 1, "gradient_clip_algorithm": "foo"}, "foo"),
    ],
)
def test_devices_that_are_not_there_are_known_before_the_data(trainer: dict, words: str) -> None:
    check_devices(OmegaConf.create({"trainer": {"accelerator": "cpu", "devices": 1}}))
    with pytest.raises(ConfigError, match=words):
        check_devices(OmegaConf.create({"trainer": trainer}))


def test_fewer_epochs_than_done_are_refused(tmp_path: Path) -> None:
    import torch

    from modules.autoencoder import Autoencoder

    model = Autoencoder(in_features=2)
    torch.save(resumable(model, epoch=3, global_step=7), tmp_path / "last.ckpt")
    for allowed in (None, -1, 3, 4):
        assert check_fit(tmp_path / "last.ckpt", model, allowed) == 7
    with pytest.raises(RunDirectoryError, match="3 epochs behind it, more than"):
        check_fit(tmp_path / "last.ckpt", model, 2)


def test_numbers_are_names_for_a_logger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    from rediscover.wiring.loggers import build_loggers

    monkeypatch.setenv("WANDB_MODE", "disabled")
    options = {"project": 7, "mode": "auto", "group": 5, "tags": [1, "first"], "save_dir": str(tmp_path)}
    config = OmegaConf.create({"logger": options})
    assert len(build_loggers(config, tmp_path / "run", 0, "abc", writes=True)) == 2
    wandb.finish()


def test_a_sentence_that_quotes_a_whole_file_is_cut_in_its_middle(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(UserError(f"there is no column {'x' * 1_000_000}: name one of a, b"))
    said = capsys.readouterr().err
    assert said.startswith("error: there is no column xxx")
    assert said.endswith("x: name one of a, b\n")
    assert len(said) < 2_100

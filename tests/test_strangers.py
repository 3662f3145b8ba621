"""What comes from a stranger is data: a run directory, a checkpoint, a corpus. Nothing of it is run or obeyed."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from configs.classes import CALLBACKS, ClassError, built, check_class
from configs.registry import SETTINGS
from configs.stored_settings import settings_of, spelled, stored_words
from expressions import sympy_worker
from foundation.child_processes import isolate_children
from foundation.errors import UserError
from foundation.files import making_folder, remove_unfinished, writing
from rediscover.training import chosen_model, compose
from rediscover.wiring.folders_before import FoldersBefore
from runs import metrics_file
from runs.command_line import arguments_to_go_on
from runs.metrics_file import open_table, read_metrics
from runs.reader import TORN, read_front, read_run
from runs.record import read_results
from runs.search_files import SearchFiles
from runs.settings_file import FORMAT, StoredSettings, read_settings, write_settings
from searches.common.parallel import run_jobs
from tests.test_floors import ROOT, sources

MKDIR = {"_target_": "os.mkdir", "path": "canary"}

# What a stranger may have stored in a run directory: keys and values.
ATTACKS: dict[str, dict[str, Any]] = {
    "a callback of another package": {"callbacks.x._target_": "os.mkdir", "callbacks.x.path": "canary"},
    "another class for a callback": {
        "callbacks.throughput._target_": "os.mkdir",
        "callbacks.throughput.path": "c",
    },
    "a callback as a mapping": {"callbacks.throughput": MKDIR},
    "all callbacks as a mapping": {"callbacks": {"x": MKDIR}},
    "unpickling": {
        "callbacks.x._target_": "torch.load",
        "callbacks.x.f": "a.pt",
        "callbacks.x.weights_only": False,
    },
    "another class for a model": {"model._target_": "os.mkdir"},
    "another class for data": {"data._target_": "os.mkdir"},
    "another class for a search": {"search": "none", "search._target_": "os.mkdir"},
    "a class below a key": {"data.features": MKDIR},
    "a class in a list": {"data.features": [MKDIR]},
    "a class in dotted keys": {"data.features._target_": "os.mkdir", "data.features.path": "canary"},
    "a callback of hydra": {"hydra.callbacks.x._target_": "os.mkdir", "hydra.callbacks.x.path": "canary"},
    "hydra's directory": {"hydra.run.dir": "canary"},
    "hydra's environment": {"hydra.job.env_set.PATH": "canary"},
    "hydra's search path": {"hydra.searchpath": ["file://canary"]},
    "a launcher of hydra": {"hydra/launcher": "joblib"},
    "a file as a choice": {"model": "../../canary"},
    "a file among choices": {"experiment": ["smoke", "../canary"]},
    "a choice that is code": {"experiment": MKDIR},
    "another place for a choice": {"model@callbacks.x": "cvae"},
    "a secret": {"logger.project": "${oc.env:HOME}"},
    "a secret in a list": {"logger.tags": ["a", "${oc.env:HOME}"]},
    "a secret in a key": {"logger.${oc.env:HOME}": "a"},
    "a key that holds another": {"seed=1 +callbacks.x": "a"},
    "an absolute path": {"data.path": "/etc/passwd"},
    "a path upwards": {"search.archive": "../canary"},
    "a path down and up": {"data.cache": "logs/../../canary"},
    "a home": {"logger.save_dir": "~/canary"},
    "a path in a list": {"data.features": ["/etc/passwd"]},
    "another run": {"resume": "elsewhere", "hydra.run.dir": "elsewhere"},
    "another checkpoint": {"ckpt_path": "elsewhere.ckpt", "model.init": "/elsewhere.ckpt"},
    "an object for lightning": {"trainer.plugins": "x"},
    "a directory of lightning": {"trainer.default_root_dir": "canary"},
    "a key that nobody has": {"model.canary": 1},
    "a deep list": {"data.features": [[[[[[1]]]]]]},
    "no number": {"seed": float("nan")},
    "a very long text": {"data.target": "x" * 20_000},
    "half a character": {"data.target": "\ud800"},
    "terminal escapes in a text": {"data.target": "\x1b[2J"},
    "terminal escapes": {"data.\x1b[2J": 1},
}


def words_of(settings: Mapping[str, Any]) -> list[str]:
    """The same as a command line of an earlier version has it."""
    return [f"+{key}={spelled(value)}" for key, value in settings.items()]


def stored(run: Path, settings: Mapping[str, Any]) -> None:
    run.mkdir()
    text = json.dumps({"format": FORMAT, "set": settings, "removed": []})
    (run / "settings.json").write_text(text)


def stored_in_the_old_way(run: Path, settings: Mapping[str, Any]) -> None:
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(words_of(settings)))


@pytest.mark.parametrize("store", [stored, stored_in_the_old_way])
@pytest.mark.parametrize("settings", ATTACKS.values(), ids=ATTACKS.keys())
def test_what_a_strangers_run_has_stored_is_refused(
    settings: dict[str, Any], store: Callable, tmp_path: Path, command: Callable
) -> None:
    store(tmp_path / "run", settings)
    before = sorted(tmp_path.rglob("*"))
    ended = command("resume=run")
    assert ended.code == 2, ended.err
    assert ended.err.startswith("error: ")
    assert ended.err.removesuffix("\n").isprintable()
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"format": "rediscover settings 1", "set": [], "removed": []}',
        '{"format": "rediscover settings 1", "set": {}, "removed": ["hydra.run.dir"]}',
        '{"format": "rediscover settings 1", "set": {}, "removed": ["x y"]}',
        '{"format": "rediscover settings 1", "set": {}, "removed": [1]}',
        '{"format": "rediscover settings 2", "set": {}, "removed": []}',
        '{"format": "rediscover settings 1", "set": {"seed": ' + "1" * 5000 + '}, "removed": []}',
        " " * 300_000,
    ],
    ids=range(11),
)
def test_settings_that_are_none(text: str, tmp_path: Path, command: Callable) -> None:
    stored(tmp_path / "run", {})
    (tmp_path / "run" / "settings.json").write_text(text)
    ended = command("resume=run")
    assert ended.code == 2
    assert "settings.json" in ended.err


@pytest.mark.parametrize(
    "text",
    [
        "",
        "seed: 1",
        "- !!python/object/apply:os.mkdir [canary]",
        "- [seed=1]",
        "- &a [x]\n- *a",
        "[" * 2_000,
        "- 'seed=range(0, 9)'",
        "- 'seed=1,2'",
        "- 'seed=glob(*)'",
        "- '" + "(" * 5000 + "'",
        "- &a0 {x: 1}\n" + "".join(f"- &a{i + 1} {{<<: [{','.join([f'*a{i}'] * 9)}]}}\n" for i in range(12)),
    ],
    ids=range(11),
)
def test_old_settings_that_are_none(text: str, tmp_path: Path, command: Callable) -> None:
    stored_in_the_old_way(tmp_path / "run", {})
    (tmp_path / "run" / ".hydra" / "overrides.yaml").write_text(text)
    ended = command("resume=run")
    assert ended.code == 2
    assert "overrides.yaml" in ended.err
    assert not (tmp_path / "canary").exists()


def resumed(run: Path, *typed: str) -> DictConfig:
    """The configuration of a run that goes on."""
    return compose(arguments_to_go_on([f"resume={run}", *typed], chosen_model, stored_words))


@pytest.mark.parametrize(
    "value",
    ["it's", 'say "a"', "a,b", "a\\", "\\'", "{a: 1}", "[a]", "$x", "", "null", "5", "true", " a ", "ä=%"],
)
def test_a_text_is_taken_as_it_is(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stored(tmp_path / "run", {"logger.group": value, "logger.tags": [value, value]})
    config = resumed(Path("run"))
    assert config.logger.group == value
    assert config.logger.tags == [value, value]


def test_a_run_goes_on_with_what_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDISCOVER_ROWS", "300")
    words = [
        "model=cvae",
        "experiment=smoke",
        "logger=csv",
        "seed=3",
        "model.learning_rate=1e-5",
        "data.length_weights=[1,2.5]",
        "+trainer.limit_val_batches=0.5",
        "callbacks.map_report.samples=7",
        "~callbacks.throughput",
        "search.problems=[nguyen,I.12.1]",
        "data.batch_size='${oc.decode:${oc.env:REDISCOVER_ROWS}}'",
        "resume=null",
        f"hydra.run.dir={tmp_path}/run",
    ]
    first = compose(words)
    own = OmegaConf.masked_copy(first, [key for key in first if key != "hydra"])
    own = OmegaConf.create(OmegaConf.to_container(own, resolve=True))
    (tmp_path / "run").mkdir()
    write_settings(tmp_path / "run", settings_of(first.hydra.overrides.task, own))
    assert read_settings(tmp_path / "run").values["data.batch_size"] == 300, "as it was, and worked out no more"
    monkeypatch.delenv("REDISCOVER_ROWS")
    again = resumed(Path("run"), "seed=4", "trainer.max_epochs=5")
    assert (again.seed, again.trainer.max_epochs) == (4, 5), "what is typed now wins"
    assert again.resume == str(tmp_path / "run")
    for key in ("model", "data", "search", "callbacks", "checkpoint", "logger"):
        theirs = OmegaConf.to_container(own[key], resolve=True)
        if isinstance(theirs, dict) and "seed" in theirs:
            theirs["seed"] = 4
        assert OmegaConf.to_container(again[key], resolve=True) == theirs
    # and the next time
    write_settings(tmp_path / "run", settings_of(again.hydra.overrides.task, again))
    third = resumed(Path("run"))
    assert (third.seed, third.trainer.max_epochs) == (4, 5)
    assert "throughput" not in third.callbacks


def test_a_path_out_of_the_working_directory_is_typed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    outside, inside = tmp_path / "houses.csv", tmp_path / "here" / "houses.csv"
    stored(Path("run"), {"data": "tabular", "data.path": str(outside)})
    with pytest.raises(UserError, match=r"data\.path.*leads out of the working directory.*type it again"):
        resumed(Path("run"))
    assert resumed(Path("run"), f"data.path={outside}").data.path == str(outside)
    stored(Path("own"), {"data": "tabular", "data.path": str(inside)})
    assert resumed(Path("own")).data.path == str(inside)


def test_every_setting_that_is_shipped_may_be_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in sorted((ROOT / "configs").glob("*/*.yaml")):
        content: Any = OmegaConf.to_container(OmegaConf.load(path))
        content.pop("defaults", None)
        top = "@package _global_" in path.read_text("utf-8")
        words = keys(content if top else {path.parent.name: content})
        run = tmp_path / f"{path.parent.name}_{path.stem}"
        stored(run, {key: value for key, value in words.items() if not str(value).startswith(("${", "???"))})
        assert stored_words(run, []) is not None


def keys(content: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Dotted key -> value."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            found |= keys(value, f"{before}{name}.")
        elif name != "_target_":
            found[f"{before}{name}"] = value
    return found


def test_a_checkpoint_alone_brings_no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    monkeypatch.chdir(tmp_path)
    for store in (stored, stored_in_the_old_way):
        run = tmp_path / store.__name__
        store(run, {"callbacks.x._target_": "os.mkdir", "callbacks.x.path": "canary"})
        (run / "checkpoints").mkdir()
        with zipfile.ZipFile(run / "checkpoints" / "last.ckpt", "w") as archive:
            archive.writestr("a", "b")
        typed = [f"ckpt_path={run}/checkpoints/last.ckpt", "seed=1"]
        assert arguments_to_go_on(typed, chosen_model, stored_words) == typed


@pytest.mark.parametrize("name", ["a'b", "${oc.env:HOME}", "a\\"])
def test_a_name_of_a_directory_is_no_grammar(name: str, tmp_path: Path, command: Callable) -> None:
    stored(tmp_path / name, {})
    ended = command(f"resume={tmp_path / name}")
    assert ended.code == 2
    assert "rename it" in ended.err


@pytest.mark.parametrize("place", ["train.log", "checkpoints", "settings.json"])
def test_a_link_in_a_strangers_run_is_refused(place: str, tmp_path: Path, command: Callable) -> None:
    stored(tmp_path / "run", {})
    (tmp_path / "canary").write_text("mine")
    (tmp_path / "run" / place).unlink(missing_ok=True)
    (tmp_path / "run" / place).symlink_to(tmp_path / "canary")
    (tmp_path / "run" / "settings.json").touch()
    for words in (("resume=run",), ("hydra.run.dir=run",)):
        ended = command(*words)
        assert ended.code == 2
        assert "a symbolic link" in ended.err
    assert (tmp_path / "canary").read_text() == "mine"


# ------------------------------------------------------------------------------------ classes that may be built

TYPED = [
    ["+callbacks.x._target_=os.mkdir", "+callbacks.x.path=canary"],
    ["+callbacks.x._target_=lightning.pytorch.callbacks.EarlyStopping"],
    ["+callbacks.x.path=canary"],
    ["model._target_=os.mkdir"],
    ["model._target_=callbacks.gp_search.GPSearch"],
    ["data._target_=os.mkdir"],
    ["search._target_=os.mkdir"],
    ["search=none", "+search._target_=os.mkdir", "+search.path=canary"],
    ["+callbacks.x._target_=[os.mkdir]"],
]


@pytest.mark.parametrize("words", TYPED, ids=" ".join)
def test_a_run_builds_only_what_is_shipped(words: list[str], tmp_path: Path, command: Callable) -> None:
    ended = command(*words, "logger=csv")
    assert ended.code == 2, ended.err
    assert "only classes that a shipped configuration names" in ended.err
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(("group", "target"), [("data", "os.mkdir"), ("callbacks", "os.mkdir"), ("model", None)])
def test_nothing_else_is_ever_called(
    group: str, target: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    section = OmegaConf.create({"_target_": target, "path": "canary"})
    with pytest.raises(ClassError, match="only classes"):
        built(group, section)
    assert not (tmp_path / "canary").exists()


def test_what_is_below_a_key_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    section = OmegaConf.create({"_target_": "datamodules.equations.Equations", "length_weights": [MKDIR]})
    with pytest.raises(UserError):
        built("data", section)
    section = OmegaConf.create({"_target_": "callbacks.map_report.MapReport", "path": MKDIR})
    with pytest.raises(ClassError, match="unexpected keyword argument 'path'"):
        built("callbacks", section)
    assert not (tmp_path / "canary").exists()


def test_every_class_of_the_shipped_configurations_may_be_built() -> None:
    named = set()
    for path in (ROOT / "configs").rglob("*.yaml"):
        for line in path.read_text("utf-8").splitlines():
            if "_target_:" in line:
                named.add(line.partition("_target_:")[2].partition("#")[0].strip())
    of_hydra = {f"{FoldersBefore.__module__}.{FoldersBefore.__name__}"}  # which builds it, from train.yaml alone
    assert named == {target for target, _ in CALLBACKS.values()} | of_hydra, "all others come from the registry"


def test_the_keys_of_callbacks_are_their_own() -> None:
    import inspect
    from importlib import import_module

    for target, names in CALLBACKS.values():
        module, _, name = target.rpartition(".")
        kind = getattr(import_module(module), name)
        assert tuple(inspect.signature(kind).parameters) == names


def test_names_become_classes_in_one_place_only() -> None:
    """`hydra.utils` and `load_from_checkpoint` call whatever a file names."""
    for path in sources():
        source = (ROOT / path).read_text("utf-8")
        found = re.findall(r"\b(instantiate|get_class|get_object|get_method|load_from_checkpoint)\(", source)
        assert not found, path


def test_the_registry_is_what_is_allowed() -> None:
    for target, (name, _) in SETTINGS.items():
        group = name.partition("_")[0]
        assert check_class(group, group, {"_target_": target}) == target
        others = {"model", "data", "search", "callbacks"} - {group}
        for other in others:
            with pytest.raises(ClassError):
                check_class(other, other, {"_target_": target})


def test_settings_are_written_and_read(tmp_path: Path) -> None:
    settings = StoredSettings({"model": "gmeql", "search.seconds": 1.5, "data.features": ["a", "b"]}, ("x",))
    write_settings(tmp_path, settings)
    assert read_settings(tmp_path) == settings


# ------------------------------------------------------------------------------------- files of a run directory


@pytest.mark.parametrize("place", ["results.json", "metrics.csv", "equations.csv", "plots", "attempts", ".hydra"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_comparison_reads_nothing_through_a_link(place: str, kind: str, tmp_path: Path) -> None:
    outside, run = tmp_path / "outside", tmp_path / "run"
    (outside / "0").mkdir(parents=True)
    run.mkdir()
    (outside / "metrics.csv").write_text("step,secret\n1,2\n")
    (run / "results.json").write_text('{"phase": "fit", "model": "gmeql"}')
    (run / place).unlink(missing_ok=True)
    if kind == "link":
        (run / place).symlink_to(outside / "metrics.csv" if "." in place[1:] else outside)
    else:
        os.mkfifo(run / place)
    read = read_run(run, curves=True)
    assert read.state == TORN
    assert place in read.problem
    assert not read.curves
    assert not read.metrics
    assert not read.model


def test_files_of_a_run_are_bounded(tmp_path: Path) -> None:
    for name in ("results.json", "equations.csv", "metrics.csv", "wandb_run_id.txt", "settings.json"):
        with (tmp_path / name).open("wb") as stream:
            stream.truncate(1 << 40)  # a hole, which takes no room
    run = read_run(tmp_path, curves=True)
    assert run.state == TORN
    assert "results.json" in run.problem
    assert not run.curves
    assert read_front(tmp_path) == []
    assert read_results(tmp_path) == {}
    assert SearchFiles(tmp_path).result("results", "") is None


# ------------------------------------------------------------------------------------------- what is deleted


def test_only_what_carries_our_mark_is_removed(tmp_path: Path) -> None:
    shard = tmp_path / "shard_00001"
    ours = ["shard_00001.12.part", "shard_00001.12-0123abcd.part"]
    others = [
        "shard_00001.part",
        "shard_00001.mine.part",
        "shard_00002.12.part",
        "my.shard_00001.1.part",
        "a.part",
    ]
    for name in (*ours, *others):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").touch()
    (tmp_path / "shard_00001.7.part").symlink_to(tmp_path / "elsewhere")
    remove_unfinished(shard)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "elsewhere"])
    assert (tmp_path / "elsewhere" / "mine").is_file()


def test_what_a_kill_leaves_carries_our_mark(tmp_path: Path) -> None:
    with writing(tmp_path / "file") as stream, making_folder(tmp_path / "folder"):
        stream.write(b"half")
        left = [path.name for path in tmp_path.iterdir()]
    for path in tmp_path.iterdir():
        path.rmdir() if path.is_dir() else path.unlink()
    assert len(left) == 2
    for name in left:
        (tmp_path / name).touch()
    for name in ("file", "folder"):
        remove_unfinished(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_a_run_without_an_end_is_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_file, "_LONGEST_LINE", 1 << 10)
    monkeypatch.setattr(metrics_file, "_MOST_ROWS", 5)
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"epoch,loss\n0,1.5\n" + bytes(100_000))
    with open_table(path, most=1 << 20) as lines:
        assert max(map(len, lines)) < 1 << 11
    assert read_metrics(path) == {"loss": [(0.0, 1.5)]}
    path.write_text("epoch,loss\n" + "0,1.5\n" * 10)
    assert len(read_metrics(path)["loss"]) == 5


# --------------------------------------------------------------------- modules that lie in a stranger's folder

EVIL = """import os, sys
with open(os.path.join(os.path.dirname(__file__), "canary"), "a") as stream:
    stream.write(f"{__name__} in {sys.orig_argv}\\n")
"""
SHADOWED = ("json", "multiprocessing", "numpy", "sympy", "hydra", "torch", "expressions", "sitecustomize")


@pytest.fixture
def strangers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, in which modules have the names of those that we import."""
    for name in SHADOWED:
        (tmp_path / f"{name}.py").write_text(EVIL)
    rows = "".join(f"{a},{a % 7},{a * (a % 7)}\n" for a in range(40))
    (tmp_path / "table.csv").write_text(f"a,b,y\n{rows}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return tmp_path


def _nothing(report: Callable, should_stop: Callable) -> list[str]:
    return sys.path


def test_processes_of_a_search_import_nothing_from_the_working_directory(strangers_folder: Path) -> None:
    (path,) = run_jobs(_nothing, [{}], 1, lambda number, message: None)
    assert str(strangers_folder) not in path
    worker = sympy_worker._Worker()
    try:
        assert worker._line(time.monotonic() + 120)  # it has imported all that it needs
    finally:
        worker.kill()
    assert not (strangers_folder / "canary").exists()
    assert "PYTHONSAFEPATH" not in os.environ, "our own process and its later ones stay as they were"


def test_processes_of_a_command_import_nothing_from_the_working_directory(
    strangers_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONSAFEPATH", "PYTHONPATH"):
        monkeypatch.setenv(name, "")  # restored behind the test
    isolate_children()
    code = "import json, runs.launch; print(runs.launch.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(ROOT)), "a checkout is found, be it installed or not"
    assert "" not in os.environ["PYTHONPATH"].split(os.pathsep), "an empty place is the working directory"
    assert not (strangers_folder / "canary").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [
        ["discover.py", "table.csv", "y", "--seconds", "3", "--jobs", "2"],
        ["train.py", "trainer=ddp", "trainer.devices=2", "search=gp", "search.seconds=2", "hydra.run.dir=run"],
        ["train.py", "-m", "hydra/launcher=side_by_side", "search=none", "seed=1,2", "hydra.sweep.dir=sweep"],
    ],
    ids=["discover", "devices", "sweep"],
)
def test_a_command_imports_nothing_from_the_working_directory(words: list[str], strangers_folder: Path) -> None:
    door, *rest = words
    if door == "train.py":
        rest += ["data=tabular", "data.path=table.csv", "data.target=y", "trainer.max_epochs=1", "logger=csv"]
        rest += ["trainer.accelerator=cpu", "threads=1"]
    done = subprocess.run([sys.executable, str(ROOT / door), *rest], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    canary = strangers_folder / "canary"
    assert not canary.exists(), canary.read_text()

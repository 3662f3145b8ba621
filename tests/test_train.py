"""The command line: every shipped configuration, and everything a user can get wrong, in one sentence."""

import json
import math
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import OmegaConf

import rediscover
from configs.systems import SYSTEMS, name_of
from configs.validation import ConfigError
from datamodules.zoo import shards
from rediscover.training import compose
from runs.directory import check_run_directory
from runs.settings_file import read_settings
from tests.launched import Forked

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
SHORT = (
    "search=none",
    "logger=csv",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
    "data.max_rows=300",
)


FEW_EQUATIONS = (
    *SHORT[:-1],
    "trainer.max_time=null",
    "++trainer.strategy=auto",
    "trainer.devices=1",
    "data.batch_size=8",
    "data.epoch_samples=16",
    "data.held_out_samples=8",
    "data.programs=1000",
    "data.num_workers=0",
)
TINY_MAP = (
    "++trainer.precision=32-true",
    *(f"model.{name}=1" for name in ("encoder_layers", "equation_layers", "decoder_layers")),
    "model.width=16",
    "model.decoder_width=8",
    "model.heads=2",
    "model.queries=2",
    "model.prefix=2",
    "model.latents=8",
    "init=scratch",
    "callbacks.map_report.samples=8",
    "callbacks.map_report.pairs=1",
    "callbacks.map_report.steps=3",
)
FEW_ITERATIONS = (*SHORT, "model.epoch_iterations=20")


FEW_NETWORKS = (
    *SHORT[:-1],
    "data.networks=64",
    "data.validation_networks=16",
    "data.test_networks=16",
    "data.processes=1",
    "model.encoder_width=16",
    "model.latents=16",
)


# They differ from model=cvae in sizes and lengths alone; shrunk, they would all be one map. test_cvae builds them.
SIZES_OF_A_MAP = ("cvae_base", "cvae_gpu", "cvae_paper")
OWN_DATA = {
    "cvae": "equations",
    "weights_to_tokens": "network_weights",
}  # no table that any model could learn from


def refused(ended: Any, *words: str) -> None:
    """One sentence, exit code 2, no traceback, and all of the words."""
    lines = [line for line in ended.err.splitlines() if line]
    assert ended.code == 2, ended.err
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


def shipped(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


# ------------------------------------------------------------------------------- what is shipped runs


def test_the_whole_way_leaves_a_complete_directory(tmp_path: Path, command: Callable) -> None:
    ended = command(*SHORT, "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    assert "test/r2" in ended.out
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["phase"] == "done"
    assert results["model"] == "autoencoder"
    assert results["data"] == "california"
    assert results["seed"] == 0
    assert set(results["seconds"]) == {"fit", "test", "search"}
    assert {"fit/loss", "validation/reconstruction_mse", "test/reconstruction_mse", "test/r2"} <= set(
        results["metrics"]
    )
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"results.json", "metrics.csv", "checkpoints", "wandb_run_id.txt", ".hydra"} - names <= {
        "wandb_run_id.txt"
    }


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A zoo is made of whole shards, here of few networks."""
    monkeypatch.setattr(shards, "SHARD", 64)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("model", shipped("model"))
def test_every_model(model: str, tmp_path: Path, command: Callable) -> None:
    short = (*FEW_EQUATIONS, *TINY_MAP) if model == "cvae" else SHORT
    short = {"weights_to_tokens": FEW_NETWORKS, "gmeql_paper": FEW_ITERATIONS}.get(model, short)
    ended = command(f"model={model}", *short, "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    logged = json.loads((tmp_path / "run" / "results.json").read_text())["metrics"]
    assert set(SYSTEMS[model].metrics) <= set(logged), "checkpoint.monitor may name them"
    if model in OWN_DATA:
        assert json.loads((tmp_path / "run" / "results.json").read_text())["data"] == OWN_DATA[model]


@pytest.mark.parametrize("data", sorted(set(shipped("data")) - set(OWN_DATA.values())))
def test_every_kind_of_table(data: str, command: Callable) -> None:
    path = ["data.path=sklearn:diabetes", "data.target=target"] if data == "tabular" else []
    ended = command(f"data={data}", *path, *SHORT, "model.decode=target")
    assert ended.code == 0, ended.err


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("experiment", [name for name in shipped("experiment") if name not in SIZES_OF_A_MAP])
def test_every_experiment(experiment: str, command: Callable) -> None:
    short = (*FEW_EQUATIONS, *TINY_MAP) if experiment.startswith("cvae") else SHORT
    short = FEW_NETWORKS if experiment.startswith("weights_to_tokens") else short
    short = FEW_ITERATIONS if experiment.startswith("gmeql_paper") else short
    ended = command(f"experiment={experiment}", *short)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    "choice",
    [
        *(f"{group}={name}" for group in ("trainer", "logger", "search") for name in shipped(group)),
        *(f"experiment={name}" for name in SIZES_OF_A_MAP),
    ],
)
def test_every_other_configuration_composes(choice: str) -> None:
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    from configs.validation import check_config

    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        search = name_of("search", hydra.compose("train", [choice]).search.get("_target_"))
        model = next((name for name, system in SYSTEMS.items() if search in system.searches), "autoencoder")
        own = [] if choice.startswith("experiment=") else [f"model={model}"]
        check_config(hydra.compose("train", [*own, choice]))


def test_no_configuration_is_deeper_than_two_levels() -> None:
    paths = [path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.yaml")]
    assert all(len(path.parts) <= 2 for path in paths if path.parts[0] != "hydra")  # whose groups have two names


def test_a_sweep_is_a_directory_a_job(tmp_path: Path, command: Callable) -> None:
    ended = command("-m", *SHORT, "seed=1,2", "hydra.sweep.dir=sweep")
    assert ended.code == 0, ended.err
    runs = list((tmp_path / "sweep").glob("*/results.json"))
    assert sorted(json.loads(path.read_text())["seed"] for path in runs) == [1, 2]


# ------------------------------------------------------------------------------ what is wrong is refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["modl.latents=2"], ["modl.latents is not a key"]),
        (["model.latens=3"], ["model.latens is not a key", "did you mean model.latents"]),
        (["+model.latens=3"], ["model.latens is not a key", "did you mean model.latents"]),
        (["latents=3"], ["latents is not a key", "model.latents"]),
        (["sede=3"], ["sede is not a key", "did you mean seed"]),
        (["model=autoencode"], ["model=autoencode", "did you mean autoencoder"]),
        (["data=californa"], ["data=californa", "did you mean california"]),
        (["experiment=smok"], ["experiment=smok", "did you mean smoke"]),
        (["trainer.limit_train_batches=3"], ["+trainer.limit_train_batches"]),
        (["model.latents=[1"], ["cannot be read"]),
        (["model.latents"], ["write model.latents=…"]),
        (["model.latents=0"], ["model.latents=0", "from 1 to"]),
        (["model.latents=two"], ["model.latents=two", "whole number"]),
        (["model.latents=true"], ["whole number"]),
        (["model.hidden=16,8"], ["several values"]),
        (["model.hidden=16x8"], ["model.hidden=16x8", "16-8"]),
        (["model.activation=tan"], ["model.activation=tan", "tanh"]),
        (["model.learning_rate=-1"], ["model.learning_rate=-1", "above 0"]),
        (["model.learning_rate=nan"], ["model.learning_rate=nan"]),
        (["model.learning_rate=null"], ["model.learning_rate=null"]),
        (["seed=-1"], ["seed=-1"]),
        (["seed=1.5"], ["seed=1.5"]),
        (["trainer.max_epochs=0"], ["trainer.max_epochs=0"]),
        (["data.features=[HouseAg]"], ["HouseAge"]),
        (["data.features=[]"], ["data.features=[]"]),
        (["data.features=[HouseAge,MedHouseVal]"], ["MedHouseVal"]),
        (["data.validation_fraction=1.5"], ["data.validation_fraction=1.5"]),
        (["data=tabular"], ["data.path is missing"]),
        (["data=tabular", "data.path=nowhere.csv"], ["nowhere.csv"]),
        (["resume=nowhere"], ["resume=nowhere", "not a directory"]),
        (["resume=."], ["resume=.", "not a run directory"]),
        (["ckpt_path=nowhere.ckpt"], ["no checkpoint nowhere.ckpt"]),
        (["ckpt_path=torn.ckpt"], ["torn.ckpt", "not a whole checkpoint"]),
        (["model=cvae", "init=scrach"], ["model.init=scrach", "auto, pretrained, scratch or the path"]),
        (["model=gmeql", "init=scratch"], ["model.init", "model=cvae"]),
        (["logger.mode=offlin"], ["logger.mode=offlin", "offline"]),
        (["-m", "seed=1,2", "trainer=ddp", "trainer.devices=2"], ["a sweep runs its jobs in one process each"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and "=" in value[0] else None,
)
def test_refused_at_once(arguments: list[str], words: list[str], tmp_path: Path, command: Callable) -> None:
    (tmp_path / "torn.ckpt").write_bytes(b"PK\x03\x04 half a file")
    ended = command(*arguments)
    refused(ended, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["torn.ckpt"], "nothing is left of the command"


def test_faults_of_a_table_are_named(tmp_path: Path, command: Callable) -> None:
    table = tmp_path / "houses.csv"
    rows = "".join(f"{i},{i * i % 7 if i % 3 else ''},{i}\n" for i in range(20))
    table.write_text(f"age,rooms,price\n{rows}")
    refused(command("data=tabular", "data.path=houses.csv", "data.target=price"), "rooms", "missing")
    refused(command("data=tabular", "data.path=houses.csv", "data.target=prise"), "price")
    table.write_text("age,rooms,price\n" + "".join(f"{i},{i * i % 7},{i + 1}e29\n" for i in range(20)))
    refused(command("data=tabular", "data.path=houses.csv", "data.target=price"), "'price'", "larger unit")


def test_nothing_heavy_is_imported_to_refuse() -> None:
    code = (
        "import sys; sys.argv[1:] = ['model.latents=0', 'hydra.run.dir=/tmp']\n"
        "import train\n"
        "try: train.main()\n"
        "except SystemExit as end: assert end.code == 2\n"
        "assert not {'torch', 'lightning', 'wandb', 'numpy', 'pyarrow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, timeout=60)


def test_checkpoints_that_do_not_fit(tmp_path: Path, command: Callable) -> None:
    assert command(*SHORT, "hydra.run.dir=run").code == 0
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    refused(command("resume=run", "model.latents=3"), "other sizes", "latents=2")
    assert command("resume=run").code == 0, "what was refused is not remembered"
    refused(command("resume=run", "ckpt_path=run/checkpoints/best.ckpt"), "weights alone", "last.ckpt")
    refused(command("resume=run", "hydra.run.dir=elsewhere"), "its own directory")

    state = torch.load(last, weights_only=True)
    torch.save(state | {"model_class": "EquationLearner"}, tmp_path / "other.ckpt")
    refused(command("ckpt_path=other.ckpt", *SHORT), "a checkpoint of EquationLearner, not of Autoencoder")
    torch.save({"something": 1}, tmp_path / "strange.ckpt")
    refused(command("ckpt_path=strange.ckpt", *SHORT), "not a Lightning checkpoint")
    torch.save(state | {"hyper_parameters": pl.Trainer}, tmp_path / "code.ckpt")
    refused(command("ckpt_path=code.ckpt", *SHORT), "can be read safely")

    # a whole one begins a new run from its weights, and brings nothing else
    again = command("ckpt_path=run/checkpoints/best.ckpt", *SHORT, "model.learning_rate=1e-9", "hydra.run.dir=new")
    assert again.code == 0, again.err
    new = torch.load(tmp_path / "new" / "checkpoints" / "last.ckpt", weights_only=True)
    assert new["epoch"] == 1
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert all(
        torch.allclose(new["state_dict"][name], best["state_dict"][name], atol=1e-6) for name in best["state_dict"]
    )

    for torn in (tmp_path / "new" / "checkpoints").glob("last*.ckpt"):  # the one before, too
        torn.write_bytes(torn.read_bytes()[:-300])
    refused(command("resume=new"), "not a whole checkpoint")


def test_a_run_without_a_checkpoint_begins_anew_and_says_so(tmp_path: Path, command: Callable) -> None:
    settings = ("experiment=smoke", "data.max_rows=100", "search=none", "logger=csv", "trainer.accelerator=cpu")
    assert command(*settings, "hydra.run.dir=run").code == 0
    shutil.rmtree(tmp_path / "run" / "checkpoints")  # as where it was killed before the first was written
    told = "this run was cut off before its first checkpoint: it begins anew, with fresh weights"
    ended = command("resume=run")
    assert ended.code == 0, ended.err
    assert told in ended.out
    assert told not in command("resume=run").out


def test_a_disk_that_cannot_be_written(tmp_path: Path, command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    refused(command(*SHORT, "hydra.run.dir=file/run"), "file")
    monkeypatch.setattr("runs.directory.FREE_BYTES", 1 << 62)
    refused(command(*SHORT), "MB left")


def test_a_disk_that_fills_up_while_training(tmp_path: Path) -> None:
    def no_long_files() -> None:  # as checkpoints are
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))

    ended = Forked([*SHORT, "hydra.run.dir=run"], tmp_path, no_long_files)
    _, errors = ended.communicate(timeout=120)
    assert ended.returncode == 2, errors
    assert "error: cannot write" in errors
    assert "Traceback" not in errors
    assert json.loads((tmp_path / "run" / "results.json").read_text())["phase"] == "fit"


def test_faults_of_the_program_keep_their_traceback(command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.autoencoder.Autoencoder.training_step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command(*SHORT)


def test_a_notebook_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    metrics = rediscover.train(compose([*SHORT, "hydra.run.dir=run"]))
    recorded = json.loads((tmp_path / "run" / "results.json").read_text())
    assert recorded["phase"] == "done"
    assert metrics == {name: value for name, value in recorded["metrics"].items() if value is not None}
    assert math.isfinite(metrics["test/reconstruction_mse"])
    stored = read_settings(check_run_directory("run")).values
    assert stored["search"] == "none", "resume=run goes on with the same settings"
    with pytest.raises(ConfigError, match="compose"):
        rediscover.train(OmegaConf.masked_copy(compose(SHORT), ["data", "model"]))


def test_importing_the_face_is_light() -> None:
    code = (
        "import sys, rediscover\n"
        "assert dir(rediscover) == rediscover.__all__\n"
        "assert callable(rediscover.train)\n"
        "assert not {'torch', 'lightning', 'wandb', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, timeout=60)


def test_a_sweeper_gets_the_metric_it_optimizes(
    tmp_path: Path, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned = []
    (kind,) = (one for one in Plugins.instance().discover(Sweeper) if one.__name__ == "BasicSweeper")
    sweep = kind.sweep

    def watched(sweeper: Sweeper, arguments: list[str]) -> Any:
        """Keep what each job returned: that is all that a sweeper such as Optuna's goes by."""
        batches = sweep(sweeper, arguments)
        returned.extend(job.return_value for batch in batches for job in batch)
        return batches

    monkeypatch.setattr(kind, "sweep", watched)
    ended = command("-m", *SHORT, "seed=1,2", "hydra.sweep.dir=out", "optimize=test/reconstruction_mse")
    assert ended.code == 0, ended.err
    runs = sorted((tmp_path / "out").glob("*/results.json"), key=lambda path: path.parent.name[-1])
    expected = [json.loads(path.read_text())["metrics"]["test/reconstruction_mse"] for path in runs]
    assert returned == expected
    assert len(set(expected)) == 2


def test_a_metric_that_is_not_there_is_named(command: Callable) -> None:
    refused(
        command(*SHORT, "optimize=test/reconstruction_mze"),
        "optimize=test/reconstruction_mze is not a metric",
        "did you mean test/reconstruction_mse",
    )

"""What a user can mend is one sentence and exit code 2, whatever was typed, and nothing heavy is asked first."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.strategies import StrategyRegistry
from omegaconf import DictConfig, OmegaConf

from configs.complaints import GROUPS, choices_of, explain, suggestion
from configs.devices import STRATEGIES, DeviceError, check_devices_can_be_there
from configs.registry import SETTINGS
from configs.run_settings import OWN_OF_A_RUN, RunSettings, TrainerSettings
from configs.synonyms import SYNONYMS
from configs.systems import SYSTEMS, name_of, tables
from configs.validation import check_config
from configs.words import WordError, checked_words
from datamodules.settings.equations import EquationsSettings
from datamodules.settings.network_weights import NetworkWeightsSettings
from datamodules.streams.corpus_files import Content
from foundation.errors import UserError
from foundation.folders import FolderError, check_folder
from foundation.weight_files import safetensors_words, weights_kind
from modules.pretrained import CVAE_SMALL, WEIGHTS_TO_TOKENS_SMALL
from rediscover.training import compose
from runs.command_line import spelled_out

TABLE = "a,b,y\n" + "".join(f"{i},{i * i % 7},{i * 2.5 + i * i % 7}\n" for i in range(30))
A_TABLE = "data=tabular data.path=table.csv"

WRONG: dict[str, str] = {
    # words that are no settings
    "table.csv": "python discover.py table.csv COLUMN|rediscover table.csv COLUMN",
    "'my table.csv'": "data.path='my table.csv' data.target=COLUMN",
    "table.csv y": "table.csv is a table",
    "--data table.csv": "data=tabular data.path=table.csv data.target=COLUMN",
    "--data=table.csv": "table.csv is a table",
    "--model gmeql": "--model is not an option: write model=gmeql",
    "--lr 0.1": "did you mean model.learning_rate",
    "--batch-size=32": "did you mean data.batch_size",
    "--resume": "write resume=…",
    "--seed 1": "write seed=1",
    "--config-path=/": "--config-path is not an option",
    "--experimental-rerun FILE": "not an option",
    "--cfg foo": "one of job, hydra, all",
    "gmeql": "write model=gmeql",
    "model gmeql": "model is not key=value",
    "model:gmeql": "write model=gmeql",
    "=5": "sets no key",
    "model=": "names no preset",
    "model=null": "names no preset: allowed: autoencoder",
    "search=null": "for none, write search=none",
    "experiment=null": "for none, write no experiment=…",
    "model={}": "names no preset",
    "~model": "takes away what a run needs",
    "~seed": "takes away what a run needs",
    "~model._target_": "takes away what a run needs",
    # keys that there are not
    "lr=0.1": "lr is not a key; did you mean model.learning_rate?",
    "epochs=5": "did you mean trainer.max_epochs?",
    "gpus=4": "did you mean trainer.devices?",
    "+foo=1": "foo is not a key",
    "++foo.bar=1": "foo is not a key",
    "+trainer.foo=1": "trainer.foo is not a key",
    "trainer.num_nodes=2": "trainer=ddp has it",
    "+trainer.callbacks=[]": "for the run to decide",
    "+trainer.fast_dev_run=true": "choose experiment=smoke",
    "hydra/launcher=foo": "hydra/launcher=foo is none that Hydra has",
    "hydra/sweeper=ax": "pip install hydra-ax-sweeper",
    # values that no key may have
    "trainer.max_time=20": "days:hours:minutes:seconds",
    "trainer.max_time=00:00:00:00": "days:hours:minutes:seconds",
    "trainer.accelerator=warp": "one of auto, cpu, gpu",
    "trainer.devices=0": "trainer.devices=0",
    "trainer.devices=[]": "trainer.devices=[]",
    "+trainer.precision=7": "one of 32-true",
    "+trainer.limit_train_batches=0": "at least 1",
    "+trainer.accumulate_grad_batches=0": "at least 1",
    "+trainer.val_check_interval=0": "at least 1",
    "+trainer.num_sanity_val_steps=foo": "whole number",
    "model.latents=1000000000": "from 1 to 65536",
    "model.hidden=1000000000-8": "widths joined by",
    "checkpoint=null": "checkpoint=null is not allowed",
    "callbacks.throughput=5 model=cvae": "callbacks.throughput=5 is not allowed",
    "logger.tags=5": "logger.tags=5",
    "logger.save_dir=null": "logger.save_dir=null",
    "logger.save_dir=FILE": "logger.save_dir=FILE is no directory",
    "model._target_=os.system": "choose a preset, model=NAME",
    "model._target_=datamodules.tabular.TabularData": "choose a preset, model=NAME",
    "data._target_=null": "choose a preset, data=NAME",
    "hydra.run.dir=FILE": "hydra.run.dir=FILE is no directory",
    "hydra.run.dir=FILE/x": "hydra.run.dir=FILE/x is no directory",
    "hydra.run.dir=": "names no directory",
    "hydra.sweep.dir=FILE -m seed=1,2": "hydra.sweep.dir=FILE is no directory",
    "hydra.run.dir=/proc/x": "hydra.run.dir=/proc/x cannot be written to",
    "trainer=ddp trainer.strategy=dpp": "trainer.strategy=dpp is none that Lightning has; did you mean ddp?",
    "trainer=ddp trainer.strategy=deepspeed_stage_2": "needs the package deepspeed, which is not installed",
    "trainer.accelerator=tpu": "needs the package torch_xla, which is not installed",
    "+trainer.precision=transformer-engine": "needs the package transformer_engine",
    "model=gmeql model.layers=[id,foo]": "model.layers: 'foo' in the layer 'foo' is not a function",
    "model=gmeql_paper model.layers=[add*900]": "must have 1 to 200 nodes",
    # files and folders that cannot be used
    "model=cvae init=nowhere.pt": "or the path of a file of weights",
    "model=cvae init=FOLDER": "or the path of a file of weights",
    "model=cvae init=FILE": "model.init=FILE is no weights file, or a damaged one",
    "model=weights_to_tokens init=FILE": "model.init=FILE is no weights file, or a damaged one",
    "model=weights_to_tokens data.network=nowhere.pt": "data.network=nowhere.pt does not exist",
    "model=weights_to_tokens data.network=FOLDER": "data.network=FOLDER is a folder: give a safetensors file",
    "model=weights_to_tokens data.network=FILE": "data.network=FILE cannot be read safely",
    "model=weights_to_tokens data.cache=FILE": "data.cache=FILE is no directory",
    "model=cvae data.corpus=FILE": "data.corpus=FILE is no directory",
    "model=cvae data.corpus=.": "data.corpus=. holds other things than a corpus",
    "model=cvae data.corpus=/proc/x": "data.corpus=/proc/x cannot be written to",
    "model=cvae data.skeletons=FILE": "data.skeletons=FILE is damaged, or no file of skeletons",
    "model=cvae data.skeletons=FOLDER": "data.skeletons=FOLDER is a folder",
    "model=cvae data.skeletons=FILE/x": "data.skeletons=FILE/x is no directory",
    "search.archive=FILE": "FILE is no archive",
    "search.archive=FOLDER": "is a folder, and not a regular file",
    "search.archive=FILE/x": "the archive FILE/x cannot be written",
    # what does not go together
    "model=gmeql search=gp": "search=gp explains model=autoencoder, not model=gmeql: choose search=structures",
    "model=autoencoder search=elites": "explains model=gmeql_paper, not model=autoencoder: choose search=gp",
    "model=weights_to_tokens data=california": "choose data=network_weights",
    "model=gmeql data=equations": "choose data=california or data=problem or data=tabular",
    "model=cvae data=network_weights": "model=cvae does not go with data=network_weights",
    "checkpoint.monitor=foo": "checkpoint.monitor=foo is no metric",
    "checkpoint.monitor=validation/r3": "did you mean validation/r2",
    "model=gmeql checkpoint.monitor=validation/loss": "allowed: search/best_nmse",
    "model=gmeql search=none trainer.max_epochs=1 checkpoint.monitor=search/best_nmse": "it has none",
    f"{A_TABLE} model=gmeql": "model=gmeql needs data with a target",
    f"{A_TABLE} model.decode=target": "or use model.decode=inputs",
    f"{A_TABLE} data.target=y data.validation_fraction=0.6 data.test_fraction=0.6": "their sum below 1",
    f"{A_TABLE} data.target=y data.test_fraction=0.89": "leave fewer than two",
    "experiment=gmeql_paper model=gmeql": "explains model=gmeql_paper",
}
"""Wrong command -> what its sentence says; one of them, where `|` stands between several."""


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_command_is_one_sentence(line: str, folder: Path) -> None:
    sentence = said(shlex.split(line))
    assert "\n" not in sentence
    assert any(words in sentence for words in WRONG[line].split("|")), sentence


def said(words: list[str]) -> str:
    """The sentence that refuses a command, without the run directory that Hydra makes for it."""
    try:
        check_config(own_keys(compose(spelled_out([word for word in checked_words(words) if word != "-m"]))))
    except UserError as error:
        return str(error)
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        return sentence
    raise AssertionError(f"nothing is said against {words}")


def own_keys(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table, a file that is no table, and another folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("hello\n")
    (tmp_path / "FOLDER").mkdir()
    (tmp_path / "table.csv").write_text(TABLE)
    return tmp_path


@pytest.mark.parametrize(
    "line", ["table.csv", "lr=0.1", "model=gmeql search=gp", "hydra.run.dir=FILE", "-m model=null"]
)
def test_the_door_says_it_in_one_line(line: str, folder: Path, command: Callable) -> None:
    ended = command(*line.split())
    assert ended.code == 2
    assert re.fullmatch(r"error: .+\n", ended.err), ended.err
    assert ended.out == ""


def test_options_may_stand_anywhere() -> None:
    assert checked_words(["seed=1,2", "-m", "model=gmeql"]) == ["-m", "seed=1,2", "model=gmeql"]
    assert checked_words(["model=gmeql", "--cfg", "job"]) == ["--cfg", "job", "model=gmeql"]
    assert checked_words(["~callbacks.throughput", "+trainer.max_steps=5"]) == [
        "~callbacks.throughput",
        "+trainer.max_steps=5",
    ]


def test_a_folder_that_nobody_may_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_folder("hydra.run.dir", str(tmp_path / "new" / "run"))
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FolderError, match="is no directory"):
        check_folder("hydra.run.dir", str(tmp_path / "link" / "run"))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(FolderError, match="cannot be written to"):
        check_folder("hydra.run.dir", str(tmp_path / "new"))


# ------------------------------------------------------------------------------------- the one table


def test_every_shipped_part_stands_in_the_table() -> None:
    names = {group: set() for group in ("model", "data", "search")}  # type: dict[str, set[str]]
    for target, (name, _) in SETTINGS.items():
        group = name.partition("_")[0]
        names[group].add(str(name_of(group, target)))
    assert set(SYSTEMS) == names["model"]
    assert {name for system in SYSTEMS.values() for name in system.data} == names["data"]
    assert {name for system in SYSTEMS.values() for name in system.searches} == names["search"]
    assert set(tables()) < names["data"]


@pytest.mark.parametrize("model", SYSTEMS)
def test_a_model_brings_what_goes_with_it(model: str) -> None:
    config = compose([f"model={model}"])
    assert name_of("data", config.data._target_) in SYSTEMS[model].data
    assert name_of("search", config.search._target_) == SYSTEMS[model].search


def test_what_a_fit_logs_can_be_monitored() -> None:
    for model, system in SYSTEMS.items():
        metric = (*system.metrics, *system.search_metrics)[-1]
        check_config(own_keys(compose([f"model={model}", f"checkpoint.monitor={metric}", "logger=csv"])))


def test_the_guide_shows_the_table() -> None:
    guide = (Path(__file__).parents[1] / "docs" / "guide.md").read_text(encoding="utf-8")
    for model, system in SYSTEMS.items():
        row = re.search(rf"^\| `{model}` \|(.*)\|(.*)\|$", guide, re.MULTILINE)
        assert row is not None, model
        assert re.findall(r"`(\w+)`", row[1]) == list(system.data)
        assert re.findall(r"`(\w+)`", row[2])[: len(system.searches)] == list(system.searches)


# --------------------------------------------------------------------------------- words of other tools


def test_the_words_of_other_tools_lead_to_keys_that_there_are() -> None:
    for words, keys in SYNONYMS.items():
        for word in words:
            assert word == word.lower().replace("-", "_")
            assert suggestion(word).endswith("?"), word
        for key in keys:
            group, _, name = key.partition(".")
            known = group in GROUPS and (not name or f"{group}." in suggestion(name) or name in trainer_keys())
            assert known or key in RunSettings.setting_names() or key in ("hydra.run.dir", "checkpoint.monitor"), (
                key
            )


def trainer_keys() -> tuple[str, ...]:
    return TrainerSettings.setting_names()


def test_the_trainers_arguments_are_known_one_by_one() -> None:
    arguments = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}
    assert set(trainer_keys()) | set(OWN_OF_A_RUN) == arguments
    assert not set(trainer_keys()) & set(OWN_OF_A_RUN)
    pl.Trainer(logger=False, **{n: v for n, v in TrainerSettings().as_mapping().items() if n != "accelerator"})


def test_the_strategies_are_lightnings() -> None:
    known = set(StrategyRegistry.available_strategies())
    assert known <= set(STRATEGIES)
    assert set(STRATEGIES) - known <= {"auto"}


@pytest.mark.parametrize(
    ("torch", "system", "hidden", "driver", "wanted", "words"),
    [
        ("2.13.0+cpu", "linux", None, True, "gpu", "this torch is built for the CPU alone"),
        ("2.13.0", "linux", "", True, "cuda", "CUDA_VISIBLE_DEVICES hides all GPUs"),
        ("2.13.0", "linux", None, False, "gpu", "no driver of a GPU"),
        ("2.13.0", "linux", None, True, "mps", "only Apple's machines have it"),
        ("2.13.0", "darwin", None, False, "cuda", "no CUDA"),
        ("2.13.0", "linux", "1", True, "gpu", None),
        ("2.13.0", "win32", None, False, "gpu", None),
        ("2.13.0", "darwin", None, False, "gpu", None),
        ("2.13.0", "darwin", None, False, "mps", None),
        ("2.13.0+cpu", "linux", None, False, "auto", None),
        ("2.13.0+cpu", "linux", None, False, "cpu", None),
    ],
)
def test_devices_that_cannot_be_there_are_known_without_torch(
    torch: str, system: str, hidden: str | None, driver: bool, wanted: str, words: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("configs.devices._torch_version", lambda: torch)
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("configs.devices.DRIVERS", ("/",) if driver else ())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    if words is None:
        check_devices_can_be_there({"accelerator": wanted})
    else:
        with pytest.raises(DeviceError, match=words):
            check_devices_can_be_there({"accelerator": wanted})


def test_weights_of_another_model_are_known_by_their_header(folder: Path) -> None:
    for model, weights, other in (
        ("cvae", WEIGHTS_TO_TOKENS_SMALL, "weights_to_tokens"),
        ("weights_to_tokens", CVAE_SMALL, "cvae"),
    ):
        with pytest.raises(UserError, match=f"holds weights of model={other}: give a file of this model"):
            check_config(own_keys(compose([f"model={model}", f"model.init='{weights}'"])))
    check_config(own_keys(compose(["model=cvae", f"model.init='{CVAE_SMALL}'"])))
    (folder / "header.safetensors").write_bytes((9).to_bytes(8, "little") + b"{" + b"x" * 20)
    assert weights_kind(folder / "header.safetensors") == "safetensors"
    assert safetensors_words(folder / "header.safetensors") is None
    (folder / "short.safetensors").write_bytes((99).to_bytes(8, "little") + b"{" + b"x" * 20)
    assert weights_kind(folder / "short.safetensors") is None


def test_what_is_there_need_not_be_writable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = ["model=cvae", "data.corpus=corpus", "logger=csv"]
    options: Any = OmegaConf.to_container(own_keys(compose(corpus)).data, resolve=True)
    content = Content.of(EquationsSettings.of({key: value for key, value in options.items() if key != "_target_"}))
    header = {
        "format": "rediscover corpus 1", "settings": content.settings, "vocabulary": list(content.vocabulary),
        "batch_size": content.batch_size, "seed": 0, "epoch_samples": 1, "shard_batches": 1,
    }  # fmt: skip
    (folder / "corpus").mkdir()
    (folder / "corpus" / "corpus.json").write_text(json.dumps(header))
    zoo = NetworkWeightsSettings().name
    (folder / "cache" / zoo).mkdir(parents=True)
    monkeypatch.setattr("os.access", lambda *_: False)
    check_config(own_keys(compose(corpus)))
    check_config(own_keys(compose(["model=weights_to_tokens", "data.cache=cache", "logger=csv"])))
    with pytest.raises(UserError, match=r"data\.variables"):
        check_config(own_keys(compose([*corpus, "data.variables=3"])))


def test_an_unknown_preset_is_left_to_hydra() -> None:
    assert checked_words(["model=autoencode"]) == ["model=autoencode"]
    assert "autoencoder" in choices_of("model")
    with pytest.raises(WordError):
        checked_words(["autoencoder"])
    assert issubclass(WordError, UserError)

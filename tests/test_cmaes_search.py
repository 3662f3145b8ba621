"""Equations of problems in the latent space of a model: by the callback alone, over processes, by command."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hydra
import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from omegaconf import OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from callbacks.cmaes_search import CMAESSearch
from datamodules.tables.problems import Problem, Uniform, problem
from expressions.parsing import parse
from expressions.skeleton import skeleton_of
from foundation.errors import UserError
from runs.record import read_results
from searches.common.search_state import StateError, load_state
from searches.latent_space.settings import SettingsError
from tests.latent_maps import CodeMap, skeletons_of

ROOT = Path(__file__).resolve().parents[1]
HIDDEN = "2*x0*sin(x1) + 1"
NAMES = ["Nguyen-1", "I.12.1"]
BOOK = [
    skeleton_of(problem("Nguyen-1").truth),
    skeleton_of(problem("I.12.1").truth),
    skeleton_of(parse(HIDDEN)),
    *skeletons_of(40),
]
SHORT: dict[str, Any] = {
    "seed": 1, "workers": 2, "problems": NAMES, "heldout": 0, "decodes": 320, "seconds": None, "polish": "none",
    "population": 32, "simplify_seconds": 0.0, "search_rows": 50, "patience": 3, "polish_equations": 2,
}  # fmt: skip


class Model(LightningModule):
    """Learns nothing, and has a map of a few skeletons."""

    map_class = "tests.latent_maps.CodeMap"

    def __init__(self, words: int = len(BOOK)) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.words = words

    def export_map(self, path: Path) -> None:
        CodeMap(BOOK[: self.words], latents=4).save(path)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.layer(batch[0]).square().mean() + 1.0

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Data(LightningDataModule):
    """Ones, and equations that the training has not seen."""

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(torch.ones(4, 1)), batch_size=2)

    def heldout_problems(self, count: int) -> list[Problem]:
        truth = parse(HIDDEN)
        source = Uniform((0.5, 0.5), (2.0, 3.0))
        return [
            Problem(f"heldout_{k}", ("heldout",), HIDDEN, ("x0", "x1"), "y", truth, source, 80, 60)
            for k in range(count)
        ]


def fitted(search: CMAESSearch, model: LightningModule | None = None, **options: Any) -> Any:
    """A model after its fit, with the search as a callback."""
    pl.seed_everything(0, verbose=False)
    model = model or Model()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[search],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )
    trainer.fit(model, Data())
    return trainer, model


def deferred(run_dir: Path, model: LightningModule | None = None, **options: Any) -> Any:
    search = CMAESSearch(str(run_dir), deferred=True, **(SHORT | options))
    return search, *fitted(search, model)


def equations(run_dir: Path) -> list[dict[str, Any]]:
    """The equations of a run without what the clock says."""
    found = read_results(run_dir)["equations"]
    return [{key: value for key, value in equation.items() if key != "seconds"} for equation in found]


# --- the callback -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run that searched by itself, at the end of the fit."""
    folder = tmp_path_factory.mktemp("run")
    return folder, *fitted(CMAESSearch(str(folder), **(SHORT | {"heldout": 1})))


def test_everything_is_written(run: Any) -> None:
    folder, *_ = run
    found = equations(folder)
    assert [e["problem"] for e in found] == [*NAMES, "heldout_0"]
    required = {
        "target", "infix", "latex", "complexity", "train_r2", "test_r2", "test_mse", "recovered", "equivalent",
        "evaluations", "stopped", "linear_test_r2", "cubic_test_r2", "target_variance",
    }  # fmt: skip
    assert all(required <= equation.keys() for equation in found)
    assert all(equation["recovered"] and equation["equivalent"] for equation in found)
    assert all(equation["stopped"] == "exact" for equation in found)
    metrics = read_results(folder)["metrics"]
    assert metrics["test/recovered_rate"] == metrics["test/accuracy_rate"] == 1.0
    assert metrics["search/evaluations"] == sum(e["evaluations"] for e in found)
    assert 3 * 32 <= metrics["search/decodes"] <= 3 * 320
    assert 0 < metrics["search/skeletons"] <= 3 * len(BOOK)
    assert 0 < metrics["search/seconds"] < 200
    plots = {path.name for path in (folder / "plots").iterdir()}
    kinds = ("values", "front")
    labels = [*NAMES, "heldout_0"]
    assert plots == {"search_curve.png", *(f"{label}_trial_0_{kind}.png" for label in labels for kind in kinds)}
    states = {path.name for path in (folder / "search").iterdir()}
    assert {f"{label}{ending}" for label in labels for ending in (".state", ".json")} <= states
    assert not list(folder.rglob("*.part"))


def test_equations_have_the_names_of_their_own_problem(run: Any) -> None:
    folder, *_ = run
    by_problem = {equation["problem"]: equation for equation in equations(folder)}
    feynman = by_problem["I.12.1"]
    assert parse(feynman["infix"], problem("I.12.1").variables).variables == (0, 1)
    assert feynman["target"] == problem("I.12.1").target_name
    assert "x0" not in feynman["infix"]
    with (folder / "equations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["problem"] for row in rows} == {*NAMES, "heldout_0"}
    for name, equation in by_problem.items():
        chosen = [row["infix"] for row in rows if row["problem"] == name and row["chosen"] == "True"]
        assert chosen == [equation["infix"]]
        assert float(equation["test_r2"]) > 1 - 1e-12


def test_a_second_call_searches_nothing_again(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder, trainer, model = run
    before = equations(folder)
    CMAESSearch(str(folder), deferred=True, **(SHORT | {"heldout": 1})).search(trainer, model)
    out = capsys.readouterr().out
    assert "searching equations" not in out
    assert out.count("test R2 1.000000 with") == 3
    assert "heldout_0: y = " in out
    assert equations(folder) == before


def test_deferring_and_workers_change_nothing(run: Any, tmp_path: Path) -> None:
    folder, *_ = run
    search, trainer, model = deferred(tmp_path, workers=1, heldout=1)
    assert not (tmp_path / "results.json").exists()
    assert [finding.problem for finding in search.search(trainer, model)] == [*NAMES, "heldout_0"]
    assert equations(tmp_path) == equations(folder)


def test_how_long_it_takes_is_said_beforehand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search, trainer, model = deferred(tmp_path, seconds=45, workers=1)
    search.search(trainer, model)
    assert "searching equations: 2 problems, 1 at a time, up to 2 minutes" in capsys.readouterr().out


def test_a_table_of_the_users_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    a, b, c = rng.uniform(0.5, 2.0, (3, 200))
    rows = "\n".join(
        f"{i:.17g},{j:.17g},{k:.17g},{2 * i * np.sin(j) + 1:.17g}" for i, j, k in zip(a, b, c, strict=True)
    )
    (tmp_path / "own.csv").write_text(f"alpha,beta,gamma,price\n{rows}\n")
    search, trainer, model = deferred(
        tmp_path / "run", problems=[], table=str(tmp_path / "own.csv"), target="price", features=["alpha", "beta"]
    )
    (finding,) = search.search(trainer, model)
    assert finding.stopped == "exact"
    (equation,) = equations(tmp_path / "run")
    assert equation["problem"] == equation["target"] == "price"
    assert equation["recovered"] is None
    assert parse(equation["infix"], ["alpha", "beta"]).variables == (0, 1)
    assert "price = " in capsys.readouterr().out
    search, trainer, model = deferred(
        tmp_path / "all", problems=[], table=str(tmp_path / "own.csv"), target="price"
    )
    search.search(trainer, model)
    assert "the map knows 2 variables and the table has 3: it is shown alpha, beta" in capsys.readouterr().out


def test_noisy_problems_are_chosen_by_rows_of_their_own(tmp_path: Path) -> None:
    search = CMAESSearch(str(tmp_path), **(SHORT | {"noise_level": 0.1, "problems": ["I.12.1", "strogatz_vdp1"]}))
    for _, tables, each in search._tables(Data()):
        train, validation, test = (
            (tables[split].inputs, tables[split].target) for split in ("train", "validation", "test")
        )
        assert each is not None
        assert len(train[1]) + len(validation[1]) == each.train_rows
        assert len(test[1]) == each.test_rows
        truth = each.truth
        assert np.array_equal(truth(test[0]), test[1])
        noise = (train[1] - truth(train[0])).std() / np.sqrt(np.mean(truth(train[0]) ** 2))
        assert noise == pytest.approx(0.1, rel=0.2)
        assert (validation[1] != truth(validation[0])).all()


def test_genetic_programming_alone_needs_no_map(tmp_path: Path) -> None:
    options = {"method": "none", "polish": "gp", "polish_generations": 2, "problems": ["I.12.1"]}
    search, trainer, _ = deferred(tmp_path, **options)
    (finding,) = search.search(trainer, LightningModule())
    assert finding.stopped == "exact"
    assert not list((tmp_path / "search").glob("map*"))


# --- what the user can mend -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"problems": ["nguyenn"]}, "there is no problem or suite 'nguyenn'; did you mean"),
        ({"problems": "Nguyen-99"}, "Nguyen-99"),
        ({"method": "cma"}, "method=cma is not allowed"),
        ({"colour": 3}, "colour is not a key"),
        ({"decodes": None}, "no budget"),
        ({"table": "own.csv"}, "search.target is missing"),
    ],
)
def test_wrong_settings_are_refused_before_the_fit(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        CMAESSearch(**(SHORT | options))
    assert "\n" not in str(caught.value)


def test_suites_and_names_may_be_mixed() -> None:
    assert len(CMAESSearch(problems="nguyen").problems) == len(CMAESSearch(problems=["nguyen"]).problems) > 10
    assert CMAESSearch(problems=["b1", "Nguyen-1", "b1"]).problems == ("b1", "Nguyen-1")


def test_what_has_no_map_is_one_sentence(tmp_path: Path) -> None:
    search, trainer, _ = deferred(tmp_path)
    with pytest.raises(UserError, match="LightningModule is no map of equations, in which this search looks"):
        search.search(trainer, LightningModule())
    search = CMAESSearch(str(tmp_path), deferred=True, **(SHORT | {"problems": [], "heldout": 3}))
    with pytest.raises(UserError, match="the data have no held-out problems"):
        search.search(trainer, Model(), LightningDataModule())


def test_a_constant_column_to_explain_is_one_sentence(tmp_path: Path) -> None:
    rows = "\n".join(f"{k},3" for k in range(40))
    (tmp_path / "own.csv").write_text(f"a,y\n{rows}\n")
    search, trainer, model = deferred(tmp_path, problems=[], table=str(tmp_path / "own.csv"), target="y")
    with pytest.raises(UserError) as caught:
        search.search(trainer, model)
    assert "\n" not in str(caught.value)


def test_the_map_imports_neither_lightning_nor_wandb() -> None:
    """Worker processes load it; what else they import is in test_saved_search."""
    code = (
        "import sys, modules.networks.equation_map.latent_map; "
        "print(sorted({'lightning', 'wandb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- going on ---------------------------------------------------------------------------------------------------

NOISY: dict[str, Any] = {"problems": ["I.12.1"], "noise_level": 0.1, "decodes": 128}


@pytest.mark.long
def test_more_decodes_another_map_other_settings(tmp_path: Path) -> None:
    search, trainer, model = deferred(tmp_path / "whole", **NOISY)
    search.search(trainer, model)
    search, trainer, model = deferred(tmp_path / "cut", **(NOISY | {"decodes": 64}))
    search.search(trainer, model)
    search, trainer, model = deferred(tmp_path / "cut", **NOISY)
    search.search(trainer, model)
    assert equations(tmp_path / "cut") == equations(tmp_path / "whole")
    state = tmp_path / "cut" / "search" / "I.12.1.state"
    before = load_state(state)["identity"]
    search, trainer, _ = deferred(tmp_path / "cut", **NOISY)
    other = Model(30)
    with torch.no_grad():
        other.layer.bias += 1.0  # it was trained further
    search.search(trainer, other)
    assert load_state(state)["identity"] != before
    search, trainer, _ = deferred(tmp_path / "cut", **(NOISY | {"population": 16}))
    with pytest.raises(StateError, match="other data, settings, seed or map"):
        search.search(trainer, other)


def test_two_processes_search_a_share_each(tmp_path: Path) -> None:
    search = CMAESSearch(str(tmp_path), **SHORT)
    fitted(search, devices=2, strategy="ddp_fork")
    assert [e["problem"] for e in equations(tmp_path)] == NAMES
    maps = {path.name for path in (tmp_path / "search").glob("map_*")}
    assert maps == {"map_0.safetensors", "map_1.safetensors"}
    assert {json.loads(path.read_text())["label"] for path in (tmp_path / "search").glob("*.json")} == set(NAMES)


SCRIPT = """
import sys
from pathlib import Path
from tests.test_cmaes_search import deferred
if __name__ == "__main__":
    search, trainer, model = deferred(Path(sys.argv[1]), noise_level=0.1, decodes=int(sys.argv[2]))
    search.search(trainer, model)
"""


def start(folder: Path, decodes: int) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(script), str(folder / "run"), str(decodes)],
        cwd=ROOT,
        env={**__import__("os").environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for_states(folder: Path, process: Any, generation: int) -> None:
    deadline = time.monotonic() + 200
    states = [folder / "run" / "search" / f"{name}.state" for name in NAMES]
    while not all(state.exists() and load_state(state)["generation"] >= generation for state in states):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.long
def test_killed_in_mid_search_and_resumed(tmp_path: Path) -> None:
    search, trainer, model = deferred(tmp_path / "whole", noise_level=0.1, decodes=1600)
    search.search(trainer, model)
    process = start(tmp_path, 1600)
    wait_for_states(tmp_path, process, 3)
    process.kill()
    process.communicate()
    assert not (tmp_path / "run" / "results.json").exists()
    search, trainer, model = deferred(tmp_path / "run", noise_level=0.1, decodes=1600)
    search.search(trainer, model)
    assert equations(tmp_path / "run") == equations(tmp_path / "whole")


@pytest.mark.long
def test_ctrl_c_reports_what_was_found(tmp_path: Path) -> None:
    process = start(tmp_path, 10_000_000)
    wait_for_states(tmp_path, process, 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.count("test R2") == 2
    assert "interrupted after" in out
    assert [equation["stopped"] for equation in equations(tmp_path / "run")] == ["interrupted", "interrupted"]


# --- through the real command -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("search.problems=[nguyenn]",), "there is no problem or suite 'nguyenn'"),
        (("search.problems=nguyen",), "search.problems=nguyen is not allowed: it must be a list"),
        (("search.method=cma",), "search.method=cma is not allowed"),
        (("+search.colour=1",), "search.colour is not a key"),
        (("search.problems=[]", "search.heldout=0"), "there is nothing to search for"),
        (("search.table=nowhere.csv",), "search.target is missing"),
        (("search.table=nowhere.csv", "search.target=y"), "nowhere.csv"),
        (("search.noise_level=-1",), "search.noise_level=-1 is not allowed"),
        (("search.heldout=-1",), "search.heldout=-1 is not allowed"),
        (("search.workers=0",), "search.workers=0 is not allowed"),
        (("model.posterior_share=1",), "model.posterior_share=1"),
    ],
)
def test_the_command_refuses_at_once(arguments: tuple[str, ...], words: str, command: Callable) -> None:
    ended = command("model=cvae", "search=cmaes", *arguments)
    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.strip().splitlines()) == 1


TINY = (
    "model=cvae", "logger=csv", "trainer.accelerator=cpu", "trainer.max_time=null", "trainer.max_epochs=1",
    "model.init=scratch", "model.width=16", "model.queries=2", "model.heads=2", "model.encoder_layers=1",
    "model.equation_layers=1", "model.decoder_layers=1", "model.prefix=2", "model.latents=8",
    "data.variables=2", "data.longest=8", "data.batch_size=16", "data.epoch_samples=32",
    "data.held_out_samples=16", "data.programs=2048", "search.heldout=1", "search.problems=[I.12.1]",
    "search.seconds=1.5", "search.workers=1",
    "search.simplify_seconds=0",
)  # fmt: skip


@pytest.mark.slow
def test_a_tiny_model_is_fitted_and_searched(tmp_path: Path, command: Callable) -> None:
    ended = command(*TINY, "seed=2", f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 0, ended.err
    assert ended.out.count("test R2") == 2
    found = equations(tmp_path / "run")
    assert [equation["problem"] for equation in found] == ["I.12.1", "heldout_0"]
    assert read_results(tmp_path / "run")["phase"] == "done"
    assert found[0]["test_r2"] > 0.3
    assert json.loads((tmp_path / "run" / "search" / "I.12.1.json").read_text())["counts"]["decodes"] > 0


@pytest.mark.parametrize("preset", ["cmaes", "prior_samples", "cmaes_paper"])
def test_every_preset_searches(preset: str, tmp_path: Path) -> None:
    with hydra.initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = hydra.compose("train", ["model=cvae", f"search={preset}"])
    chosen: Any = OmegaConf.to_container(config.search, resolve=True)
    del chosen["_target_"]
    short = {key: SHORT[key] for key in ("seed", "workers", "decodes", "seconds", "heldout", "polish")}
    search = CMAESSearch(str(tmp_path), deferred=True, **(chosen | short | {"problems": ["I.12.1"]}))
    (finding,) = search.search(*fitted(search))
    assert finding.label.startswith("I.12.1")
    counts = json.loads((tmp_path / "search" / "I.12.1.json").read_text())["counts"]
    assert 0 < counts["decodes"] <= SHORT["decodes"]
    assert equations(tmp_path)[0]["test_r2"] > 0.99


def test_the_paper_preset_is_the_papers() -> None:
    paper = OmegaConf.load(ROOT / "configs" / "search" / "cmaes_paper.yaml")
    assert (paper.method, paper.population, paper.step) == ("paper", 80, 1.3)
    with pytest.raises(SettingsError):
        CMAESSearch(method="papers")


@pytest.mark.parametrize("content", [b"\xff", b"x" * 2_000], ids=["no text", "long"])
def test_what_a_stranger_wrote_in_the_place_of_a_map_is_another_map(content, tmp_path):
    search = CMAESSearch(str(tmp_path), **SHORT)
    search.files.folder.mkdir(parents=True)
    path, state = (search.files.folder / f"one{end}" for end in ("_map.txt", ".state"))
    path.write_bytes(content)
    state.touch()
    search._forget_other_maps(SimpleNamespace(label="one", map_file=None))
    assert not state.exists()
    assert path.read_text() == ""

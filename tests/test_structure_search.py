"""Hard structures searched for: by the callback alone, over several processes, cut off and resumed."""

from __future__ import annotations

import csv
import logging
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch

from callbacks.checkpoints import EpochCheckpoint
from callbacks.structure_search import StructureSearch
from datamodules.problem_data import ProblemData
from datamodules.tabular import TabularData
from expressions.goodness_of_fit import mse, nmse, r2
from expressions.parsing import parse
from foundation.errors import Interrupted, UserError
from modules.gmeql import GMEQL
from runs.record import read_results

LAYERS = ["id*2 square cube sin cos mul div", "add*2 mul div id sum", "add mul sqrt id sum"]
# Nothing here looks at the clock. A short patience, so that searches begin anew and must do so at the same moment.
SHORT: dict[str, Any] = {
    "seconds": None, "instances": 600, "proposals": 30, "patience": 120, "simplify_seconds": 0.0,
    "polish_equations": 2, "stop_when_exact": False, "capacity": 60,
}  # fmt: skip
COMMAND = (
    "model=gmeql", "logger=csv", "trainer.accelerator=cpu", "search.seconds=null", "search.simplify_seconds=0",
)  # fmt: skip


class Cut(pl.Callback):
    """Breaks the fit off in the middle of an epoch, as a power cut would."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.current_epoch == self.epoch and rest[-1] == 1:
            raise RuntimeError("cut")


def fitted(
    folder: Path,
    *callbacks: pl.Callback,
    problem: str = "b4",
    devices: int = 1,
    fork: bool = False,
    **options: Any,
) -> tuple[StructureSearch, pl.Trainer, GMEQL]:
    """One attempt at a small network: it begins, or goes on where the one before was cut off."""
    folder.mkdir(exist_ok=True)
    data = ProblemData(problem, train_rows=80, seed=3)
    data.setup()
    model = GMEQL(**GMEQL.data_arguments(data), layers=LAYERS, epoch_steps=3)
    search = StructureSearch(str(folder), deferred=True, **(SHORT | {"seed": 5} | options))
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp_fork" if fork else "auto",
        max_epochs=-1,
        callbacks=[search, *callbacks, EpochCheckpoint(folder)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    last = folder / "last.ckpt"
    trainer.fit(model, data, ckpt_path=last if last.exists() else None, weights_only=True)
    return search, trainer, model


def story(search: StructureSearch) -> Any:
    """All that a search found, to the last bit, but not the clock."""
    course = search.course
    assert course is not None
    progress = {key: value for key, value in vars(course.progress).items() if key != "seconds"}
    history = [{key: value for key, value in entry.items() if key != "seconds"} for entry in course.history]
    elites = [(e.score, e.tokens, e.structure.tolist(), e.used.tolist()) for e in course.repository.elites]
    return progress, history, elites, sorted(course.fitter.state())


def equations(run_dir: Path) -> list[dict[str, Any]]:
    """The equations of a run without what the clock says."""
    found = read_results(run_dir)["equations"]
    return [{key: value for key, value in equation.items() if key != "seconds"} for equation in found]


def metrics(run_dir: Path) -> tuple[list[dict[str, str]], dict[str, float]]:
    """Metrics of a run, of every epoch and in the end, without what the clock says."""
    with (run_dir / "metrics.csv").open() as file:
        rows = [{k: v for k, v in row.items() if "second" not in k} for row in csv.DictReader(file)]
    return rows, {k: v for k, v in read_results(run_dir)["metrics"].items() if "second" not in k}


def improvements(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "search" / "improvements.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def refused(ended: Any, *words: str) -> None:
    """One sentence, exit code 2, no traceback, and all of the words."""
    lines = [line for line in ended.err.splitlines() if line]
    assert ended.code == 2, ended.err
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


# --- the callback -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The fit that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    search, _, model = fitted(folder)
    return folder, story(search), model


def test_the_budget_of_instances_ends_it(whole: Any) -> None:
    _, (course, history, elites, best), model = whole
    assert (course["stopped"], course["instances"], course["generations"]) == ("instances", 600, 20)
    assert course["starts"] > 1, "otherwise the tests below look at less than they should"
    assert 0 < course["idle"] <= 120
    errors = [entry["best_nmse"] for entry in history]
    assert errors == sorted(errors, reverse=True)
    assert course["best_nmse"] == errors[-1] == min(row[1] for row in best)
    assert model.equation.infix(["x1", "x2", "x3"]) == history[-1]["equation"]
    assert len({tuple(elite[1]) for elite in elites}) == len(elites) <= 60


def test_the_same_seed_gives_the_same_search_and_another_seed_another(whole: Any, tmp_path: Path) -> None:
    assert story(fitted(tmp_path / "again")[0]) == whole[1]
    assert story(fitted(tmp_path / "other", seed=6)[0]) != whole[1]


def test_a_fit_that_was_cut_off_goes_on_as_if_it_had_not(whole: Any, tmp_path: Path) -> None:
    for epoch in (0, 2, 5):  # the first before anything was kept
        with pytest.raises(RuntimeError, match="cut"):
            fitted(tmp_path, Cut(epoch))
    search, _, model = fitted(tmp_path)
    assert story(search) == whole[1]
    assert torch.equal(model.logits, whole[2].logits)
    assert model.equation == whole[2].equation


def test_a_finished_fit_goes_on_only_with_a_larger_budget(whole: Any, tmp_path: Path) -> None:
    fitted(tmp_path, instances=270)  # three epochs of three generations
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 3
    search, _, _ = fitted(tmp_path, instances=270)
    assert search.course.progress.instances == 270
    search, _, _ = fitted(tmp_path)
    assert story(search) == whole[1]


def test_checkpoints_are_data(whole: Any) -> None:
    folder, (course, *_), model = whole
    state = torch.load(folder / "last.ckpt", weights_only=True)
    other = GMEQL.load_from_checkpoint(folder / "last.ckpt", weights_only=True)
    assert torch.equal(other.logits, model.logits)
    assert other.equation == model.equation
    inputs = torch.rand(5, 3) + 0.5
    np.testing.assert_allclose(other(inputs), model.equation(inputs.double().numpy()), rtol=1e-12)
    (own,) = [part for key, part in state["callbacks"].items() if "StructureSearch" in key]
    assert own["course"]["instances"] == course["instances"]
    assert len(own["seen"]) == course["skeletons"]


def test_checkpoints_that_do_not_name_their_operators_are_refused(tmp_path: Path) -> None:
    model = GMEQL(2, layers=LAYERS)
    with pytest.raises(UserError, match=r"^the checkpoint's equation does not name .*: fit again$"):
        model.on_load_checkpoint({"equation": [[18, 31], []]})
    with pytest.raises(UserError, match=r"^the checkpoint's search does not name .*: fit again, without resume$"):
        StructureSearch(tmp_path).load_state_dict({"elites": [], "best": []})


def test_logits_learn_from_elites() -> None:
    model = GMEQL(2, layers=LAYERS, learning_rate=0.5)
    model.begin(np.random.default_rng(0))
    structures = torch.from_numpy(model.propose(4, np.random.default_rng(1)))
    counts = torch.zeros(structures.shape, dtype=torch.bool)
    counts[:, :3] = True
    before, logits = model.log_likelihood(structures).detach(), model.logits.detach().clone()
    optimizer = model.configure_optimizers()
    model.training_step((structures, counts), 0).backward()
    optimizer.step()
    after = model.log_likelihood(structures).detach()
    assert after[:, :3].sum() > before[:, :3].sum()
    assert torch.equal(model.logits[3:], logits[3:]), "places that do not count learn nothing"


def test_samples_follow_the_logits() -> None:
    model = GMEQL(2, layers=["id sin sum"], constant=False, gate_logit=-1.0)
    model.begin(np.random.default_rng(0))
    drawn = model.propose(20_000, np.random.default_rng(1))
    expected = torch.softmax(model.logits + model.barrier, dim=-1).detach().numpy()
    for place, choices in enumerate(model.space.choices):
        shares = np.bincount(drawn[:, place], minlength=int(choices)) / len(drawn)
        np.testing.assert_allclose(shares, expected[place, :choices], atol=0.015)
        assert len(shares) == choices


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"logit_std": -1.0}, "logit_std"),
        ({"epoch_steps": 0}, "epoch"),
    ],
)
def test_a_model_refuses_what_it_cannot_use(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        GMEQL(2, layers=LAYERS, **options)


def test_a_search_without_an_end_is_refused() -> None:
    with pytest.raises(UserError, match="never end"):
        StructureSearch(seconds=None, instances=None)


def test_nothing_to_tell_is_told(tmp_path: Path) -> None:
    search, trainer, model = fitted(tmp_path, longest=3, instances=60)
    search.course.fitter.best.clear()  # type: ignore[union-attr]
    with pytest.raises(UserError, match="no equation was finite"):
        search.search(trainer, model)
    search.course.progress.stopped = "interrupted"
    with pytest.raises(Interrupted, match=r"interrupted before there was an equation: python train\.py .*resume="):
        search.search(trainer, model)


# --- two processes ----------------------------------------------------------------------------------------------


class Witness(pl.Callback):
    """Writes down what this rank's search knows in the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        (search,) = [c for c in trainer.callbacks if isinstance(c, StructureSearch)]
        path = self.folder / f"rank_{trainer.global_rank}.pt"
        course, _, elites, best = map(str, story(search))
        torch.save([course, elites, best, pl_module.logits.tolist(), len(search.course._seen)], path)


def test_two_processes_share_what_they_find(tmp_path: Path) -> None:
    search, trainer, model = fitted(tmp_path, Witness(tmp_path), devices=2, fork=True)
    first, second = (torch.load(tmp_path / f"rank_{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first == second
    data = ProblemData("b4", train_rows=80, seed=3)
    (finding,) = search.search(trainer, model, data)  # what was found is in the checkpoint
    assert str({k: v for k, v in vars(search.course.progress).items() if k != "seconds"}) == first[0]
    assert search.course.progress.instances == 600
    assert finding.evaluations == 600
    assert finding.measured == data.target_name
    assert (tmp_path / "equations.csv").exists()


def test_two_processes_that_were_cut_off_go_on(tmp_path: Path) -> None:
    fitted(tmp_path / "whole", Witness(tmp_path / "whole"), devices=2, fork=True)
    with pytest.raises(Exception, match="cut"):
        fitted(tmp_path / "cut", Cut(2), devices=2, fork=True)
    fitted(tmp_path / "cut", Witness(tmp_path / "cut"), devices=2, fork=True)
    for rank in (0, 1):
        ours, theirs = (tmp_path / name / f"rank_{rank}.pt" for name in ("whole", "cut"))
        assert torch.load(ours, weights_only=True) == torch.load(theirs, weights_only=True)


def test_without_a_checkpoint_forked_processes_leave_nothing(tmp_path: Path) -> None:
    search, trainer, model = fitted(tmp_path, instances=60)
    search.course = None
    trainer.callbacks = [search]  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="strategy=ddp"):
        search.search(trainer, model)


@pytest.mark.long
def test_two_processes_through_the_real_command(tmp_path: Path, command: Callable) -> None:
    forks = ("trainer.devices=2", "+trainer.strategy=ddp_fork")
    ended = command(*COMMAND, *forks, "data.problem=b6", "search.instances=4000", "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    assert "recommended" not in ended.err
    (equation,) = read_results(tmp_path / "run")["equations"]
    assert (equation["recovered"], equation["stopped"]) == (True, "exact")


# --- through the real command -----------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", ["b1", "b6"])
def test_the_formula_is_found(problem: str, tmp_path: Path, command: Callable) -> None:
    arguments = [arg for arg in COMMAND if not arg.startswith("search.simplify_seconds")]
    ended = command(*arguments, f"data.problem={problem}", "search.instances=20000", "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    results = read_results(tmp_path / "run")
    (equation,) = results["equations"]
    assert equation["recovered"]
    assert equation["equivalent"]
    assert (equation["stopped"], results["phase"], results["model"]) == ("exact", "done", "gmeql")
    assert equation["evaluations"] < 20_000
    wanted = {"b1": "0.8*x1**3 + 0.9*x2**2 + 1.2*x3", "b6": "1.2*sin(1.1*x1)*cos(0.9*x2)"}[problem]
    names = ["x1", "x2", "x3"][: 3 if problem == "b1" else 2]
    truth, found = parse(wanted, names), parse(equation["infix"], names)
    assert sorted(found.constants) == sorted(truth.constants), "and it reads like the truth"
    assert len(found) <= len(truth)
    scores = results["metrics"]
    assert scores["test/recovered_rate"] == scores["test/equivalent_rate"] == scores["test/accuracy_rate"] == 1.0
    assert scores["test/nrmse"] < 1e-9
    assert scores["search/evaluations"] == scores["search/instances"] == equation["evaluations"]
    assert {"fit/loss", "fit/entropy_1", "search/skeletons", "search/starts"} <= scores.keys() or problem == "b6"
    assert f"{equation['infix']}" in ended.out
    assert all(" x0" not in row["equation"] for row in improvements(tmp_path / "run")), "names of the data"
    plots = {path.name for path in (tmp_path / "run" / "plots").iterdir()}
    assert {f"{problem}_trial_0_front.png", f"{problem}_trial_0_values.png", "search_curve.png"} <= plots


def houses(path: Path, rows: int = 300, noise: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"rooms": rng.uniform(1, 6, rows), "age": rng.uniform(1, 60, rows)})
    table["price"] = 3.5 * table.rooms**2 / table.age + 0.25 + noise * rng.normal(size=rows)
    table.to_csv(path, index=False)
    return table


# Noise, so that the search goes on for as long as it may; a formula that is known would be compared by SymPy.
NOISY = (
    *COMMAND, "data=tabular", "data.path=noisy.csv", "data.target=price", "search.instances=1600",
    "search.proposals=40", "search.patience=150", "model.epoch_steps=3", "search.polish_equations=1",
)  # fmt: skip


def begun(run_dir: Path, epoch: int, process: Any) -> None:
    """Wait for the checkpoint before an epoch."""
    deadline = time.monotonic() + 120
    last = run_dir / "checkpoints" / "last.ckpt"
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if last.exists() and torch.load(last, weights_only=True)["epoch"] >= epoch:
            return
        time.sleep(0.02)
    raise TimeoutError("no fit began")


@pytest.mark.long
def test_kill_sigterm_and_ctrl_c_in_mid_fit(tmp_path: Path, command: Callable, process: Callable) -> None:
    houses(tmp_path / "noisy.csv", noise=0.1)
    whole, cut = tmp_path / "whole", tmp_path / "logs" / "gmeql" / "cut"
    assert command(*NOISY, f"hydra.run.dir={whole}").code == 0

    first = process(*NOISY, f"hydra.run.dir={cut}")
    begun(cut, 2, first)
    first.kill()
    first.communicate()
    assert read_results(cut)["phase"] == "fit"

    second = process("model=gmeql", "resume=auto")
    begun(cut, 5, second)
    second.send_signal(signal.SIGTERM)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 143, err
    assert "Traceback" not in err

    ended = command("model=gmeql", "resume=auto")
    assert ended.code == 0, ended.err
    assert read_results(cut)["phase"] == "done"
    assert equations(cut) == equations(whole)
    assert equations(cut)[0]["stopped"] == "instances"
    assert (cut / "equations.csv").read_text() == (whole / "equations.csv").read_text()
    assert improvements(cut) == improvements(whole)
    assert metrics(cut) == metrics(whole)
    ours, theirs = (torch.load(path / "checkpoints" / "last.ckpt", weights_only=True) for path in (whole, cut))
    assert torch.equal(ours["state_dict"]["logits"], theirs["state_dict"]["logits"])

    third = process(*NOISY, "search.instances=1000000", "hydra.run.dir=long")
    begun(tmp_path / "long", 2, third)
    os.kill(third.pid, signal.SIGINT)
    out, err = third.communicate(timeout=60)
    assert third.returncode == 0, err
    assert "Traceback" not in err
    assert "interrupted after" in out
    (interrupted,) = equations(tmp_path / "long")
    assert interrupted["stopped"] == "interrupted"
    results = read_results(tmp_path / "long")
    assert (results["phase"], results["interrupted"]) == ("search", True)
    more = interrupted["evaluations"] + 480
    ended = command("resume=long", f"search.instances={more}")
    assert ended.code == 0, ended.err
    (longer,) = equations(tmp_path / "long")
    assert (longer["stopped"], longer["evaluations"]) == ("instances", more)
    assert longer["train_r2"] >= interrupted["train_r2"] - 1e-3


def test_a_run_that_is_done_stays_as_it_is(tmp_path: Path, command: Callable) -> None:
    houses(tmp_path / "noisy.csv", noise=0.1)
    assert command(*NOISY, "search.instances=400", "hydra.run.dir=run").code == 0
    before = equations(tmp_path / "run"), metrics(tmp_path / "run")
    assert command("resume=run").code == 0
    assert (equations(tmp_path / "run"), metrics(tmp_path / "run")) == before


def test_a_table_of_ones_own(tmp_path: Path, command: Callable) -> None:
    table = houses(tmp_path / "houses.csv")
    ended = command(
        *COMMAND, "data=tabular", "data.path=houses.csv", "data.target=price", "search.instances=20000",
        "hydra.run.dir=run",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    (equation,) = equations(tmp_path / "run")
    assert (equation["problem"], equation["target"], equation["recovered"]) == ("price", "price", None)
    assert equation["stopped"] == "exact"
    found = parse(equation["infix"], ["rooms", "age"])
    assert nmse(table.price.to_numpy(), found(table[["rooms", "age"]].to_numpy())) < 1e-18
    assert sorted(found.constants) == [0.25, 3.5]
    data = TabularData(str(tmp_path / "houses.csv"), target="price")
    inputs, target = data.table("test").inputs, data.table("test").target
    assert equation["test_mse"] == pytest.approx(mse(target, found(inputs)), abs=1e-20)
    with (tmp_path / "run" / "equations.csv").open() as file:
        rows = list(csv.DictReader(file))
    validation = data.table("validation")
    for row in rows:
        score = r2(validation.target, parse(row["infix"], ["rooms", "age"])(validation.inputs))
        assert 1 - float(row["validation_r2"]) == pytest.approx(1 - score, rel=1e-6, abs=1e-12)
    assert len(rows) > 1


def test_a_table_of_numbers_that_single_precision_cannot_hold(tmp_path: Path, command: Callable) -> None:
    table = houses(tmp_path / "houses.csv")
    table.assign(price=table.price * 1e40).to_csv(tmp_path / "houses.csv", index=False)
    ended = command(
        *COMMAND, "data=tabular", "data.path=houses.csv", "data.target=price", "search.instances=20000",
        "hydra.run.dir=run",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    (equation,) = equations(tmp_path / "run")
    assert equation["stopped"] == "exact"
    assert read_results(tmp_path / "run")["metrics"]["test/nrmse"] < 1e-12  # with float32 it is no number


def test_noise_ends_by_the_budget_with_a_short_equation(
    tmp_path: Path, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.findings.recovered", lambda *_: False)  # SymPy would take ten seconds
    ended = command(
        *COMMAND, "data.problem=b2", "data.noise=0.1", "data.validation_rows=200", "search.instances=4000",
        "hydra.run.dir=run",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    (equation,) = equations(tmp_path / "run")
    assert equation["stopped"] == "instances"
    assert equation["complexity"] <= 40
    assert 0.99 < equation["train_r2"] < 1 - 1e-6
    assert equation["test_r2"] > 0.99
    assert math.sqrt(equation["test_mse"]) < 0.3, "test rows have no noise"


def test_a_long_table_is_searched_on_few_rows(tmp_path: Path, command: Callable) -> None:
    arguments = (*COMMAND, "data.problem=b6", "search.stop_when_exact=false", "search.instances=400")
    ended = command(*arguments, "data.train_rows=200000", "data.test_rows=500", "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    results = read_results(tmp_path / "run")
    assert results["equations"][0]["recovered"]
    assert results["seconds"]["fit"] < 15, "200,000 rows take two generations no more than a glance"


def test_without_a_search_it_only_fits(tmp_path: Path, command: Callable) -> None:
    arguments = (*COMMAND[:3], "search=none", "data.problem=b6")
    refused(command(*arguments), "never end", "trainer.max_epochs")
    ended = command(*arguments, "trainer.max_epochs=1", "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    assert read_results(tmp_path / "run")["equations"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search.patience=0"], ["search.patience=0", "at least 1"]),
        (["search.patienc=5"], ["search.patienc is not a key", "search.patience"]),
        (["+search.colour=5"], ["colour"]),
        (["search.seconds=null"], ["never end", "search.seconds or search.instances"]),
        (["search.resampled=2"], ["search.resampled=2"]),
        (["model.layers=[sin*2 foo]"], ["'foo' in the layer 'sin*2 foo'"]),
        (["model.layers=[]"], ["model.layers"]),
        (["model.epoch_steps=0"], ["model.epoch_steps=0"]),
        (["data=tabular", "data.path=houses.csv"], ["target", "data.target"]),
        (["data=tabular", "data.path=constant.csv", "data.target=price"], ["'price'", "in every row"]),
        (["data=tabular", "data.path=rare.csv", "data.target=price"], ["price", "on every row"]),
        (["data=tabular", "data.path=gap.csv", "data.target=price"], ["missing", "'age'"]),
    ],
    ids=lambda value: " ".join(value) if "=" in value[0] else None,
)
def test_refused_in_a_sentence(arguments: list[str], words: list[str], tmp_path: Path, command: Callable) -> None:
    table = houses(tmp_path / "houses.csv", 40)
    table.assign(price=3.0).to_csv(tmp_path / "constant.csv", index=False)
    test = np.random.default_rng(0).permutation(40)[0]  # the one row that is not the same is not to train on
    table.assign(price=np.where(np.arange(40) == test, 4.0, 3.0)).to_csv(tmp_path / "rare.csv", index=False)
    table.assign(age=table.age.where(table.index % 3 > 0)).to_csv(tmp_path / "gap.csv", index=False)
    refused(command("model=gmeql", "logger=csv", *arguments), *words)

"""The repository of elites: what it keeps, what it gives back, and what is made of it in the end."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from callbacks.elite_repository import EliteRepository
from datamodules.problem_data import ProblemData
from datamodules.tables.problems import Problem, Uniform
from expressions.goodness_of_fit import mae
from expressions.parsing import parse
from foundation.errors import UserError
from modules.gmeql_paper import GMEQLPaper
from modules.networks.gumbel_max.instance_repository import InstanceRepository
from runs.record import read_results
from searches.gumbel_structures.elite_equations import without_small_terms

LAYERS = ["id*2 square sin", "add mul sum", "add mul"]
SHORT: dict[str, Any] = {
    "layers": LAYERS, "restarts": 2, "instances": 10, "stage1_rounds": 1, "stage1_iterations": 20,
    "epoch_iterations": 15, "learning_rate": 0.05, "weight_learning_rate": 0.01,
}  # fmt: skip


def offered(restarts: int, count: int, rng: np.random.Generator) -> dict[str, Any]:
    """Instances with few different keys and errors, so that there are repetitions and draws."""
    errors = rng.integers(1, 40, count).astype(np.float32)
    errors[rng.random(count) < 0.1] = np.inf
    errors[rng.random(count) < 0.1] = np.nan
    return {
        "restarts": np.sort(rng.integers(0, restarts, count)),
        "errors": errors,
        "keys": rng.integers(1, 60, count).astype(np.uint64),
        "fields": {"number": torch.from_numpy(rng.random((count, 1), dtype=np.float32))},
    }


def held(elites: InstanceRepository, restart: int) -> dict[int, tuple[float, float]]:
    """Key -> error and field of every elite."""
    slots = elites.slots[restart, : elites.counts[restart]]
    return {
        int(elites.keys[restart, slot]): (
            float(elites.errors[restart, rank]),
            elites.fields["number"][restart, slot].item(),
        )
        for rank, slot in enumerate(slots)
    }


@pytest.mark.parametrize("seed", range(6))
def test_the_lowest_errors_of_different_equations_are_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    elites = InstanceRepository(3, 12, 1.5, {"number": (1,)})
    best: list[dict[int, tuple[float, float]]] = [{}, {}, {}]
    for count in (0, 5, 1, 30, 30, 30):
        batch = offered(3, count, rng)
        numbers = batch["fields"]["number"][:, 0].tolist()
        for restart, error, key, number in zip(
            batch["restarts"].tolist(), batch["errors"].tolist(), batch["keys"].tolist(), numbers, strict=True
        ):
            if math.isfinite(error) and error < best[restart].get(key, (math.inf, 0))[0]:
                best[restart][key] = (error, number)
        elites.add(**batch)
        for restart in range(3):
            found = held(elites, restart)
            lowest = sorted(error for error, _ in best[restart].values())[:12]
            assert elites.errors[restart, : len(lowest)].tolist() == lowest
            assert np.isinf(elites.errors[restart, len(lowest) :]).all()
            assert elites.counts[restart] == len(lowest) == len(found), "no key twice"
            assert sorted(elites.slots[restart]) == list(range(12))
            for key, (error, number) in found.items():
                assert error == best[restart][key][0]
                assert number == pytest.approx(best[restart][key][1]) or error == lowest[-1], "its own field"
    assert (elites.worst() == elites.errors[:, -1]).all()
    assert (elites.lowest == elites.errors[:, 0]).all()


def test_an_equal_equation_of_lower_error_takes_the_place() -> None:
    elites = InstanceRepository(1, 3, 1.5, {"number": (1,)})
    for key, error in ((1, 5.0), (2, 3.0), (3, 4.0), (1, 6.0), (1, 1.0)):
        elites.add(
            np.zeros(1, int), np.array([error]), np.array([key], np.uint64), {"number": torch.tensor([[error]])}
        )
    assert held(elites, 0) == {1: (1.0, 1.0), 2: (3.0, 3.0), 3: (4.0, 4.0)}
    assert elites.best("number").item() == 1.0


def test_elites_are_chosen_by_a_power_law_on_their_rank() -> None:
    rng = np.random.default_rng(0)
    elites = InstanceRepository(2, 8, 1.5, {"number": (1,)})
    count = 5  # of 8 slots, in the second repository only
    elites.add(
        np.ones(count, int),
        np.arange(count, dtype=np.float32),
        np.arange(count).astype(np.uint64),
        {"number": torch.arange(count)[:, None].float()},
    )
    uniform = rng.random((2, 40_000))
    uniform[:, :2] = 0.0, np.nextafter(1.0, 0.0)
    expected = np.arange(1, count + 1) ** -1.5
    for slots, chances in ((elites.by_power_law(uniform), expected), (elites.evenly(uniform), np.ones(count))):
        ranks = elites.take("number", slots).view(2, -1)[1].numpy()
        shares = np.bincount(ranks.astype(int), minlength=count) / uniform.shape[1]
        np.testing.assert_allclose(shares, chances / chances.sum(), atol=0.01)
        assert slots.min() >= 0
        assert slots.max() < 8


def test_a_state_is_data_and_comes_back_bit_for_bit() -> None:
    rng = np.random.default_rng(1)
    elites, other = (
        InstanceRepository(3, 12, 1.5, {"number": (1,)}),
        InstanceRepository(3, 12, 1.5, {"number": (1,)}),
    )
    elites.add(**offered(3, 40, rng))
    buffer = io.BytesIO()
    torch.save(elites.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    more = offered(3, 40, rng)
    for one in (elites, other):
        one.add(**more)
    for name, value in elites.state_dict().items():
        theirs = other.state_dict()[name]
        if name == "fields":
            value, theirs = value["number"], theirs["number"]
        assert torch.equal(value, theirs)
    assert (elites.counts == other.counts).all()
    with pytest.raises(ValueError, match=r"its errors is a tensor float32 \(3, 12\), not one of 3 x 11"):
        InstanceRepository(3, 11, 1.5, {"number": (1,)}).load_state_dict(elites.state_dict())


# --- the callback -------------------------------------------------------------------------------------------


def line(formula: str = "1.5*x1 + x2", noise: float = 0.0) -> ProblemData:
    names = ("x1", "x2")
    source = Uniform((0.5, 0.5), (2.0, 2.0))
    return ProblemData(
        Problem("line", (), formula, names, "y", parse(formula, names), source, 40, 30), noise=noise
    )


def fitted(run_dir: Path, data: ProblemData, epochs: int = 4, **options: Any) -> tuple:
    pl.seed_everything(1, verbose=False)
    data.setup()
    search = EliteRepository(str(run_dir), deferred=True, size=30, simplify_seconds=0, **options)
    model = GMEQLPaper(**GMEQLPaper.data_arguments(data), **SHORT)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=epochs, callbacks=[search], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(model, data)
    return trainer, model, data, search


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    folder = tmp_path_factory.mktemp("run")
    trainer, model, data, search = fitted(folder, line())
    trainer.test(model, data, verbose=False)
    return folder, search.search(trainer, model, data), search, model, data


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_restart_is_a_finding(run: tuple) -> None:
    folder, findings, _, _, data = run
    assert [(finding.problem, finding.trial) for finding in findings] == [("line", 0), ("line", 1)]
    assert all(finding.evaluations == 4 * 15 * 10 for finding in findings)
    assert all(finding.measured == data.target_name for finding in findings)
    results = read_results(folder)
    assert [equation["trial"] for equation in results["equations"]] == [0, 1]
    metrics = results["metrics"]
    assert {"search/soft_mae_median", "search/hard_mae_median", "test/fitted_equivalent_rate"} <= metrics.keys()
    assert metrics["search/evaluations"] == 1200
    train = data.table("train")
    for equation, row in zip(results["equations"], table(folder / "search" / "restarts.csv"), strict=True):
        assert equation["infix"] == row["shared"], "the published equation is the one that is shown"
        fit = parse(row["fitted"], data.feature_names)
        assert mae(train.target, fit(train.inputs)) == pytest.approx(float(row["fitted_mae"]), abs=1e-12)


def test_the_course_is_on_disk(run: tuple) -> None:
    folder, _, search, _, _ = run
    for restart in range(2):
        rows = [row for row in table(folder / "search" / "learning_curve.csv") if row["restart"] == str(restart)]
        errors = [float(row["mae"]) for row in rows]
        assert errors == sorted(set(errors), reverse=True)
        assert errors[-1] == search.elites.lowest[restart]
        counts = [int(row["instances"]) for row in rows]
        assert counts == sorted(counts)
        assert counts[0] == 10, "the first iteration counts"
        last = [row for row in table(folder / "search" / "improvements.csv") if row["restart"] == str(restart)][-1]
        assert float(last["mae"]) == errors[-1]
        parse(last["equation"], ["x1", "x2"])


def test_elites_have_the_errors_that_are_reported(run: tuple) -> None:
    """As sampled, with the weights that they had."""
    _, _, search, model, data = run
    inputs, target = (
        torch.from_numpy(a.astype(np.float32)) for a in (data.table("train").inputs, data.table("train").target)
    )
    columns = model.network.columns(inputs)
    for rank in (0, 7):
        slots = search.elites.slots[:, rank : rank + 1]
        choices, weights = (search.elites.take(name, slots) for name in ("choices", "weights"))
        errors = model.network.errors(choices.exp(), weights, columns, target)
        np.testing.assert_allclose(errors.numpy(), search.elites.errors[:, rank], rtol=1e-5)
        structures = choices.argmax(-1).numpy()
        keys = search.elites.keys[np.arange(2), slots[:, 0]]
        assert (model.architecture.keys(structures) == keys).all()
    soft = model(inputs, hard=False)
    np.testing.assert_allclose((soft - target).abs().mean(1).detach().numpy(), search.elites.lowest, rtol=1e-5)


def test_the_fitted_equation_can_be_shown_first(tmp_path: Path) -> None:
    trainer, model, data, search = fitted(tmp_path, line(), constants="fitted")
    for finding in search.search(trainer, model, data):
        assert finding.chosen in finding.front.candidates
    rows = table(tmp_path / "search" / "restarts.csv")
    assert [equation["infix"] for equation in read_results(tmp_path)["equations"]] == [
        row["fitted"] for row in rows
    ]


def test_small_terms_are_left_out() -> None:
    inputs = np.random.default_rng(0).uniform(0, 2, (50, 2))
    names = ["x", "y"]
    equation = parse("0.8*x**2 + 0.001*sin(x) + 1.2*y + 0.0005*x*y + 0.002", names)
    assert without_small_terms(equation, inputs, 0.01).infix(names) == "0.8*x**2 + 1.2*y"
    assert without_small_terms(equation, inputs, 1e-6) == equation


def test_what_cannot_be_reported_is_said_in_a_sentence(tmp_path: Path) -> None:
    trainer, model, data, search = fitted(tmp_path, line(), epochs=1)
    search.elites = InstanceRepository(2, 30, 1.5, model.elite_fields)
    with pytest.raises(UserError, match="no elite was finite"):
        search.search(trainer, model, data)
    flat = line("0*x1 + 0*x2 + 2")
    with pytest.raises(UserError, match="on every row"):
        search.search(trainer, model, flat)
    with pytest.raises(UserError, match="constants=own"):
        EliteRepository(constants="own")

"""The paper's Algorithm 1: what an iteration does to the parameters, its stages, resuming, several processes."""

from __future__ import annotations

import csv
import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor

from callbacks.elite_repository import EliteRepository
from datamodules.loading.batch_loader import RepeatedTable
from datamodules.problem_data import ProblemData
from foundation.errors import UserError
from modules.gmeql_paper import GMEQLPaper
from modules.networks.gumbel_max.choices import relaxed
from modules.networks.gumbel_max.draws import Draws
from modules.networks.gumbel_max.instance_repository import InstanceRepository
from modules.networks.gumbel_max.network import mean_absolute_error
from runs.record import read_results

LAYERS = ["id*2 square sin", "add mul sum", "add mul"]
SHORT: dict[str, Any] = {
    "layers": LAYERS, "restarts": 3, "instances": 8, "offline_instances": 5, "stage1_rounds": 2,
    "stage1_iterations": 10, "epoch_iterations": 5,
}  # fmt: skip


class Watch(pl.Callback):
    """Keeps what every iteration begins and ends with."""

    def __init__(self) -> None:
        self.parameters: list[dict[str, Tensor]] = []
        self.stages: list[int] = []
        self.counts: list[int] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: GMEQLPaper, *rest: Any) -> None:  # type: ignore[override]
        self.parameters.append({name: p.detach().clone() for name, p in pl_module.named_parameters()})
        self.stages.append(int(pl_module.stage))
        self.counts.append(0 if pl_module.elites is None else int(pl_module.elites.counts.sum()))


class Silent(EliteRepository):
    """What the repository writes is tested elsewhere."""

    def _write_down(self, *_: Any) -> None:
        pass


def fit(epochs: int = 6, seed: int = 1, repository: bool = True, **options: Any) -> tuple[GMEQLPaper, Watch]:
    pl.seed_everything(seed, verbose=False)
    data = ProblemData("b6", train_rows=30, seed=1)
    data.setup()
    model = GMEQLPaper(**GMEQLPaper.data_arguments(data), **(SHORT | options))
    watch = Watch()
    callbacks = [*([Silent(deferred=True, size=50)] if repository else []), watch]
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=epochs, callbacks=callbacks, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(model, data)
    return model, watch


def table(rows: int = 20) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.rand(rows, 2, generator=generator) * 2
    return inputs, inputs[:, 0] ** 2 + inputs[:, 1]


def standing(**options: Any) -> tuple[GMEQLPaper, Draws]:
    """A model in the midst of stage 2, with a repository, and its random numbers."""
    torch.manual_seed(0)
    model = GMEQLPaper(2, **(SHORT | options))
    with torch.no_grad():
        for parameter in (model.online_logits, model.offline_logits):
            parameter.copy_(0.3 * torch.randn(parameter.shape))
        model.weights.add_(0.1 * torch.randn(model.weights.shape))
    model._stage = 2
    model.elites = InstanceRepository(model.restarts, 20, 1.5, model.elite_fields)
    noise = torch.randn(model.restarts, 12, *model.network.barrier.shape)
    choices = relaxed(model.logits[:, None], noise, model.temperature)
    for restart in range(model.restarts):
        weights = model.weights[restart].detach().expand(12, -1)
        keys = model.architecture.keys(choices[restart].argmax(-1).numpy())
        fields = {"choices": choices[restart], "weights": weights}
        model.elites.add(np.full(12, restart), np.arange(12, dtype=np.float32), keys, fields)
    draws = Draws(np.random.SeedSequence(3), model.network, model.restarts, model.instances, 4, 5)
    return model, draws


# --- one iteration ------------------------------------------------------------------------------------------


def test_an_instance_is_an_elite_but_for_what_is_drawn_afresh() -> None:
    model, draws = standing()
    for _ in range(30):
        draw = draws.next()
        assert draw.parents is not None
        assert model.elites is not None
        proposal = model.propose(draw)
        copied = model.elites.take("choices", model.elites.by_power_law(draw.parents))
        connections = model.architecture.connections
        fresh = torch.zeros(len(copied) * connections, dtype=torch.bool)
        fresh[draw.places] = True
        fresh = fresh.view(-1, connections)
        assert (fresh.sum(1) == 4).all()
        assert torch.equal(proposal.choices[~fresh], copied[~fresh])
        assert not torch.equal(proposal.choices[fresh], copied[fresh])
        instance, connection = draw.places // connections, draw.places % connections
        assert torch.equal(draw.owners, instance // model.instances * connections + connection)


def test_connections_are_drawn_afresh_equally_often() -> None:
    model, draws = standing()
    counts = torch.zeros(model.architecture.connections)
    for _ in range(100):
        counts += torch.bincount(draws.next().places % len(counts), minlength=len(counts))
    shares = counts / counts.sum() * len(counts)
    torch.testing.assert_close(shares, torch.ones_like(shares), atol=0.1, rtol=0)


def test_the_gradients_are_those_of_the_mean_error() -> None:
    """Of each restart's own mean, for the connections that were drawn afresh, and for the shared weights."""
    model, draws = standing()
    inputs, target = table()
    draw = draws.next()
    proposal = model.propose(draw)
    measured = model.measure(proposal, model._prepared((inputs, target)))

    logits = model.logits.clone().requires_grad_()
    weights = model.weights.detach().clone().requires_grad_()
    fresh = relaxed(logits.flatten(0, 1)[draw.owners], draw.noise, model.temperature)
    choices = proposal.choices.flatten(0, 1).index_copy(0, draw.places, fresh).view(proposal.choices.shape)
    outputs = model.network.forward(
        choices.exp(), weights.repeat_interleave(model.instances, 0), model.network.columns(inputs)
    )
    mean_absolute_error(outputs, target).view(model.restarts, -1).mean(1).sum().backward()

    assert logits.grad is not None
    ours = model._online_gradient(proposal, measured, draw)
    torch.testing.assert_close(ours, logits.grad, rtol=1e-3, atol=1e-5)
    of_weights = measured.weight_gradient.view(model.restarts, model.instances, -1).mean(1)
    torch.testing.assert_close(of_weights, weights.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["eq7", "eq11"])
def test_the_offline_gradient_is_the_mean_over_the_elites(kind: str) -> None:
    model, draws = standing(offline_gradient=kind)
    draw = draws.next()
    assert model.elites is not None
    ours = model._offline_gradient(model.elites, draw)
    ranks = (draw.recalled * 12).astype(int)
    expected = torch.zeros_like(ours)
    for restart in range(model.restarts):
        for rank in ranks[restart]:
            choices = model.elites.fields["choices"][restart, model.elites.slots[restart, rank]]
            for c, sources in enumerate(model.architecture.choices.tolist()):
                z, v = model.logits[restart, c, :sources], choices[c, :sources].exp()
                powers = z.exp() * v**-model.temperature
                gradient = -(1 - sources * powers / powers.sum())
                if kind == "eq11":
                    gradient = 2 * (z.exp() - v**model.temperature) * z.exp()
                expected[restart, c, :sources] += gradient / len(ranks[restart])
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_restarts_do_not_touch_each_other() -> None:
    """Gradients of one do not change with the parameters of another."""
    inputs, target = table()

    def gradients(shift: float) -> list[Tensor]:
        model, draws = standing()
        with torch.no_grad():
            model.online_logits[1] += shift * torch.randn(model.online_logits.shape[1:])
            model.weights[1] += shift
        draw = draws.next()
        proposal = model.propose(draw)
        measured = model.measure(proposal, model._prepared((inputs, target)))
        assert model.elites is not None
        return [
            model._online_gradient(proposal, measured, draw),
            measured.weight_gradient.view(model.restarts, model.instances, -1),
            model._offline_gradient(model.elites, draw),
        ]

    for one, other in zip(gradients(0.0), gradients(0.5), strict=True):
        assert torch.equal(one[[0, 2]], other[[0, 2]])
        assert not torch.equal(one[1], other[1])


# --- stages -------------------------------------------------------------------------------------------------


def test_stages_and_rounds() -> None:
    model, watch = fit()
    assert watch.stages == [1] * 20 + [2] * 10
    assert model.iteration == 30 == int(model.iterations)
    steps = [
        {name: (after[name] - before[name]).abs().max().item() for name in after}
        for before, after in zip(watch.parameters, watch.parameters[1:], strict=False)
    ]
    for k, step in enumerate(steps, 1):
        if k in (10, 20):  # a round begins: initialised afresh
            assert step["online_logits"] > 0.1
            assert step["weights"] > 0.001
        else:
            assert 0 < step["online_logits"] < 0.0011 * 3
            assert (step["weights"] > 0) == (step["offline_logits"] > 0) == (k > 20), "stage 1 trains z alone"
            # Adam's first steps are as long as the learning rate: its moments were emptied.
    assert steps[20]["weights"] == pytest.approx(0.001, rel=0.1)
    assert watch.counts == sorted(watch.counts), "the repository stays"
    assert watch.counts[0] > 0


@pytest.mark.parametrize(
    "options",
    [
        {"stage1_rounds": 0},
        {"resampled": 1.0, "offline_gradient": "none"},
        {"offline_gradient": "none"},
        {"offline_gradient": "eq11"},
        {"sampling": "hard"},
        {"sampling": "straight_through"},
    ],
    ids=lambda options: "-".join(f"{key}={value}" for key, value in options.items()),
)
def test_ablations(options: dict[str, Any]) -> None:
    model, watch = fit(**options)
    first, last = watch.parameters[-10], watch.parameters[-1]
    moved = {name: not torch.equal(first[name], last[name]) for name in last}
    assert watch.stages[0] == (2 if options.get("stage1_rounds") == 0 else 1)
    assert moved["weights"]
    assert moved["offline_logits"] == (options.get("offline_gradient") != "none")
    assert moved["online_logits"] == (options.get("sampling") != "hard")
    assert all(parameter.isfinite().all() for parameter in last.values())
    assert model.best_errors.isfinite().all()


def test_without_a_repository_all_instances_are_fresh() -> None:
    model, watch = fit(repository=False)
    assert watch.stages[-1] == 2
    assert not watch.parameters[-1]["offline_logits"].any()
    assert model.best_errors.isinf().all()


def test_a_seed_decides_everything() -> None:
    one, other, third = (fit(seed=seed)[1].parameters[-1] for seed in (1, 1, 2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["weights"], third["weights"])


def test_it_learns() -> None:
    model, _ = fit(epochs=60, learning_rate=0.02, weight_learning_rate=0.02, stage1_rounds=0)
    entropies = model.entropies()
    assert all(0 <= entropy <= 1 for entropy in entropies.values())
    assert min(entropies.values()) < 0.9
    assert model.best_errors.max() < 0.5  # the mean of |y| is 0.5


# --- hostile input ------------------------------------------------------------------------------------------


def trained_on(inputs: Tensor, target: Tensor) -> GMEQLPaper:
    """A few iterations on a table that no datamodule would let pass."""
    torch.manual_seed(0)
    model = GMEQLPaper(
        inputs.shape[1], **(SHORT | {"stage1_rounds": 0, "layers": ["id sqrt exp square", "mul div sum", "add"]})
    )
    model.elites = InstanceRepository(model.restarts, 20, 1.5, model.elite_fields)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=3, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, RepeatedTable((inputs, target), 5))
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    return model


def test_rows_that_are_not_numbers() -> None:
    inputs, target = table()
    inputs[3, 0] = math.nan
    model = trained_on(inputs, target)
    assert model.elites is not None
    assert (model.elites.counts == 0).all(), "no instance was finite on every row but a constant"


@pytest.mark.parametrize("rows", [1, 2])
def test_very_few_rows(rows: int) -> None:
    assert trained_on(*table(rows)).best_errors.isfinite().all()


def test_columns_and_targets_that_are_constant_or_huge() -> None:
    inputs, target = table()
    assert trained_on(inputs, torch.zeros_like(target)).best_errors.isfinite().all()
    assert trained_on(inputs * 0, target).best_errors.isfinite().all()
    trained_on(inputs * 1e30, target * 1e30)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sampling": "firm"}, "sampling=firm"),
        ({"offline_gradient": "eq8"}, "offline_gradient=eq8"),
        ({"restarts": 0}, "restarts=0"),
        ({"temperature": 0.0}, "temperature=0"),
        ({"layers": ["id sinus"]}, "sinus"),
    ],
)
def test_settings_that_are_not_allowed(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        GMEQLPaper(2, **(SHORT | options))


# --- the real command ---------------------------------------------------------------------------------------

COMMAND = (
    "experiment=gmeql_paper", "logger=csv", "trainer.accelerator=cpu", "data.train_rows=50", "model.restarts=2",
    "model.instances=10", "model.stage1_rounds=2", "model.stage1_iterations=200", "model.epoch_iterations=50",
    "model.layers=['id*2 square sin','add mul sum','add mul']", "search.size=40", "search.simplify_seconds=0",
    "trainer.max_epochs=24",
)  # fmt: skip


def killed_after(epochs: int, process: Callable, run_dir: Path, *arguments: str) -> None:
    """Run the command until so many epochs are in its metrics, then kill it."""
    attempts = len(list((run_dir / "attempts").glob("*"))) if run_dir.exists() else 0
    running = process(*arguments)
    metrics = run_dir / "attempts" / str(attempts) / "metrics.csv"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert running.poll() is None, running.communicate()
        if metrics.is_file() and len(metrics.read_text().splitlines()) > epochs:
            break
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.communicate()


def course(run_dir: Path) -> list[dict[str, str]]:
    """The metrics without what the clock says."""
    with (run_dir / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if "second" not in k} for row in csv.DictReader(file)]


@pytest.mark.long
def test_a_run_that_is_killed_in_both_stages_ends_as_one_that_is_not(
    tmp_path: Path, process: Callable, command: Callable
) -> None:
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    killed_after(2, process, cut, *COMMAND, "hydra.run.dir=cut")
    state = torch.load(cut / "checkpoints" / "last.ckpt", weights_only=True)
    assert int(state["state_dict"]["stage"]) == 1
    killed_after(12, process, cut, "resume=cut")
    state = torch.load(cut / "checkpoints" / "last.ckpt", weights_only=True)
    assert int(state["state_dict"]["stage"]) == 2
    assert state["epoch"] < 24, "it was not done"
    for arguments in (("resume=cut",), (*COMMAND, "hydra.run.dir=whole")):
        ended = command(*arguments)
        assert ended.code == 0, ended.err
    ours, theirs = (
        torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True) for run_dir in (cut, whole)
    )
    assert all(torch.equal(ours["state_dict"][key], theirs["state_dict"][key]) for key in theirs["state_dict"])
    (one,) = (value for key, value in ours["callbacks"].items() if "EliteRepository" in key)
    (other,) = (value for key, value in theirs["callbacks"].items() if "EliteRepository" in key)
    for name in ("errors", "slots", "keys"):
        assert torch.equal(one["elites"][name], other["elites"][name])
    assert all(
        torch.equal(one["elites"]["fields"][k], other["elites"]["fields"][k]) for k in ("choices", "weights")
    )
    assert one["curve"] == other["curve"]
    assert course(cut) == course(whole)
    for name in ("learning_curve.csv", "improvements.csv", "restarts.csv"):
        assert (cut / "search" / name).read_text() == (whole / "search" / name).read_text()
    mine, yours = (read_results(run_dir)["equations"] for run_dir in (cut, whole))
    assert [e["infix"] for e in mine] == [e["infix"] for e in yours]
    assert [row["fit/stage"] for row in course(whole)[:24]] == ["1.0"] * 8 + ["2.0"] * 16


# --- several processes --------------------------------------------------------------------------------------


class Agreement(pl.Callback):
    """Fails in every process unless all of them hold the same."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: GMEQLPaper) -> None:  # type: ignore[override]
        assert pl_module.elites is not None
        state = pl_module.elites.state_dict()
        held = [state["errors"], state["slots"], state["keys"], *state["fields"].values()]
        held += [parameter.detach() for parameter in pl_module.parameters()]
        for tensor in held:
            parts = [torch.empty_like(tensor) for _ in range(trainer.world_size)]
            torch.distributed.all_gather(parts, tensor.contiguous())
            assert all(torch.equal(part, tensor) for part in parts)


def test_two_processes_hold_one_repository(tmp_path: Path) -> None:
    pl.seed_everything(1, verbose=False)
    data = ProblemData("b6", train_rows=30, seed=1)
    data.setup()
    model = GMEQLPaper(**GMEQLPaper.data_arguments(data), **SHORT)
    search = EliteRepository(str(tmp_path), deferred=True, size=50)
    trainer = pl.Trainer(
        accelerator="cpu", strategy="ddp_fork", devices=2, max_epochs=6, callbacks=[search, Agreement()],
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(model, data)
    assert trainer.callback_metrics["search/instances"] == 30 * 8 * 2, "both measured instances of their own"
    with (tmp_path / "search" / "learning_curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert int(rows[0]["instances"]) == 16
    for restart in range(3):
        last = [row for row in rows if row["restart"] == str(restart)][-1]
        assert float(last["mae"]) == model.best_errors[restart].item()

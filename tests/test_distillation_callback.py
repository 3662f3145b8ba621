"""A whole LightningModule as equations: by the callback alone, and through the real command."""

from __future__ import annotations

import copy
import csv
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from callbacks.distillation import Distillation
from callbacks.distilled_network.comparison import compared
from callbacks.distilled_network.rows import RowBatches, row_batches
from callbacks.logging.search_log import SearchLog
from datamodules.tabular import TabularData
from distillation import output_search
from distillation.fitting.outputs import pickled
from distillation.fitting.table import Table
from distillation.preparation import Preparation
from distillation.questions.answers import Answers
from distillation.report import DistillationReport
from expressions.parsing import parse
from foundation.errors import UserError
from modules.autoencoder import Autoencoder
from modules.equation_module import EquationModule
from modules.networks.perceptron import Perceptron
from runs.record import read_results
from searches.portfolio import PortfolioSettings
from tests.wandb_records import wandb_records, wandb_summary

SHORT: dict[str, Any] = {
    "seed": 1, "workers": 2, "seconds": None, "evaluations": 200, "simplify_seconds": 0.0,
    "methods": ["genetic_programming"],
}  # fmt: skip
COMMAND = (
    "experiment=smoke", "trainer.accelerator=cpu", "search=distill", "search.seconds=null",
    "search.evaluations=200", "search.methods=[genetic_programming]",
    "search.workers=2", "search.simplify_seconds=0", "search.tolerance=0.5", "model.latents=1",
)  # fmt: skip
PASSING: dict[str, Any] = {**SHORT, "tolerance": 0.5, "tuning_epochs": 2}
OUTPUTS = ["encoder_0", "decoder_0", "decoder_1"]
NAMES = {"encoder_0": ["bmi_scaled", "bp_scaled"], "decoder_0": ["latent_0"], "decoder_1": ["latent_0"]}


def trainer(*callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        **options,
    )


def trained() -> tuple[Autoencoder, TabularData]:
    """An autoencoder whose weights stay as they are in a further fit, and its data."""
    data = TabularData("sklearn:diabetes", target="target", features=["bmi", "bp"], batch_size=64)
    data.setup()
    pl.seed_everything(0, verbose=False)
    model = Autoencoder(**Autoencoder.data_arguments(data), hidden="4", latents=1, learning_rate=1e-12)
    model.set_statistics(data.input_statistics(model.settings.scaling))
    batch = (torch.tensor(data.table("train").inputs, dtype=torch.float32),)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        model.training_step(batch, 0).backward()
        optimizer.step()
    return model, data


def equations(folder: Path) -> list[dict[str, Any]]:
    """The equations of a run without what the clock says."""
    found = read_results(folder)["equations"]
    return [{key: value for key, value in equation.items() if key != "seconds"} for equation in found]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Distillation, Autoencoder, TabularData]:
    """An autoencoder that was distilled at the end of its fit, with a tolerance that lets everything pass."""
    folder = tmp_path_factory.mktemp("run")
    model, data = trained()
    search = Distillation(str(folder), **PASSING)
    fit = trainer(search)
    fit.fit(model, data)
    assert model.trainer is fit
    return folder, search, model, data


def test_encoder_and_decoder_become_equations_of_named_columns(run: Any) -> None:
    folder, search, *_ = run
    found = read_results(folder)["equations"]
    assert [each["problem"] for each in found] == OUTPUTS
    assert [each["target"] for each in found][1:3] == ["bmi_scaled of decoder", "bp_scaled of decoder"]
    text = " ".join(each["infix"] for each in found[:1])
    assert "_scaled" in text
    assert "latent" not in text
    assert all("_scaled" not in each["infix"] for each in found[1:])
    assert [block.replaced for block in search.report_of_blocks.blocks] == [True, True]
    with (folder / "equations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(row["chosen"] == "True" for row in rows) == len(OUTPUTS)


def test_the_losses_and_the_time_stand_side_by_side(run: Any) -> None:
    folder, search, model, data = run
    metrics = read_results(folder)["metrics"]
    inputs = torch.tensor(data.table("test").inputs, dtype=torch.float32)
    batch = (inputs, torch.zeros(len(inputs)))
    module = search.report_of_blocks.module
    with torch.no_grad():
        assert metrics["distill/loss"] == pytest.approx(float(model.eval().training_step(batch, 0)), rel=1e-4)
        assert metrics["distill/loss_tuned"] == pytest.approx(float(module.training_step(batch, 0)), rel=1e-4)
    assert metrics["distill/replaced"] == 1.0
    assert metrics["distill/nodes"] == sum(block.size for block in search.report_of_blocks.blocks)
    assert metrics["distill/loss_equations"] != metrics["distill/loss_tuned"]
    assert metrics["distill/speed"] > 0


def test_the_report_that_is_kept_has_the_constants_that_were_learned(run: Any) -> None:
    folder, search, _, data = run
    again = DistillationReport.load(folder / "distillation")
    inputs = torch.tensor(data.table("test").inputs, dtype=torch.float32)
    with torch.no_grad():
        encoded = [each.get_submodule("encoder")(inputs) for each in (search.report_of_blocks.module,)]
        assert torch.allclose(again.blocks[0].module()(inputs), encoded[0], rtol=1e-5)
    names = [f"{name}_scaled" for name in data.feature_names]
    shown = parse(read_results(folder)["equations"][0]["infix"], names)
    assert shown.constants == pytest.approx(again.blocks[0].outputs[0].expression.constants, rel=1e-6)


def test_the_network_itself_is_as_it_was(run: Any) -> None:
    model = run[2]
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert isinstance(model.encoder, Perceptron)


def test_two_processes_find_what_one_does(run: Any, tmp_path: Path) -> None:
    model, data = trained()
    trainer(Distillation(str(tmp_path), **PASSING), devices=2, strategy="ddp_fork").fit(model, data)
    assert equations(tmp_path) == equations(run[0])
    several, one = (DistillationReport.load(folder / "distillation") for folder in (tmp_path, run[0]))
    assert several.table == one.table


def test_a_search_that_was_cut_off_begins_anew_and_the_others_are_kept(run: Any, tmp_path: Path) -> None:
    folder, _, model, data = run
    shutil.copytree(folder / "search", tmp_path / "search")
    cut = tmp_path / "search" / "decoder_1.json"
    whole = json.loads(cut.read_text())
    cut.write_text(json.dumps(whole | {"stopped": "interrupted", "front": whole["front"][:1]}))
    others = {path: path.stat().st_mtime_ns for path in cut.parent.glob("*_0.json")}
    search = Distillation(str(tmp_path), deferred=True, **PASSING)
    search.search(model.trainer, model, data)
    assert len(others) == 2
    assert others == {path: path.stat().st_mtime_ns for path in others}
    assert equations(tmp_path) == equations(folder)


def test_constants_have_intervals_in_what_is_said_and_kept(run: Any) -> None:
    folder, search, *_ = run
    known = [row for row in DistillationReport.load(folder / "distillation").table if row["intervals"]]
    assert known
    assert all(low < high for row in known for low, high in row["intervals"])
    findings = [(block, output) for block in search.report_of_blocks.blocks for output in block.outputs]
    kept = [parse(each["infix"], NAMES[each["problem"]]) for each in equations(folder)]
    assert [output.expression for _, output in findings] == kept


# --- any LightningModule ----------------------------------------------------------------------------------------


class Plain(pl.LightningModule):
    """A module that names no blocks, logs in its steps, and has data without a table."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(2, 1)
        self.unused = nn.ReLU()

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        inputs, target = batch
        loss = nn.functional.mse_loss(self.body(inputs), target)
        self.log("fit/loss", loss)
        return {"loss": loss}

    def forward(self, inputs: Tensor) -> Tensor:
        return self.body(inputs)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Loaders(pl.LightningDataModule):
    """Rows of a plane."""

    def _loader(self, seed: int) -> DataLoader[Any]:
        inputs = torch.rand((96, 2), generator=torch.Generator().manual_seed(seed))
        return DataLoader(TensorDataset(inputs, inputs.sum(dim=1, keepdim=True)), batch_size=32)

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(0)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(1)


def test_any_module_with_weights_is_written_as_equations(tmp_path: Path) -> None:
    search = Distillation(str(tmp_path), **SHORT)
    torch.manual_seed(0)
    model = Plain()
    trainer(search).fit(model, Loaders())
    [block] = search.report_of_blocks.blocks
    assert block.name == "body"
    assert block.replaced
    weights = model.body.weight[0].tolist()
    equation = search.report_of_blocks.module.body.equations()[0]
    inputs = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    values = equation(inputs)
    assert values[1:] - values[0] == pytest.approx(weights, abs=0.5)
    assert read_results(tmp_path)["metrics"]["distill/loss_tuned"] >= 0


class Mixing(Plain):
    """A module whose six outputs are mixtures of its two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(2, 6)
        self.truth = [copy.deepcopy(self.body)]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return 0.01 + nn.functional.mse_loss(self.body(batch[0]), self.truth[0](batch[0]))


def test_outputs_that_mix_few_factors_are_searched_by_these(tmp_path: Path) -> None:
    torch.manual_seed(0)
    callback, model, fit = Distillation(str(tmp_path), tuning_epochs=0, **SHORT), Mixing(), trainer()
    jobs = callback.jobs(fit, model, Loaders())
    assert [job.label for job in jobs] == ["body_factor_0", "body_factor_1"]
    results = {job: output_search.search(**callback.arguments(job, 1)) for job in jobs}
    first = [job.finding(result) for job, result in results.items()]
    callback.report(first, results, SearchLog(fit), 1.0)
    [block] = callback.report_of_blocks.blocks
    assert block.replaced
    assert [each["problem"] for each in equations(tmp_path)] == [f"body_{k}" for k in range(6)]
    assert all(each["test_r2"] > 0.99 for each in equations(tmp_path))
    inputs = np.random.default_rng(0).random((50, 2)).astype(np.float32)
    values = np.stack([np.broadcast_to(each.expression(inputs), 50) for each in block.outputs], axis=1)
    assert values == pytest.approx(model.body(torch.from_numpy(inputs)).detach().numpy(), abs=0.1)


def test_a_search_asks_its_network() -> None:
    law = parse("sin(3.0*x0) + 2.0*exp(0.5*x1)")
    inputs = np.random.default_rng(0).uniform(-2.0, 2.0, (300, 2))
    table = Table(inputs, law(inputs)[:, None], inputs[:80], law(inputs[:80])[:, None])
    answers = pickled(Answers(EquationModule([law], 2), dtype=torch.float64))
    settings = PortfolioSettings(
        seconds=None, evaluations=200, simplify_seconds=0.0, methods=("genetic_programming",)
    )
    entries: list[dict[str, float]] = []
    found = [
        output_search.search(
            table, 0, each, settings, seed=0, on_generation=lambda entry, _: entries.append(entry)
        )
        for each in (answers, None)
    ]
    asked, unasked = (min(each.error for each in result.front) for result in found)
    assert asked < 1e-3 * unasked
    assert all(each.evaluations >= 200 for each in found)
    stopped = output_search.search(table, 0, None, settings, seed=0, should_stop=lambda: True)
    assert stopped.stopped == "interrupted"
    assert len(stopped.front)


class Exact(Plain):
    """A module whose target is its own output, so that no equation has a loss as low; its body is very uneven."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
        nn.init.normal_(self.body[0].weight, std=20.0, generator=torch.Generator().manual_seed(0))
        self.truth = [copy.deepcopy(self.body)]

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        inputs, _ = batch
        return {"loss": nn.functional.mse_loss(self.body(inputs), self.truth[0](inputs))}


def test_a_block_that_misses_stays_a_network(tmp_path: Path) -> None:
    search = Distillation(str(tmp_path), tolerance=0.0, **(SHORT | {"evaluations": 20}))
    trainer(search).fit(Exact(), Loaders())
    metrics = read_results(tmp_path)["metrics"]
    assert metrics["distill/replaced"] == 0.0
    assert metrics["distill/loss_equations"] > metrics["distill/loss"] == 0.0
    assert search.report_of_blocks.module.body[0].weight.shape == (16, 2), "the block is the network's own"
    assert search.report_of_blocks.blocks[0].loss_alone > search.report_of_blocks.loss_limit


def prepared(model: nn.Module, search: list[Any], judge: list[Any], step: Callable[..., Any]) -> Preparation:
    return Preparation(model, search, judge, ["0"], step=step, seed=0)


def chosen(searches: Preparation, *texts: str) -> DistillationReport:
    """The report, where these equations were found for the only output."""
    [form] = searches.forms("0")
    rivals = searches.rivals_of("0", form, [[parse(each) for each in texts]])
    return searches.report({"0": [rivals]}, tolerance=0.01)


def test_an_equation_without_the_derivative_that_a_loss_takes_is_not_chosen() -> None:
    """A constant has no derivative by the inputs, so that PyTorch refuses the loss."""

    def step(network: nn.Module, batch: Tensor) -> Tensor:
        inputs = batch.clone().requires_grad_()
        [slope] = torch.autograd.grad(network(inputs).sum(), inputs, create_graph=True)
        return (slope - 2.0).square().mean()

    model = nn.Sequential(nn.Linear(1, 1))
    nn.init.constant_(model[0].weight, 1.8)
    nn.init.constant_(model[0].bias, 0.1)
    batches = [torch.rand(16, 1) for _ in range(4)]
    found = chosen(prepared(model, batches[:3], batches[3:], step), "1.5", "2.0*x0")
    assert [each.expression.infix() for each in found.blocks[0].outputs] == ["2*x0"]
    assert found.loss_after == pytest.approx(0.0, abs=1e-9)


def test_a_refused_block_is_taken_after_all_where_its_constants_can_learn_enough() -> None:
    model = nn.Sequential(nn.Linear(1, 1))
    nn.init.constant_(model[0].weight, 0.8)
    nn.init.constant_(model[0].bias, 0.3)
    inputs = torch.rand((256, 1), generator=torch.Generator().manual_seed(0))
    batches = [(each, model(each).detach() + 0.01) for each in inputs.split(8)]

    def step(network: nn.Module, batch: Any) -> Tensor:
        return nn.functional.mse_loss(network(batch[0]), batch[1])

    slope, offset = float(model[0].weight.detach()), float(model[0].bias.detach())
    near = f"{1.05 * slope}*x0 + {0.97 * offset}"
    searches = prepared(model, batches[:24], batches[24:], step)
    found = chosen(searches, near)
    assert not found.blocks[0].replaced
    rows = RowBatches(batches[:24], batches[24:], batches[24:])
    kept, before = compared(model, found, searches.tables, rows, step, epochs=0)
    assert not kept.blocks[0].replaced
    assert "distill/loss_tuned" not in before
    taken, after = compared(model, found, searches.tables, rows, step, epochs=20)
    assert taken.blocks[0].replaced
    assert taken.loss_after <= found.loss_limit
    assert after["distill/loss_tuned"] < before["distill/loss_equations"] == after["distill/loss_equations"]


def test_every_rank_has_the_same_searches(tmp_path: Path) -> None:
    data = TabularData("sklearn:diabetes", target="target", features=["bmi", "bp"], batch_size=64)
    data.setup()
    model = Autoencoder(**Autoencoder.data_arguments(data), hidden="4")
    several = [Distillation(str(tmp_path), **SHORT).jobs(trainer(), model, data) for _ in range(2)]
    assert [each.identity for each in several[0]] == [each.identity for each in several[1]]
    assert len({each.identity for each in several[0]}) == len({each.label for each in several[0]}) == 4


# --- what is refused --------------------------------------------------------------------------------------------


def test_what_cannot_be_distilled_gets_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"search.blocks=\[\] is not allowed: it must be a list of blocks"):
        Distillation(str(tmp_path), blocks=[])
    data = TabularData("sklearn:diabetes", target="target", features=["bmi", "bp"], batch_size=64)
    data.setup()
    model = Autoencoder(**Autoencoder.data_arguments(data), hidden="4")
    search = Distillation(str(tmp_path), deferred=True, blocks=["encodr"], **SHORT)
    fit = trainer(search)
    fit.fit(model, data)
    with pytest.raises(UserError, match="no block 'encodr'; did you mean encoder"):
        search.search(fit, model)
    with pytest.raises(UserError, match="forked processes"):
        search.find_and_report(fit, model, None)

    class Four:
        world_size = 4

    with pytest.raises(UserError, match="the data of Loaders are no table that 4 processes could share"):
        row_batches(Loaders(), Four(), seed=0)  # type: ignore[arg-type]


# --- the command ------------------------------------------------------------------------------------------------


def test_the_command_writes_all_of_an_autoencoder_as_equations(command: Callable, tmp_path: Path) -> None:
    ended = command(*COMMAND, "logger=wandb", "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    assert "test loss" in ended.out
    metrics = json.loads((tmp_path / "run/results.json").read_text())["metrics"]
    assert {"distill/loss", "distill/replaced", "distill/nodes"} <= set(metrics)
    assert logged(tmp_path)["distill/loss"] == pytest.approx(metrics["distill/loss"])
    again = command("resume=run")  # nothing is searched twice
    assert again.code == 0, again.err
    assert "searching equations" not in again.out


def logged(folder: Path) -> dict[str, Any]:
    """The summary of the run in W&B, which writes in a process of its own."""
    (path,) = (folder / "logs" / "wandb").glob("offline-run-*/*.wandb")
    deadline, records = time.monotonic() + 60, []  # type: ignore[var-annotated]
    while not any(record.WhichOneof("record_type") == "exit" for record in records):
        assert time.monotonic() < deadline
        time.sleep(0.1)
        records = list(wandb_records(path))
    return wandb_summary(records)


def test_other_models_have_searches_of_their_own(command: Callable) -> None:
    ended = command("model=gmeql", "search=distill")
    assert ended.code == 2
    assert "search=distill explains model=autoencoder, not model=gmeql" in ended.err

"""Blocks of a network as equations: recorded, searched, chosen by the loss, put in place, kept in a folder."""

from __future__ import annotations

import copy
import pickle
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import discover
from distillation.blocks.layout import Layout
from distillation.blocks.recording import named_blocks, record
from distillation.blocks.slopes import slopes_of
from distillation.choosing.greedy import Rivals, choose
from distillation.choosing.sizes import shared_size
from distillation.fitting.factors import factors_of, mixed, rank_of
from distillation.fitting.outputs import Front, judged, search_outputs
from distillation.fitting.table import Table
from distillation.fitting.tidying import tidied
from distillation.parent.batches import batches_of
from distillation.parent.judge import Parent
from distillation.parent.network_files import guessed_equations, network_in_file
from distillation.report import DistillationReport
from expressions.complexity import complexity
from expressions.equivalence import equivalent
from expressions.expression import Expression
from expressions.parsing import parse
from foundation.errors import UserError
from rediscover import distill, load
from searches.pareto_front import Candidate
from searches.portfolio import PortfolioSettings
from tests.fuzz.distilled import report

ROWS = 200
X = torch.from_numpy(np.random.default_rng(0).uniform(-2, 2, (ROWS, 2)).astype(np.float32))


class Line(nn.Module):
    """A straight line of two columns, with two outputs, one of which is constant."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([2.0, -3.0]))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        line = x @ self.slope + 1.0
        return torch.stack([line, torch.full_like(line, 0.5)], dim=-1)


class Model(nn.Module):
    """An encoder that is a line, a layer that is called twice, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = Line()
        self.middle = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)
        self.head = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(self.middle(self.middle(self.encoder(x)))))
        return out


def call(model: nn.Module) -> Any:
    return lambda batch: model(batch)


# --- rows of a table ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "made", "features", "width", "rows"),
    [
        ([(5, 3)], (5, 2), 3, 2, 5),
        ([(5, 4, 3)], (5, 4, 2), 3, 2, 20),
        ([(5, 4, 3)], (5, 2), 12, 2, 5),
        ([(5, 3), (5, 1)], (5, 2), 4, 2, 5),
        ([(5, 4, 3), (5, 1, 2)], (5, 4, 2), 5, 2, 20),
        ([(5, 3)], (5,), 3, 1, 5),
        ([(5,), (5,)], (5,), 2, 1, 5),
        ([(3,)], (2,), 3, 2, 1),
        ([(5, 3), ()], (5, 2), 4, 2, 5),
    ],
)
def test_tensors_of_a_call_are_rows_and_come_back(
    given: list[tuple[int, ...]], made: tuple[int, ...], features: int, width: int, rows: int
) -> None:
    tensors, output = [torch.rand(shape) for shape in given], torch.rand(made)
    layout = Layout.of_call(tensors, output)
    assert (layout.features, layout.width) == (features, width)
    assert layout.rows(tensors).shape == (rows, features)
    leading = layout.leading(tensors)
    table = layout.output_rows(output, leading)
    assert table.shape == (rows, width)
    assert torch.equal(layout.restored(table, leading), output)


def test_several_outputs_are_columns_side_by_side() -> None:
    x, made = torch.rand(4, 3), (torch.rand(4, 2), torch.rand(4))
    layout = Layout.of_call([x], made)
    assert layout.width == 3
    back = layout.restored(layout.output_rows(made, layout.leading([x])), torch.Size([4]))
    assert isinstance(back, tuple)
    assert all(torch.equal(one, other) for one, other in zip(made, back, strict=True))


def test_a_block_that_mixes_rows_is_refused() -> None:
    with pytest.raises(UserError, match="row by row"):
        Layout.of_call([torch.rand(5, 3)], torch.rand(3))


# --- recording ---------------------------------------------------------------------------------------------------


def test_every_call_is_recorded_over_all_batches() -> None:
    model = Model().eval()
    blocks = named_blocks(model, ["middle", "encoder"])
    found = record(blocks, [X[:50], X[50:]], call(model), seed=0)
    middle = found["middle"]
    assert (middle.calls, middle.rows) == (4, 2 * ROWS)
    once = model.encoder(X).detach()
    twice = model.middle(once).detach()
    expected = torch.cat([once[:50], twice[:50], once[50:], twice[50:]])
    assert np.allclose(middle.inputs, expected.numpy(), atol=1e-5)
    assert np.allclose(middle.outputs, model.middle(expected).detach().numpy(), atol=1e-5)
    assert found["encoder"].calls == 2


def test_of_many_rows_some_are_drawn_from_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distillation.blocks.recording.MOST_ROWS", 40)
    model = Line()
    batches = [torch.full((100, 2), float(number)) for number in range(10)]
    found = record({"": model}, batches, call(model), seed=0)[""]
    assert (len(found.inputs), found.rows) == (40, 1000)
    assert len(np.unique(found.inputs[:, 0])) >= 7
    assert np.allclose(found.outputs[:, 0], 1.0 - found.inputs[:, 0])


def test_batches_are_split_whole_by_whole() -> None:
    batches = [torch.full((3, 1), float(number)) for number in range(12)]
    split = batches_of(batches, seed=0)
    search, judge = ([float(each[0, 0]) for each in part] for part in (split.search, split.judge))
    assert sorted(search + judge) == list(range(12))
    assert len(judge) == 3
    assert batches_of(batches, seed=0).judge[0] is split.judge[0]


def test_tensors_are_cut_into_batches_of_the_same_rows() -> None:
    split = batches_of((X, X.sum(dim=1)), seed=1)
    parts = [*split.search, *split.judge]
    assert sum(len(x) for x, _ in parts) == ROWS
    assert all(torch.equal(x.sum(dim=1), y) for x, y in parts)
    assert {float(each[0, 0]) for each, _ in split.search}.isdisjoint(
        {float(each[0, 0]) for each, _ in split.judge}
    )


class Data:
    """What a DataModule has, as far as it is asked."""

    def prepare_data(self) -> None: ...

    def setup(self, stage: str) -> None:
        assert stage == "fit"
        self.ready = True

    def train_dataloader(self) -> list[Tensor]:
        assert self.ready
        return [X[:60], X[60:120]]

    def val_dataloader(self) -> list[Tensor]:
        return [X[120:]]


def test_the_validation_data_of_a_datamodule_judge() -> None:
    split = batches_of(Data(), seed=0)
    assert [len(each) for each in split.search] == [60, 60]
    assert [len(each) for each in split.judge] == [80]


# --- the parent --------------------------------------------------------------------------------------------------


def test_the_parent_is_left_as_it_was() -> None:
    model = Model()
    model.train()
    model.head.eval()
    model(X).sum().backward()
    modes = {name: each.training for name, each in model.named_modules()}
    state = {name: value.clone() for name, value in model.state_dict().items()}
    grads = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002
    draws = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    distill(model, X, blocks=["encoder"], seconds=1.0)
    assert modes == {name: each.training for name, each in model.named_modules()}
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(each.grad, grads[name]) for name, each in model.named_parameters() if name in grads)
    assert not any(each._forward_hooks for each in model.modules())
    assert torch.equal(torch.get_rng_state(), draws[0])
    assert np.array_equal(np.random.get_state()[1], draws[1])  # noqa: NPY002
    assert random.getstate() == draws[2]


def test_what_is_no_argument_of_the_network_is_a_target() -> None:
    model = Line()
    target = model(X).detach() + 0.5
    parent = Parent(model, [(X, target)])
    assert not parent.measures_itself
    assert parent.losses(model) == pytest.approx(0.25)
    weighted = Parent(model, [(X, target, 3.0)], loss=lambda out, y, factor: factor * (out - y).abs().mean())
    assert weighted.losses(model) == pytest.approx(1.5)
    own = Parent(model, [{"x": X, "label": torch.zeros(ROWS, dtype=torch.long)}])
    assert own.measures_itself
    assert own.losses(model) == 0.0
    assert own.losses(lambda x: model(x) * 0 + model(X).mean()) == pytest.approx(1.0)  # type: ignore[arg-type]


def test_a_step_may_take_derivatives() -> None:
    def step(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
        x = batch.clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(x)[:, 0].sum(), x, create_graph=True)
        return {"loss": (slope[:, 0] - 2.0).square().mean() + 1.0}

    assert Parent(Line(), [X], step=step).losses(Line()) == pytest.approx(1.0)


# --- the choice --------------------------------------------------------------------------------------------------


def front(table: Table, place: int, *texts: str) -> Front:
    return Front(tuple(judged([parse(text) for text in texts], table, place)), 0.0)


def tables(model: nn.Module, x: Tensor = X) -> Table:
    outputs = model(x).detach().double().numpy()
    return Table(x.double().numpy(), outputs, x.double().numpy(), outputs)


class Two(nn.Module):
    """Two blocks one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Line(), nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x))
        return out


def test_the_smallest_equations_that_the_loss_allows_are_chosen() -> None:
    model = Two().eval()
    layout = Layout(((2,),), ((2,),))
    table = tables(model.first)
    fronts = (
        front(table, 0, "1.0", "2*x0 - 3*x1 + 1.01", "2*x0 - 3*x1 + 1 + 1e-4*sin(x0)", "2*x0 - 3*x1 + 1"),
        front(table, 1, "0.5"),
    )
    y = model(X).detach() + torch.randn(ROWS, 1, generator=torch.Generator().manual_seed(0))
    parent = Parent(model, [(X, y)])
    rivals = {"first": [Rivals(layout, fronts, torch.float32)]}
    exact = choose(parent, rivals, tolerance=0.01)
    assert exact.blocks["first"].replaced
    assert exact.after <= exact.limit == pytest.approx(1.01 * exact.before)
    assert exact.blocks["first"].expressions[0] == fronts[0].candidates[1].expression
    rough = choose(parent, rivals, tolerance=1e3)
    assert rough.blocks["first"].expressions[0] == parse("1.0")
    assert isinstance(model.first, Line), "the model has its own blocks again"


def test_a_block_that_no_equation_reproduces_stays_a_network() -> None:
    model = Two().eval()
    y = model(X).detach() + 0.1
    parent = Parent(model, [(X, y)])
    bad = (front(tables(model.first), 0, "1.0", "2*x0"), front(tables(model.first), 1, "0.5"))
    second = tables(model.second, model.first(X).detach())
    weights = [*model.second.weight[0].tolist(), *model.second.bias.tolist()]
    good = (front(second, 0, "{}*x0 + {}*x1 + {}".format(*weights).replace("+ -", "- ")),)
    found = choose(
        parent,
        {
            "first": [Rivals(Layout(((2,),), ((2,),)), bad, torch.float32)],
            "second": [Rivals(Layout(((2,),), ((1,),)), good, torch.float32)],
        },
        tolerance=0.01,
    )
    assert not found.blocks["first"].replaced
    assert found.blocks["first"].loss_alone > found.limit
    assert found.blocks["second"].replaced
    assert found.after == pytest.approx(found.before, rel=1e-3)


def test_where_only_the_network_judges_the_description_is_short_and_no_rough_equation_a_law() -> None:
    model = Line().eval()
    table = tables(model)
    fronts = (front(table, 0, "2.02*x0 - 3*x1 + 1", "2*x0 - 3*x1", "2*x0 - 3*x1 + 1"), front(table, 1, "0.5"))
    parent = Parent(model, [X])
    found = choose(parent, {"": [Rivals(Layout(((2,),), ((2,),)), fronts, torch.float32)]}, tolerance=0.2)
    assert parent.measures_itself
    assert found.blocks[""].expressions[0] == parse("2*x0 - 3*x1 + 1")


def test_what_equations_share_counts_once() -> None:
    both = [parse("sin(x0*x1) + 1.5"), parse("2.5*sin(x0*x1)")]
    assert shared_size(both) == 2 + 2 + 2 + 2  # x0, x1; the product and its sine; two constants; a sum, a product
    assert shared_size([Expression.constant(0.5)]) == 1


# --- all of it ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def distilled() -> tuple[Model, DistillationReport]:
    model = Model()
    y = model.eval()(X).detach() + 0.1
    return model, distill(model, (X, y), blocks=["encoder", "head"], seconds=8.0)


def test_blocks_that_are_lines_become_lines(distilled: tuple[Model, DistillationReport]) -> None:
    model, found = distilled
    assert [row["block"] for row in found.table] == ["encoder", "encoder", "head"]
    assert all(row["replaced"] and row["r2"] > 0.9999 for row in found.table)
    assert found.table[1]["equation"] == "0.5"
    assert found.loss_after <= found.loss_limit
    assert found.module is not None
    assert torch.allclose(found.module(X), model(X), atol=2e-2)
    assert isinstance(model.encoder, Line)
    constants = list(found.module.encoder.parameters())
    found.module(X).sum().backward()
    assert constants
    assert all(each.grad is not None for each in constants)


def test_a_report_comes_back_from_its_folder(distilled: tuple[Model, DistillationReport], tmp_path: Path) -> None:
    model, found = distilled
    found.save(tmp_path)
    again = DistillationReport.load(tmp_path)
    assert again.table == found.table
    assert again == load(tmp_path)
    assert found.module is not None
    assert torch.allclose(again.apply(model)(X), found.module(X), atol=1e-6)


def test_constants_are_kept_as_the_module_has_them(
    distilled: tuple[Model, DistillationReport], tmp_path: Path
) -> None:
    _, found = distilled
    assert found.module is not None
    head = found.module.get_submodule("head")
    before = head.equations()[0].constants.copy()
    with torch.no_grad():
        for each in head.parameters():
            each.mul_(2.0)
    try:
        found.save(tmp_path)
        kept = DistillationReport.load(tmp_path).blocks[1].outputs[0].expression
        assert np.allclose(kept.constants, 2.0 * before)
    finally:
        with torch.no_grad():
            for each in head.parameters():
                each.div_(2.0)


def test_constants_are_read_back_rounded_and_with_intervals(
    distilled: tuple[Model, DistillationReport], tmp_path: Path
) -> None:
    """As after fine-tuning: a constant has other digits, of which the loss needs few."""
    model = copy.deepcopy(distilled[0])
    y = model.eval()(X).detach() + 0.1
    first = distill(model, (X, y), blocks=["head"], seconds=2.0, seed=1)
    assert first.module is not None
    constants = first.module.get_submodule("head").formulas.constants
    with torch.no_grad():
        constants.mul_(1.0 + 1e-5)
    learned = constants.detach().double().numpy().copy()
    found = first.read_back()
    [row] = found.table
    rounded = found.blocks[0].outputs[0].expression.constants
    assert np.array_equal(found.module.head.equations()[0].constants, rounded)
    assert max(len(f"{value:.12g}".lstrip("-0.")) for value in rounded) <= 5
    assert rounded == pytest.approx(learned, rel=1e-2)
    assert found.loss_after <= min(found.loss_limit, first.loss_after * 1.01)
    assert found.loss_after == pytest.approx(float(nn.functional.mse_loss(found.module(X), y).detach()), rel=0.1)
    assert np.mean(row["intervals"], axis=1) == pytest.approx(row["constants"], rel=1e-3)
    assert row["constants"] == pytest.approx(learned, rel=1e-4)
    assert "(constants, 95 %)" in str(found)
    found.save(tmp_path)
    again = DistillationReport.load(tmp_path)
    assert again.table == found.table
    with pytest.raises(UserError, match="no data to read constants back by"):
        again.read_back()
    with torch.no_grad():
        constants.mul_(2.0)
    found.save(tmp_path)  # the constants are now others, and nobody has asked for their intervals
    assert DistillationReport.load(tmp_path).table[0]["intervals"] == []


def test_of_a_whole_model_with_targets_the_probability_of_a_law_is_told() -> None:
    rng = np.random.default_rng(5)
    y = torch.from_numpy((2.0 * X[:, 0] - 3.0 * X[:, 1]).numpy() + rng.normal(0, 0.3, ROWS).astype(np.float32))
    with_targets = distill(lambda x: 2.0 * x[:, 0] - 3.0 * x[:, 1], (X, y), seconds=4.0).table
    assert with_targets[0]["p_law"] > 0.5
    line = distill(lambda x: 2.0 * x[:, 0], (X, y), seconds=4.0).table
    assert line[0]["p_law"] < with_targets[0]["p_law"]
    assert distill(lambda x: 2.0 * x[:, 0], X, seconds=4.0).table[0]["p_law"] is None


def test_a_function_and_a_model_without_targets_are_measured_against_themselves() -> None:
    found = distill(lambda x: 3.0 * x[:, 0] - x[:, 1], X, seconds=4.0)
    assert found.loss_before == 0.0
    assert found.blocks[0].replaced
    assert found.blocks[0].outputs[0].r2 > 0.99999
    assert found.module is not None
    assert found.module(X).shape == (ROWS,)
    assert "misses" not in str(found)


# --- one sentence ------------------------------------------------------------------------------------------------


class Odd(nn.Module):
    """A model with blocks that cannot be written as equations."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(3, 2)
        self.encoder = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
        self.noise, self.nothing, self.bad = Noise(), Nothing(), Bad()
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        words = self.words((x[:, 0] > 0).long())
        self.nothing(x)
        out: Tensor = self.encoder(x) + words + self.noise(x) + torch.nan_to_num(self.bad(x))
        return out


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5, training=True)


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> str:
        return "nothing"


class Bad(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.log()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"blocks": ["encodr"]}, "no block 'encodr'; did you mean encoder?"),
        ({"blocks": ["words"]}, "'words' is given tensors of type int64"),
        ({"blocks": ["noise"]}, "'noise' gives other values for the same inputs"),
        ({"blocks": ["nothing"]}, "'nothing' gives a str, no tensor"),
        ({"blocks": ["bad"]}, "'bad' gives values that are not finite"),
        ({"blocks": ["unused"]}, "'unused' is never called"),
        ({"blocks": ["encoder", "encoder.0"]}, "'encoder.0' is part of 'encoder'"),
        ({"blocks": []}, "names no block"),
        ({"seconds": 0.1}, "seconds=0.1 is not allowed"),
        ({"tolerance": -1.0}, "tolerance=-1 is not allowed"),
        ({"workers": 0}, "workers=0 is not allowed"),
        ({"seed": -1}, "seed=-1 is not allowed"),
        ({"operators": ["add", "sine"]}, "sine"),
        ({"loss": nn.MSELoss(), "step": lambda model, batch: 0.0}, "loss and step are both given"),
    ],
)
def test_a_mistake_is_one_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        distill(Odd().eval(), X, **{"seconds": 2.0, **options})
    assert "\n" not in str(error.value)


def test_dropout_in_training_mode_and_data_that_are_none_are_refused() -> None:
    with pytest.raises(UserError, match=r"has dropout and is in training mode.*call model.eval\(\) first"):
        distill(Odd().train(), X, blocks=["encoder"], seconds=2.0)
    with pytest.raises(UserError, match="data of type int"):
        distill(Line(), 5, seconds=2.0)
    with pytest.raises(UserError, match="holds no batch"):
        distill(Line(), [], seconds=2.0)
    with pytest.raises(UserError, match=r"have \[3, 4\] rows"):
        distill(Line(), (torch.rand(3, 2), torch.rand(4)), seconds=2.0)


# --- a stranger's folder -----------------------------------------------------------------------------------------


class Trap:
    """What runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_hostile_folder_runs_nothing(tmp_path: Path) -> None:
    folder, mark = tmp_path / "report", tmp_path / "mark"
    report().save(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(files) == {"distillation.json", "constants.safetensors"}
    for name, content in files.items():
        (folder / name).write_bytes(pickle.dumps(Trap(mark)))
        with pytest.raises(UserError):
            DistillationReport.load(folder)
        (folder / name).unlink()
        elsewhere = tmp_path / name
        elsewhere.write_bytes(content)
        (folder / name).symlink_to(elsewhere)
        with pytest.raises(UserError, match="symbolic link"):
            DistillationReport.load(folder)
        (folder / name).unlink()
        with pytest.raises(UserError, match="there is no file"):
            DistillationReport.load(folder)
        (folder / name).write_bytes(content)
    assert DistillationReport.load(folder) == report()
    assert not mark.exists()


def test_a_report_is_put_into_no_model_without_its_blocks() -> None:
    with pytest.raises(UserError, match="no block 'encoder'"):
        report().apply(nn.Sequential(nn.Linear(3, 2)))


def test_candidates_that_are_not_finite_on_the_rows_that_judge_are_left_out() -> None:
    x = np.linspace(0.5, 2.0, 50)[:, None]
    table = Table(x, np.log(x), -x, np.log(x))
    found = judged([parse("log(x0)"), parse("x0 - 1")], table, 0)
    assert [each.expression for each in found] == [parse("x0 - 1")]
    assert isinstance(found[0], Candidate)


# --- outputs that are mixtures of factors ------------------------------------------------------------------------


class Mixtures(nn.Module):
    """Twelve outputs that are mixtures of x0^2, sin(x1) and x0*x2."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.mix = nn.Linear(3, 12)
        with torch.no_grad():
            self.mix.weight.copy_(torch.randn(12, 3, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.stack([x[..., 0].square(), x[..., 1].sin(), x[..., 0] * x[..., 2]], dim=-1)
        out: Tensor = self.mix(hidden)
        return out


X3 = torch.from_numpy(np.random.default_rng(1).uniform(-2, 2, (600, 3)).astype(np.float32))


def test_factors_are_told_apart_by_the_inputs_that_they_depend_on() -> None:
    model = Mixtures().eval()
    table = tables(model, X3)
    assert rank_of(table.outputs) == 3
    slopes = slopes_of(model, Layout(((3,),), ((12,),)), torch.device("cpu"))
    found = factors_of(table, 3, slopes, seed=0)
    assert found.table.columns == ((0,), (1,), (0, 2))
    x = table.inputs
    for place, law in enumerate((x[:, 0] ** 2, np.sin(x[:, 1]))):
        assert abs(np.corrcoef(found.table.outputs[:, place], law)[0, 1]) > 1 - 1e-6


def test_slopes_are_derivatives_of_mixtures() -> None:
    model = Mixtures().eval()
    weights = np.linalg.pinv(model.mix.weight.detach().double().numpy()).T  # mixtures that are the hidden factors
    x = X3.double().numpy()
    slopes = slopes_of(model, Layout(((3,),), ((12,),)), torch.device("cpu"))(x, weights)
    zero = np.zeros(len(x))
    expected = np.stack([
        np.stack([2 * x[:, 0], zero, zero], axis=1),
        np.stack([zero, np.cos(x[:, 1]), zero], axis=1),
        np.stack([x[:, 2], zero, x[:, 0]], axis=1),
    ], axis=1)  # fmt: skip
    assert np.allclose(slopes, expected, atol=1e-4)


def test_a_mixture_is_solved_and_has_no_term_that_plays_no_part() -> None:
    x = X3.double().numpy()
    outputs = np.stack([2 * np.sin(x[:, 0]) + 1, np.sin(x[:, 0]) - 3 * x[:, 1] ** 2], axis=1)
    found = mixed([parse("sin(x0)"), parse("x1**2")], Table(x, outputs, x, outputs))
    assert np.allclose(found.weights, [[2, 0], [1, -3]])
    assert np.allclose(found.offsets, [1, 0])
    first, second = found.outputs()
    assert first.variables == (0,)
    assert np.allclose(second(x), outputs[:, 1])


def test_a_block_of_mixtures_is_written_with_shared_factors() -> None:
    model = Mixtures().eval()
    layout = Layout(((3,),), ((12,),))
    table = tables(model, X3)
    factors = factors_of(table, 3, slopes_of(model, layout, torch.device("cpu")), seed=0).table
    laws = [parse(text) for text in ("x0**2", "sin(x1)", "x0*x2")]
    equations = mixed(laws, factors).outputs()  # with factors and offsets of their own, as a search finds them
    fronts = tuple(Front(tuple(judged([each], factors, place)), 0.0) for place, each in enumerate(equations))
    form = Rivals(layout, fronts, torch.float32, lambda found: mixed(found, table).outputs())
    found = choose(Parent(model, [X3]), {"": [form]}, tolerance=0.01).blocks[""]
    assert found.replaced
    assert all(
        np.allclose(each(table.inputs), output, atol=1e-3)
        for each, output in zip(found.expressions, table.outputs.T, strict=True)
    )
    assert shared_size(found.expressions) <= 12 * (3 * 3 + 2) + 10, "a product and a sum a weight; the laws once"


def test_outputs_that_are_no_mixtures_are_told() -> None:
    x = X3.double().numpy()
    assert rank_of(np.stack([x[:, 0], x[:, 1], x[:, 0] * x[:, 1]], axis=1)) == 3
    assert rank_of(np.stack([x[:, 0], np.ones(len(x)), 2 * x[:, 0]], axis=1)) == 1


# --- tidy equations ----------------------------------------------------------------------------------------------


def test_constants_that_only_follow_the_network_go_and_others_stay() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(-2, 2, (1500, 2))
    wiggle = 3e-3 * np.sin(3 * x[:, 0] + 2 * x[:, 1])  # how a network errs
    target = x[:, 1] * np.sin(x[:, 0]) + 0.5 * x[:, 0] ** 2 + 0.08 * x[:, 1] + wiggle
    table = Table(x, target[:, None], x, target[:, None])
    fitted = parse("0.9997*x1*sin(x0) + 0.4999*x0**2 + 0.0801*x1 + 2e-4")
    [(own, form), *_] = tidied(list(judged([fitted], table)), x, target, seconds=60.0)
    assert own.expression == fitted
    assert equivalent(form, parse("x1*sin(x0) + 0.5*x0**2 + 0.08*x1"), x)
    assert complexity(form) < complexity(fitted)


def test_equations_that_are_accurate_in_float64_alone_are_left_out() -> None:
    x = np.linspace(0.5, 2.0, 200)[:, None]
    table = Table(x, x**2, x, x**2)
    cancelling = parse("(x0**2 + 1e9) - 1e9 + 1e-9*x0")
    found = judged([cancelling, parse("0.99*x0**2 + 0.02")], table)
    assert [each.expression for each in found] == [parse("0.99*x0**2 + 0.02")]


# --- files, processes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["onnx", "safetensors", "torch"])
def test_a_network_of_several_inputs_comes_from_a_file(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 2)).eval()
    path = tmp_path / f"net.{kind}"
    if kind == "onnx":
        torch.onnx.export(network, (torch.rand(1, 3),), path, dynamo=False, input_names=["x"])
    elif kind == "safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save(network.state_dict(), path)
    read = network_in_file(path, "gelu")
    assert [type(each) for each in read] == [type(each) for each in network]
    assert torch.allclose(read(X3), network(X3), atol=1e-6)
    found = distill(path, X3, blocks=["4"], activation="gelu", seconds=2.0)
    assert min(each.r2 for each in found.blocks[0].outputs) > 0.9999


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        distill(tmp_path / "none.onnx", X, seconds=2.0)
    with pytest.raises(UserError, match="type int cannot be called"):
        distill(3, X, seconds=2.0)  # type: ignore[arg-type]


def test_several_processes_share_the_outputs() -> None:
    table = tables(Line(), X)
    outputs = np.column_stack([table.outputs, table.inputs @ [1.0, 2.0]])
    fronts = search_outputs(
        replace(table, outputs=outputs, judge_outputs=outputs), PortfolioSettings(), seconds=0.5, seed=0, workers=2
    )
    assert [front.best.error < 1e-9 for front in fronts] == [True] * 3
    assert fronts[1].best.expression == parse("0.5")


def test_a_file_and_a_table_are_enough_at_the_door(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    with torch.no_grad():
        network[0].weight.mul_(1e-3)  # where tanh is a line
        network[2].weight.mul_(1e3)
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    rows = np.column_stack([X.numpy(), network(X).detach().numpy()])
    np.savetxt(tmp_path / "rows.csv", rows, delimiter=",", header="mass,speed,energy", comments="")
    words = ["network", str(tmp_path / "net.safetensors"), "--table", str(tmp_path / "rows.csv"), "--seconds", "4"]
    assert discover.main([*words, "--out", str(tmp_path / "report")]) == 0
    said = capsys.readouterr().out
    assert re.search(r"y0 = .*mass.*speed", said)
    assert re.search(r"± .*\(constants, 95 %\)", said)
    report = load(tmp_path / "report")
    assert isinstance(report, DistillationReport)
    assert report.table[0]["r2"] > 0.9999
    assert len(report.table[0]["intervals"]) == len(report.table[0]["constants"]) > 1
    np.savetxt(tmp_path / "rows.csv", rows[:, :1], delimiter=",", header="mass", comments="")
    assert discover.main(words) == 2
    assert "has 1 columns that vary" in capsys.readouterr().err


def test_a_network_of_one_input_begins_with_the_guess_of_the_reader(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    assert guessed_equations(tmp_path / "net.safetensors", "tanh")
    wide = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    save_file(wide.state_dict(), tmp_path / "wide.safetensors")
    assert guessed_equations(tmp_path / "wide.safetensors", "tanh") == []

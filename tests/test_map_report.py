"""The report on a map: components, ways between equations and their smoothness, files, and what W&B would get."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from callbacks.map_report import MapReport
from datamodules.equations import Equations
from expressions.operators import LEADING, leading_family
from expressions.parsing import parse
from expressions.skeleton import Skeleton, skeleton_of
from foundation.errors import UserError
from modules.cvae import CVAE
from modules.networks.equation_map.latent_map import LatentMap
from reports.map_figures import Course, atlas, interpolations
from reports.map_interpolation import Interpolation, interpolate, interpolation_metrics
from reports.map_metrics import Sample, mean_value, neighbour_metrics, principal_components, samples_of
from tests.latent_maps import CodeMap

PNG = b"\x89PNG\r\n\x1a\n"
TINY: dict[str, Any] = {"width": 16, "queries": 2, "heads": 2, "encoder_layers": 1, "equation_layers": 1}
TINY |= {"decoder_layers": 1, "prefix": 1, "latents": 4}
POWERS = [skeleton_of(parse(text)) for text in ("x0", "x0**2", "x0**3", "x0**4", "x0**5", "x0**6")]


def line_map(skeletons: Sequence[Skeleton]) -> CodeMap:
    """Equations in a row, evenly spaced."""
    found = CodeMap(skeletons, latents=2, variables=1)
    found.code = np.stack([np.linspace(0.0, 1.0, len(skeletons)), np.zeros(len(skeletons))], axis=1)
    return found


def sample(text: str, seed: int = 0) -> Sample:
    equation = parse(text)
    inputs = np.random.default_rng(seed).uniform(0.2, 2.0, (80, max(1, text.count("x1") + 1)))
    return Sample(inputs, equation(inputs), skeleton_of(equation))


def test_families() -> None:
    def of(text: str) -> str:
        return leading_family(parse(text).tokens.tolist())

    assert [
        of(text) for text in ("sin(x0)/x1", "exp(sqrt(x0))", "sin(log(x0))", "sqrt(x0)/x1", "1/x0", "x0*x1**2")
    ] == [*LEADING]
    assert of("sin(x0)/sqrt(x1)") == "trigonometric"


def test_components_are_the_directions_of_largest_variance() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 2)) * (3.0, 1.0)
    turned = points @ np.array([[0.6, 0.8], [-0.8, 0.6]]) + 7.0
    found, shares = principal_components(np.concatenate([turned, np.zeros((500, 3))], axis=1))
    assert np.abs(np.corrcoef(found[:, 0], points[:, 0])[0, 1]) > 0.999
    assert found.std(axis=0) == pytest.approx(points.std(axis=0), rel=0.02)
    assert sum(shares) == pytest.approx(1.0)
    assert principal_components(np.ones((4, 1)))[1] == [0.0, 0.0]


def test_neighbours_of_another_skeleton() -> None:
    kinds = ("sin(x0)", "cos(x0)", "exp(x0)", "log(x0)")
    skeletons = [skeleton_of(parse(text)) for text in kinds for _ in range(2)]
    near = np.repeat([[0.0], [1.0], [10.0], [11.0]], 2, axis=0)
    means = np.repeat([-0.5, -0.5, 0.9, 0.9], 2)
    found = neighbour_metrics(near, skeletons, means)
    assert found["test/neighbour_family"] == found["test/neighbour_mean_value"] == pytest.approx(1.0)
    mixed = np.repeat([[0.0], [10.0], [1.0], [11.0]], 2, axis=0)
    found = neighbour_metrics(mixed, skeletons, means)
    assert found["test/neighbour_family"] == 0.0
    assert found["test/neighbour_family_chance"] == pytest.approx(1 / 3)
    assert found["test/neighbour_mean_value"] == pytest.approx(-1.0)
    assert "test/neighbour_mean_value" not in neighbour_metrics(mixed, skeletons, np.ones(8))


@pytest.mark.parametrize("unit", [1e-300, 1.0, 1e300])
def test_the_mean_value_has_no_unit(unit: float) -> None:
    assert mean_value(np.array([3.0, 3.0]) * unit) == pytest.approx(1.0)
    assert mean_value(np.array([-1.0, 7.0]) * unit) == pytest.approx(0.6)
    assert mean_value(np.zeros(2)) == 0.0


def way(one: str, other: str, latent_map: CodeMap, steps: int = 6) -> Interpolation:
    found = interpolate(latent_map, sample(one, 1), sample(other, 2), steps, 40, np.random.default_rng(0))
    assert found is not None
    return found


def test_a_smooth_map_is_told_from_a_random_order() -> None:
    smooth = interpolation_metrics([way("x0", "x0**6", line_map(POWERS))])
    assert smooth["test/interpolation_valid"] == smooth["test/interpolation_ends"] == 1.0
    assert smooth["test/interpolation_skeletons"] == 6.0
    assert smooth["test/interpolation_kept"] == 0.0
    assert smooth["test/interpolation_smoothness"] > 0.97
    assert smooth["test/interpolation_smoothness_control"] < smooth["test/interpolation_smoothness"] - 0.02
    assert smooth["test/interpolation_smoothness_ceiling"] >= smooth["test/interpolation_smoothness"] - 0.02
    assert smooth["test/interpolation_fit"] > smooth["test/interpolation_fit_control"]


def test_what_is_undefined_or_constant_is_not_valid() -> None:
    books = [parse("x0"), parse("log(x0 - 1)"), parse("x0**2")]
    broken = line_map([skeleton_of(equation) for equation in books])
    found = way("x0", "x0**2", broken, steps=5)
    assert found.valid[[0, 4]].all()
    invalid = [k for k, skeleton in enumerate(found.skeletons) if skeleton == broken.skeletons[1]]
    assert invalid
    assert all(not found.valid[k] and not found.values[k].any() for k in invalid)
    assert interpolation_metrics([found])["test/interpolation_valid"] == pytest.approx(1 - len(invalid) / 5)


def test_equations_that_are_defined_nowhere_together_are_no_pair() -> None:
    inputs = np.random.default_rng(0).uniform(0.5, 2.0, (80, 1))
    one = Sample(inputs, np.log(inputs[:, 0]), skeleton_of(parse("log(x0)")))
    other = Sample(-inputs, np.sqrt(inputs[:, 0]), skeleton_of(parse("sqrt(0 - x0)")))
    latent_map = line_map([one.skeleton, other.skeleton])
    assert interpolate(latent_map, one, other, 3, 40, np.random.default_rng(0)) is None
    assert interpolation_metrics([]) == {}


def test_figures_are_drawn_of_anything(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    drawn = [
        atlas(
            rng.normal(size=(3, 2)),
            ["both"] * 3,
            np.array([3, 4, 5]),
            np.array([-1.0, 0.0, 1.0]),
            [0.5, 0.2],
            tmp_path / "a.png",
            "a $1",
        ),
        atlas(np.zeros((4, 2)), list(LEADING[:4]), np.full(4, 5), np.zeros(4), [0.0, 0.0], tmp_path / "b.png"),
        interpolations([], tmp_path / "c.png", "t"),
        interpolations(
            [
                Course(np.linspace(0, 1, 9), np.full((3, 9), np.nan), ["x0", "long" * 40, "$c"], "x0", "n"),
                Course(np.linspace(0, 1, 9), np.tan(rng.normal(size=(2, 9)) * 9), ["x0", "c"], "x0"),
            ],
            tmp_path / "d.png",
        ),
    ]
    assert all(path.read_bytes().startswith(PNG) for path in drawn)


class _Tiny(Equations):
    """Few problems, quickly drawn."""

    def __init__(self) -> None:
        super().__init__(variables=2, longest=6, batch_size=8, held_out_samples=24, programs=1500, most_rows=24)


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    data = _Tiny()
    model = CVAE(**CVAE.data_arguments(data), **TINY)
    report = MapReport(run_dir=str(folder), samples=20, pairs=3, steps=4)
    trainer = pl.Trainer(
        callbacks=[report],
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        default_root_dir=str(folder),
    )
    before = torch.get_rng_state()
    trainer.test(model, data, verbose=False)
    assert torch.equal(before, torch.get_rng_state())  # neither the test nor the report takes from it
    return folder


def test_a_test_leaves_metrics_and_plots(tested: Path) -> None:
    metrics = json.loads((tested / "results.json").read_text())["metrics"]
    for name in ("valid", "smoothness", "smoothness_control", "smoothness_ceiling", "ends", "kept"):
        assert 0.0 <= metrics[f"test/interpolation_{name}"] <= 1.0
    assert 1.0 <= metrics["test/interpolation_skeletons"] <= 4.0
    assert 0.0 <= metrics["test/neighbour_family"] <= 1.0
    for name in ("map_atlas", "map_interpolations"):
        assert (tested / "plots" / f"{name}.png").read_bytes().startswith(PNG)


def test_the_same_report_twice(tmp_path: Path) -> None:
    torch.manual_seed(1)
    data = _Tiny()
    model = CVAE(**CVAE.data_arguments(data), **TINY)
    found = samples_of(data.test_dataloader(), model.average.vocabulary, 10)
    assert len(found) == 10
    assert all(np.isfinite(own.inputs).all() and own.variables in (1, 2) for own in found)
    report = MapReport(run_dir=str(tmp_path), samples=10, pairs=2, steps=3)
    one, _ = report.report(LatentMap(model.average), found)
    other, _ = report.report(LatentMap(model.average), found)
    assert one == other


def test_other_ranks_do_nothing(tmp_path: Path) -> None:
    trainer: Any = type("Trainer", (), {"is_global_zero": False})()
    module: Any = object()
    MapReport(run_dir=str(tmp_path)).on_test_end(trainer, module)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [{"samples": 2}, {"pairs": 0}, {"steps": 1}, {"rows": 1}])
def test_too_small_numbers_are_named(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"map_report.{next(iter(wrong))}"):
        MapReport(**wrong)


def test_wandb_gets_numbers_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[str, Any] = {}
    run = type("Run", (), {"log": lambda self, entries: logged.update(entries)})()
    takes = lambda self, entries: logged.update(entries)  # noqa: E731
    log = {"run": run, "numbers": takes, "media": takes}
    monkeypatch.setattr("callbacks.map_report.SearchLog", lambda trainer: type("Log", (), log)())
    torch.manual_seed(0)
    data = _Tiny()
    model: Any = CVAE(**CVAE.data_arguments(data), **TINY)
    trainer: Any = type("Trainer", (), {"is_global_zero": True, "test_dataloaders": data.test_dataloader()})()
    MapReport(run_dir=str(tmp_path), samples=10, pairs=1, steps=2).on_test_end(trainer, model)
    assert {"plots/map_atlas", "plots/map_interpolations", "test/interpolation_smoothness"} <= set(logged)
    assert type(logged["plots/map_atlas"]).__name__ == "Image"

"""Every figure is written whole, with the extremes a search really meets, and leaves nothing open."""

import json
import math
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.text import Text

from datamodules.tables.table import check_table
from expressions.parsing import parse
from reports import figures
from reports.figure_parts.canvas import png, shortened
from reports.figures import latent_scatter, learning_curve, pareto_front, search_curve, surface
from reports.finding_plots import draw_curves, draw_figures, draw_fit
from reports.findings import Finding, heading_of_target
from reports.table_picture import table_picture
from runs.metrics_file import losses, read_metrics
from searches.pareto_front import Candidate, ParetoFront

PNG = b"\x89PNG\r\n\x1a\n"
RNG = np.random.default_rng(0)
INPUTS = np.column_stack([RNG.uniform(1, 52, 3000), RNG.lognormal(1.6, 0.3, 3000), RNG.normal(size=3000)])


def network(inputs):
    return np.tanh(inputs[:, 0] / 20) + 0.1 * inputs[:, min(1, inputs.shape[1] - 1)]


def draw(name, path):
    """Each figure once, by name."""
    history = [{"generation": g, "best_nmse": 0.9**g, "best_length": 3 + g} for g in range(20)]
    csv = path.with_suffix(".csv")
    csv.write_text("epoch,step,fit/loss\n0,1,1.0\n1,2,0.1\n")
    drawers = {
        "scatter of few": lambda: latent_scatter(network(INPUTS[:50]), network(INPUTS[:50]) + 0.1, path, "t"),
        "scatter of many": lambda: latent_scatter(network(INPUTS), network(INPUTS) ** 2, path, "t"),
        "scatter not finite": lambda: latent_scatter(network(INPUTS[:20]), np.full(20, np.nan), path),
        "scatter constant": lambda: latent_scatter(np.ones(20), np.ones(20), path),
        "surface of one": lambda: surface(INPUTS[:, :1], network, lambda x: x[:, 0] / 30, path, names=["age"]),
        "surface of two": lambda: surface(
            INPUTS[:, :2], network, lambda x: np.log(x[:, 1] - 4), path, "a $5 title"
        ),
        "surface of three": lambda: surface(INPUTS, network, network, path),
        "surface constant": lambda: surface(
            INPUTS[:, :2], lambda x: np.ones(len(x)), lambda x: np.float64(2), path
        ),
        "surface not finite": lambda: surface(INPUTS[:, :2], network, lambda x: np.full(len(x), np.inf), path),
        "front": lambda: pareto_front(
            [5, 1, 9],
            [0.1, 0.5, 0.0],
            path,
            validation=[0.2, 0.6, math.inf],
            chosen=0,
            baselines={"linear fit": 0.3},
        ),
        "front of one": lambda: pareto_front([3], [0.0], path, chosen=0),
        "learning": lambda: learning_curve(csv, path, "t"),
        "learning without a file": lambda: learning_curve(path.parent / "none.csv", path),
        "search": lambda: search_curve(history, path),
        "searches": lambda: search_curve({"latent 0": history, "latent $1_2^": history[:1], "none": []}, path),
        "search without errors": lambda: search_curve([{"generation": 0, "best_nmse": None}], path),
    }
    assert tuple(drawers) == NAMES
    return drawers[name]()


NAMES = (
    "scatter of few",
    "scatter of many",
    "scatter not finite",
    "scatter constant",
    "surface of one",
    "surface of two",
    "surface of three",
    "surface constant",
    "surface not finite",
    "front",
    "front of one",
    "learning",
    "learning without a file",
    "search",
    "searches",
    "search without errors",
)


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_a_whole_png_and_nothing_stays(name, tmp_path):
    settings = dict(matplotlib.rcParams)
    path = tmp_path / "plots" / "f.png"
    path.parent.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw(name, path) == path
    content = path.read_bytes()
    assert content.startswith(PNG)
    assert content.endswith(b"IEND\xaeB`\x82")
    assert {file.suffix for file in path.parent.iterdir()} <= {".png", ".csv"}  # no temporary file
    assert pyplot.get_fignums() == []
    assert dict(matplotlib.rcParams) == settings


def test_a_failing_plot_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "f.png"
    pareto_front([1, 2], [0.5, 0.1], path)
    before = path.read_bytes()

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures.Figure, "savefig", full_disk)
    with pytest.raises(OSError, match="No space"):
        pareto_front([1, 2], [0.5, 0.2], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_surface_varies_the_two_inputs_that_matter_and_keeps_the_others_at_their_medians(tmp_path):
    inputs = np.column_stack([RNG.normal(size=(500, 2)), RNG.uniform(3, 5, 500), RNG.normal(size=500)])
    seen = []

    def function(points):
        seen.append(points)
        return 3 * points[:, 1] + points[:, 3] + 0.01 * points[:, 0]

    surface(inputs, function, function, tmp_path / "f.png")
    grid = seen[-1]
    assert [len(np.unique(column)) for column in grid.T] == [1, figures.GRID, 1, figures.GRID]
    assert grid[0, 2] == np.median(inputs[:, 2])
    low, high = np.percentile(inputs[:, 1], [1, 99])
    np.testing.assert_allclose([grid[:, 1].min(), grid[:, 1].max()], [low, high])


def test_r2_in_the_scatter_is_that_of_all_rows_and_unclipped():
    true = np.arange(10.0)
    assert figures._r2_text(true, true) == "1.000000"
    assert figures._r2_text(true, -true).startswith("-")
    assert "not finite" in figures._r2_text(true, np.where(true > 8, np.nan, true))


def test_metrics_of_a_torn_file(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,fit/loss_step,fit/loss_epoch,lr\n0,5,0.5,,0.1\n0,9,,0.6,\n1,19,,0.4,\n2,29,,0.")
    curves = read_metrics(path)
    assert curves["fit/loss_epoch"] == [(0, 0.6), (1, 0.4), (2, 0.0)]
    assert list(losses(curves)) == ["fit/loss"]
    path.write_bytes(b"\x00\xff\xfe,,,\n" * 3)
    assert read_metrics(path) == {}


def test_a_text_is_cut_where_it_would_leave_its_line() -> None:
    assert shortened("a short one", 4.0, 9.0) == "a short one"
    long = "0.5*exp(x) + " * 40
    cut = shortened(long, 4.0, 9.0)
    assert cut.endswith("…")
    assert long.startswith(cut[:-1])
    assert 40 < len(cut) < len(shortened(long, 8.0, 9.0))


def texts(draw, monkeypatch, path):
    """Every text of a figure, in the order in which they stand in it."""
    found = []

    def kept(figure, stream, **options):
        figure.draw_without_rendering()
        found.extend(text.get_text() for text in figure.findobj(Text) if text.get_text())
        widths = [text.get_window_extent().x1 for text in figure.findobj(Text) if "price" in text.get_text()]
        assert max(widths, default=0) <= figure.bbox.width, "a text is cut at the edge"
        stream.write(PNG)

    monkeypatch.setattr(Figure, "savefig", kept)
    draw(path)
    return found


def finding(text: str, target: str, measured: str | None = None) -> Finding:
    """A search for the first column that ended with one equation."""
    candidate = Candidate(parse(text), 5, 0.1, 0.1)
    rows = (INPUTS[:50, :1], INPUTS[:50, 0])
    return Finding(
        problem=target.replace(" ", "_"),
        target=target,
        trial=0,
        front=ParetoFront([candidate]),
        chosen=candidate,
        history=[{"generation": 0, "best_nmse": 0.5}],
        seconds=1.0,
        evaluations=1,
        stopped="done",
        train=rows,
        test=rows,
        measured=measured,
    )


def test_a_measured_target_has_its_unit_on_the_axes_and_its_formula_above(monkeypatch, tmp_path) -> None:
    long = "0.123456789*x0 + " + " + ".join(f"sin({k}.0*x0)" for k in range(2, 40))
    found = finding(long, "price__k_", measured="price (k$)")
    drawn = [
        lambda path: draw_fit(path, found, ["age"]),
        lambda path: draw_curves(path, [found], ["age"]),
        lambda path: draw_figures(path, found, ["age"], network),
    ]
    for number, draw in enumerate(drawn):
        shown = texts(draw, monkeypatch, tmp_path / str(number))
        formulas = [text for text in shown if text.startswith(r"price (k\$) = 0.1235*age + sin(2*age)")]
        assert len(formulas) == (2, 1, 3)[number], "every plot has the formula, with rounded constants"
        assert all(text.endswith("…") for text in formulas)
        if number != 1:
            assert {r"price (k\$), measured", r"price (k\$), equation"} <= set(shown)


def test_the_values_of_a_network_are_said_to_be_its_own(monkeypatch, tmp_path) -> None:
    found = finding("x0", "latent 0")
    shown = texts(lambda path: draw_figures(path, found, ["age"], network), monkeypatch, tmp_path)
    assert {"latent 0, network", "latent 0, equation", "latent 0 = age"} <= set(shown)


@pytest.mark.parametrize("name", ["y (kW h)", "y"])
def test_the_heading_of_a_target_has_its_unit(name: str) -> None:
    table = check_table(pd.DataFrame({"a": range(40), name: [k * k for k in range(40)]}), name)
    assert heading_of_target(table) == name


def test_the_picture_of_a_table_has_its_headings(monkeypatch, tmp_path) -> None:
    pd.DataFrame({"length (m)": range(40), "area (m^2)": [k * k for k in range(40)]}).to_csv(
        tmp_path / "squares.csv", index=False
    )
    table = check_table(tmp_path / "squares.csv", "area (m^2)")
    found = {"target": table.target_name, "infix": f"{table.feature_names[0]}**2", "complexity": 3, "test_r2": 1.0}
    (tmp_path / "results.json").write_text(json.dumps({"equations": [found]}))

    def draw(path: Path) -> None:
        table_picture(tmp_path, tmp_path / "squares.csv", path)

    shown = texts(draw, monkeypatch, tmp_path / "picture.png")
    assert {"length (m)", "area (m^2)", "area (m^2), measured", "area (m^2), equation"} <= set(shown)


def test_a_style_of_the_working_directory_is_not_taken_up(tmp_path, monkeypatch):
    """Matplotlib reads `matplotlibrc` there: a stranger's may have LaTeX run."""
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)
    with png(tmp_path / "a.png", (1, 1)) as figure:
        figure.suptitle("a")
        assert not matplotlib.rcParams["text.usetex"]
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    assert matplotlib.rcParams["text.usetex"], "what is set elsewhere stays"

"""The page of a discovery: small, well-formed, self-contained, and harmless whatever the table says."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from expressions.measurements import Measurements
from expressions.parsing import parse
from reports.discovery import Discovery
from reports.discovery_parts.intervals import front_intervals
from reports.discovery_parts.page import page
from reports.discovery_parts.plots import Sheet, sensitivities
from reports.discovery_parts.shown import ShownEquations
from reports.html_parts.axes import Frame, Scale, tick_label
from searches.pareto_front import Candidate, ParetoFront
from tests.test_discovery import HOSTILE, discovery, noisy

VOID = {"meta", "br", "wbr"}
SAFE = {
    "html", "head", "body", "meta", "title", "style", "main", "header", "h1", "h3", "p", "div", "details",
    "summary", "code", "table", "thead", "tbody", "tr", "th", "td", "ul", "li",
    "svg", "path", "line", "polyline", "circle", "rect", "text",
    "math", "mrow", "mi", "mn", "mo", "msup", "msub", "mfrac", "msqrt", "mroot", "mspace",
}  # fmt: skip


class Tags(HTMLParser):
    """Checks that tags are balanced and safe."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag in SAFE
        assert not any(name.startswith("on") or name in ("href", "src", "xlink:href") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        assert tag in SAFE

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(made: Discovery) -> str:
    """The page, after a look at its size, its tags and its drawings."""
    with np.errstate(all="ignore"):  # as `write` has it
        text = page(made, ShownEquations.of_discovery(made))
    assert len(text.encode("utf-8", errors="replace")) < 500_000
    Tags(text)
    for drawing in re.findall(r"<svg.*?</svg>|<math.*?</math>", text, flags=re.DOTALL):
        root = ElementTree.fromstring(drawing)
        for element in root.iter():
            for name, value in element.attrib.items():
                if name not in ("aria-label", "class"):
                    assert "nan" not in value
                    assert "inf" not in value
    return text


def with_equation(text: str, inputs: np.ndarray, target: np.ndarray, **changes: Any) -> Discovery:
    chosen = Candidate(parse(text), 5, 0.1, 0.1)
    half = len(target) // 2
    names = tuple(f"x{k}" for k in range(inputs.shape[1]))
    rows = {"train": (inputs[:half], target[:half]), "held_out": (inputs[half:], target[half:])}
    content = {"front": ParetoFront([chosen]), "chosen": chosen, "names": names, "features": names, **rows}
    return discovery(**(content | changes))


def test_a_page_of_an_ordinary_table() -> None:
    text = checked(discovery())
    for piece in (
        "<mfrac>",
        "Beside other models",
        "linear",
        "Sensitivity",
        "Along one variable",
        "P [kPa]",
        "T [K]",
    ):
        assert piece in text
    assert text.count("<svg") == 2 + 1 + 3 + 1
    assert "<title>P" in text
    assert "<title>8.314*n*T_K/V\nerror 2.5e-31, 9 nodes</title>" in text
    assert text == page(discovery(), ShownEquations.of_discovery(discovery()))


def test_bands_are_drawn_around_a_curve_where_constants_have_intervals() -> None:
    text = checked(noisy())
    assert text.count('class="band"') == 2 * 3  # of a measurement and of the law, for each variable
    [half] = re.findall(r"a new measurement lies within ± (\S+) of the equation with 95 % confidence", text)
    assert float(half) == pytest.approx(1.96 * 0.2, rel=0.2)
    assert 'class="band"' not in checked(replace(noisy(), intervals=()))
    assert "new measurement" not in checked(discovery())


def test_a_band_that_leaves_the_plot_is_cut() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(0.1, 10.0, 60)[:, None]
    made = with_equation("2.0*x0**-3.0", x, 2.0 * x[:, 0] ** -3.0 + 0.5 * rng.normal(size=60))
    assert made.train is not None
    intervals = front_intervals(made.front, made.chosen, Measurements.of(*made.train))
    text = checked(replace(made, intervals=intervals))
    bands = re.findall(r'class="band" d="M(.*?)Z"', text)
    assert bands
    heights = [float(place.split()[1]) for band in bands for place in band.split("L")]
    assert min(heights) >= 12.0
    assert max(heights) <= 300.0 - 40.0


def test_a_million_rows_make_no_larger_page() -> None:
    text = checked(discovery(1_000_000))
    assert len(text) < 150_000
    assert "1,000,000 rows" in text
    assert "1,500 rows are drawn" in text


def test_a_wide_front_with_long_names_stays_small() -> None:
    names = tuple(f"{'long' * 200}_{k}" for k in range(60))
    equation = parse(" + ".join(f"{1.234567 + k}*sin(x{k})" for k in range(60)))
    front = ParetoFront([Candidate(equation, 100 + k, 0.5**k, 0.5**k) for k in range(200)])
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(60, 60)), rng.normal(size=60))
    checked(
        discovery(
            front=front, chosen=front[150], names=names, features=names, train=rows, held_out=rows,
            notes=("x" * 10_000,) * 1_000,
        )
    )  # fmt: skip


def test_hostile_names_are_only_text() -> None:
    text = checked(discovery(features=HOSTILE, target=HOSTILE[0], source=HOSTILE[1], notes=HOSTILE))
    assert "<script" not in text
    assert "alert(&quot;1&quot;)" in text
    assert "\u202e" not in text


@pytest.mark.parametrize(
    ("equation", "scale"),
    [("x0", 1e-30), ("x0*x1", 1e150), ("1.5", 1.0), ("log(x0)", 1.0), ("exp(30*x0)", 1.0), ("x0/(x1 - x1)", 1.0)],
)
def test_values_of_any_size_are_drawn(equation: str, scale: float) -> None:
    inputs = np.random.default_rng(0).normal(size=(100, 2)) * scale
    target = parse(equation)(inputs)
    text = checked(with_equation(equation, inputs, np.where(np.isfinite(target), target, 1.0)))
    if equation == "log(x0)":
        assert "is not finite on" in text
    if equation.endswith("(x1 - x1)"):
        assert "finite on no row" in text


@pytest.mark.parametrize("values", [[3.0] * 8, [0.0] * 8, [1e-300, 1e300] * 4, [2450000.25, 2450000.5] * 4])
def test_constant_and_extreme_targets_are_drawn(values: list[float]) -> None:
    checked(with_equation("x0", np.array(values)[:, None], np.array(values), held_out=None, scores={}))


def test_without_rows_the_equations_are_shown() -> None:
    text = checked(discovery(train=None, held_out=None))
    assert "Pareto front" in text
    assert "Sensitivity" not in text


def test_sensitivities_are_shares_of_what_each_variable_does() -> None:
    inputs = np.random.default_rng(0).normal(size=(1_000, 3)) * [1.0, 10.0, 1.0]
    found = sensitivities(parse("3*x0 + 0.1*x1"), inputs)
    assert [each.variable for each in found] == [0, 1]
    assert found[0].share == pytest.approx(0.75, abs=0.02)
    assert sum(each.share for each in found) == pytest.approx(1.0)
    assert sensitivities(parse("3"), inputs) == []


def test_drawn_rows_are_the_same_ones_every_time_and_finite() -> None:
    inputs = np.arange(5_000.0)[:, None] - 10.0
    sheets = [Sheet.of(parse("sqrt(x0)"), (inputs, inputs[:, 0]), (inputs, inputs[:, 0])) for _ in range(2)]
    assert np.array_equal(sheets[0].inputs, sheets[1].inputs)
    assert len(sheets[0].target) + sheets[0].left_out == 1_500
    assert np.isfinite(sheets[0].predicted).all()


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (2450000.0, 2450001.0), (-3e-20, 5e-20), (1e9, 1.000001e9), (0.123, 0.124)]
)
def test_ticks_are_told_apart(low: float, high: float) -> None:
    scale = Scale.around([low, high])
    ticks = scale.ticks()
    labels = [tick_label(value, scale.step()) for value in ticks]
    assert 3 <= len(ticks) <= 8
    assert len(set(labels)) == len(labels)
    for label, value in zip(labels, ticks, strict=True):
        assert float(label) == pytest.approx(value, abs=0.1 * scale.step())


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    st.sampled_from([0.5, 3.0, np.inf]),
    st.sampled_from([0.0, 0.04]),
)
@example([0.0, 5e-324], np.inf, 0.0)
@example([5e-324, 1e308], 3.0, 0.04)
def test_an_axis_of_any_values_can_be_drawn(values: list[float], decades: float, margin: float) -> None:
    scale = Scale.around(values, decades, margin)
    assert 0 <= len(scale.ticks()) <= 9
    frame = Frame(scale, scale)
    text = "".join(frame.axes("x", "y", 5)) + "".join(
        f"{frame.across(value)} {frame.down(value)}" for value in values
    )
    assert "nan" not in text
    assert "inf" not in text

"""The suite `smoothness`, on the map that comes with the package."""

import numpy as np
import pytest

from benchmarks import smoothness
from benchmarks.cells import OK, Cell, Record


@pytest.mark.parametrize("method", smoothness.METHODS)
def test_lines_are_what_they_say(method: str) -> None:
    cell = Cell("smoothness", method, "short", 1, {"count": 2, "points": 9, "weights": "pretrained"})
    result = smoothness.run(cell)
    assert len(result["lines"]) == 2
    for line in result["lines"]:
        changes = round(8 * (1 - line["equal_share"]))
        assert 1 <= line["equations"] <= changes + 1 <= 9
        assert (line["change"] == 0) == (line["change_in_random_order"] == 0)
        assert np.isfinite([line["change"], line["change_in_random_order"]]).all()
    if method == "truth":  # the posterior knows the equation: where its mean lies, that is decoded
        assert any(line["exact_at_the_end"] for line in result["lines"])
    text = smoothness.report([Record(cell, OK, result)]).markdown("smoothness")
    assert f"{method}, short" in text

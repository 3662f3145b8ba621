"""Equations are on disk before anything optional begins, and nothing optional ends a run."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from expressions.parsing import parse
from reports.findings import Finding, report_findings
from reports.optional import optional
from runs.record import read_results
from searches.pareto_front import Candidate, ParetoFront

ROOT = Path(__file__).resolve().parents[1]
OPTIONAL = {
    "draw_curves",
    "draw_figures",
    "draw_fit",
    "_plots",
    "findings",
    "improvements",
    "_upload",
    "_log_table",
}
"""Functions that draw, or that tell W&B."""


def finding() -> Finding:
    inputs = np.arange(12.0)[:, None]
    rows = inputs, 2.0 * inputs[:, 0]
    candidate = Candidate.of(parse("2.0*x0"), *rows)
    front = ParetoFront([candidate])
    return Finding("line", "y", 0, front, candidate, [], 1.0, 1, "exact", train=rows, test=rows)


@pytest.mark.parametrize("fails", [False, True])
def test_equations_are_on_disk_before_they_are_compared(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def polynomial(*_: object) -> float:
        (equation,) = read_results(tmp_path)["equations"]
        seen.append((equation["infix"], "2*x" in (tmp_path / "equations.csv").read_text()))
        if fails:
            raise MemoryError("10 GB\nof monomials")
        return 0.5

    monkeypatch.setattr("reports.findings.polynomial_r2", polynomial)
    metrics = report_findings(tmp_path, [finding()], ["x"], 1.0)
    assert seen[0] == ("2*x", True)
    results = read_results(tmp_path)
    assert results["metrics"] == metrics
    assert results["equations"][0]["cubic_test_r2"] == (None if fails else 0.5)
    warning = "warning: linear and cubic fits are missing (MemoryError: 10 GB of monomials); everything else is"
    assert (warning in capsys.readouterr().err) == fails


def test_ctrl_c_in_an_optional_part_is_heard() -> None:
    with pytest.raises(KeyboardInterrupt), optional("plots"):
        raise KeyboardInterrupt


def calls(node: ast.AST, guarded: bool = False) -> list[tuple[str, bool]]:
    """Names of all functions that are called below a node, and whether `with optional(…)` stands around each."""
    found = []
    if isinstance(node, ast.Call):
        function = node.func
        found.append((getattr(function, "id", getattr(function, "attr", "")), guarded))
    if isinstance(node, ast.With):
        guarded = guarded or any(name == "optional" for item in node.items for name, _ in calls(item.context_expr))
    for child in ast.iter_child_nodes(node):
        found += calls(child, guarded)
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "callbacks").glob("*.py")), ids=lambda path: path.stem)
def test_nothing_that_draws_or_uploads_can_end_a_run(path: Path) -> None:
    unguarded = {name for name, guarded in calls(ast.parse(path.read_text())) if name in OPTIONAL and not guarded}
    assert not unguarded, f"write `with optional(…)` around {unguarded}"

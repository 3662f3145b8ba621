"""What a search found, written down once for all systems: `results.json` and `equations.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.tables.table import Table
from expressions.equivalence import equivalent, recovered
from expressions.expression import Expression
from expressions.goodness_of_fit import mse, r2
from foundation.files import replace_file
from reports.optional import optional
from reports.polynomial_baselines import MOST_ROWS, Rows, polynomial_r2
from runs.record import record_equations, record_metrics
from searches.pareto_front import Candidate, ParetoFront

__all__ = ["ACCURATE_R2", "Finding", "heading_of_target", "report_findings", "scores_of"]

ACCURATE_R2 = 0.999  # SRBench's accuracy solution
_COLUMNS = (
    "problem", "target", "trial", "chosen", "infix", "latex", "complexity",
    "train_r2", "validation_r2", "test_r2", "test_mse",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One search's result with the data it is reported on.

    Attributes:
        problem: Short name, used in file names and metric names.
        target: Description of the quantity that was searched for.
        trial: Number of the repetition.
        front: Pareto front of all equations.
        chosen: Equation of the front that is shown first.
        history: Entries of the search's generations, the oldest first.
        seconds: Time that the search took, by the clock.
        evaluations: Number of evaluations that the search made.
        stopped: Reason for the end of the search.
        train: Rows that the search used.
        test: Rows to report on.
        truth: Formula behind the data, where it is known.
        names: Variable names, where they are not those of all findings of the run.
        measured: Name of a measured target as its table has it, unit included; None where a network gave the
            values.
    """

    problem: str
    target: str
    trial: int
    front: ParetoFront
    chosen: Candidate
    history: list[dict[str, float]]
    seconds: float
    evaluations: int
    stopped: str
    train: Rows
    test: Rows
    truth: Expression | None = None
    names: tuple[str, ...] | None = None
    measured: str | None = None

    @property
    def label(self) -> str:
        """Name that no other finding of the run has."""
        return f"{self.problem}_trial_{self.trial}"

    @cached_property
    def polynomials(self) -> dict[str, float | None]:
        """R2 on the test rows of the linear and of the cubic fit; None where there are too many monomials."""
        return {
            name: polynomial_r2(self.train, self.test, degree) for name, degree in (("linear", 1), ("cubic", 3))
        }

    @property
    def polynomial_rows(self) -> int | None:
        """Rows that the polynomials are fitted to or scored on at most, where there are more; None where not."""
        return MOST_ROWS if max(len(self.train[1]), len(self.test[1])) > MOST_ROWS else None


def heading_of_target(table: Table) -> str:
    """Name of a table's target as its header has it, which often says the unit, too."""
    return str(table.target_column or table.target_name)


def report_findings(
    run_dir: Path, findings: Sequence[Finding], names: Sequence[str], seconds: float
) -> dict[str, float]:
    """Write equations.csv and results.json; what they are compared with is added when they are on disk.

    Args:
        run_dir: Run directory.
        findings: Results of all searches.
        names: Variable names.
        seconds: Time that all searches took together, by the clock.

    Returns:
        The flat metrics that were written.
    """
    replace_file(run_dir / "equations.csv", _front_table(findings, names))
    rows = [_result(finding, names) for finding in findings]
    metrics = _summary(rows, seconds)
    record_equations(run_dir, rows)
    record_metrics(run_dir, metrics)
    with optional("linear and cubic fits"):
        record_equations(run_dir, [row | _polynomials(each) for row, each in zip(rows, findings, strict=True)])
    return metrics


def _result(finding: Finding, names: Sequence[str]) -> dict[str, Any]:
    """One entry of results.json."""
    candidate, truth = finding.chosen, finding.truth
    inputs, target = finding.test
    return {
        "problem": finding.problem,
        "target": finding.target,
        "trial": finding.trial,
        **scores_of(candidate, finding, names),
        "recovered": None if truth is None else recovered(candidate.expression, truth),
        "equivalent": None if truth is None else equivalent(candidate.expression, truth, inputs),
        "linear_test_r2": None,  # added later
        "cubic_test_r2": None,
        "target_variance": float(np.var(target)),
        "seconds": finding.seconds,
        "evaluations": finding.evaluations,
        "stopped": finding.stopped,
    }


def _polynomials(finding: Finding) -> dict[str, float | None]:
    rows = finding.polynomial_rows
    scores = {f"{name}_test_r2": score for name, score in finding.polynomials.items()}
    return scores if rows is None else {**scores, "polynomial_rows": rows}


def scores_of(candidate: Candidate, finding: Finding, names: Sequence[str]) -> dict[str, Any]:
    """The equation as text, its complexity and its errors: columns that all reports share.

    Args:
        candidate: Equation of the finding's front.
        finding: Result that the equation belongs to.
        names: Variable names of the run.
    """
    equation = candidate.expression
    inputs, target = finding.test
    values = equation(inputs)
    names = finding.names or names
    return {
        "infix": equation.infix(names),
        "latex": equation.latex(names),
        "complexity": candidate.complexity,
        "train_r2": 1.0 - candidate.train_nmse,
        "test_r2": r2(target, values),
        "test_mse": mse(target, values),
    }


def _front_table(findings: Sequence[Finding], names: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for finding in findings:
        for candidate in finding.front:
            writer.writerow(
                {
                    "problem": finding.problem,
                    "target": finding.target,
                    "trial": finding.trial,
                    "chosen": candidate is finding.chosen,
                    "validation_r2": 1.0 - candidate.validation_nmse,
                    **scores_of(candidate, finding, names),
                }
            )
    return text.getvalue()


def _summary(rows: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, float]:
    """Flat metrics that all systems share; a constant target has no R2 and counts in none of the scores."""
    constants = sum(row["stopped"] == "constant" for row in rows)
    metrics = {
        "search/evaluations": float(sum(row["evaluations"] for row in rows)),
        "search/seconds": seconds,
    }
    if constants:
        metrics["search/constant_targets"] = float(constants)
    rows = [row for row in rows if row["stopped"] != "constant"]
    if not rows:
        return metrics
    scores = np.array([row["test_r2"] for row in rows])
    metrics |= {
        "test/r2_median": float(np.median(scores)),
        "test/r2_min": float(scores.min()),
        "test/accuracy_rate": float(np.mean(scores > ACCURATE_R2)),
        "search/1-r2_median": float(np.median(1.0 - scores)),
        "search/complexity_median": float(np.median([row["complexity"] for row in rows])),
    }
    known = [row for row in rows if row["recovered"] is not None]
    if known:
        metrics["test/recovered_rate"] = float(np.mean([bool(row["recovered"]) for row in known]))
        metrics["test/equivalent_rate"] = float(np.mean([bool(row["equivalent"]) for row in known]))
    return metrics

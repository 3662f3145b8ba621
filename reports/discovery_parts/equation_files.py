"""The equations of a discovery as files for other programs: a table, a module of NumPy, a line of LaTeX."""

from __future__ import annotations

import csv
import io
import json
import math

from expressions.constant_intervals import ConstantIntervals
from expressions.numpy_source import numpy_source
from expressions.printing import latex_name
from reports.discovery_parts.intervals import MEANING
from reports.discovery_parts.result import Discovery
from reports.discovery_parts.shown import ShownEquations, r2_text
from searches.pareto_front import Candidate

__all__ = ["equation_module", "equation_tex", "front_csv"]

_COLUMNS = (
    "chosen", "complexity", "nmse", "train_r2", "test_r2", "infix", "latex", "constants", "intervals",
    "probability", "trust", "behind",
)  # fmt: skip


def front_csv(discovery: Discovery, shown: ShownEquations) -> str:
    """The Pareto front, one row an equation, with the columns' names of a run's equations.csv.

    Args:
        discovery: equations, and the rows to score them on.
        shown: equations with the digits that the data support; `infix` holds all digits, `latex` these.

    Returns:
        Text of the file. `constants` and `intervals` are lists of JSON, empty where nothing is known: the
        constants in the order of the equation, `[1.613]`, and the ends of their 95 % intervals,
        `[[1.581, 1.645]]`, null where there is none; all with the digits that the intervals resolve.
        `probability` is that of the picked equation being the law, `trust` the word for it, and `behind` the nats
        by which each competitor's description of the data is longer.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for candidate in discovery.front:
        writer.writerow(
            {
                "chosen": "yes" if candidate == discovery.chosen else "",
                "complexity": candidate.complexity,
                "nmse": candidate.error,
                "train_r2": 1.0 - candidate.train_nmse,
                "test_r2": shown.held_out_r2.get(candidate, ""),
                "infix": candidate.expression.infix(discovery.names),
                "latex": shown.of(candidate).latex(discovery.names, shown.digits),
                **_interval_cells(discovery.intervals_of(candidate)),
                **_trust_cells(discovery, candidate),
            }
        )
    return text.getvalue()


def _interval_cells(intervals: ConstantIntervals | None) -> dict[str, str]:
    known = [] if intervals is None else intervals.numbers
    numbers = [[each if math.isfinite(each) else None for each in row] for row in known]
    if not numbers:
        return {"constants": "", "intervals": ""}
    return {
        "constants": json.dumps([row[0] for row in numbers]),
        "intervals": json.dumps([row[1:] for row in numbers]),
    }


def _trust_cells(discovery: Discovery, candidate: Candidate) -> dict[str, str]:
    if discovery.trust is None:
        return {}
    if candidate == discovery.chosen:
        return {"probability": discovery.trust.number, "trust": discovery.trust.word}
    behind = [each.nats for each in discovery.trust.competitors if each.candidate == candidate]
    return {"behind": f"{behind[0]:.2f}"} if behind else {}


def equation_module(discovery: Discovery, shown: ShownEquations) -> str:
    """The picked equation as a module of Python that needs NumPy alone.

    Args:
        discovery: equations, and the names of their variables.
        shown: equations as its docstring shows them.
    """
    chosen = discovery.chosen
    facts = [f"R2 is {r2_text(1.0 - chosen.train_nmse)} on the rows of the fit"]
    if discovery.held_out is not None:
        held_out = r2_text(shown.held_out_r2[chosen])
        facts.append(f"{held_out} on {len(discovery.held_out[1]):,} rows held out")
    renamed = [
        f"    {name} = {feature!r}"
        for index, (name, feature) in enumerate(zip(discovery.names, discovery.features, strict=True))
        if index in chosen.expression.variables and name != feature
    ]
    lines = [
        f"{discovery.target_name} = {shown.of(chosen).infix(discovery.names)}",
        "",
        f"Target: {discovery.target!r} of {discovery.source}. {' and '.join(facts)}.",
        *([] if discovery.trust is None else [discovery.trust.sentence]),
        *(["Columns:", *renamed] if renamed else []),
        "Constants below have all of their digits.",
    ]
    return numpy_source(chosen.expression, discovery.names, discovery.features, "\n".join(lines))


def equation_tex(discovery: Discovery, shown: ShownEquations) -> str:
    """The picked equation as a displayed formula of LaTeX, behind comments that say what its names stand for.

    Where intervals are known, a second formula has them at its constants.

    Args:
        discovery: equations, and the names of their variables.
        shown: equations with the digits that the data support.
    """
    chosen = shown.of(discovery.chosen)
    named = [(discovery.target_name, discovery.target)]
    named += [(discovery.names[index], discovery.features[index]) for index in chosen.variables]
    comments = [f"% {name}: {feature!r}" for name, feature in named if name != feature]
    left = latex_name(discovery.target_name)
    formula = chosen.latex(discovery.names, shown.digits)
    lines = [*comments, rf"\[ {left} = {formula} \]"]
    intervals = discovery.intervals_of(discovery.chosen)
    if intervals is not None:
        sure = chosen.with_constants(intervals.constants)
        formula = sure.latex(discovery.names, shown.digits, intervals.ends.tolist())
        lines += [f"% {MEANING}.", rf"\[ {left} = {formula} \]"]
    return "\n".join([*lines, ""])

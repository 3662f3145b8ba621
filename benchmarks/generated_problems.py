"""Problems for the suite `generated`: formulas that our own generator draws, none of them from the catalogue.

The generator is that of the map's training stream; only skeletons of the part that is kept for tests are taken, so
no map was trained on them, and none is equivalent to a problem of the catalogue, whatever its constants. A formula
that a straight line through all variables meets, or that does not depend on one of its variables, is left out.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from datamodules.tables.problems import Problem, Uniform
from expressions.goodness_of_fit import nmse
from expressions.limits import MAX_TOKENS
from expressions.schema import program
from foundation.errors import UserError
from foundation.files import read_regular, replace_file
from foundation.schema import FormatError, json_content, list_of, number, record, text, whole

__all__ = ["VARIABLES", "generated_problems", "name_of", "read_problems"]

VARIABLES = (2, 3, 4, 5, 6)
_ROWS = 300
_SHORTEST, _LONGEST = 5, 20  # tokens of a skeleton
_LINEAR = 1e-6  # squared error of a straight line, over the variance, below which a formula is one
_IDLE = 1e-8  # the same of the formula with a column in another order, below which the column does not matter
_LARGEST_FILE = 64 << 20  # bytes
_MOST_VARIABLES = 100
_SPARE = 1.5  # problems that are drawn for each one that is wanted


def name_of(number: int) -> str:
    """Name of a problem, counted from 0."""
    return f"g{number + 1:03d}"


def generated_problems(count: int, seed: int, folder: Path) -> dict[str, Problem]:
    """The problems by name; number k has 2 + k mod 5 variables, so that any first part of them is balanced.

    Args:
        count: number of problems.
        seed: random seed for formulas, constants and ranges.
        folder: directory that keeps the problems once they are drawn.
    """
    path = folder / f"problems-{count}-seed{seed}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps([_plain(problem) for problem in _draw(count, seed)], indent=0))
    return read_problems(path, count)


def read_problems(path: Path, count: int) -> dict[str, Problem]:
    """The problems of a file, by name.

    Args:
        path: path of the file.
        count: number of problems that it must hold.

    Raises:
        UserError: the file is a link, no regular file or too large, or is not what `generated_problems` writes.
    """
    try:
        stored = json_content(read_regular(path, most=_LARGEST_FILE), list_of(_problem, least=count, most=count))
    except FormatError as error:
        raise UserError(
            f"{path} holds no problems of this program ({error}): delete it, and the next run draws them again"
        ) from error
    return {name_of(number): replace(problem, name=name_of(number)) for number, problem in enumerate(stored)}


def _draw(count: int, seed: int) -> list[Problem]:
    from datamodules.settings.streams import PoolSettings
    from datamodules.streams.heldout import heldout_problems

    each = -(-count // len(VARIABLES))
    kinds = []
    for variables in VARIABLES:
        drawn = heldout_problems(
            round(_SPARE * each) + 5,
            PoolSettings(variables=variables, longest=_LONGEST),
            seed,
            fewest_variables=variables,
            most_variables=variables,
            shortest=_SHORTEST,
            longest=_LONGEST,
        )
        kinds.append([problem for problem in drawn if is_a_question(problem)])
    return [kinds[number % len(kinds)][number // len(kinds)] for number in range(count)]


def is_a_question(problem: Problem) -> bool:
    """Whether the formula is no straight line and depends on each of its variables, on rows of its own."""
    rng = np.random.default_rng(0)
    inputs, target = problem.sample(_ROWS, rng)
    design = np.column_stack([np.ones(_ROWS), inputs])
    line = design @ np.linalg.lstsq(design, target, rcond=None)[0]
    if not nmse(target, line) > _LINEAR:
        return False
    for column in range(inputs.shape[1]):
        other = inputs.copy()
        other[:, column] = rng.permutation(other[:, column])
        with np.errstate(all="ignore"):
            changed = problem.truth(other)
        if not nmse(target, np.where(np.isfinite(changed), changed, 0.0)) > _IDLE:
            return False
    return True


def _plain(problem: Problem) -> dict[str, object]:
    assert isinstance(problem.source, Uniform)
    return {
        "formula": problem.formula,
        "tokens": problem.truth.tokens.tolist(),
        "constants": problem.truth.constants.tolist(),
        "low": list(problem.source.low),
        "high": list(problem.source.high),
    }


_BOUNDS = list_of(number(-1e100, 1e100), least=1, most=_MOST_VARIABLES)
_FIELDS = record(
    {
        "formula": text(10_000),
        "tokens": list_of(whole(), most=MAX_TOKENS),
        "constants": list_of(number(), most=MAX_TOKENS),
        "low": _BOUNDS,
        "high": _BOUNDS,
    }
)


def _problem(value: object) -> Problem:
    """Check for what `_plain` has written, which becomes the problem, yet without its name."""
    plain = _FIELDS(value)
    low, high = tuple(plain["low"]), tuple(plain["high"])
    truth = program([plain["tokens"], plain["constants"]])
    variables = tuple(f"x{column}" for column in range(len(low)))
    if len(low) != len(high) or not all(a < b for a, b in zip(low, high, strict=True)):
        raise FormatError("has a range whose ends are not in order", "")
    if max(truth.variables, default=-1) >= len(low):
        raise FormatError(f"has a formula of other variables than its {len(low)} ranges", "")
    if truth.infix(variables) != plain["formula"]:  # its numbers mean other operators in this version
        raise FormatError(f"has a program that is {truth.infix(variables)[:100]}, not its 'formula'", "")
    return Problem(
        name="",
        suites=("generated",),
        formula=plain["formula"],
        variables=variables,
        target_name="y",
        truth=truth,
        source=Uniform(low, high),
        train_rows=_ROWS,
        test_rows=_ROWS,
    )

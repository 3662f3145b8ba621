"""Noisy tables whose law is known, for the suite `trust`: each is drawn again from its name alone.

A set is a generator of laws and of sizes. `drawn` and `templates` have 10, 30, 100 or 1,000 rows and noise of 0,
1, 5 or 20 % of the target's standard deviation, all sixteen combinations in turn; `drawn_any` and `templates_any`
have any number of rows from 8 to 2,000 and noise up to 30 %. One law in seven cannot be expressed by the searches,
one table in twenty has no law. Of the tables with noise, a fifth has errors that differ from row to row and are
given; of all, a third has targets of 4 to 8 significant digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.trust_laws import Law, drawn_law, no_law, special_law, template_law
from foundation.errors import UserError, near

__all__ = ["NOISES", "ROWS", "SETS", "NoisyTable", "name_of", "noisy_table", "set_of"]

ROWS = (10, 30, 100, 1000)
NOISES = (0.0, 0.01, 0.05, 0.2)
SETS = ("drawn", "templates", "drawn_any", "templates_any")
_SEED = 23
_NO_LAW, _SPECIAL = 0.05, 0.15  # shares
_LEAST_ROWS, _MOST_ROWS = 8, 2000
_LEAST_NOISE, _MOST_NOISE = 1e-3, 0.3
_CLEAN = 0.25  # share of tables of any size that have no noise
_UNEQUAL = 0.2  # share of noisy tables whose errors differ and are given
_UNEVENNESS = 0.6  # standard deviation of the logarithm of these errors
_ROUNDED = 1 / 3  # share of tables with few digits
_DIGITS = (4, 5, 6, 7, 8)
_STYLES = ("uniform", "log_uniform", "grid")
_STYLE_SHARES = (0.5, 0.25, 0.25)
_ROUNDS = 100  # of redrawing rows on which a law is not finite


@dataclass(frozen=True)
class NoisyTable:
    """A table with its law.

    Attributes:
        name: name that the table is drawn from.
        law: law of the target.
        inputs: values of the variables. `[rows, variables]`
        target: target with noise, and rounded. `[rows]`
        clean: target without noise. `[rows]`
        sigma: given standard deviations of the target; None: none are given. `[rows]`
        noise: standard deviation of the noise over that of `clean`; 1 where there is no law.
        digits: significant digits of the target; None: all of float64.
        style: how inputs lie: `uniform`, `log_uniform` or `grid`.
    """

    name: str
    law: Law
    inputs: np.ndarray
    target: np.ndarray
    clean: np.ndarray
    sigma: np.ndarray | None
    noise: float
    digits: int | None
    style: str

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.target)

    def fresh(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the same law and ranges without noise, none of them of the table.

        Returns:
            Inputs `[rows, variables]` and target `[rows]`.
        """
        style = "uniform" if self.style == "grid" else self.style
        return _rows(self.law, style, rows, np.random.default_rng([_SEED, *self.name.encode(), 1]))


def name_of(family: str, number: int) -> str:
    """Name of a table of a set, counted from 0."""
    return f"{family}-{number:05d}"


def set_of(name: str) -> tuple[str, int]:
    """Set and number of a table.

    Raises:
        UserError: there is no such table.
    """
    family, _, number = name.rpartition("-")
    if family not in SETS or not number.isdecimal():
        raise UserError(f"there is no table {name!r}; {near(family or name, SETS)}")
    return family, int(number)


def noisy_table(name: str, folder: Path) -> NoisyTable:
    """The table of a name.

    Args:
        name: name as `name_of` gives it.
        folder: directory that keeps drawn laws.

    Raises:
        UserError: there is no such table.
    """
    family, number = set_of(name)
    rng = np.random.default_rng([_SEED, SETS.index(family), number])
    law = _law(family, number, rng, folder)
    rows, noise = _any_size(rng) if family.endswith("_any") else _size_of_turn(number)
    style = str(rng.choice(_STYLES, p=_STYLE_SHARES))
    if min(law.low) <= 0.0 and style == "log_uniform":
        style = "uniform"
    inputs, clean = _rows(law, style, rows, rng)
    spread = float(clean.std())
    if law.kind == "none":
        noise, spread = 1.0, abs(float(clean[0]))
    errors, sigma = np.full(rows, noise * spread), None
    if noise and law.kind != "none" and rng.random() < _UNEQUAL:
        factors = np.exp(rng.normal(0.0, _UNEVENNESS, rows))
        errors = sigma = errors * factors / math.sqrt(float(np.mean(factors**2)))
    target = clean + errors * rng.normal(size=rows)
    digits = int(rng.choice(_DIGITS)) if rng.random() < _ROUNDED else None
    if digits is not None:
        target = np.array([float(f"{value:.{digits - 1}e}") for value in target.tolist()])
    return NoisyTable(name, law, inputs, target, clean, sigma, noise, digits, style)


def _law(family: str, number: int, rng: np.random.Generator, folder: Path) -> Law:
    drawn = family.startswith("drawn")
    share = rng.random()
    if share < _NO_LAW:
        return no_law(rng)
    if share < _NO_LAW + _SPECIAL:
        return special_law(rng, other=not drawn)
    if not drawn:
        return template_law(rng)
    return drawn_law(number, SETS.index(family), folder)


def _size_of_turn(number: int) -> tuple[int, float]:
    """Rows and noise, in turns."""
    turn = number % (len(ROWS) * len(NOISES))
    return ROWS[turn // len(NOISES)], NOISES[turn % len(NOISES)]


def _any_size(rng: np.random.Generator) -> tuple[int, float]:
    rows = round(math.exp(rng.uniform(math.log(_LEAST_ROWS), math.log(_MOST_ROWS))))
    noise = math.exp(rng.uniform(math.log(_LEAST_NOISE), math.log(_MOST_NOISE)))
    return rows, 0.0 if rng.random() < _CLEAN else noise


def _rows(law: Law, style: str, rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows on which a law is finite, and its values there; the mean of one without inputs."""
    inputs, clean = np.empty((0, len(law.low))), np.empty(0)
    steps = rng.integers(5, 21, len(law.low))
    for _ in range(_ROUNDS):
        drawn = _drawn(law, style, rows - len(inputs), steps, rng)
        with np.errstate(all="ignore"):
            values = np.broadcast_to(law.values(drawn), len(drawn))
        finite = np.isfinite(values)
        inputs, clean = np.concatenate([inputs, drawn[finite]]), np.concatenate([clean, values[finite]])
        if len(inputs) == rows:
            return inputs, clean
    raise ValueError(f"{law.formula} is hardly anywhere finite")


def _drawn(law: Law, style: str, rows: int, steps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Inputs in a style. `[rows, variables]`

    Args:
        law: law whose ranges are used.
        style: style of the inputs.
        rows: number of rows.
        steps: number of values of each variable on a grid; a single variable has a value of its own in every row.
        rng: source of the rows.
    """
    low, high = np.array(law.low), np.array(law.high)
    places = rng.random((rows, len(low)))
    if style == "log_uniform":
        return np.asarray(np.exp(np.log(low) + places * np.log(high / low)))
    if style == "grid":
        count = steps if len(low) > 1 else np.maximum(steps, rows)
        places = np.floor(places * count) / (count - 1)
        if len(low) == 1:
            places = np.linspace(0.0, 1.0, rows)[:, None]
        return np.asarray(np.round(low + places * (high - low), 3))
    return np.asarray(low + places * (high - low))

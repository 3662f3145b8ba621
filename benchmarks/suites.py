"""What a suite of benchmarks is, and which there are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cells import Cell, Record, Settings
from benchmarks.report import Report
from foundation.errors import UserError, near

PACKAGES = {
    "deap": "pip install deap",
    "pyoperon": "pip install pyoperon==0.6.2",
    "gplearn": "pip install gplearn",
    "rils_rols": "pip install pybind11 setuptools, then pip install --no-build-isolation rils-rols",
}
"""Module of a package that a method may need beyond this project's own -> how it is installed."""

SUITES = {
    "evaluation": "benchmarks.evaluation",
    "latents": "benchmarks.latents",
    "inference": "benchmarks.inference",
    "gp_problems": "benchmarks.gp_problems",
    "gmeql": "benchmarks.gmeql",
    "latent": "benchmarks.latent_search",
    "srbench": "benchmarks.srbench",
    "families": "benchmarks.families",
    "generated": "benchmarks.generated",
    "kinds": "benchmarks.kinds",
    "curve": "benchmarks.curve",
    "trust": "benchmarks.trust",
    "coverage": "benchmarks.coverage",
    "blackbox": "benchmarks.blackbox",
    "door": "benchmarks.door",
    "budgets": "benchmarks.budgets",
    "equations": "benchmarks.equations_data",
    "distill": "benchmarks.distilling",
    "zoo": "benchmarks.network_zoo",
    "readers": "benchmarks.weight_readers",
    "worked": "benchmarks.worked_examples",
}
"""Name -> module that holds it as `SUITE`; imported only when it is asked for."""


@dataclass(frozen=True)
class Suite:
    """A suite of benchmarks.

    Attributes:
        name: name on the command line.
        summary: one sentence for `--help`.
        methods: all methods, in the order of the table.
        seeds: default seeds.
        settings: defaults of what `--set` may change; `seconds` is the budget of a search, where there is one.
        problems: names of the problems under given settings.
        estimate: expected seconds of a cell.
        run: measures a cell, in the cell's own process; the result must be JSON.
        report: the tables of finished, failed and missing cells.
        first: cells that the others need (trained networks), run before them; they are no part of the tables.
        defaults: methods of a run without `--methods`; all when empty.
        default_problems: the same for `--problems`.
        draw: makes the suite's figures in a directory.
        expand: the problems that a word of `--problems` stands for, say those of a named set.
    """

    name: str
    summary: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: Settings
    problems: Callable[[Settings], Sequence[str]]
    estimate: Callable[[Cell], float]
    run: Callable[[Cell], dict[str, Any]]
    report: Callable[[Sequence[Record]], Report]
    first: Callable[[Sequence[Cell]], list[Cell]] = field(default=lambda cells: [])
    defaults: tuple[str, ...] = ()
    default_problems: tuple[str, ...] = ()
    draw: Callable[[Sequence[Record], Path], list[Path]] = field(default=lambda records, out: [])
    expand: Callable[[str], Sequence[str]] = field(default=lambda word: [word])

    def cells(
        self,
        *,
        methods: Sequence[str],
        problems: Sequence[str],
        seeds: Sequence[int],
        settings: Settings,
        out: str,
    ) -> list[Cell]:
        """All combinations, one problem after the other so that an interrupted run has whole rows.

        Raises:
            UserError: a method, problem or setting does not exist.
        """
        everything = {**self.settings, **settings}
        problems = [name for word in problems for name in self.expand(word)]
        known = self.problems(everything)
        for kind, given, allowed in (
            ("method", methods, self.methods),
            ("problem", problems, known),
            ("setting", settings, self.settings),
        ):
            for word in given:
                if word not in allowed:
                    raise UserError(f"{self.name} has no {kind} {word!r}: {near(word, allowed)}")
        return [
            Cell(self.name, method, problem, seed, everything, out)
            for seed in seeds
            for problem in (problems or self.default_problems or known)
            for method in (methods or self.defaults or self.methods)
        ]


def suite(name: str) -> Suite:
    """The suite called `name`.

    Raises:
        UserError: there is none.
    """
    if name not in SUITES:
        raise UserError(f"there is no suite {name!r}: {near(name, SUITES)}")
    found: Suite = importlib.import_module(SUITES[name]).SUITE
    return found

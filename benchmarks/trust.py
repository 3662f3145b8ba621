"""Suite `trust`: is the law of a noisy table on the front, and is it picked?

Tables of known laws, drawn by `benchmarks.trust_tables`: 10, 30, 100 and 1,000 rows, noise of 0, 1, 5 and 20 % of
the target's standard deviation, some in few digits, some with given errors, some of laws that no search here can
express, some without any law. `auto` is what `discover.py` does, its held-out rows included, on one core; pyoperon
picks by its own criterion. A budget is in seconds of the processor, so that a busy machine gives the same answers.

A cell stores the whole front with all that a rule of choice may ask for (`benchmarks.trust_fronts`) and what every
equation is to the law (`benchmarks.trust_verdict`). The tables compare rules (`benchmarks.trust_rules`) on the
same fronts, and a new rule needs no new search: `python -m benchmarks.trust LEDGER` shows what a ledger holds by
now.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Cell, Ledger, Record
from benchmarks.report import Grid, Report, decimals, failures, good, group, median
from benchmarks.suites import Suite
from benchmarks.trust_rules import RULES, error_of
from benchmarks.trust_tables import NOISES, ROWS, SETS, NoisyTable, name_of, noisy_table
from searches.pareto_front import Candidate, ParetoFront

METHODS = ("auto", "pyoperon")
_COUNT = 400
_WIDTH = 150  # characters of a table
_LEAST_ROWS = 30  # of the tables whose fronts the summary asks about


def run(cell: Cell) -> dict[str, Any]:
    """Search on one table, and store its front."""
    from benchmarks.trust_fronts import front_record, law_record

    table = noisy_table(cell.problem, Path(cell.out) / "trust")
    worked = time.process_time()
    found = _METHODS[cell.method](table, cell)
    worked = time.process_time() - worked
    weights = None if found["sigma"] is None else found["sigma"] ** -2.0
    inputs, target = found["rows"]
    centred = target - np.average(target, weights=weights)
    return {
        "table": facts_of(table),
        "rows": len(target),
        "places": None if len(target) == len(table) else _places(found["rows"], table),
        "total_squares": float(np.sum(np.square(centred) if weights is None else weights * np.square(centred))),
        "known_errors": weights is not None,
        "front": front_record(found["front"], inputs, target, weights, table),
        "law": law_record(inputs, target, weights, table, _has_held_out(found["front"])),
        "chosen": found["chosen"],
        "cpu_seconds": worked,
        "stopped": found["stopped"],
    }


def _has_held_out(front: Sequence[Candidate]) -> bool:
    """Whether equations were chosen by rows that they were not fitted to."""
    return any(candidate.train_nmse != candidate.validation_nmse for candidate in front)


def facts_of(table: NoisyTable) -> dict[str, Any]:
    """What is known of a table, without its rows, which its name gives again."""
    from benchmarks.trust_laws import size_of
    from benchmarks.trust_verdict import constants_of
    from expressions.numbering import plain

    truth = table.law.truth
    return {
        "kind": table.law.kind,
        "formula": table.law.formula,
        "truth": None if truth is None else plain(truth),
        "size": None if truth is None else size_of(truth),
        "constants": None if truth is None else constants_of(truth),
        "variables": len(table.law.low),
        "rows": len(table),
        "noise": table.noise,
        "digits": table.digits,
        "style": table.style,
        "sigma": table.sigma is not None,
    }


def _auto(table: NoisyTable, cell: Cell) -> dict[str, Any]:
    """What `discover.py` does, in this process alone."""
    import pandas as pd

    from benchmarks.own_searches import prepare
    from benchmarks.processor_clock import count_processor_seconds
    from rediscover.discovery import discover

    prepare("regression")  # what is started once is so before the clock starts; the map would need more seconds
    count_processor_seconds()
    frame = pd.DataFrame(table.inputs, columns=[f"x{k}" for k in range(table.inputs.shape[1])])
    frame["y"] = table.target
    if table.sigma is not None:
        frame["sigma"] = table.sigma
    found = discover(
        frame,
        "y",
        sigma=None if table.sigma is None else "sigma",
        seconds=float(cell.settings["seconds"]),
        seed=cell.seed,
        jobs=1,
    )
    assert found.train is not None
    if len(found.names) != table.inputs.shape[1]:
        raise ValueError(f"{table.name}: a variable does not vary")
    front = list(found.front)
    return {
        "front": front,
        "chosen": [c.expression for c in front].index(found.chosen.expression),
        "rows": found.train,
        "sigma": None if table.sigma is None else table.sigma[_places(found.train, table)],
        "stopped": found.stopped,
    }


def _places(rows: tuple[np.ndarray, np.ndarray], table: NoisyTable) -> list[int]:
    """Numbers of the table's rows that some rows, in the table's order, are."""
    places, place = [], 0
    for inputs, target in zip(*rows, strict=True):
        while not (target == table.target[place] and np.array_equal(inputs, table.inputs[place])):
            place += 1
        places.append(place)
        place += 1
    return places


def _pyoperon(table: NoisyTable, cell: Cell) -> dict[str, Any]:
    """pyoperon on all rows; it knows no errors of rows."""
    from benchmarks.peers import Data, fit
    from expressions.canonical_form import canonical
    from expressions.complexity import complexity
    from searches.common.regression_task import RegressionTask

    rows = (table.inputs, table.target)
    fitted = fit("pyoperon", Data(*rows, *rows), cell.settings, cell.seed)
    task = RegressionTask(*rows)
    forms = [canonical(model.expression) for model in fitted.front]  # its trees repeat weights and scales
    scored = [task.judge(form, complexity(form)) for form in forms]
    own = next(k for k, model in enumerate(fitted.front) if model is fitted.chosen)
    front: list[Candidate] = list(ParetoFront.of(scored))
    if scored[own] not in front:  # a front of length and R2 is not one of nodes and error
        front = sorted([*front, scored[own]], key=lambda candidate: candidate.complexity)
    return {
        "front": front,
        "chosen": front.index(scored[own]),
        "rows": rows,
        "sigma": None,
        "stopped": fitted.stopped,
    }


_METHODS: dict[str, Callable[[NoisyTable, Cell], dict[str, Any]]] = {"auto": _auto, "pyoperon": _pyoperon}


# --- tables ---------------------------------------------------------------------------------------------------


def report(records: Sequence[Record]) -> Report:
    """Rules beside each other, by noise and rows; then what is picked where there is no law."""
    grids: list[Grid] = []
    used: list[str] = []
    for method, found in group(records, lambda r: r.cell.method).items():
        results = [record.result for record in good(found)]
        with_law = [result for result in results if _has_law(result)]
        worked = decimals(median(result["cpu_seconds"] for result in results), 1)
        used.append(f"{method}: {worked} seconds of the processor for a search, in the median of {len(results)}.")
        grids += [
            Grid(f"{method}: right structure picked", [*_HEADINGS, *RULES], list(_picked(with_law))),
            Grid(
                f"{method}: picked, of the fronts that hold it, {_LEAST_ROWS} rows or more",
                ["noise", "fronts", *RULES],
                list(_of_held(with_law)),
            ),
            Grid(
                f"{method}: the law would be picked, of the fronts that lack it, if it stood on them",
                ["noise", "fronts", *_ANEW],
                list(_would_be_picked(with_law)),
            ),
            Grid(
                f"{method}: right structure picked, and no constant too many",
                ["noise", "n", *RULES],
                list(_bare(with_law)),
            ),
            Grid(
                f"{method}: picks with constants that the law does not need",
                ["noise", "n", *RULES],
                list(_spurious(with_law)),
            ),
            Grid(
                f"{method}: the same, of picks whose structure can express the law",
                ["noise", *RULES],
                list(_spurious_of_laws(with_law)),
            ),
            Grid(
                f"{method}: no law to be found, nodes of the pick (median)",
                ["target", "n", *RULES],
                list(_without(results)),
            ),
        ]
    return Report(grids or [Grid("Trust", [*_HEADINGS, *RULES], [])], [*_NOTES, *used, *failures(records)])


_ANEW = tuple(rule for rule in RULES if rule != "chosen")  # that can be asked again
_HEADINGS = ["noise", "rows", "n", "on the front"]
_NOTES = (
    "right: the structure fits the law to 1e-10 once its constants are fitted to fresh rows without noise, and "
    "has at most two nodes more than the law. chosen: what the method showed; today: this project's rule as it is "
    "now; BIC and code length (Bartlett, Desmond and Ferreira 2023) for normal errors of unknown variance, not "
    "below the rounding of the data; PySR's best: the greatest drop of log loss a node among losses below 1.5 "
    "times the least. All but `chosen` and `today` see the constants fitted to all rows of the search. Shares are "
    "of tables whose law can be expressed; for a target that depends on nothing, a constant is right.",
)


def _has_law(result: dict[str, Any]) -> bool:
    return result["table"]["kind"] not in ("special", "none")


def _picks(results: Sequence[dict[str, Any]], rule: str) -> list[dict[str, Any]]:
    """The entries that a rule picks, one a front."""
    return [result["front"][RULES[rule](result)] for result in results]


def _picked(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A row for every noise and number of rows, and one for every noise."""
    rows = []
    for noise, noisy in _by_noise(results):
        parts = [(f"{low} to {high}", _between(noisy, low, high)) for low, high in _BINS]
        if {result["table"]["rows"] for result in noisy} <= set(ROWS):
            parts = [(str(count), _between(noisy, count, count)) for count in ROWS]
        for name, part in [*parts, ("all", noisy)]:
            if part:
                held = sum(any(entry["right"] for entry in result["front"]) for result in part)
                shares = [_share(pick["right"] for pick in _picks(part, rule)) for rule in RULES]
                rows.append([noise, name, str(len(part)), _percent(held, len(part)), *shares])
    return rows


_BINS = ((1, 20), (21, 60), (61, 300), (301, 10**9))


def _between(results: Sequence[dict[str, Any]], low: int, high: int) -> list[dict[str, Any]]:
    return [result for result in results if low <= result["table"]["rows"] <= high]


def _by_noise(results: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Results in classes of noise: up to each of `NOISES`, and above."""
    edges = [*NOISES, float("inf")]
    parts = []
    for low, high in zip([-1.0, *edges[:-1]], edges, strict=True):
        found = [result for result in results if low < result["table"]["noise"] <= high]
        exact = {result["table"]["noise"] for result in found} == {high}
        name = f"{high:.0%}" if exact else f"above {low:.0%}" if high == edges[-1] else f"up to {high:.0%}"
        parts += [(name, found)] if found else []
    return [*parts, ("all", list(results))] if parts else []


def _of_held(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    rows = []
    long = [result for result in results if result["table"]["rows"] >= _LEAST_ROWS]
    for noise, noisy in _by_noise(long):
        held = [result for result in noisy if any(entry["right"] for entry in result["front"])]
        shares = [_share(pick["right"] for pick in _picks(held, rule)) for rule in RULES]
        rows.append([noise, str(len(held)), *shares])
    return rows


def _would_be_picked(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Whether the choice or the search is at fault: where the law would win, the search has missed it."""
    rows = []
    for noise, noisy in _by_noise([result for result in results if result.get("law")]):
        lacking = [result for result in noisy if not any(entry["right"] for entry in result["front"])]
        shares = []
        for rule in _ANEW:
            picks = [(front, RULES[rule]({**result, "front": front})) for result, front in _offered(lacking)]
            shares.append(_share(front[pick]["right"] for front, pick in picks))
        rows.append([noise, str(len(lacking)), *shares])
    return rows


def _offered(results: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Results with their fronts, on which the law is offered, too."""
    offered = []
    for result in results:
        front: list[dict[str, Any]] = []
        entries = [*result["front"], result["law"]]
        for entry in sorted(entries, key=lambda entry: (entry["complexity"], error_of(result, entry))):
            if not front or error_of(result, entry) < error_of(result, front[-1]):
                front.append(entry)
        offered.append((result, front))
    return offered


def _bare(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    rows = []
    for noise, noisy in _by_noise(results):
        shares = [_share(pick["right"] and not pick["spurious"] for pick in _picks(noisy, rule)) for rule in RULES]
        rows.append([noise, str(len(noisy)), *shares])
    return rows


def _spurious(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    return [
        [noise, str(len(noisy)), *(_share(pick["spurious"] > 0 for pick in _picks(noisy, rule)) for rule in RULES)]
        for noise, noisy in _by_noise(results)
    ]


def _spurious_of_laws(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """What is taken from wrong structures, which need constants of their own to come near a law."""
    rows = []
    for noise, noisy in _by_noise(results):
        picks = {rule: [pick for pick in _picks(noisy, rule) if pick["fits"]] for rule in RULES}
        rows.append([noise, *(_share(pick["spurious"] > 0 for pick in fits) for fits in picks.values())])
    return rows


def _without(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    rows = []
    for kind, name in (("special", "a law beyond the operators"), ("none", "nothing but noise")):
        found = [result for result in results if result["table"]["kind"] == kind]
        if found:
            sizes = [decimals(median(pick["size"] for pick in _picks(found, rule)), 0) for rule in RULES]
            rows.append([name, str(len(found)), *sizes])
            if kind == "none":
                shares = [_share(pick["right"] for pick in _picks(found, rule)) for rule in RULES]
                rows.append(["share of constants", str(len(found)), *shares])
    return rows


def _share(flags: Any) -> str:
    found = [bool(flag) for flag in flags]
    return _percent(sum(found), len(found))


def _percent(count: int, of: int) -> str:
    return f"{100 * count / of:.0f} %" if of else "-"


def _words(word: str) -> Sequence[str]:
    """`drawn:50`, the first 50 tables of a set; `drawn:50-80`, the 51st to the 80th; or a table."""
    family, colon, numbers = word.partition(":")
    first, dash, last = numbers.rpartition("-")
    if family in SETS and colon and last.isdecimal() and (first.isdecimal() or not dash):
        return [name_of(family, number) for number in range(int(first or 0), int(last))]
    return [word]


class _AnyTable(Sequence[str]):
    """The names of all tables: sets are endless, so the first of each is named."""

    def __contains__(self, name: object) -> bool:
        family, _, number = str(name).rpartition("-")
        return family in SETS and number.isdecimal() and len(number) >= 5

    def __len__(self) -> int:
        return len(SETS)

    def __getitem__(self, index: Any) -> Any:
        return [name_of(family, 0) for family in SETS][index]


SUITE = Suite(
    name="trust",
    summary="noisy tables of known laws: is the law on the front, which rule picks it, and what else is picked",
    methods=METHODS,
    seeds=(1,),
    settings={
        "seconds": 3.0,
        "pyoperon_length": 50,
        "pyoperon_iterations": 5,
        "pyoperon_population": 500,
        "pyoperon_selection": "minimum_description_length",
    },
    problems=lambda settings: _AnyTable(),
    estimate=lambda cell: 6.0 + float(cell.settings["seconds"]),
    run=run,
    report=report,
    defaults=METHODS[:1],
    default_problems=tuple(_words(f"drawn:{_COUNT}")),
    expand=_words,
)


def main(ledgers: Sequence[str]) -> None:
    """Show the tables of all cells that ledgers hold, finished runs or not."""
    from rich.console import Console

    console = Console(width=_WIDTH)
    found = report([record for ledger in ledgers for record in Ledger(Path(ledger)).records()])
    for grid in found.grids:
        console.print(grid.rich())
    for note in found.notes:
        console.print(f"- {note}", highlight=False, markup=False)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The suite `trust`: its tables, its verdicts, the facts of a front, its rules and its tables of shares."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import trust
from benchmarks.cells import FAILED, OK, Cell, Ledger, Record, run_cells
from benchmarks.processor_clock import ProcessorClock
from benchmarks.trust_fronts import front_record, law_record
from benchmarks.trust_laws import NODES, Law, drawn_law, size_of, special_law, template_law
from benchmarks.trust_rules import RULES, bic, code_length
from benchmarks.trust_tables import NOISES, ROWS, NoisyTable, name_of, noisy_table
from benchmarks.trust_verdict import verdicts
from expressions.parsing import parse
from foundation.errors import UserError
from searches.pareto_front import Candidate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trust")


def table_of(law: str, rows: int = 40, noise: float = 0.0) -> NoisyTable:
    """A table of x0 and x1 in 1 to 3."""
    truth = parse(law)
    rng = np.random.default_rng(5)
    inputs = rng.uniform(1.0, 3.0, (rows, 2))
    clean = truth(inputs)
    target = clean + noise * clean.std() * rng.normal(size=rows)
    known = Law("drawn", law, truth, truth, (1.0, 1.0), (3.0, 3.0))
    return NoisyTable("by-hand", known, inputs, target, clean, None, noise, None, "uniform")


# --- tables ---------------------------------------------------------------------------------------------------


def test_a_name_draws_the_same_table_again_and_every_number_another(folder: Path) -> None:
    for family in ("drawn", "templates_any"):
        first, again, other = (noisy_table(name_of(family, number), folder) for number in (3, 3, 4))
        assert np.array_equal(first.inputs, again.inputs)
        assert np.array_equal(first.target, again.target)
        assert first.law.formula != other.law.formula


def test_sizes_come_in_turns_and_noise_is_of_the_targets_deviation(folder: Path) -> None:
    tables = [noisy_table(name_of("templates", number), folder) for number in range(64)]
    assert {(len(t), t.noise) for t in tables if t.law.kind != "none"} == {(r, s) for r in ROWS for s in NOISES}
    for table in tables:
        if len(table) == 1000 and table.law.kind != "none":
            noise = np.std(table.target - table.clean) / table.clean.std()
            assert noise == pytest.approx(table.noise, rel=0.25, abs=1e-3)
            assert table.noise > 0 or table.digits or np.array_equal(table.target, table.clean)


def test_given_errors_are_those_of_the_noise(folder: Path) -> None:
    tables = [noisy_table(name_of("templates", number), folder) for number in range(200)]
    given = [table for table in tables if table.sigma is not None and len(table) == 1000]
    assert given
    for table in given:
        assert table.sigma is not None
        assert np.std((table.target - table.clean) / table.sigma) == pytest.approx(1.0, rel=0.15)
        assert table.sigma.max() > 2 * table.sigma.min()


def test_few_digits_are_few_digits(folder: Path) -> None:
    tables = [noisy_table(name_of("templates_any", number), folder) for number in range(30)]
    short = [table for table in tables if table.digits]
    assert 0 < len(short) < len(tables)
    for table in short:
        assert table.digits is not None
        assert all(float(f"{value:.{table.digits - 1}e}") == value for value in table.target.tolist())


def test_laws_have_their_size_and_fresh_rows_their_values(folder: Path) -> None:
    rng = np.random.default_rng(0)
    laws = [*(template_law(rng) for _ in range(20)), *(drawn_law(number, 0, folder) for number in range(20))]
    for law in laws:
        assert law.truth is not None
        assert NODES[0] <= size_of(law.truth) <= NODES[1]
        assert 1 <= len(law.low) <= 4
        assert law.truth.variables == tuple(range(len(law.low)))
    table = noisy_table(name_of("templates", 0), folder)
    inputs, clean = table.fresh(50)
    assert np.array_equal(clean, table.law.values(inputs))
    assert not set(map(tuple, inputs)) & set(map(tuple, table.inputs))


@pytest.mark.parametrize("other", [False, True])
def test_laws_beyond_the_operators_are_finite(other: bool) -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        law = special_law(rng, other)
        values = law.values(rng.uniform(law.low, law.high, (30, len(law.low))))
        assert law.truth is None
        assert np.isfinite(values).all()
        assert values.std() > 0


def test_an_unknown_table_is_refused(folder: Path) -> None:
    for name in ("drown-00001", "drawn", "drawn-x"):
        with pytest.raises(UserError, match="there is no table"):
            noisy_table(name, folder)


# --- verdicts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "fits", "right", "spurious"),
    [
        ("1.6*x0/(x1 + 0.4)", True, True, 0),
        ("x0/(0.6*x1 + 0.3)", True, True, 0),  # another form of the same
        ("1.6*x0/(x1 + 0.4) + 0.01", True, True, 1),
        ("1.6*x0/(x1 + 0.4) + 0.01*sin(x0 + 0.2) + 0.1", True, False, 3),
        ("1.6*x0/x1", False, False, 0),
        ("1.6*x0/(x1 + x0)", False, False, 0),
        ("0.2*x0*exp(x1*0.3) + 1.1*sin(0.2*x0)", False, False, 2),
        ("2*x0*exp(1.5*x1) - 3*sin(x0)", False, False, 0),  # whole numbers and halves were not fitted
        ("3.21", False, False, 0),
    ],
)
def test_an_equation_is_the_law_if_its_structure_is(found: str, fits: bool, right: bool, spurious: int) -> None:
    [verdict] = verdicts([parse(found)], table_of("1.5*x0/(x1 + 0.5)"))
    assert (verdict.fits, verdict.right, verdict.spurious) == (fits, right, spurious)
    assert verdict.contains == (fits and not right)


def test_of_what_depends_on_nothing_a_constant_is_right() -> None:
    law = Law("none", "2.0", parse("2.0"), parse("2.0"), (1.0, 1.0), (3.0, 3.0))
    table = table_of("x0")
    noise = NoisyTable("none", law, table.inputs, table.target, table.clean, None, 1.0, None, "uniform")
    constant, line = verdicts([parse("1.9"), parse("1.9 + 0.01*x0")], noise)
    assert constant.right
    assert not line.fits
    assert line.spurious == 1


# --- fronts and rules -----------------------------------------------------------------------------------------


def test_the_facts_of_a_front_are_those_of_its_rows() -> None:
    table = table_of("1.5*x0 + x1", noise=0.1)
    weights = np.linspace(0.5, 2.0, len(table))
    found = Candidate.of(parse("1.4*x0 + x1*0.9"), table.inputs, table.target)
    [entry] = front_record([found], table.inputs, table.target, weights, table)
    json.dumps(entry)
    assert entry["right"]
    assert (entry["tokens"], entry["symbols"], entry["constants"]) == (7, 5, 2)
    residuals = table.target - table.inputs @ [1.4, 0.9]
    assert entry["found"]["rss"] == pytest.approx(weights @ residuals**2)
    assert entry["found"]["information"] == pytest.approx(weights @ table.inputs**2)
    root = np.sqrt(weights)
    best = np.linalg.lstsq(root[:, None] * table.inputs, root * table.target, rcond=None)[0]
    assert entry["refitted"]["values"] == pytest.approx(best)
    assert entry["refitted"]["rss"] == pytest.approx(weights @ (table.target - table.inputs @ best) ** 2)
    assert entry["refitted"]["gram"][0][1] == pytest.approx(weights @ np.prod(table.inputs, axis=1))


def result_of(law: str, *front: str, noise: float = 0.1, rows: int = 40, kind: str = "drawn") -> dict[str, Any]:
    """A cell's result with a front of given equations, fitted, the first of them chosen."""
    table = table_of(law, rows, noise)
    found = [Candidate.of(parse(text), table.inputs, table.target) for text in front]
    facts = {**trust.facts_of(table), "kind": kind}
    return {
        "table": facts,
        "rows": rows,
        "total_squares": float(np.sum((table.target - table.target.mean()) ** 2)),
        "front": front_record(found, table.inputs, table.target, None, table),
        "law": law_record(table.inputs, table.target, None, table),
        "chosen": 0,
        "cpu_seconds": 3.0,
    }


def test_a_description_is_as_long_as_published() -> None:
    result = result_of("1.5*x0 + x1", "1.5*x0 + x1*0.9", "2.1*x0")
    entry = result["front"][0]
    variance = entry["refitted"]["rss"] / 40
    error = entry["refitted"]["rss"] / result["total_squares"]
    digits = sum(
        0.5 * math.log(information / variance) + math.log(abs(value)) - 0.5 * math.log(3)
        for value, information in zip(entry["refitted"]["values"], entry["refitted"]["information"], strict=True)
    )
    assert code_length(result, entry) == pytest.approx(20 * math.log(error) + 7 * math.log(5) + digits)
    assert bic(result, entry) == pytest.approx(20 * math.log(error) + math.log(40))


def test_rules_pick_the_law_where_it_is_plain() -> None:
    front = ("1.9", "1.5*x0 + 1.1*x1", "1.5*x0 + 1.1*x1 + 0.01*sin(3.1*x0 + 0.4)")
    result = result_of("1.5*x0 + x1", *front, rows=200, noise=0.05)
    assert [RULES[name](result) for name in ("BIC", "code length", "PySR's best")] == [1, 1, 1]
    assert RULES["chosen"](result) == 0


def test_below_the_rounding_of_the_data_nothing_is_gained() -> None:
    result = result_of("1.5*x0 + x1", "1.5*x0 + 1.0*x1", noise=0.0)
    entry = result["front"][0]
    assert bic(result, {**entry, "rounding": 1e-12}) - bic(result, {**entry, "rounding": 1e-20}) > 300


def test_pysrs_best_is_the_greatest_drop_among_small_losses() -> None:
    front = ("1.9", "2.0*x0", "1.5*x0 + 1.1*x1")
    result = result_of("1.5*x0 + x1", *front)
    for entry, loss, size in zip(result["front"], (1.0, 0.1, 0.08), (1, 3, 7), strict=True):
        entry["refitted"]["rss"], entry["complexity"] = loss * result["total_squares"], size
    assert RULES["PySR's best"](result) == 1  # 1.15 a node against 0.06, and 0.1 is below 1.5 times 0.08
    result["front"][2]["refitted"]["rss"] /= 2.0
    assert RULES["PySR's best"](result) == 2


# --- the suite ------------------------------------------------------------------------------------------------


def test_a_cell_finds_a_law_and_stores_its_front(folder: Path) -> None:
    """On a table of 1,000 rows, of which a quarter is held out, in a process of its own."""
    settings = trust.SUITE.settings | {"seconds": 10.0}  # it ends once it is exact
    number = next(
        k for k in range(12, 400, 16) if noisy_table(name_of("templates", k), folder).law.kind == "template"
    )
    cell = Cell("trust", "auto", name_of("templates", number), 1, settings, str(folder))
    ledger = Ledger(folder / "trust.jsonl")
    [record] = run_cells([cell], ledger, cores=[_core()], limit=lambda _: 200.0, on_record=lambda _: None)
    assert record.status == OK, record.reason
    assert len(record.result["places"]) == record.result["rows"] == 750
    assert any(entry["right"] for entry in record.result["front"])
    report = trust.report([record])
    assert report.grids[0].rows[0][:4] == ["0%", "1000", "1", "100 %"]


def _core() -> int:
    from benchmarks.machine import cores

    return cores()[0]


def test_the_processors_clock_counts_work_and_sleep() -> None:
    clock = ProcessorClock()
    begun = clock.perf_counter()
    clock.sleep(0.01)
    assert 0.01 <= clock.perf_counter() - begun < 5.0
    assert clock.time() > 1e9  # all else is the module's own


def test_shares_are_of_tables_with_a_law_and_by_noise() -> None:
    def record(number: int, result: dict[str, Any]) -> Record:
        return Record(Cell("trust", "auto", name_of("drawn", number), 1), OK, result)

    law, wrong = "1.5*x0 + x1", "2.0*x0*x1"
    results = [
        result_of(law, "1.5*x0 + 1.0*x1", noise=0.05),
        result_of(law, wrong, "1.5*x0 + 1.0*x1", noise=0.05),
        result_of(law, wrong, noise=0.05),
        result_of(law, wrong, noise=0.05, kind="special"),
    ]
    grids = trust.report([record(k, result) for k, result in enumerate(results)]).grids
    chosen = grids[0].columns.index("chosen")
    assert grids[0].rows[-1][: chosen + 1] == ["all", "all", "3", "67 %", "33 %"]
    assert grids[1].rows[-1][:3] == ["all", "2", "50 %"]
    assert grids[2].rows[-1] == ["all", "1", *["100 %"] * 4]  # the law would win where it was not found
    assert grids[3].rows[-1][:3] == ["all", "3", "33 %"]
    assert [row[:2] for row in grids[6].rows] == [["a law beyond the operators", "1"]]


def test_words_stand_for_tables_of_a_set() -> None:
    cells = trust.SUITE.cells(
        methods=[], problems=["drawn:2", "templates:7-9", "drawn_any-00123"], seeds=[1], settings={}, out=""
    )
    names = ["drawn-00000", "drawn-00001", "templates-00007", "templates-00008", "drawn_any-00123"]
    assert [cell.problem for cell in cells] == names
    assert {cell.method for cell in cells} == {"auto"}
    for word in ("drawn:x", "drown:3", "drawn-1"):
        with pytest.raises(UserError, match="has no problem"):
            trust.SUITE.cells(methods=[], problems=[word], seeds=[1], settings={}, out="")


def test_a_ledger_is_shown_whatever_it_holds_by_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger(tmp_path / "trust.jsonl")
    for number, result in enumerate([result_of("1.5*x0 + x1", "1.5*x0 + 1.0*x1"), {}]):
        status = OK if result else FAILED
        ledger.add(Record(Cell("trust", "auto", name_of("drawn", number), 1), status, result, reason="gone"))
    trust.main([str(ledger.path)])
    shown = capsys.readouterr().out
    assert "auto: right structure picked" in shown
    assert "3.0 seconds of the processor for a search, in the median of 1" in shown
    assert "1 of 2 cells failed" in shown


def test_the_law_is_charged_as_its_rivals_are() -> None:
    table = table_of("1.5*x0 + x1", rows=100, noise=0.1)
    alone, beside = (law_record(table.inputs, table.target, None, table, held) for held in (False, True))
    assert alone is not None
    assert beside is not None
    assert beside["charge"] < alone["charge"]  # a node costs less where further rows judge, too
    assert alone["train_nmse"] == alone["validation_nmse"]
    assert beside["train_nmse"] != beside["validation_nmse"]
    assert alone["right"]

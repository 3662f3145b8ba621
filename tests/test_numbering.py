"""Files that hold programs mean the same after a row was added to the operator table, or say that they do not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from datamodules.settings.streams import PoolSettings
from datamodules.streams.skeleton_file import keep_skeletons, read_skeletons
from expressions.expression import Expression
from expressions.numbering import NumberingError, check_numbers, numbers_of, plain, renumbered, restored
from expressions.operators import FIRST_VARIABLE, SHIPPED, TOKEN
from expressions.parsing import parse
from foundation.errors import UserError
from modules.networks.equation_map.latent_map import PRETRAINED, LatentMap
from searches.common.search_state import StateError, load_state, save_state
from searches.evolution.settings import GeneticProgrammingSettings
from searches.genetic_programming import search
from tests.appended_row import run_with_row

SETTINGS = PoolSettings(variables=3, longest=12)
STRANGER = """Operator(
        name="sign", arity=1, numpy=np.sign, torch=lambda t, a: t.sign(a),
        partials=lambda xp, f, a: (0.0 * a,), sympy=lambda sp, a: sp.sign(a), latex=r"\\operatorname{{sign}}({0})",
    )"""


def test_rows_keep_their_places() -> None:
    # Programs lie in files by these numbers: rows are only ever appended to the table, and then to this list.
    names = (
        "add sub mul div pow max min neg inv square cube pow4 pow5 pow6 sqrt abs exp log sin cos tan asin acos "
        "atan sinh cosh tanh safe_div safe_sqrt safe_log erf log10 cbrt pow7 pow8 pow9 pow10"
    )
    assert " ".join(row.name for row in SHIPPED).startswith(names)
    assert [TOKEN[row.name] for row in SHIPPED] == list(range(1, len(SHIPPED) + 1))
    assert FIRST_VARIABLE == 1000 > len(SHIPPED) + 100


def test_a_number_between_operators_and_variables_is_no_leaf() -> None:
    with pytest.raises(ValueError, match="no operator has the number 999"):
        Expression([TOKEN["add"], FIRST_VARIABLE, 999])


def test_numbers_name_what_occurs() -> None:
    tokens = parse("sin(x0)*x3 + 2").tokens
    expected = {"add": TOKEN["add"], "mul": TOKEN["mul"], "sin": TOKEN["sin"], "x0": FIRST_VARIABLE}
    assert numbers_of(tokens) == expected
    assert numbers_of(np.append(tokens, -1)) == expected
    assert numbers_of() == {**TOKEN, "x0": FIRST_VARIABLE}
    check_numbers(json.loads(json.dumps(numbers_of())), "it", "delete it")


def test_programs_of_other_numbers_are_translated() -> None:
    expression = parse("sin(x0)*x12 + 2")
    # the file of a program whose table had another order, and fewer rows
    theirs = {"sin": 1, "add": 2, "mul": 19, "x0": 20}
    tokens = np.array([[2, 19, 1, 20, 32, 0, -1]], dtype=np.int16)
    found = renumbered(tokens, theirs, "it", "delete it")
    assert found.dtype == np.int16
    assert found.tolist() == [[*expression.tokens.tolist(), -1]]
    stored = {"tokens": [2, 19, 1, 20, 32, 0], "constants": [2.0], "numbers": theirs}
    assert restored(stored, "it", "delete it") == expression
    assert restored(json.loads(json.dumps(plain(expression))), "it", "delete it") == expression


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (None, "does not name the operators"),
        ({}, "does not name the operators"),
        ({"sin": "1", "x0": 20}, "does not name the operators"),
        ({"sin": 1, "bessel": 2, "x0": 20}, "uses the operator 'bessel'"),
        ({"sin": 1, "x0": 20}, "does not name its operator 2"),
    ],
)
def test_what_cannot_be_translated_is_refused(numbers: object, words: str) -> None:
    with pytest.raises(NumberingError, match=f"^the file {words}.*: delete it$"):
        renumbered(np.array([2, 1, 20, 21]), numbers, "the file", "delete it")


def test_other_numbers_are_refused_where_nothing_is_translated() -> None:
    for name, number in (("sin", 1), ("x0", 31)):
        with pytest.raises(NumberingError, match=f"^it gives {name} the number {number}, this version "):
            check_numbers({**numbers_of(), name: number}, "it", "delete it")


# --- files ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def skeletons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("skeletons") / "skeletons.npz"
    keep_skeletons(path, 300, 5, SETTINGS)
    return path


def _rewritten(path: Path, other: Path, **header: object) -> Path:
    """A copy of a file of skeletons whose header differs; None takes an entry out."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    words = {**json.loads(arrays["header"].tobytes()), **header}
    words = {name: value for name, value in words.items() if value is not None}
    arrays["header"] = np.frombuffer(json.dumps(words).encode(), dtype=np.uint8)
    np.savez_compressed(other, **arrays)
    return other


def test_skeletons_of_before_are_refused(skeletons: Path, tmp_path: Path) -> None:
    old = _rewritten(skeletons, tmp_path / "old.npz", format="rediscover skeletons 1", numbers=None)
    with pytest.raises(UserError, match=r"does not name the operators .*delete it, and the next run draws it"):
        read_skeletons(old, 300, SETTINGS)


def test_skeletons_in_other_numbers_are_translated(skeletons: Path, tmp_path: Path) -> None:
    numbers = {**numbers_of(), "sin": TOKEN["cos"], "cos": TOKEN["sin"]}
    other = _rewritten(skeletons, tmp_path / "other.npz", numbers=numbers)
    ours, theirs = (read_skeletons(path, 300, SETTINGS) for path in (skeletons, other))
    swapped = np.array(ours.pool.tokens)
    for name, opposite in (("sin", "cos"), ("cos", "sin")):
        swapped[ours.pool.tokens == TOKEN[name]] = TOKEN[opposite]
    assert (swapped != ours.pool.tokens).any()
    assert np.array_equal(theirs.pool.tokens, swapped)


def test_states_of_before_and_of_other_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    save_state(path, {"population": []})
    assert load_state(path) == {"population": []}
    for numbers, words in ((None, "does not name"), ({"add": 2, "x0": 1000}, "gives add the number 2")):
        save_state(path, {})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("searches.common.search_state.numbers_of", lambda numbers=numbers: numbers)
            save_state(path, {"population": []})
        with pytest.raises(StateError, match=f"^{path} {words}.*: delete it to start this search anew$"):
            load_state(path)


READ_ALL = """
import json, sys
import numpy as np
from dataclasses import replace
from datamodules.streams.skeleton_file import read_skeletons
from datamodules.settings.streams import PoolSettings
from expressions.numbering import restored
from expressions.operators import OPERATORS
from searches.evolution.settings import GeneticProgrammingSettings
from searches.genetic_programming import search
from modules.networks.equation_map.latent_map import PRETRAINED, LatentMap

skeletons, state, equation = sys.argv[1:]
assert OPERATORS[-1].name == "sign"
pool = read_skeletons(skeletons, 300, PoolSettings(variables=3, longest=12)).pool
rng = np.random.default_rng(5)
inputs = rng.normal(size=(40, 2))
target = inputs[:, 0] * np.exp(inputs[:, 1]) + 0.01 * rng.normal(size=40)
settings = GeneticProgrammingSettings(population=16, generations=3, islands=1, seconds=None, simplify_seconds=0.0)
result = search(inputs, target, settings, seed=1, state_path=state)
latent_map = LatentMap.load(PRETRAINED)
print(json.dumps({
    "skeletons": [pool.skeleton(k).infix() for k in range(len(pool))],
    "front": [candidate.expression.infix() for candidate in result.front],
    "evaluations": result.evaluations,
    "equation": restored(json.loads(equation), "it", "delete it").infix(),
    "names": list(latent_map.vocabulary.names),
}))
"""


def test_after_one_more_row_everything_written_before_means_the_same(
    skeletons: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = {row.name: TOKEN[row.name] for row in SHIPPED}  # other tests may have operators of their own
    monkeypatch.setattr("expressions.numbering.TOKEN", shipped)
    pool = read_skeletons(skeletons, 300, SETTINGS).pool
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(40, 2))
    target = inputs[:, 0] * np.exp(inputs[:, 1]) + 0.01 * rng.normal(size=40)
    short = GeneticProgrammingSettings(population=16, generations=3, islands=1, seconds=None, simplify_seconds=0.0)
    result = search(inputs, target, short, seed=1, state_path=tmp_path / "gp.state")
    equation = parse("sin(x0)*x3 + 0.25")
    folder = tmp_path / "copy"
    folder.mkdir()
    found = json.loads(
        run_with_row(
            STRANGER, READ_ALL, folder, str(skeletons), str(tmp_path / "gp.state"), json.dumps(plain(equation))
        )
    )
    assert found["skeletons"] == [pool.skeleton(k).infix() for k in range(len(pool))]
    assert (found["front"], found["evaluations"]) == (
        [c.expression.infix() for c in result.front],
        result.evaluations,
    )
    assert found["equation"] == equation.infix()
    assert found["names"] == list(LatentMap.load(PRETRAINED).vocabulary.names)

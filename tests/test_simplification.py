"""Canonical forms: equal for equal expressions, different for different ones, the same values on the same rows."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from expressions import sympy_worker as symbolic
from expressions.expression import Expression
from expressions.operators import BY_NAME, CONSTANT, FIRST_VARIABLE, Operator
from expressions.parsing import parse
from expressions.scoring import complexity, probe_rows
from expressions.simplification import MAX_LENGTH, canonical, canonical_key, simplify
from tests.strategies import ALL_OPERATORS, PLAIN_OPERATORS, expressions, random_expression

ROOT = Path(__file__).resolve().parent.parent


def apply(name: str, *arguments: Expression) -> Expression:
    return Expression.apply(name, *arguments)


# --- values -----------------------------------------------------------------------------------------------------


def disturbed(expression: Expression, X: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Values with every operation off by up to 1e-14, and where an intermediate result is huge, tiny or undone.

    The spread over seeds tells how much rounding matters on each row.
    """
    rng = np.random.default_rng(seed)
    rows = len(X)
    extreme = np.zeros(rows, dtype=bool)

    def combine(row: Operator, *arguments: np.ndarray) -> np.ndarray:
        exact = row.numpy(*arguments, np.empty(rows))
        size = np.abs(exact)
        pole = row.name in ("div", "inv", "log", "pow") and np.isinf(exact)
        inputs_finite = np.all([np.isfinite(a) for a in arguments], axis=0)
        extreme[inputs_finite & (size > 1e100) & ~pole] = True
        extreme[(size < 1e-100) & ((exact != 0.0) | (row.name in ("exp", "pow", *POWERS)))] = True
        return exact * (1.0 + 1e-14 * rng.uniform(-1.0, 1.0, rows))

    def leaf(token: int, value: float) -> np.ndarray:
        return np.full(rows, value) if token == CONSTANT else X[:, token - FIRST_VARIABLE]

    with np.errstate(all="ignore"):
        return np.array(expression.fold(leaf, combine)), extreme


USUAL = (
    "add", "sub", "mul", "div", "neg", "inv", "square", "cube", "sqrt", "log", "sin", "abs", "max",
)  # fmt: skip
POWERS = ("square", "cube", "pow4", "pow5", "pow6")


def assert_same_values(original: Expression, rewritten: Expression) -> None:
    X = probe_rows(3, rows=60)
    runs = [disturbed(e, X, seed) for e in (original, rewritten) for seed in range(3)]
    with np.errstate(all="ignore"):
        expected, found = original(X), rewritten(X)
        first, second = np.array([v for v, _ in runs[:3]]), np.array([v for v, _ in runs[3:]])
        spread = np.maximum(np.abs(first - expected).max(axis=0), np.abs(second - found).max(axis=0))
        settled = ~np.any([extreme for _, extreme in runs], axis=0)
        for values in (first, second):
            finite = np.isfinite(values)
            settled &= finite.all(axis=0) | ~finite.any(axis=0)
        finite = np.isfinite(expected)
        assert np.array_equal(finite[settled], np.isfinite(found)[settled])
        both = settled & finite & np.isfinite(found)
        allowed = 100.0 * spread + 1e-11 * np.abs(expected) + 1e-12
        assert not (np.abs(found - expected)[both] > allowed[both]).any()


@settings(max_examples=150, deadline=None)
@given(expressions(max_depth=5, operators=PLAIN_OPERATORS))
def test_same_values_and_invalid_rows_stay_invalid(expression: Expression) -> None:
    assert_same_values(expression, canonical(expression))


def test_same_values_on_thousands_of_random_expressions() -> None:
    rng = np.random.default_rng(7)
    for _ in range(600):
        expression = random_expression(rng, 3, int(rng.integers(2, 6)), USUAL)
        assert_same_values(expression, canonical(expression))


@settings(max_examples=150, deadline=None)
@given(expressions(max_depth=6, operators=ALL_OPERATORS))
def test_idempotent(expression: Expression) -> None:
    once = canonical(expression)
    assert canonical_key(once) == canonical_key(expression)
    assert canonical_key(once, constants=False) == canonical_key(expression, constants=False)
    assert canonical(canonical(once)) == canonical(once)


# --- equal keys -------------------------------------------------------------------------------------------------

EQUAL = [
    ("x0 + x1", "x1 + x0"),
    ("(x0 + x1) + x2", "x0 + (x2 + x1)"),
    ("x0*(x1*x2)", "x2*x0*x1"),
    ("x0 + x0", "2*x0"),
    ("x0*x0", "x0**2"),
    ("x0**2*x0**4", "x0**6"),
    ("-(x0 - x1)", "x1 - x0"),
    ("--x0", "x0"),
    ("x0 - -x1", "x0 + x1"),
    ("x0*-x1", "-(x0*x1)"),
    ("x0/x1", "x0*(1/x1)"),
    ("x0/x1/x2", "x0/(x1*x2)"),
    ("x0*x1/x0", "x1"),
    ("x0 - x0", "0"),
    ("x0 + 0*x1", "x0"),
    ("1*x0 + 0", "x0"),
    ("2*(3*x0)", "6*x0"),
    ("2 + (x0 + 3)", "x0 + 5"),
    ("2*(x0 + 1)", "2*x0 + 2"),
    ("2*x0 + 2*x1", "2*(x1 + x0)"),
    ("(2*x0 + 4)*x1", "2*x1*(x0 + 2)"),
    ("(x0 - x1)**2", "(x1 - x0)**2"),
    ("(x0 - x1)**3", "-(x1 - x0)**3"),
    ("(2*x0)**2", "4*x0**2"),
    ("sin(-x0)", "-sin(x0)"),
    ("cos(x0 - x1)", "cos(x1 - x0)"),
    ("abs(-3*x0)", "3*abs(x0)"),
    ("sqrt(x0**2)", "abs(x0)"),
    ("abs(x0)**2", "x0**2"),
    ("abs(exp(x0))", "exp(x0)"),
    ("x0**0.5", "sqrt(x0)"),
    ("x0**2.0", "x0**2"),
    ("x0**-3", "1/x0**3"),
    ("log(exp(x0))", "x0"),
    ("max(x0, max(x1, x0))", "max(x1, x0)"),
    ("sin(2)*x0", "x0*0.9092974268256817"),
    ("0.1*x0 + 0.2*x0 - 0.3*x0", "0"),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_equal_expressions_have_equal_keys(left: str, right: str) -> None:
    assert canonical_key(parse(left)) == canonical_key(parse(right))
    assert canonical(parse(left)) == canonical(parse(right))


DIFFERENT_DOMAIN = [
    ("log(x0) - log(x0)", "0"),
    ("log(x0)/log(x0)", "1"),
    ("exp(log(x0))", "x0"),
    ("sqrt(x0)**2", "x0"),
    ("sqrt(x0)*sqrt(x0)", "x0"),
    ("max(x0, 0)/max(x0, 0)", "1"),
    ("max(x0, 0)**2/max(x0, 0)", "max(x0, 0)"),
    ("(x0 + abs(x0))/(x0 + abs(x0))", "1"),
    ("0*log(x0)", "0"),
    ("sin(asin(x0))", "x0"),
]


@pytest.mark.parametrize(("left", "right"), DIFFERENT_DOMAIN)
def test_rules_that_would_make_invalid_rows_valid_are_not_applied(left: str, right: str) -> None:
    assert canonical_key(parse(left)) != canonical_key(parse(right))


def rewrite(e: Expression, rng: np.random.Generator) -> Expression:
    """An equal expression: commuted, reassociated, signs and differences moved, at random and everywhere."""
    children = [rewrite(child, rng) for child in e.children()]
    if not children:
        choice = rng.integers(4)
        if choice == 0:
            return apply("neg", apply("neg", e))
        return apply("add", Expression.constant(0.0), e) if choice == 1 else e
    name = e.fold(lambda *_: "", lambda row, *_: row.name)
    if rng.random() < 0.5 and BY_NAME[name].commutative:
        children = children[::-1]
    if name in ("add", "mul") and rng.random() < 0.5:
        inner = children[0]
        if len(inner) > 1 and inner.fold(lambda *_: "", lambda row, *_: row.name) == name:
            a, b = inner.children()
            return apply(name, a, apply(name, b, children[1]))
    if name == "sub" and rng.random() < 0.5:
        if rng.random() < 0.5:
            return apply("neg", apply("sub", children[1], children[0]))
        return apply("add", children[0], apply("neg", children[1]))
    if name == "div" and rng.random() < 0.5:
        return apply("mul", children[0], apply("inv", children[1]))
    if name == "square" and rng.random() < 0.5:
        return apply("mul", children[0], children[0])
    return apply(name, *children)


def test_random_rewritings_have_the_same_key() -> None:
    rng = np.random.default_rng(3)
    names = ("add", "add", "sub", "mul", "mul", "div", "neg", "square", "sin", "exp", "max")
    for _ in range(700):
        expression = random_expression(rng, 3, 5, names)
        # Whole numbers: a reassociated sum of other numbers may differ in its last digit and in what cancels.
        expression = expression.with_constants(np.clip(np.round(expression.constants), 1, 4))
        normal = canonical(expression)
        # 0 times what is invalid on a region stays, and how much of it depends on the order of the product.
        if 0.0 in normal.constants or not np.isfinite(expression(probe_rows(3))).any():
            continue
        assert canonical_key(rewrite(expression, rng)) == canonical_key(expression), expression


def test_numerically_different_expressions_have_different_keys() -> None:
    rng = np.random.default_rng(5)
    X = probe_rows(3)
    found: dict[bytes, np.ndarray] = {}
    for _ in range(2_500):
        expression = random_expression(rng, 3, 3, PLAIN_OPERATORS)
        with np.errstate(all="ignore"):
            values = expression(X)
        other = found.setdefault(canonical_key(expression), values)
        both = np.isfinite(values) & np.isfinite(other)
        assert np.allclose(values[both], other[both], rtol=1e-6, atol=1e-6)
        assert both.sum() >= 0.9 * max(np.isfinite(values).sum(), np.isfinite(other).sum())


def test_skeleton_keys() -> None:
    def skeleton(text: str) -> bytes:
        return canonical_key(parse(text), constants=False)

    assert skeleton("2.5*x0 + 1.5") == skeleton("7*x0 - 3") == skeleton("-1.5 - 0.5*x0")
    assert skeleton("sin(2*x0)*3.1") == skeleton("0.5*sin(x0*9)")
    assert skeleton("2.5*x0 + x1") != skeleton("x0 + 2.5*x1")  # the place of a constant counts
    assert skeleton("2.5*x0") != skeleton("x0") != skeleton("x0 + 2.5")
    assert canonical_key(parse("2.5*x0")) != canonical_key(parse("2.6*x0"))


def test_keys_are_the_same_in_every_process() -> None:
    text = "sin(x0*2.5) + x1*x0 - max(x1, x0)/3.25"
    code = (
        "from expressions.parsing import parse; from expressions.simplification import canonical_key as k;"
        f"e = parse({text!r}); print(k(e).hex(), k(e, constants=False).hex())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert output == [canonical_key(parse(text)).hex(), canonical_key(parse(text), constants=False).hex()]


def test_long_expressions_are_left_alone() -> None:
    chain = parse("+".join(["x0"] * (MAX_LENGTH // 2 + 2)))
    assert canonical(chain) == chain
    assert len(canonical(parse("+".join(["x0"] * 900)))) == 3


def test_overflow_keeps_the_expression() -> None:
    for text in ("1e200*(1e200*x0)", "(1e-200*x0)*1e-200", "x0/0", "1/(0*log(x0))", "1e308*x0 + 1e308*x0"):
        once = canonical(parse(text))
        assert canonical(once) == once
        assert np.isfinite(once.constants).all()


# --- SymPy in a worker ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sin(x0)**2 + cos(x0)**2", "1"),
        ("(x0**2 - 1)/(x0 - 1)", "x0 + 1"),
        ("x0*x1 + x0*x2", "x0*(x1 + x2)"),
        ("(1.5*x0 + 0.37*x1*x0)/x0", "0.37*x1 + 1.5"),
        ("safe_div(x0, x0 + 0)", "safe_div(x0, x0)"),
    ],
)
def test_simplify(text: str, expected: str) -> None:
    assert canonical_key(simplify(parse(text), seconds=5.0)) == canonical_key(parse(expected))


@pytest.mark.parametrize("text", ["exp(log(x0))", "sqrt(x0)**2", "log(x0**2) - 2*log(x0)"])
def test_simplify_keeps_invalid_rows_invalid(text: str) -> None:
    simple = simplify(parse(text), seconds=5.0)
    assert not np.isfinite(simple(np.array([[-1.0]])))[0]


@settings(max_examples=15, deadline=None)
@given(expressions(max_depth=4, operators=("add", "sub", "mul", "div", "sin", "exp", "square")))
def test_simplify_is_never_worse(expression: Expression) -> None:
    simple = simplify(expression, seconds=0.3)
    assert complexity(simple) <= complexity(expression)
    assert_same_values(expression, simple)


HARD = "*".join(f"(x0*{k}.5 + x1**{k % 5 + 2} + sin(x2*x{k % 3} + {k}.25))" for k in range(1, 12)) + "/(x0 + x1)"


def test_time_limit_kills_the_computation_and_the_worker_goes_on() -> None:
    simplify(parse("x0 + x0"), seconds=5.0)  # the start does not count
    worker = symbolic._worker
    assert worker is not None
    start = time.monotonic()
    simple = simplify(parse(HARD), seconds=0.5)
    assert time.monotonic() - start < 10.0
    assert complexity(simple) <= complexity(parse(HARD))
    assert symbolic._worker is worker
    assert not children_of(worker.process.pid)
    assert simplify(parse("(x0**2 - 1)/(x0 - 1)"), seconds=5.0) == parse("x0 + 1")


def test_a_worker_that_does_not_answer_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    simplify(parse("x0 + x0"), seconds=5.0)
    worker = symbolic._worker
    assert worker is not None
    monkeypatch.setattr(symbolic, "_MARGIN", 0.2)
    os.kill(worker.process.pid, signal.SIGSTOP)
    start = time.monotonic()
    assert simplify(parse("(x0**2 - 1)/(x0 - 1)"), seconds=0.2) == parse("(x0**2 - 1)/(x0 - 1)")
    assert time.monotonic() - start < 10.0
    assert worker.process.returncode is not None  # reaped
    assert simplify(parse("(x0**2 - 1)/(x0 - 1)"), seconds=5.0) == parse("x0 + 1")


def test_a_dead_worker_is_replaced() -> None:
    simplify(parse("x0 + x0"), seconds=5.0)
    assert symbolic._worker is not None
    os.kill(symbolic._worker.process.pid, signal.SIGKILL)
    assert simplify(parse("(x0**2 - 1)/(x0 - 1)"), seconds=5.0) == parse("x0 + 1")


def _in_pool(text: str) -> str:
    return simplify(parse(text), seconds=5.0).infix()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_daemonic_pool_workers(method: str) -> None:
    simplify(parse("x0 + x0"), seconds=5.0)  # so that a fork inherits a worker
    before = symbolic._worker
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map(_in_pool, ["(x0**2 - 1)/(x0 - 1)", "x0*x1 + x0*x2"])
    assert found == ["x0 + 1", "x0*(x1 + x2)"]
    assert simplify(parse("x0*x1 + x0*x2"), seconds=5.0) == parse("x0*(x1 + x2)")
    assert symbolic._worker is before  # the children left it alone


def children_of(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
@pytest.mark.parametrize("ending", ["exit", "SIGINT", "SIGKILL"])
def test_the_worker_ends_with_its_parent(ending: str) -> None:
    code = f"""
import sys
from expressions.parsing import parse
from expressions.simplification import simplify
simplify(parse("x0 + x0"), seconds=5.0)
print("ready", flush=True)
sys.stdin.readline()
if {ending!r} != "exit":
    print("busy", flush=True)
    simplify(parse({HARD!r}), seconds=2.0)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdin is not None
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    [worker] = children_of(parent.pid)
    parent.stdin.write("\n")
    parent.stdin.flush()
    if ending != "exit":
        assert parent.stdout.readline() == "busy\n"
        time.sleep(0.3)
        parent.send_signal(getattr(signal, ending))
    _, errors = parent.communicate(timeout=10)
    if ending == "SIGINT":
        assert "KeyboardInterrupt" in errors
    deadline = time.monotonic() + 15.0  # in mid-computation, the alarm after SIGKILL
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)

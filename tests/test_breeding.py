"""Trees of a population: every tree that is made or varied is a program, and translation loses nothing."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from expressions.expression import Expression
from expressions.operators import ARITY, FIRST_VARIABLE
from expressions.parsing import parse
from searches.evolution.breeding import Breeder
from searches.evolution.settings import DEFAULT_MUTATIONS, DEFAULT_OPERATORS
from searches.evolution.tree_size import tree_size
from searches.evolution.trees import Individual

COLUMNS = np.random.default_rng(0).normal(5.0, [1.0, 100.0, 0.01], size=(50, 3))


def breeder(**options: Any) -> Breeder:
    settings: dict[str, Any] = {
        "constants": True, "mutations": DEFAULT_MUTATIONS, "max_height": 8, "max_length": 40,
    }  # fmt: skip
    operators = options.pop("operators", DEFAULT_OPERATORS)
    return Breeder(operators, options.pop("columns", COLUMNS), **(settings | options))


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(7)


def checked(maker: Breeder, tree: Individual, operators: tuple[str, ...] = DEFAULT_OPERATORS) -> Expression:
    """The tree as an expression, built anew so that everything about it is verified."""
    fast = maker.to_expression(tree)
    slow = Expression(fast.tokens, fast.constants)
    assert slow == fast
    assert all(v < COLUMNS.shape[1] for v in slow.variables)
    return slow


@pytest.mark.parametrize("constants", [True, False])
def test_random_trees_are_programs_of_the_set(constants: bool) -> None:
    maker = breeder(constants=constants)
    for _ in range(300):
        tree = maker.random_tree(1, 3)
        expression = checked(maker, tree)
        assert tree.height == expression.depth
        assert constants or not len(expression.constants)


def test_translation_there_and_back() -> None:
    maker = breeder()
    for _ in range(300):
        expression = maker.to_expression(maker.random_tree(1, 4))
        assert maker.to_expression(maker.from_expression(expression)) == expression
    with pytest.raises(KeyError):
        maker.from_expression(parse("tan(x0)"))
    with pytest.raises(KeyError):
        maker.from_expression(parse("x0 + x3"))
    with pytest.raises(KeyError):
        breeder(constants=False).from_expression(parse("x0 + 2"))


@pytest.mark.parametrize("name", DEFAULT_MUTATIONS)
def test_every_mutation_makes_programs_and_leaves_its_parent_alone(name: str) -> None:
    maker = breeder(mutations={name: 1.0})
    changed = 0
    for _ in range(200):
        parent = maker.random_tree(1, 4)
        before = maker.to_expression(parent)
        child = maker.mutate(maker.clone(parent))
        changed += checked(maker, child) != before
        assert maker.to_expression(parent) == before
    assert changed > 50


@pytest.mark.parametrize("operators", [("add",), ("mul", "sin"), ("safe_div", "pow"), ("add", "mul")])
@pytest.mark.parametrize("constants", [True, False])
def test_any_set_of_operators(operators: tuple[str, ...], constants: bool) -> None:
    maker = breeder(operators=operators, constants=constants, columns=COLUMNS[:, :1])
    for _ in range(200):
        tree = maker.mutate(maker.random_tree(1, 3))
        names = {node.name for node in tree if node.arity}
        assert names <= set(operators)
        assert constants or not len(maker.to_expression(tree).constants)


def test_crossover_keeps_the_nodes_of_both() -> None:
    maker = breeder()
    for _ in range(200):
        a, b = maker.random_tree(2, 4), maker.random_tree(2, 4)
        total = len(a) + len(b)
        c, d = maker.crossover(maker.clone(a), maker.clone(b))
        checked(maker, c)
        checked(maker, d)
        assert len(c) + len(d) == total


def test_a_ridge_starts_on_the_scale_of_its_columns() -> None:
    maker = breeder()
    for _ in range(200):
        tree = maker.ridge_function()
        argument = Expression(*_without_root(maker.to_expression(tree)))
        values = argument(COLUMNS)
        assert abs(values.mean()) < 5.0
        assert 1e-3 < values.std() < 20.0


def _without_root(expression: Expression) -> tuple[np.ndarray, np.ndarray]:
    return expression.tokens[1:], expression.constants


def test_fitted_constants_are_written_in_prefix_order() -> None:
    maker = breeder()
    tree = maker.from_expression(parse("1.5*x0 + sin(2.5*x1)*3.5"))
    other = maker.clone(tree)
    maker.set_constants(tree, np.array([1.0, 2.0, 3.0]))
    assert maker.to_expression(tree).infix() == "1*x0 + sin(2*x1)*3"
    assert maker.to_expression(other).infix() == "1.5*x0 + sin(2.5*x1)*3.5"


def test_limits() -> None:
    maker = breeder(max_height=2, max_length=4)
    assert maker.within_limits(maker.from_expression(parse("sin(cos(x0))")))
    assert not maker.within_limits(maker.from_expression(parse("sin(cos(exp(x0)))")))
    assert not maker.within_limits(maker.from_expression(parse("x0 + x1*x2")))


def test_a_set_of_mutations_that_cannot_work_is_refused() -> None:
    for mutations in ({}, {"subtree": 0.0}):
        with pytest.raises(ValueError, match="none of the mutations"):
            breeder(mutations=mutations)
    with pytest.raises(ValueError, match="ridge works with these operators without constants"):
        breeder(mutations={"ridge": 1.0}, constants=False)


def test_the_quick_count_of_nodes() -> None:
    for text, nodes in [("x0", 1), ("x0 + x1 + x2", 4), ("x0*x1*x2", 4), ("sin(x0)", 2), ("x0**2", 3)]:
        assert tree_size(parse(text)) == nodes
    maker = breeder()
    for _ in range(100):
        expression = maker.to_expression(maker.random_tree(1, 4))
        tokens = expression.tokens
        assert 1 <= tree_size(expression) <= 3 * len(tokens)
        assert 1 + int(ARITY[np.minimum(tokens, FIRST_VARIABLE)].sum()) == len(tokens)

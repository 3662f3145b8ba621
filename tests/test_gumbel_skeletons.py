"""Skeletons: the same functions as the structures that they stand for, and nothing twice."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from expressions.equation_learner.architecture import IDENTITY, SUM, Architecture
from expressions.equation_learner.structure_space import StructureSpace
from expressions.evaluation import Evaluator
from expressions.expression import Expression
from expressions.operators import BY_NAME, CONSTANT

LAYERS = ["id*2 square sin*2 exp mul*2 div", "add*2 sub mul div exp sin id sum", "add mul inv sqrt id sum cos"]
ALL = [
    "id*2 sin max mul neg abs safe_sqrt pow4",
    "add sub min mul safe_div inv log exp cube sum",
    "mul div tanh sqrt sum id pow5",
]


def made(text: str | Sequence[str], features: int = 3) -> StructureSpace:
    return StructureSpace(Architecture([text] if isinstance(text, str) else text, features))


# --- the same function: with numbers instead of origins ---------------------------------------------------------

UNIT = Expression.constant(1.0)


class Numbers:
    """The algebra of skeletons on numbers: a value is `{what a term is: (term, coefficient)}`.

    Every rule is an identity between the function of a node and a sum of terms with coefficients, so the values
    are those of the literal network; and terms are equal where their numbers are. A skeleton must have the form
    that comes out.
    """

    def __init__(self, skeletons: StructureSpace, structure: np.ndarray, weights: np.ndarray) -> None:
        self.architecture, self.structure, self.weights = skeletons.architecture, structure, weights
        self.known: dict[tuple[int, int], list[tuple[Expression, float]]] = {}

    def expression(self) -> Expression:
        """The whole, with an offset."""
        return self.written(self.sum([*self.node(len(self.architecture.layers) - 1, 0), (UNIT, 0.5)]))

    def node(self, depth: int, number: int) -> list[tuple[Expression, float]]:
        if depth < 0:
            return [(Expression.variable(number) if number < self.architecture.features else UNIT, 1.0)]
        if (depth, number) not in self.known:
            self.known[depth, number] = self.computed(depth, number)
        return self.known[depth, number]

    def computed(self, depth: int, number: int) -> list[tuple[Expression, float]]:
        layers = self.architecture.layers
        layer, name = layers[depth], layers[depth].nodes[number]
        first = sum(layer.weights for layer in layers[:depth])
        if name == SUM:
            dense = layer.nodes[:number].count(SUM) * layer.sources
            gates = (
                self.architecture.connections + dense + sum(each.sums * each.sources for each in layers[:depth])
            )
            return self.sum(
                (term, coefficient * self.weights[first + layer.connections + dense + source])
                for source in range(layer.sources)
                if self.structure[gates + source]
                for term, coefficient in self.node(depth - 1, source)
            ) or [(UNIT, 0.0)]
        arguments = [
            [
                (term, coefficient * self.weights[first + a])
                for term, coefficient in self.node(depth - 1, int(self.structure[layer.first_connection + a]))
            ]
            for a in layer.arguments[number]
        ]
        return self.applied(name, arguments)

    def applied(self, name: str, arguments: list) -> list[tuple[Expression, float]]:
        one = arguments[0]
        if name == IDENTITY:
            return one
        if name in ("neg", "sub"):
            negated = [(term, -c) for term, c in arguments[-1]]
            return negated if name == "neg" else self.sum([*one, *negated])
        if name == "add":
            return self.sum([*one, *arguments[1]])
        if all(constant(argument) for argument in arguments):
            return [(UNIT, value(name, *(argument[0][1] for argument in arguments)))]
        if name == "mul":
            return self.product(*arguments)
        if name in ("div", "safe_div"):
            return self.quotient(name, *arguments)
        powers = ("inv", "abs", "square", "cube", "pow4", "pow5", "pow6")
        if name in powers or (name in ("sqrt", "safe_sqrt") and len(one) == 1):
            bare, factor = self.bare(one)
            return [(Expression.apply(name, bare), value(name, factor))]
        if name == "exp" and len(one) > 1:
            unit = sum(c for term, c in one if term == UNIT)
            one = [(term, c) for term, c in one if term != UNIT]
            return [(Expression.apply("exp", self.written(one)), math.exp(unit))]
        written = [self.written(argument) for argument in arguments]
        if BY_NAME[name].commutative:
            written.sort(key=length)
        return [(Expression.apply(name, *written), 1.0)]

    def product(self, left: list, right: list) -> list[tuple[Expression, float]]:
        for one, other in ((left, right), (right, left)):
            if constant(one):
                return [(term, c * one[0][1]) for term, c in other]
        (first, a), (second, b) = sorted((self.bare(left), self.bare(right)), key=lambda part: length(part[0]))
        if same(first, second):
            return [(Expression.apply("square", first), a * b)]
        return [(Expression.apply("mul", first, second), a * b)]

    def quotient(self, name: str, left: list, right: list) -> list[tuple[Expression, float]]:
        if constant(right):
            return [(term, c / right[0][1]) for term, c in left]
        divisor, b = self.bare(right)
        if constant(left):
            if name == "div":
                return [(Expression.apply("inv", divisor), left[0][1] / b)]
            return [(Expression.apply(name, Expression.constant(left[0][1] / b), divisor), 1.0)]
        dividend, a = self.bare(left)
        if same(dividend, divisor):
            return [(UNIT, a / b)]
        return [(Expression.apply(name, dividend, divisor), a / b)]

    def bare(self, terms: list) -> tuple[Expression, float]:
        first = terms[0][1]
        if len(terms) == 1:
            return terms[0]
        return joined([terms[0][0], *(weighted(term, c / first) for term, c in terms[1:])]), first

    def written(self, terms: list) -> Expression:
        return joined([weighted(term, c) for term, c in terms])

    def sum(self, terms: Sequence) -> list[tuple[Expression, float]]:
        merged: list[tuple[Expression, float]] = []
        for term, c in terms:
            k = next((k for k, (other, _) in enumerate(merged) if same(term, other)), None)
            if k is None:
                merged.append((term, c))
            else:
                merged[k] = (merged[k][0], merged[k][1] + c)
        return sorted(merged, key=lambda part: (part[0] == UNIT, length(part[0])))


def constant(terms: list) -> bool:
    return [term for term, _ in terms] == [UNIT]


def value(name: str, *arguments: float) -> float:
    values = [np.array([argument]) for argument in arguments]
    with np.errstate(all="ignore"):
        return float(BY_NAME[name].numpy(*values, np.empty(1))[0])


def same(one: Expression, other: Expression) -> bool:
    return np.array_equal(one.tokens, other.tokens) and np.allclose(
        one.constants, other.constants, rtol=1e-9, atol=0
    )


def length(term: Expression) -> tuple[int, list[int]]:
    return len(term), term.tokens.tolist()


def weighted(term: Expression, coefficient: float) -> Expression:
    number = Expression.constant(coefficient)
    return number if term == UNIT else Expression.apply("mul", number, term)


def joined(terms: list[Expression]) -> Expression:
    total = terms[0]
    for term in terms[1:]:
        total = Expression.apply("add", total, term)
    return total


def literal(skeletons: StructureSpace, structure: np.ndarray, weights: np.ndarray) -> Expression:
    """The network's own equation, with weight 0 behind every closed gate."""
    architecture, weights = skeletons.architecture, weights.copy()
    first, gate = 0, architecture.connections
    for layer in architecture.layers:
        gates = layer.sums * layer.sources
        weights[first + layer.connections : first + layer.weights] *= structure[gate : gate + gates]
        first, gate = first + layer.weights, gate + gates
    return architecture.expression(structure[: architecture.connections], weights)


@pytest.mark.parametrize("layers", [LAYERS, ALL, ["sin*2 id*2 add", "sum*2 mul", "mul div sum id"]])
def test_a_skeleton_with_the_right_constants_is_what_the_network_computes(layers: list[str]) -> None:
    skeletons = made(layers, features=2)
    rng = np.random.default_rng(0)
    inputs = rng.uniform(0.5, 1.5, (20, 2))
    compared = 0
    for _ in range(400):
        structure = rng.integers(skeletons.choices)
        weights = rng.uniform(0.5, 1.5, skeletons.architecture.weights)
        with np.errstate(all="ignore"):
            expected = literal(skeletons, structure, weights)(inputs)
        if not np.isfinite(expected).all() or np.abs(expected).max() > 1e6:
            continue
        try:
            whole = Numbers(skeletons, structure, weights).expression()
        except ValueError:  # a number on the way is not finite, such as the root of a negative factor
            continue
        found = skeletons.decode(structure)
        values = whole(inputs)
        if not np.isfinite(values).all():  # the root of a negative factor
            continue
        assert found.tokens == tuple(whole.tokens.tolist()), (found.expression().infix(), whole.infix())
        np.testing.assert_allclose(values - 0.5, expected, rtol=1e-7, atol=1e-7)
        compared += 1
    assert compared > 250


# --- what a person would write down -----------------------------------------------------------------------------
# Sources 0, 1, 2 of the first layer are x0, x1, x2, and 3 is the constant; all constants of a skeleton are 1 here.


@pytest.mark.parametrize(
    ("layer", "choices", "wanted"),
    [
        ("id", [1], "1*x1 + 1"),
        ("id", [3], "1"),
        ("neg", [1], "1*x1 + 1"),
        ("mul", [1, 0], "1*(x0*x1) + 1"),
        ("mul", [0, 1], "1*(x0*x1) + 1"),
        ("mul", [2, 2], "1*x2**2 + 1"),
        ("mul", [3, 1], "1*x1 + 1"),
        ("mul", [3, 3], "1"),
        ("div", [1, 0], "1*(x1/x0) + 1"),
        ("div", [0, 1], "1*(x0/x1) + 1"),
        ("div", [1, 1], "1"),
        ("div", [1, 3], "1*x1 + 1"),
        ("div", [3, 1], "1*(1/x1) + 1"),
        ("safe_div", [3, 1], "1*safe_div(1, x1) + 1"),
        ("add", [1, 0], "1*x0 + 1*x1 + 1"),
        ("sub", [1, 0], "1*x0 + 1*x1 + 1"),
        ("add", [1, 1], "1*x1 + 1"),
        ("add", [1, 3], "1*x1 + 1"),
        ("max", [1, 0], "1*max(1*x0, 1*x1) + 1"),
        ("max", [3, 0], "1*max(1, 1*x0) + 1"),
        ("square", [0], "1*x0**2 + 1"),
        ("sqrt", [0], "1*sqrt(x0) + 1"),
        ("abs", [0], "1*abs(x0) + 1"),
        ("sin", [0], "1*sin(1*x0) + 1"),
        ("sin", [3], "1"),
        ("exp", [0], "1*exp(1*x0) + 1"),
        ("pow", [0, 3], "1*(1*x0)**1 + 1"),
    ],
)
def test_one_node(layer: str, choices: list[int], wanted: str) -> None:
    assert made(layer).decode(np.array([*choices, 0])).expression().infix() == wanted


def structure(skeletons: StructureSpace, *nodes: str) -> np.ndarray:
    """A structure from texts such as `0 mul 1: 0 2`: in layer 0, the second mul chooses sources 0 and 2.

    The gates of a sum that are named are open. What is not named is drawn at random.
    """
    architecture = skeletons.architecture
    chosen = np.random.default_rng(len(nodes)).integers(skeletons.choices)
    for text in nodes:
        place, sources = text.split(":")
        depth, name, number = place.split()
        layer = architecture.layers[int(depth)]
        node = layer.nodes.index(name) + int(number)
        if name == SUM:
            before = sum(each.sums * each.sources for each in architecture.layers[: int(depth)])
            first = architecture.connections + before + int(number) * layer.sources
            chosen[first : first + layer.sources] = 0
            chosen[[first + int(source) for source in sources.split()]] = 1
        else:
            chosen[[layer.first_connection + a for a in layer.arguments[node]]] = [int(k) for k in sources.split()]
    return chosen


NESTED = ["add id", "add id", "square add exp sqrt sin inv id mul div sum"]
SUMS = ["0 add 0: 0 1", "0 id 0: 2", "1 add 0: 0 1", "1 id 0: 0"]  # x0 + x1 + x2, and x0 + x1


@pytest.mark.parametrize(
    ("last", "output", "wanted"),
    [
        ("2 id 0: 0", 6, "1*x0 + 1*x1 + 1*x2 + 1"),
        ("2 add 0: 0 1", 1, "1*x0 + 1*x1 + 1*x2 + 1"),
        ("2 square 0: 1", 0, "1*(x0 + 1*x1)**2 + 1"),
        ("2 inv 0: 1", 5, "1*(1/(x0 + 1*x1)) + 1"),
        ("2 sqrt 0: 1", 3, "1*sqrt(1*x0 + 1*x1) + 1"),
        ("2 sin 0: 1", 4, "1*sin(1*x0 + 1*x1) + 1"),
        ("2 mul 0: 1 1", 7, "1*(x0 + 1*x1)**2 + 1"),
        ("2 mul 0: 0 1", 7, "1*((x0 + 1*x1)*(x0 + 1*x1 + 1*x2)) + 1"),
        ("2 div 0: 1 1", 8, "1"),
        ("2 sum 0: 0 1", 9, "1*x0 + 1*x1 + 1*x2 + 1"),
        ("2 sum 0: 1", 9, "1*x0 + 1*x1 + 1"),
        ("2 sum 0:", 9, "1"),
    ],
)
def test_sums_are_flat_and_factors_pass_outwards(last: str, output: int, wanted: str) -> None:
    nested = made(NESTED)
    assert nested.decode(structure(nested, *SUMS, last, f"3 id 0: {output}")).expression().infix() == wanted


def test_the_constant_in_an_exponent_is_a_factor() -> None:
    exponential = made(["add*2", "exp*2", "add"])
    exponent = ["0 add 0: 0 3", "0 add 1: 1 0", "1 exp 0: 0", "1 exp 1: 1", "2 add 0: 0 1", "3 id 0: 0"]
    equation = exponential.decode(structure(exponential, *exponent)).expression().infix()
    assert equation == "1*exp(1*x0) + 1*exp(1*x0 + 1*x1) + 1"
    waves = made(["add", "sin"])
    equation = waves.decode(structure(waves, "0 add 0: 0 3", "1 sin 0: 0", "2 id 0: 0")).expression().infix()
    assert equation == "1*sin(1*x0 + 1) + 1", "in a sine it is a phase"


TWINS = made(["sin*2 square*2", "add mul div id"])


@pytest.mark.parametrize(
    ("last", "output", "wanted"),
    [
        ("1 add 0: 0 1", 0, "1*sin(1*x0) + 1*sin(1*x0) + 1"),  # two frequencies
        ("1 add 0: 0 0", 0, "1*sin(1*x0) + 1"),
        ("1 mul 0: 0 1", 1, "1*(sin(1*x0)*sin(1*x0)) + 1"),
        ("1 mul 0: 1 1", 1, "1*sin(1*x0)**2 + 1"),
        ("1 div 0: 0 1", 2, "1*(sin(1*x0)/sin(1*x0)) + 1"),
        ("1 div 0: 1 1", 2, "1"),
        ("1 add 0: 2 3", 0, "1*x0**2 + 1"),  # nothing to tell them apart
        ("1 mul 0: 2 3", 1, "1*(x0**2)**2 + 1"),
        ("1 div 0: 2 3", 2, "1"),
    ],
)
def test_twins_are_two_where_a_constant_tells_them_apart(last: str, output: int, wanted: str) -> None:
    first = ["0 sin 0: 0", "0 sin 1: 0", "0 square 0: 0", "0 square 1: 0"]
    equation = TWINS.decode(structure(TWINS, *first, last, f"2 id 0: {output}")).expression().infix()
    assert equation == wanted


@pytest.mark.parametrize("layers", [LAYERS, ALL])
def test_the_order_of_commutative_arguments_does_not_matter(layers: list[str]) -> None:
    skeletons = made(layers)
    architecture = skeletons.architecture
    rng = np.random.default_rng(3)
    for _ in range(200):
        chosen = rng.integers(skeletons.choices)
        swapped = chosen.copy()
        for layer in architecture.layers:
            for name, arguments in zip(layer.nodes, layer.arguments, strict=True):
                if len(arguments) == 2 and (BY_NAME[name].commutative or name == "sub"):
                    left, right = (layer.first_connection + a for a in arguments)
                    swapped[[left, right]] = chosen[[right, left]]
        assert skeletons.decode(swapped).tokens == skeletons.decode(chosen).tokens


# --- what it depends on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [LAYERS, ALL])
def test_nothing_unused_changes_a_skeleton(layers: list[str]) -> None:
    skeletons = made(layers)
    rng = np.random.default_rng(4)
    idle = 0
    for _ in range(300):
        chosen = rng.integers(skeletons.choices)
        found = skeletons.decode(chosen)
        for _ in range(3):
            other = skeletons.decode(np.where(found.used, chosen, rng.integers(skeletons.choices)))
            assert other.tokens == found.tokens
            np.testing.assert_array_equal(other.used, found.used)
        idle += int((~found.used).sum())
    assert idle > 0


def test_used_is_reachable_where_gates_are_open_and_not_behind_closed_ones() -> None:
    skeletons = made(LAYERS)
    architecture = skeletons.architecture
    rng = np.random.default_rng(5)
    for _ in range(200):
        chosen = rng.integers(skeletons.choices)
        connections = slice(architecture.connections)
        reachable = architecture.reachable(chosen[None, connections])[0]
        assert not (skeletons.decode(chosen).used[connections] & ~reachable).any()
        chosen[skeletons.is_gate] = 1
        np.testing.assert_array_equal(skeletons.decode(chosen).used[connections], reachable)


def test_places() -> None:
    skeletons = made(["mul sum", "sum*2 id"], features=2)
    # connections: mul 2, id 1, output 1; gates: 3 of the first sum, 2 and 2 of the others
    assert skeletons.choices.tolist() == [3, 3, 2, 3, 2, 2, 2, 2, 2, 2, 2]
    assert skeletons.is_gate.tolist() == [False] * 4 + [True] * 7
    first = structure(skeletons, "0 mul 0: 0 1", "0 sum 0: 0", "1 sum 0: 0 1", "1 sum 1:", "2 id 0: 1")
    assert skeletons.decode(first).expression().infix() == "1*x0 + 1*(x0*x1) + 1"


def test_every_constant_is_needed_somewhere() -> None:
    """Skeletons are programs with as many constants as places for them, and short ones are never empty."""
    skeletons = made(LAYERS)
    rng = np.random.default_rng(6)
    found = [skeletons.decode(rng.integers(skeletons.choices)) for _ in range(300)]
    equations = [Expression(s.tokens, np.ones(s.tokens.count(CONSTANT))) for s in found]  # checks the program
    assert [e.expression() for e in found] == equations
    assert len({s.tokens for s in found}) > 200
    inputs = rng.uniform(0.5, 1.5, (10, 3))
    assert Evaluator(inputs, np.float64).values(equations).shape == (300, 10)

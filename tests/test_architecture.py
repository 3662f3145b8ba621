"""Architectures: how layers are read, what a structure stands for, and when two stand for the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from expressions.equation_learner.architecture import IDENTITY, SUM, Architecture, ArchitectureError
from expressions.expression import Expression
from expressions.operators import BY_NAME

LAYERS = ["id*2 square sin*2 mul*2 div", "add*2 mul div sum id*2", "mul add sub exp id sum*2"]


def draw(architecture: Architecture, count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(architecture.choices, size=(count, architecture.connections))


def named(architecture: Architecture, **choices: int) -> np.ndarray:
    """A structure in which everything chooses 0 but what is named: `l0n3a1` is layer 0, node 3, argument 1."""
    structure = np.zeros(architecture.connections, dtype=np.int64)
    for place, choice in choices.items():
        layer, rest = place[1:].split("n")
        node, argument = rest.split("a")
        own = architecture.layers[int(layer)]
        structure[own.first_connection + own.arguments[int(node)][int(argument)]] = choice
    return structure


def key(architecture: Architecture, structure: np.ndarray) -> int:
    return int(architecture.keys(structure[None])[0])


# --- the text of a layer ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (["sin*2 foo"], ["'foo'", "'sin*2 foo'", "function"]),
        (["sinn"], ["'sinn'", "did you mean sin"]),
        (["sun"], ["'sun'", "sum"]),
        (["sin*0"], ["'sin*0'"]),
        (["sin*-1"], ["'sin*-1'"]),
        (["sin*x"], ["'sin*x'"]),
        (["sin**2"], ["'sin**2'"]),
        (["Sin"], ["'Sin'"]),
        (["sin, cos"], ["'sin,'"]),
        (["id", ""], ["''", "1 to 200"]),
        (["id*201"], ["1 to 200"]),
        (["id*9999999"], ["id*9999999"]),
        ([], ["at least one layer"]),
    ],
)
def test_what_is_no_layer_is_refused_in_a_sentence(layers: list[str], words: list[str]) -> None:
    with pytest.raises(ArchitectureError) as caught:
        Architecture(layers, 2)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert all(word in sentence for word in words), sentence


def test_a_network_without_inputs_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="features=0"):
        Architecture(["id"], 0)


def test_nodes_of_a_function_lie_together_wherever_they_are_written() -> None:
    scattered = Architecture(["sum sin id sin mul sum id"], 2).layers[0]
    assert scattered.nodes == ("sin", "sin", "id", "id", "mul", "sum", "sum")
    assert scattered == Architecture(["sin*2 id*2 mul sum*2"], 2).layers[0]


def test_geometry() -> None:
    architecture = Architecture(["id mul*2 sum", "div*2"], features=3, constant=True)
    first, second, output = architecture.layers
    assert first.arguments == ((0,), (1, 3), (2, 4), ()), "first arguments of neighbours are neighbours"
    assert (first.sources, first.first_connection, first.connections, first.sums) == (4, 0, 5, 1)
    assert (second.sources, second.first_connection, second.connections, second.sums) == (4, 5, 4, 0)
    assert second.arguments == ((0, 2), (1, 3))
    assert (output.nodes, output.sources, output.first_connection) == (("id",), 2, 9)
    assert architecture.connections == 10
    assert architecture.choices.tolist() == [4] * 5 + [4] * 4 + [2]
    assert [layer.weights for layer in architecture.layers] == [5 + 4, 4, 1]
    assert architecture.weights == 14
    assert Architecture(["id mul*2 sum"], 3, constant=False).choices.tolist() == [3] * 5 + [4]


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_function_can_be_a_node(name: str) -> None:
    architecture = Architecture([name], 2, constant=False)
    structure = np.arange(architecture.connections) % 2
    structure[-1] = 0
    arguments = [Expression.variable(k) for k in range(BY_NAME[name].arity)]
    inputs = np.random.default_rng(0).uniform(0.1, 0.9, (20, 2))
    values = architecture.expression(structure, np.ones(architecture.weights))(inputs)
    np.testing.assert_array_equal(values, Expression.apply(name, *arguments)(inputs))


# --- against the definition, read word for word ---------------------------------------------------------------


def reached(architecture: Architecture, structure: np.ndarray) -> set[int]:
    """Connections that the output depends on, node by node."""
    found: set[int] = set()

    def visit(depth: int, node: int) -> None:
        if depth < 0:
            return
        layer = architecture.layers[depth]
        if layer.nodes[node] == SUM:
            for source in range(layer.sources):
                visit(depth - 1, source)
        for argument in layer.arguments[node]:
            connection = layer.first_connection + argument
            found.add(connection)
            visit(depth - 1, int(structure[connection]))

    visit(len(architecture.layers) - 1, 0)
    return found


def evaluated(
    architecture: Architecture, structure: np.ndarray, weights: np.ndarray, inputs: np.ndarray
) -> np.ndarray:
    """Values of an instance, number by number."""
    values = [*inputs.T, *([np.ones(len(inputs))] if architecture.constant else [])]
    weight = iter(weights.tolist())
    for layer in architecture.layers:
        factors = [next(weight) for _ in range(layer.connections)]
        dense = [[next(weight) for _ in range(layer.sources)] for _ in range(layer.sums)]
        following = []
        for name, arguments in zip(layer.nodes, layer.arguments, strict=True):
            if name == SUM:
                following.append(np.sum([w * v for w, v in zip(dense.pop(0), values, strict=True)], axis=0))
                continue
            chosen = [factors[k] * values[int(structure[layer.first_connection + k])] for k in arguments]
            if name == IDENTITY:
                following.append(chosen[0])
            else:
                with np.errstate(all="ignore"):
                    following.append(np.array(BY_NAME[name].numpy(*chosen, np.empty(len(inputs)))))
        values = following
    assert next(weight, None) is None, "every weight has its place"
    return values[0]


@pytest.mark.parametrize("constant", [True, False])
def test_reachable_and_expression_do_what_the_definition_says(constant: bool) -> None:
    architecture = Architecture(LAYERS, 2, constant)
    rng = np.random.default_rng(0)
    structures = draw(architecture, 150, rng)
    inputs = rng.uniform(0.5, 2.0, (25, 2))
    mask = architecture.reachable(structures)
    for structure, reachable in zip(structures, mask, strict=True):
        assert set(np.flatnonzero(reachable)) == reached(architecture, structure)
        weights = rng.normal(size=architecture.weights)
        expected = evaluated(architecture, structure, weights, inputs)
        values = architecture.expression(structure, weights)(inputs)
        finite = np.isfinite(expected)
        np.testing.assert_allclose(values[finite], expected[finite], rtol=1e-12, atol=1e-300)
        assert not np.isfinite(values[~finite]).any()


def test_what_is_not_reachable_changes_neither_key_nor_equation() -> None:
    architecture = Architecture(LAYERS, 2)
    rng = np.random.default_rng(1)
    structures = draw(architecture, 300, rng)
    mask = architecture.reachable(structures)
    others = np.where(mask, structures, draw(architecture, 300, rng))
    assert (others != structures).any(axis=1).mean() > 0.9
    np.testing.assert_array_equal(architecture.keys(others), architecture.keys(structures))
    np.testing.assert_array_equal(architecture.reachable(others), mask)
    weights = rng.normal(size=architecture.weights)
    for one, other in zip(structures[:30], others[:30], strict=True):
        assert architecture.expression(one, weights) == architecture.expression(other, weights)


# --- keys -----------------------------------------------------------------------------------------------------

SMALL = Architecture(["mul*2 div sin*2 id", "sub add id"], 2, constant=False)
# nodes of the first layer: mul 0 and 1, div 2, sin 3 and 4, id 5; of the second: sub 0, add 1, id 2


def small(output: int, **choices: int) -> int:
    structure = named(SMALL, **choices)
    structure[-1] = output
    return key(SMALL, structure)


def test_the_order_of_arguments_counts_where_it_should() -> None:
    product = {"l1n2a0": 0}
    assert small(2, **product, l0n0a0=0, l0n0a1=1) == small(2, **product, l0n0a0=1, l0n0a1=0)
    quotient = {"l1n2a0": 2}
    assert small(2, **quotient, l0n2a0=0, l0n2a1=1) != small(2, **quotient, l0n2a0=1, l0n2a1=0)
    sines = {"l0n3a0": 0, "l0n4a0": 1}
    assert small(1, **sines, l1n1a0=3, l1n1a1=4) == small(1, **sines, l1n1a0=4, l1n1a1=3)
    assert small(0, **sines, l1n0a0=3, l1n0a1=4) != small(0, **sines, l1n0a0=4, l1n0a1=3)


def test_equal_nodes_are_one() -> None:
    assert small(2, l1n2a0=3, l0n3a0=1) == small(2, l1n2a0=4, l0n4a0=1)
    assert small(2, l1n2a0=3, l0n3a0=1) != small(2, l1n2a0=4, l0n4a0=0)
    twins = {"l0n3a0": 1, "l0n4a0": 1}
    assert small(1, **twins, l1n1a0=3, l1n1a1=4) == small(1, **twins, l1n1a0=3, l1n1a1=3)


def test_what_passes_on_is_seen_through() -> None:
    deep = Architecture(["sin id", "id*2", "id"], 1, constant=False)
    flat = named(deep, l1n0a0=0, l2n0a0=0)  # sin x through the first id
    other = named(deep, l1n1a0=0, l2n0a0=1)  # sin x through the second id
    plain = named(deep, l1n1a0=1, l2n0a0=1)  # x
    assert key(deep, flat) == key(deep, other) != key(deep, plain)


def test_a_sum_is_a_sum_of_everything_before_it() -> None:
    dense = Architecture(["sin id*2 sum", "sum id"], 2, constant=False)
    one = named(dense, l0n0a0=0, l0n1a0=0, l0n2a0=1)  # sum of sin x0, x0, x1
    swapped = named(dense, l0n0a0=0, l0n1a0=1, l0n2a0=0)  # sum of sin x0, x1, x0
    other = named(dense, l0n0a0=0, l0n1a0=1, l0n2a0=1)  # sum of sin x0, x1, x1
    assert dense.layers[1].nodes == ("id", "sum")
    for structure in (one, swapped, other):
        structure[-1] = 1
    assert key(dense, one) == key(dense, swapped) != key(dense, other)


def groups(architecture: Architecture, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Keys of random structures, and their values on random rows with all weights 1."""
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(0.3, 2.0, (16, architecture.features))
    structures = draw(architecture, count, rng)
    ones = np.ones(architecture.weights)
    values = np.array([architecture.expression(structure, ones)(inputs) for structure in structures])
    return architecture.keys(structures), values


def form(architecture: Architecture, structure: np.ndarray) -> Any:
    """What a structure stands for, as nested tuples: equal exactly where keys should be."""

    def of(depth: int, node: int) -> Any:
        if depth < 0:
            return node
        layer = architecture.layers[depth]
        name = layer.nodes[node]
        sources = (
            range(layer.sources)
            if name == SUM
            else structure[[layer.first_connection + a for a in layer.arguments[node]]]
        )
        arguments = [of(depth - 1, int(source)) for source in sources]
        if name == IDENTITY:
            return arguments[0]
        return (name, *(sorted(arguments, key=repr) if name == SUM or BY_NAME[name].commutative else arguments))

    return of(len(architecture.layers) - 1, 0)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("layers", [["sin mul*2 div", "add div id*2"], ["id*2 sub max", "add*2 sum"], LAYERS])
def test_keys_are_equal_exactly_where_structures_stand_for_the_same(layers: list[str], constant: bool) -> None:
    architecture = Architecture(layers, 2, constant)
    structures = draw(architecture, 2000, np.random.default_rng(2))
    keys = architecture.keys(structures).tolist()
    forms = [repr(form(architecture, structure)) for structure in structures]
    pairs = set(zip(keys, forms, strict=True))
    assert len(pairs) == len(set(keys)) == len(set(forms))
    assert len(set(keys)) < 1990


def test_the_same_key_is_the_same_function() -> None:
    architecture = Architecture(["sin mul*2 div", "add div id*2"], 2)
    keys, values = groups(architecture, 1500, 2)
    first: dict[int, np.ndarray] = {}
    for number, row in zip(keys.tolist(), values, strict=True):
        np.testing.assert_allclose(row, first.setdefault(number, row), rtol=1e-9, atol=1e-12)
    assert len(first) < 1000


def test_keys_do_not_depend_on_company_and_stay_the_same() -> None:
    architecture = Architecture(LAYERS, 2)
    structures = draw(architecture, 20, np.random.default_rng(4))
    together = architecture.keys(structures)
    assert together.tolist() == [key(architecture, structure) for structure in structures]
    assert together.dtype == np.uint64
    assert len(architecture.keys(structures[:0])) == 0
    assert Architecture(LAYERS, 2).keys(structures).tolist() == together.tolist()

"""Equations as a network: values and gradients, what is shared, and that other tools can take it."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from torch.utils._python_dispatch import TorchDispatchMode

from expressions.equivalence import comparison_rows
from expressions.expression import Expression
from expressions.gradient import gradient, gradient_by_constants
from expressions.operators import BY_NAME
from expressions.parsing import parse
from foundation.errors import UserError
from modules.equation_module import EquationModule
from tests.strategies import ALL_OPERATORS, expressions, well_conditioned

READ_OUTS = [parse(f"{k}.5*x0/x1 + x1**2*x0*{k}.25 - {k}.125 - {k}.75/x0") for k in range(1, 6)]
MIXED = [
    parse("1.5*sin(2.0*x0) + 2.0*x1"),
    *READ_OUTS[:2],
    parse("-(3.0*sin(2.0*x0) - x1)"),
    parse("4.5"),
    *READ_OUTS[2:],
    parse("x1*0.25 - sin(2.0*x0)"),
    parse("x1"),
    parse("safe_div(x0, 2.5*x1) + exp(sin(2.0*x0))"),
]
"""Two groups of read-outs, a constant, a variable, protected division and a subtree that many have."""


def values_of(equations: Sequence[Expression], inputs: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.stack([equation(inputs) for equation in equations], axis=-1)


# --- values and gradients ---------------------------------------------------------------------------------------


@settings(max_examples=120, deadline=None)
@given(st.lists(expressions(max_depth=4, operators=ALL_OPERATORS), min_size=1, max_size=5))
def test_values_are_those_of_numpy(equations: list[Expression]) -> None:
    inputs = comparison_rows(3, rows=40)
    inputs[:2] = [[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]]  # where the protected operators have a value of their own
    values = EquationModule(equations, 3)(torch.tensor(inputs)).detach().numpy()
    assert values.shape == (40, len(equations))
    for column, equation in zip(values.T, equations, strict=True):
        certain = well_conditioned(equation, inputs, within=1e-9)
        assert np.allclose(column[certain], equation(inputs)[certain], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", [row for row in ALL_OPERATORS if BY_NAME[row].protected])
def test_protected_operators_have_their_value_and_a_gradient_at_zero(name: str) -> None:
    text = "safe_div(1.5*x0, 2.0*x1)" if name == "safe_div" else f"{name}(2.0*x1)"
    inputs = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 3.0], [-1.0, -0.5]])
    module, columns = EquationModule(parse(text), 2), torch.tensor(inputs)
    assert np.allclose(module(columns).detach(), parse(text)(inputs))
    if name != "safe_sqrt":  # of which the slope at 0 is infinite
        module(columns).sum().backward()
        assert torch.isfinite(module.constants.grad).all()


def test_read_outs_of_the_same_terms_are_one_product_and_keep_their_values() -> None:
    inputs = np.random.default_rng(0).uniform(0.5, 2.0, (50, 2))
    for equations in (READ_OUTS, MIXED):
        module = EquationModule(equations, 2)
        assert np.allclose(module(torch.tensor(inputs)).detach(), values_of(equations, inputs), rtol=1e-12)
    assert [group.outputs for group in EquationModule(MIXED)._groups] == [(0, 3, 8), (1, 2, 5, 6, 7)]


def test_an_output_without_a_term_is_defined_where_that_term_is_not() -> None:
    equations = [parse(f"{k}.5*x0 + {k}.25*sqrt(x1)") for k in range(1, 4)] + [parse("2.5*x0 + 1.5*x1")]
    values = EquationModule(equations)(torch.tensor([[1.0, -1.0]]))
    assert torch.isnan(values[0, :3]).all()
    assert values[0, 3] == 1.0


def test_gradients_by_inputs_and_constants_are_the_derivatives() -> None:
    inputs = np.random.default_rng(1).uniform(0.5, 2.0, (20, 2))
    for position, equation in enumerate(MIXED):
        columns = torch.tensor(inputs, requires_grad=True)
        module = EquationModule(MIXED, 2)
        module(columns)[:, position].sum().backward()
        for variable, slope in gradient(equation, inputs).items():
            assert np.allclose(columns.grad[:, variable], slope, rtol=1e-10)
        wanted = np.zeros(len(module.constants))
        np.add.at(wanted, module._places[position], gradient_by_constants(equation, inputs).sum(axis=0))
        assert np.allclose(module.constants.grad, wanted, rtol=1e-10)


def test_gradients_are_finite_differences() -> None:
    inputs = torch.tensor(np.random.default_rng(2).uniform(0.5, 2.0, (6, 2)), requires_grad=True)
    module = EquationModule(MIXED, 2)

    def values(columns: torch.Tensor, constants: torch.Tensor) -> Any:
        return torch.func.functional_call(module, {"constants": constants}, (columns,))

    assert torch.autograd.gradcheck(values, (inputs, module.constants.detach().clone().requires_grad_()))


# --- shapes, types and sharing ----------------------------------------------------------------------------------


def test_any_batch_and_any_type() -> None:
    several = EquationModule(MIXED, 2, dtype=torch.float32)
    assert several(torch.rand(3, 4, 5, 2)).shape == (3, 4, 5, len(MIXED))
    assert several(torch.rand(2)).shape == (len(MIXED),)
    assert several(torch.ones(7, 2, dtype=torch.int64)).dtype == torch.float32
    assert EquationModule(MIXED[0])(torch.rand(3, 4, 2)).shape == (3, 4)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        found = EquationModule(MIXED, 2, dtype=torch.float32).to(dtype)(torch.rand(4, 2, dtype=dtype))
        assert found.dtype == dtype
    assert EquationModule(MIXED, 2).to("meta")(torch.rand(4, 2, device="meta")).shape == (4, len(MIXED))


class Calls(TorchDispatchMode):
    """Counts what torch computes."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        self.names.append(function.name())
        return function(*given, **(named or {}))


def test_a_shared_subtree_is_computed_once() -> None:
    module = EquationModule([parse(text) for text in ("sin(2*x0)", "1 + 3*sin(2*x0)", "exp(sin(2*x0))/x0")])
    with Calls() as calls:
        module(torch.rand(5, 1, dtype=torch.float64))
    assert calls.names.count("aten::sin") == 1
    assert calls.names.count("aten::mul.Tensor") == 2


def test_equal_subtrees_share_their_constants_and_equal_constants_do_not() -> None:
    equations = [parse(text) for text in ("2*x0 + 2*x1", "sin(2*x0) + 2", "exp(2*x0)*2")]
    module = EquationModule(equations)
    assert module.constants.tolist() == [2.0] * 4
    with torch.no_grad():
        module.constants.copy_(torch.tensor([3.0, 4.0, 5.0, 6.0]))
    found = module.equations()
    assert [equation.infix() for equation in found] == ["3*x0 + 4*x1", "sin(3*x0) + 5", "exp(3*x0)*6"]
    inputs = np.random.default_rng(3).uniform(-1.0, 1.0, (9, 2))
    assert np.allclose(module(torch.tensor(inputs)).detach(), values_of(found, inputs))


def test_training_moves_the_constants_and_they_are_read_back() -> None:
    inputs = torch.tensor(np.random.default_rng(4).uniform(0.5, 2.0, (60, 2)))
    wanted = torch.stack([2.5 * inputs[:, 0] ** 1.5, torch.sin(1.25 * inputs[:, 1]) + 0.5], dim=-1)
    module = EquationModule([parse("2.3*x0**1.6"), parse("sin(1.2*x1) + 0.6")], 2)
    optimizer = torch.optim.LBFGS(module.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Any:
        optimizer.zero_grad()
        error = torch.mean((module(inputs) - wanted) ** 2)
        error.backward()
        return error

    optimizer.step(loss)
    assert np.allclose(module.equations()[0].constants, [2.5, 1.5], atol=1e-3)
    assert np.allclose(module.equations()[1].constants, [1.25, 0.5], atol=1e-3)


def test_constants_can_be_set_and_only_those_of_the_same_equations() -> None:
    module = EquationModule([parse("2*x0"), parse("sin(2*x0) + 3")])
    module.set_equations([parse("5*x0"), parse("sin(5*x0) + 7")])
    assert module.constants.tolist() == [5.0, 7.0]
    for others, complaint in (
        ([parse("5*x0")], "1 equations for a module of 2"),
        ([parse("5*x0"), parse("cos(5*x0) + 7")], "another structure"),
        ([parse("5*x0"), parse("sin(6*x0) + 7")], "shares with an equation before"),
    ):
        with pytest.raises(UserError, match=complaint):
            module.set_equations(others)
    assert module.constants.tolist() == [5.0, 7.0]


# --- other tools ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("equations", [MIXED, MIXED[0], READ_OUTS], ids=["mixed", "single", "read-outs"])
def test_it_compiles_into_one_graph(equations: Any) -> None:
    torch._dynamo.reset()
    module = EquationModule(equations, 2)
    inputs = torch.rand(6, 2, dtype=torch.float64, requires_grad=True)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(inputs), module(inputs), rtol=1e-12)
    slopes = [torch.autograd.grad(f(inputs).sum(), module.constants)[0] for f in (compiled, module)]
    assert torch.allclose(*slopes, rtol=1e-10)


@pytest.mark.filterwarnings("ignore")
def test_it_can_be_exported_as_onnx(tmp_path: Path) -> None:
    module, file = EquationModule(MIXED, 2), io.BytesIO()
    options = {"input_names": ["inputs"], "dynamic_axes": {"inputs": {0: "rows"}}}
    # The newer exporter needs a package of its own; the older one is part of torch.
    torch.onnx.export(module, (torch.rand(3, 2, dtype=torch.float64),), file, dynamo=False, **options)
    inputs = np.random.default_rng(5).uniform(0.5, 2.0, (11, 2))
    [values] = ReferenceEvaluator(onnx.load_from_string(file.getvalue())).run(None, {"inputs": inputs})
    assert np.allclose(values, values_of(MIXED, inputs), rtol=1e-10)


def test_copies_and_stored_constants_are_the_same_module() -> None:
    module, inputs = EquationModule(MIXED, 2), torch.rand(4, 2, dtype=torch.float64)
    with torch.no_grad():
        module.constants *= 1.5
    assert set(module.state_dict()) == {"constants"}
    again = EquationModule(MIXED, 2)
    again.load_state_dict(module.state_dict())
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), again):
        assert torch.equal(other(inputs), module(inputs))
        assert other.equations() == module.equations()


# --- what is refused --------------------------------------------------------------------------------------------


def test_what_cannot_be_a_module_gets_one_sentence() -> None:
    with pytest.raises(UserError, match="at least one equation"):
        EquationModule([])
    with pytest.raises(UserError, match="use x2, but there are 2 inputs"):
        EquationModule([parse("x2")], 2)
    with pytest.raises(UserError, match=r"shape \[4, 3\] for equations of 2 columns"):
        EquationModule([parse("x1")], 2)(torch.rand(4, 3))
    with pytest.raises(UserError, match=r"shape \[\] for equations of 1 or more"):
        EquationModule([parse("x0")])(torch.tensor(1.0))


def test_constants_that_went_astray_are_said() -> None:
    module = EquationModule([parse("2*x0 + 3")])
    with torch.no_grad():
        module.constants[0] = float("nan")
    with pytest.raises(UserError, match="1 of 2 constants are not finite"):
        module.equations()

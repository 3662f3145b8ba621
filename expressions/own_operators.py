"""Operators of one's own: functions of NumPy that become rows of the operator table while a program runs.

Such a row claims no property that a canonical form could use. Where no derivative is given, it is numerical:
central differences. SymPy sees a function of that name without a rule, unless it is told what the function is.

A definition stays for the life of the process: an equation keeps the function that it was found with, also when
its name is given another one later. Files hold names (`expressions.numbering`), and are refused where a name is
unknown. Other processes of a search are handed the definitions, see `definitions`.
"""

from __future__ import annotations

import inspect
import keyword
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np

from expressions.operator_row import Operator
from expressions.operators import BY_NAME, FIRST_VARIABLE, OPERATORS, SHIPPED, TOKEN, append
from foundation.errors import UserError

__all__ = ["CustomOperator", "Definitions", "OperatorError", "definitions", "register"]

_PROBES = np.array([-1e6, -30.0, -2.5, -1.0, -0.3, 0.0, 1e-3, 0.4, 1.0, 1.7, 4.0, 25.0, 1e6])
_STEP = float(np.cbrt(np.finfo(np.float64).eps))  # relative step of central differences, where errors balance
_MOST = FIRST_VARIABLE - 1 - len(SHIPPED)
_lock = threading.Lock()


class OperatorError(UserError, ValueError):
    """A function that cannot be an operator."""


@dataclass(frozen=True)
class CustomOperator:
    """An operator of one's own.

    Attributes:
        function: function of one or two arrays of numbers, `[rows]` each, that returns an array as long; NaN where
            it is not defined. It gets float32 and float64.
        sympy: function of as many SymPy expressions that returns the SymPy form; None: a function without rules.
        derivative: function of the same arrays that returns the derivative by the argument, or a pair of them for
            two arguments; None: central differences.
        complexity: nodes that the operator counts while genetic programming searches.
    """

    function: Callable[..., Any]
    sympy: Callable[..., Any] | None = None
    derivative: Callable[..., Any] | None = None
    complexity: int = 1


def register(operators: Mapping[str, Any]) -> None:
    """Make functions operators under their names; one that is known already is not added again.

    Args:
        operators: functions of NumPy, or `CustomOperator`, by name.

    Raises:
        OperatorError: a name is not allowed, or a function has another number of arguments than one or two, fails,
            or gives values of the wrong shape or none that is finite.
    """
    for name, given in operators.items():
        custom = given if isinstance(given, CustomOperator) else CustomOperator(given)
        with _lock:
            _register(name, custom)


def _register(name: str, custom: CustomOperator) -> None:
    _check_name(name)
    for number, known in _definitions_of(name):
        if _same(known, custom):  # also one that the name has not meant for a while
            BY_NAME[name], TOKEN[name] = OPERATORS[number - 1], number
            return
    arity = _arity(name, custom.function)
    _check_values(name, custom.function, arity)
    if len(OPERATORS) - len(SHIPPED) >= _MOST:
        raise OperatorError(f"more than {_MOST} operators of one's own were defined: begin a new process")
    append(_row(name, custom, arity))


def _definitions_of(name: str) -> list[tuple[int, CustomOperator]]:
    """Tokens and definitions that a name has or had."""
    own = enumerate(OPERATORS[len(SHIPPED) :], len(SHIPPED) + 1)
    return [(number, row.definition) for number, row in own if row.name == name and isinstance(row, _OwnRow)]


@dataclass(frozen=True)
class _OwnRow(Operator):
    """A row of the table with what it was made from."""

    definition: CustomOperator = CustomOperator(np.positive)


# --- checks -----------------------------------------------------------------------------------------------------


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or keyword.iskeyword(name):
        raise OperatorError(f"{name!r} cannot be the name of an operator: use letters, digits and _, as in sinc")
    if name in {row.name for row in SHIPPED} or name in ("pi", "e") or re.fullmatch("x[0-9]+", name):
        raise OperatorError(f"the name {name!r} has a meaning already: give your operator another name")


def _arity(name: str, function: Any) -> int:
    """Number of arguments that a function needs, 1 or 2."""
    if isinstance(function, np.ufunc):
        count = function.nin if function.nout == 1 else 0
    elif not callable(function):
        raise OperatorError(f"the operator {name!r} is {function!r}, not a function: give one of NumPy arrays")
    else:
        try:
            parameters = inspect.signature(function).parameters.values()
        except ValueError as error:  # a function written in C that does not say
            raise OperatorError(
                f"how many arguments the operator {name!r} takes is not known: write lambda a: …"
            ) from error
        places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        count = sum(each.kind in places and each.default is inspect.Parameter.empty for each in parameters)
    if count not in (1, 2):
        raise OperatorError(f"the operator {name!r} takes {count} arguments: it must take one or two")
    return count


def _check_values(name: str, function: Callable[..., Any], arity: int) -> None:
    """Call the function as a search will."""
    for kind in (np.float32, np.float64):
        arguments = [np.roll(_PROBES, 5 * k).astype(kind) for k in range(arity)]
        try:
            with np.errstate(all="ignore"):
                values = np.asarray(function(*arguments))
        except Exception as error:
            raise OperatorError(
                f"the operator {name!r} fails on an array of numbers ({type(error).__name__}: {error}): it must "
                "take arrays and return NaN where it is not defined; np.vectorize makes such a function"
            ) from error
        if values.shape != _PROBES.shape or values.dtype.kind not in "fiub":
            raise OperatorError(
                f"the operator {name!r} makes {values.dtype} {values.shape} of numbers {_PROBES.shape}: it must "
                "return one number for each"
            )
        if not np.isfinite(values).any():
            raise OperatorError(f"the operator {name!r} is not finite at any of {_PROBES.tolist()}")


def _same(one: Any, other: Any) -> bool:
    """Whether two definitions, or two functions, do the same as far as can be told."""
    if isinstance(one, CustomOperator) and isinstance(other, CustomOperator):
        pairs = [(getattr(one, key), getattr(other, key)) for key in ("function", "sympy", "derivative")]
        return one.complexity == other.complexity and all(_same(*pair) for pair in pairs)
    if not (isinstance(one, FunctionType) and isinstance(other, FunctionType)):
        return one is other or (type(one) is type(other) and not isinstance(one, np.ufunc) and bool(one == other))
    if one.__code__ != other.__code__ or one.__defaults__ != other.__defaults__:
        return False
    pairs = [(one.__globals__.get(name), other.__globals__.get(name)) for name in one.__code__.co_names]
    cells = zip(one.__closure__ or (), other.__closure__ or (), strict=True)
    pairs += [(a.cell_contents, b.cell_contents) for a, b in cells]
    return all(a is b or _equal(a, b) for a, b in pairs)


def _equal(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(np.array_equal(one, other))
    except Exception:  # whatever a comparison of strange objects raises
        return False


# --- the row ----------------------------------------------------------------------------------------------------


def _row(name: str, custom: CustomOperator, arity: int) -> _OwnRow:
    values = partial(_values, custom.function)
    slopes = partial(_given_slopes, custom.derivative) if custom.derivative else partial(_slopes, custom.function)
    places = ", ".join(f"{{{k}}}" for k in range(arity))
    escaped = name.replace("_", r"\_")
    return _OwnRow(
        name=name,
        arity=arity,
        complexity=custom.complexity,
        flat=True,
        family="exp or log",
        numpy=partial(_written, values),
        torch=partial(_torch_values, values, slopes),
        partials=partial(_partials, slopes),
        sympy=partial(_sympy_form, name, custom.sympy),
        latex=rf"\operatorname{{{{{escaped}}}}}\left({places}\right)",
        definition=custom,
    )


def _values(function: Callable[..., Any], *arguments: np.ndarray) -> np.ndarray:
    """Values for arguments of any shapes that go together; the function sees columns."""
    wide = np.broadcast_arrays(*arguments)
    return np.asarray(function(*(np.ravel(each) for each in wide))).reshape(wide[0].shape)


def _written(values: Callable[..., np.ndarray], *arguments: np.ndarray, out: Any = None) -> np.ndarray:
    """The values in `out`, which is the last argument where it is not given by name."""
    if out is None:
        *arguments, out = arguments  # type: ignore[assignment]
    with np.errstate(all="ignore"):
        out[...] = values(*arguments)
    return np.asarray(out)


def _slopes(function: Callable[..., Any], *arguments: np.ndarray) -> tuple[np.ndarray, ...]:
    """Central differences by every argument, in float64."""
    exact = [np.asarray(each, dtype=np.float64) for each in np.broadcast_arrays(*arguments)]
    found = []
    with np.errstate(all="ignore"):
        for k, each in enumerate(exact):
            step = _STEP * np.maximum(np.abs(each), 1.0)
            above, below = each + step, each - step
            ends = [_values(function, *exact[:k], end, *exact[k + 1 :]) for end in (above, below)]
            found.append((ends[0].astype(np.float64) - ends[1]) / (above - below))
    return tuple(found)


def _given_slopes(derivative: Callable[..., Any], *arguments: np.ndarray) -> tuple[np.ndarray, ...]:
    wide = np.broadcast_arrays(*arguments)
    with np.errstate(all="ignore"):
        found = derivative(*(np.ravel(each) for each in wide))
    parts = found if len(arguments) == 2 else (found,)
    return tuple(np.broadcast_to(part, np.ravel(wide[0]).shape).reshape(wide[0].shape) for part in parts)


def _partials(slopes: Callable[..., tuple[np.ndarray, ...]], xp: Any, f: Any, *arguments: Any) -> tuple[Any, ...]:
    if xp is np:
        return tuple(each.astype(arguments[0].dtype) for each in slopes(*arguments))
    return tuple(_as_tensor(xp, each, arguments[0]) for each in slopes(*map(_as_array, arguments)))


def _torch_values(values: Callable[..., Any], slopes: Callable[..., Any], torch: Any, *arguments: Any) -> Any:
    """Values as a tensor that knows its first derivative; computed by NumPy on the processor."""

    class Own(torch.autograd.Function):  # type: ignore[name-defined, misc]
        @staticmethod
        def forward(context: Any, *inputs: Any) -> Any:
            context.save_for_backward(*inputs)
            return _as_tensor(torch, values(*map(_as_array, inputs)), inputs[0])

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            inputs = context.saved_tensors
            found = slopes(*map(_as_array, inputs))
            parts = [gradient * _as_tensor(torch, part, gradient) for part in found]
            return tuple(part.sum_to_size(each.shape) for part, each in zip(parts, inputs, strict=True))

    return Own.apply(*arguments)


def _as_array(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.detach().cpu().numpy())


def _as_tensor(torch: Any, values: np.ndarray, like: Any) -> Any:
    return torch.as_tensor(np.ascontiguousarray(values), dtype=like.dtype, device=like.device)


def _sympy_form(name: str, form: Callable[..., Any] | None, sp: Any, *arguments: Any) -> Any:
    return sp.Function(name)(*arguments) if form is None else form(*arguments)


# --- other processes --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Definitions:
    """All operators of one's own, in the order of their numbers; a process that unpickles them has them, too.

    Give them to a new process before any equation: what is unpickled first is there first.

    Attributes:
        rows: names and definitions.
    """

    rows: Sequence[tuple[str, CustomOperator]] = ()

    def __reduce__(self) -> tuple[Callable[..., Definitions], tuple[Any, ...]]:
        if not self.rows:
            return Definitions, ()
        import cloudpickle  # which takes a lambda along

        try:
            return _adopted, (cloudpickle.dumps(tuple(self.rows)),)
        except Exception as error:
            names = ", ".join(name for name, _ in self.rows)
            raise OperatorError(
                f"the operators {names} cannot be sent to another process ({error}): search with one process"
            ) from error


def definitions() -> Definitions:
    """All operators of one's own that this process has."""
    own = OPERATORS[len(SHIPPED) :]
    return Definitions([(row.name, row.definition) for row in own if isinstance(row, _OwnRow)])


def _adopted(content: bytes) -> Definitions:
    """Definitions of another process, each under the number that it has there."""
    import cloudpickle

    rows: Iterable[tuple[str, CustomOperator]] = cloudpickle.loads(content)
    with _lock:
        for name, custom in list(rows)[len(OPERATORS) - len(SHIPPED) :]:
            append(_row(name, custom, _arity(name, custom.function)))
    return definitions()

"""Size of an expression's SymPy tree, without building it.

SymPy rewrites a tree while it is built: it merges like terms and factors, distributes numbers over sums, takes
signs out of odd functions, numbers out of roots, and so on. `sympy_nodes` imitates the rules that matter for real
constants and real variables (`Add.flatten`, `Mul.flatten`, `Pow._eval_power`, `exp.eval`, … of SymPy 1.13 and
1.14) on a light tree that knows only what counting needs, a hundred times as fast. Where a rule is not imitated,
or hangs on digits that float64 does not have, the answer is None: the caller asks SymPy.

Numbers are what SymPy makes of them: whole ones are exact (`int`, `Fraction`), others are floats of 17 digits, for
which a float64 stands in. So `0.5*(2*x)` is `1.0*x`, three nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import pairwise
from typing import Any

from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, OPERATORS, POWER_ROWS

__all__ = ["sympy_nodes"]

Number = int | Fraction | float

_LARGEST_DIGITS = 1_000  # of an exact number
_NEARLY = 1e-12  # a sum of floats that is this small beside them: its sign, or that it is 0, is not known here

_NUMBER, _SYMBOL, _SUM, _PRODUCT, _POWER, _FUNCTION = range(6)


class _UnknownError(Exception):
    """What SymPy does here is not imitated."""


class _Tree:
    """A SymPy tree as far as counting needs it. Equal trees are one object.

    Attributes:
        kind: _NUMBER, _SYMBOL, _SUM, _PRODUCT, _POWER or _FUNCTION.
        size: nodes.
        number: of a number, its value; of a sum, the number in it (0 for none); of a product, its coefficient
            (1 for none); of a symbol, its index.
        terms: of a sum: (tree without coefficient, coefficient) each.
        factors: of a product: trees; the coefficient is not among them.
        base, exponent: of a power.
        name, argument: of a function.
    """

    __slots__ = (
        "argument", "base", "core", "exponent", "factors", "kind", "name", "number", "order", "real", "size",
        "terms",
    )  # fmt: skip

    kind: int
    size: int
    number: Number
    terms: tuple[tuple[_Tree, Number], ...]
    factors: tuple[_Tree, ...]
    base: _Tree
    exponent: _Tree
    name: str
    argument: _Tree

    def __init__(self, kind: int, size: int) -> None:
        self.kind = kind
        self.size = size
        self.order: Any = None  # SymPy's sort key, when asked for
        self.core: _Tree | None = None  # a product without its coefficient, when asked for
        self.real: bool | None = None  # whether SymPy is sure that it is real, when asked for


def sympy_nodes(expression: Expression) -> int | None:
    """Nodes of `expression.to_sympy()`, or None where only SymPy itself can tell.

    Protected operators count as the plain ones.
    """
    builder = _Builder()
    stack: list[_Tree] = []
    values = expression.constants.tolist()
    try:
        for token in reversed(expression.tokens.tolist()):
            if token >= FIRST_VARIABLE:
                stack.append(builder.symbol(token - FIRST_VARIABLE))
            elif token == CONSTANT:
                value = values.pop()
                stack.append(builder.constant(int(value) if value.is_integer() and abs(value) < 1e15 else value))
            elif _BINARY[token]:
                a = stack.pop()
                stack.append(_RULES[token](builder, a, stack.pop()))
            else:
                stack.append(_RULES[token](builder, stack.pop()))
        return stack[0].size
    except (_UnknownError, OverflowError, ZeroDivisionError, RecursionError):
        return None


class _Builder:
    """Builds trees and keeps one object for equal ones."""

    def __init__(self) -> None:
        self.known: dict[Any, _Tree] = {}

    # --- leaves ---------------------------------------------------------------------------------------------

    def constant(self, value: Number) -> _Tree:
        if isinstance(value, float):
            # A float that came out 0 or overflowed is another number in SymPy, which has no limits to exponents.
            if not math.isfinite(value) or value == 0.0:
                raise _UnknownError
        elif isinstance(value, Fraction) and value.denominator == 1:
            value = value.numerator
        key = (_NUMBER, isinstance(value, float), value)
        tree = self.known.get(key)
        if tree is None:
            tree = self.known[key] = _Tree(_NUMBER, 1)
            tree.number = value
        return tree

    def symbol(self, index: int) -> _Tree:
        key = (_SYMBOL, index)
        tree = self.known.get(key)
        if tree is None:
            tree = self.known[key] = _Tree(_SYMBOL, 1)
            tree.number = index
        return tree

    # --- sums -----------------------------------------------------------------------------------------------

    def add(self, *summands: _Tree) -> _Tree:
        """`Add.flatten`: numbers are added up, like terms collected."""
        number: Number = 0
        terms: dict[_Tree, Number] = {}

        def collect(tree: _Tree, coefficient: Number) -> None:
            terms[tree] = _plus(terms[tree], coefficient) if tree in terms else coefficient

        for tree in summands:
            if tree.kind == _NUMBER:
                number = _plus(number, tree.number)
            elif tree.kind == _SUM:
                number = _plus(number, tree.number)
                for core, coefficient in tree.terms:
                    collect(core, coefficient)
            elif tree.kind == _PRODUCT:
                collect(self.core(tree), tree.number)
            else:
                collect(tree, 1)
        return self.sum_of(number, terms)

    def sum_of(self, number: Number, terms: dict[_Tree, Number]) -> _Tree:
        """A sum whose like terms are collected."""
        if 0 in terms.values():
            terms = {core: coefficient for core, coefficient in terms.items() if coefficient != 0}
        if not terms:
            return self.constant(number)
        if len(terms) == 1 and number == 0:
            [(core, coefficient)] = terms.items()
            return core if _is_one(coefficient) else self.product_of(coefficient, _factors(core))
        key = (_SUM, _tagged(number), frozenset((core, *_tagged(c)) for core, c in terms.items()))
        tree = self.known.get(key)
        if tree is None:
            size = 1 + (number != 0)
            for core, coefficient in terms.items():
                if not _is_one(coefficient):
                    size += 1 + (core.kind != _PRODUCT)
                size += core.size
            tree = self.known[key] = _Tree(_SUM, size)
            tree.number, tree.terms = number, tuple(terms.items())
        return tree

    def core(self, product: _Tree) -> _Tree:
        """A product without its coefficient: what `as_coeff_Mul` leaves."""
        if product.core is None:
            product.core = product if _is_one(product.number) else self.product_of(1, product.factors)
        return product.core

    def negative(self, tree: _Tree) -> _Tree:
        return self.multiply(self.constant(-1), tree)

    # --- products -------------------------------------------------------------------------------------------

    def multiply(self, *pieces: _Tree) -> _Tree:
        """`Mul.flatten`: numbers are multiplied, exponents of equal bases added."""
        coefficient: Number = 1
        powers: dict[tuple[_Tree | None, _Tree | None], Number] = {}  # (base, exponent without number) -> number
        alone: dict[tuple[_Tree | None, _Tree | None], _Tree] = {}  # the factors that met no other of their base
        for piece in pieces:
            if piece.kind == _NUMBER:
                coefficient = _times(coefficient, piece.number)
                continue
            if piece.kind == _PRODUCT:
                coefficient = _times(coefficient, piece.number)
            for factor in _factors(piece):
                base, number, symbolic = self._as_power(factor)
                key = (base, symbolic)
                if key in powers:
                    powers[key] = _plus(powers[key], number)
                    alone.pop(key, None)
                else:
                    powers[key], alone[key] = number, factor
        if coefficient == 0:
            return self.constant(0)
        factors = []
        numeric_bases = 0
        for (base, symbolic), number in powers.items():
            if number == 0:
                continue
            numeric_bases += base is not None and base.kind == _NUMBER
            if (base, symbolic) in alone:
                factors.append(alone[base, symbolic])
                continue
            exponent = self.constant(number) if symbolic is None else self._scaled(symbolic, number)
            if base is None:
                factor = self.exp(exponent)
            elif exponent.kind == _NUMBER and _is_one(exponent.number):
                factor = base
            else:
                factor = self.power(base, exponent)
            if factor.kind == _NUMBER:
                coefficient = _times(coefficient, factor.number)
            elif factor.kind == _PRODUCT:
                raise _UnknownError
            else:
                factors.append(factor)
        if numeric_bases > 1 or len(set(factors)) < len(factors):  # 2**x*3**x is 6**x
            raise _UnknownError
        return self.product_of(coefficient, factors)

    def _as_power(self, factor: _Tree) -> tuple[_Tree | None, Number, _Tree | None]:
        """Base (None for e), number in the exponent, and what else is in it."""
        if factor.kind == _FUNCTION and factor.name == "exp":
            base, exponent = None, factor.argument
        elif factor.kind == _POWER:
            base, exponent = factor.base, factor.exponent
        else:
            return factor, 1, None
        if exponent.kind == _NUMBER:
            return base, exponent.number, None
        if exponent.kind == _PRODUCT:
            return base, exponent.number, self.core(exponent)
        return base, 1, exponent

    def _scaled(self, tree: _Tree, number: Number) -> _Tree:
        return tree if _is_one(number) else self.multiply(self.constant(number), tree)

    def product_of(self, coefficient: Number, factors: Iterable[_Tree]) -> _Tree:
        """A product whose like factors are collected; a number is distributed over a lone sum."""
        factors = tuple(factors)
        if coefficient == 0 or not factors:
            return self.constant(coefficient)
        if len(factors) == 1:
            only = factors[0]
            if _is_one(coefficient):
                return only
            if only.kind == _SUM:
                terms = {core: _times(coefficient, c) for core, c in only.terms}
                return self.sum_of(_times(coefficient, only.number), terms)
        key = (_PRODUCT, _tagged(coefficient), frozenset(factors))
        tree = self.known.get(key)
        if tree is None:
            size = 1 + (not _is_one(coefficient)) + sum([factor.size for factor in factors])
            tree = self.known[key] = _Tree(_PRODUCT, size)
            tree.number, tree.factors = coefficient, factors
        return tree

    # --- powers ---------------------------------------------------------------------------------------------

    def power(self, base: _Tree, exponent: _Tree) -> _Tree:
        """`Pow.__new__`."""
        if exponent.kind != _NUMBER:
            return self._symbolic_power(base, exponent)
        number = exponent.number
        if number == 0 and not isinstance(number, float):
            return self.constant(1)
        if _is_one(number):
            return base
        if base.kind == _NUMBER:
            return self._power_of_number(base.number, number)
        if base.kind == _PRODUCT:
            if isinstance(number, int):
                pieces = [self.power(factor, exponent) for factor in base.factors]
                return self.multiply(self._power_of_number(base.number, number), *pieces)
            return self._root_of_product(base, exponent)
        if base.kind == _POWER:
            return self._power_of_power(base, number)
        if base.kind == _FUNCTION:
            if base.name == "exp":
                if isinstance(number, int) or self.is_real(base.argument):
                    return self.exp(self._scaled(base.argument, number))
                raise _UnknownError
            if base.name == "abs":
                raise _UnknownError
        return self.plain_power(base, exponent)

    def plain_power(self, base: _Tree, exponent: _Tree) -> _Tree:
        """The power as it stands."""
        key = (_POWER, base, exponent)
        tree = self.known.get(key)
        if tree is None:
            tree = self.known[key] = _Tree(_POWER, 1 + base.size + exponent.size)
            tree.base, tree.exponent = base, exponent
        return tree

    def _symbolic_power(self, base: _Tree, exponent: _Tree) -> _Tree:
        if self._has_logarithm(exponent):  # x**(1/log(x)) is e
            raise _UnknownError
        if base.kind == _NUMBER:
            if _is_one(base.number):
                return base
            if base.number <= 0:
                raise _UnknownError
        elif base.kind == _FUNCTION and base.name in ("exp", "abs"):
            if base.name == "exp" and self.is_real(base.argument):
                return self.exp(self.multiply(base.argument, exponent))
            raise _UnknownError
        elif base.kind == _POWER:
            raise _UnknownError
        return self.plain_power(base, exponent)

    def _power_of_number(self, base: Number, exponent: Number) -> _Tree:
        if isinstance(exponent, int):
            if not isinstance(base, float):
                if abs(exponent) * math.log10(max(abs(base.numerator), base.denominator)) > _LARGEST_DIGITS:
                    raise _UnknownError
                return self.constant(Fraction(base) ** exponent)
            return self.constant(base**exponent)
        if base < 0:
            raise _UnknownError
        if isinstance(base, float) or isinstance(exponent, float):
            if base == 0 or exponent in (1.0, -1.0):
                raise _UnknownError
            return self.constant(float(base) ** float(exponent))
        if exponent != Fraction(1, 2) or not isinstance(base, int) or base > 1_000_000:
            raise _UnknownError
        if base == 0:
            return self.constant(0)
        whole, rest = _square_factor(base)
        root = self.plain_power(self.constant(rest), self.constant(exponent))
        if rest == 1:
            return self.constant(whole)
        return root if whole == 1 else self.product_of(whole, [root])

    def _power_of_power(self, base: _Tree, number: Number) -> _Tree:
        """`Pow._eval_power`: (b**e)**n is b**(e*n) for whole n and for |e| < 1."""
        inner = base.exponent
        if isinstance(number, int):
            return self.power(base.base, self._scaled(inner, number))
        if inner.kind != _NUMBER or isinstance(inner.number, float):
            raise _UnknownError
        if abs(Fraction(inner.number)) < 1:
            return self.power(base.base, self.constant(_times(inner.number, number)))
        if inner.number % 2 != 0 and self.sign(base.base) is None and number == Fraction(1, 2):
            return self.plain_power(base, self.constant(number))
        raise _UnknownError

    def _root_of_product(self, base: _Tree, exponent: _Tree) -> _Tree:
        """`Pow._eval_expand_power_base`: what is not negative leaves the root."""
        positive = [factor for factor in base.factors if self.sign(factor) is not None]
        others = [factor for factor in base.factors if self.sign(factor) is None]
        if any(factor.kind == _POWER for factor in positive):
            raise _UnknownError
        outside: list[_Tree] = [self.power(factor, exponent) for factor in positive]
        coefficient = base.number
        if not _is_one(coefficient):
            if coefficient < 0:
                if not others:
                    raise _UnknownError
                others.append(self.constant(-1))
                coefficient = -coefficient
            if not _is_one(coefficient):
                outside.append(self._power_of_number(coefficient, exponent.number))
        if others:
            inside = self.multiply(*others)
            if inside.kind == _POWER:
                inside = self.power(inside, exponent)
            else:
                inside = self.plain_power(inside, exponent)
            outside.append(inside)
        return self.multiply(*outside)

    # --- functions ------------------------------------------------------------------------------------------

    def function(self, name: str, a: _Tree) -> _Tree:
        """`eval` of the function classes."""
        if a.kind == _NUMBER:
            return self._number_in(name, a.number)
        if name == "exp":
            return self.exp(a)
        if name == "log" and a.kind == _FUNCTION and a.name == "exp":
            if self.is_real(a.argument):
                return a.argument
            raise _UnknownError
        if name == "abs" and (a.kind != _SYMBOL and not (a.kind == _FUNCTION and a.name in ("sin", "cos"))):
            raise _UnknownError
        if (name in _ODD or name in _EVEN) and self.extracts_minus(a):
            mirrored = self.function(name, self.negative(a))
            return self.negative(mirrored) if name in _ODD else mirrored
        if a.kind == _FUNCTION and a.name in _INVERSES.get(name, ()):
            raise _UnknownError
        return self.plain_function(name, a)

    def plain_function(self, name: str, a: _Tree) -> _Tree:
        """The function as it stands."""
        key = (name, a)
        tree = self.known.get(key)
        if tree is None:
            tree = self.known[key] = _Tree(_FUNCTION, 1 + a.size)
            tree.name, tree.argument = name, a
        return tree

    def extremum(self, name: str, a: _Tree, b: _Tree) -> _Tree:
        """`Max` and `Min` of two arguments of which SymPy cannot tell the larger."""
        if a is b:
            return a
        if a.kind == b.kind == _NUMBER:
            larger = a.number > b.number
            return a if larger == (name == "max") else b
        if any(tree.kind == _FUNCTION and tree.name in ("max", "min") for tree in self.known.values()):
            raise _UnknownError
        if self.sign(self.add(a, self.negative(b))) is not None:
            raise _UnknownError
        tree = self.known[name, a, b] = _Tree(_FUNCTION, 1 + a.size + b.size)
        tree.name, tree.argument = name, a
        return tree

    def _number_in(self, name: str, value: Number) -> _Tree:
        """Functions of floats are floats; those of exact numbers stay, or have special values."""
        if name == "abs":
            return self.constant(-value if value < 0 else value)
        if not isinstance(value, float):
            if value == 0 and name in _AT_ZERO:
                return self.constant(_AT_ZERO[name])
            raise _UnknownError
        try:
            return self.constant(_OF_FLOATS[name](value))
        except ValueError:
            raise _UnknownError from None

    def exp(self, a: _Tree) -> _Tree:
        """`exp.eval`: floats leave a sum, logarithms are undone."""
        if a.kind == _NUMBER:
            return self._number_in("exp", a.number)
        if a.kind == _FUNCTION and a.name == "log":
            return a.argument
        if a.kind == _PRODUCT and self._has_logarithm(a):
            [only, *rest] = a.factors
            if rest or only.kind != _FUNCTION or only.name != "log":
                raise _UnknownError
            return self.power(only.argument, self.constant(a.number))
        if a.kind != _SUM:
            return self.plain_function("exp", a)
        outside: list[_Tree] = []
        inside = dict(a.terms)
        number = a.number
        if isinstance(number, float):
            outside.append(self.exp(self.constant(number)))
            number = 0
        for core, coefficient in a.terms:
            if self._has_logarithm(core):
                outside.append(self.exp(self.product_of(coefficient, _factors(core))))
                if outside[-1].kind == _FUNCTION and outside[-1].name == "exp":
                    raise _UnknownError
                del inside[core]
        if not outside:
            return self.plain_function("exp", a)
        left = self.sum_of(number, inside)
        if left.kind == _NUMBER:
            raise _UnknownError
        return self.multiply(*outside, self.plain_function("exp", left))

    def _has_logarithm(self, tree: _Tree) -> bool:
        """Whether a logarithm is a factor, or a term of a factor."""
        if tree.kind == _FUNCTION:
            return tree.name == "log"
        if tree.kind == _SUM:
            return any(self._has_logarithm(core) for core, _ in tree.terms)
        if tree.kind == _POWER:
            return self._has_logarithm(tree.base)
        return tree.kind == _PRODUCT and any(self._has_logarithm(factor) for factor in tree.factors)

    # --- what SymPy knows about values ----------------------------------------------------------------------

    def is_real(self, tree: _Tree) -> bool:
        """Whether SymPy certainly deduces that the values are real; False: it may or may not."""
        if tree.real is None:
            tree.real = self._is_real(tree)
        return tree.real

    def _is_real(self, tree: _Tree) -> bool:
        if tree.kind in (_NUMBER, _SYMBOL):
            return True
        if tree.kind == _SUM:
            return all(self.is_real(core) for core, _ in tree.terms)
        if tree.kind == _PRODUCT:
            return all(self.is_real(factor) for factor in tree.factors)
        if tree.kind == _POWER:
            number = tree.exponent.number if tree.exponent.kind == _NUMBER else -1
            return isinstance(number, int) and number > 0 and self.is_real(tree.base)
        return tree.name in _REAL and self.is_real(tree.argument)

    def sign(self, tree: _Tree) -> int | None:
        """1 where SymPy deduces that the values are not negative, None where it does not.

        Raises:
            _UnknownError: it cannot be told here what SymPy deduces.
        """
        if tree.kind == _SYMBOL:
            return None
        if tree.kind == _NUMBER:
            return 1 if tree.number >= 0 else self._raise()
        if tree.kind == _SUM:
            # One term of unknown sign is enough for SymPy to give up.
            return None if any(self._sign_or_1(core) is None for core, _ in tree.terms) else self._raise()
        if tree.kind == _PRODUCT:
            return None if any(self.sign(factor) is None for factor in tree.factors) else self._raise()
        if tree.kind == _POWER:
            return self._sign_of_power(tree)
        if tree.name == "exp":
            return 1 if self.is_real(tree.argument) else self._raise()
        if tree.name in ("sin", "cos", "tan"):
            return None
        if tree.name in ("tanh", "sinh", "atan", "log") and self.sign(tree.argument) is None:
            return None
        return self._raise()

    def _sign_or_1(self, tree: _Tree) -> int | None:
        try:
            return self.sign(tree)
        except _UnknownError:
            return 1

    def _sign_of_power(self, tree: _Tree) -> int | None:
        number = tree.exponent.number if tree.exponent.kind == _NUMBER else None
        if isinstance(number, int):
            if number % 2 == 0:
                return 1 if number > 0 and self.is_real(tree.base) else self._raise()
            return None if self.sign(tree.base) is None else self._raise()
        if isinstance(number, Fraction) and self.sign(tree.base) is None:
            return None
        return self._raise()

    @staticmethod
    def _raise() -> int:
        raise _UnknownError

    # --- signs and order ------------------------------------------------------------------------------------

    def extracts_minus(self, tree: _Tree) -> bool:
        """`could_extract_minus_sign`: most terms are negative, or half of them and the first in order."""
        if tree.kind == _PRODUCT:
            return tree.number < 0
        if tree.kind != _SUM:
            return False
        negative = sum([coefficient < 0 for _, coefficient in tree.terms]) + (tree.number < 0)
        count = len(tree.terms) + (tree.number != 0)
        if 2 * negative != count:
            return 2 * negative > count
        return self._ordered_terms(tree)[0][1] < 0

    def _ordered_terms(self, tree: _Tree) -> list[tuple[_Tree | None, Number]]:
        """`as_ordered_terms`: by exponents of the factors, themselves in order; None stands for the number."""
        terms: list[tuple[_Tree | None, Number]] = list(tree.terms)
        decomposed = [[self._decomposed(factor) for factor in _factors(core)] for core, _ in tree.terms]
        if tree.number != 0:
            terms.append((None, tree.number))
            decomposed.append([])
        bases = {base for factors in decomposed for base, _ in factors}
        rank = {base: k for k, base in enumerate(sorted(bases, key=self.order))}
        keyed = []
        for k, factors in enumerate(decomposed):
            exponents = [0] * len(rank)
            for base, exponent in factors:
                if exponents[rank[base]]:
                    raise _UnknownError
                exponents[rank[base]] = -exponent
            keyed.append((exponents, k))
        keyed.sort()
        if any(first[0] == second[0] for first, second in pairwise(keyed)):
            raise _UnknownError
        return [terms[k] for _, k in keyed]

    def _decomposed(self, factor: _Tree) -> tuple[_Tree, int]:
        """`decompose_power`: a base and a whole exponent."""
        base, number, symbolic = self._as_power(factor)
        if base is not None and base.kind == _NUMBER:
            raise _UnknownError
        if symbolic is None:
            if isinstance(number, int) and base is not None:
                return base, number
            if isinstance(number, Fraction) and base is not None:
                return self.plain_power(base, self.constant(Fraction(1, number.denominator))), number.numerator
            return factor, 1
        if _is_one(number) or (isinstance(number, float) and number > 0):
            return factor, 1
        if base is None and isinstance(number, float):  # e**(-2.5*x) is (e**(2.5*x))**-1
            return self.plain_function("exp", self._scaled(symbolic, -number)), -1
        number = Fraction(number)
        tail = self._scaled(symbolic, Fraction(1, number.denominator))
        if base is not None:
            raise _UnknownError
        return self.plain_function("exp", tail), number.numerator

    def order(self, tree: _Tree) -> Any:
        """`sort_key`: nested tuples that compare as SymPy's do."""
        if tree.order is None:
            tree.order = self._order(tree)
        return tree.order

    def _order(self, tree: _Tree) -> Any:
        if tree.kind == _NUMBER:
            return (1, 0, "Number"), (0, ()), (), tree.number
        coefficient: Number = 1
        if tree.kind == _PRODUCT:
            coefficient, tree = tree.number, self.core(tree)
        exponent: Any = _ORDER_OF_ONE
        if tree.kind == _POWER:
            exponent, tree = self.order(tree.exponent), tree.base
        if tree.kind == _SYMBOL:
            return (2, 0, "Symbol"), (1, (f"x{tree.number}",)), exponent, coefficient
        if tree.kind == _NUMBER:
            return (1, 0, "Number"), (1, (str(tree.number),)), exponent, coefficient
        if tree.kind == _SUM:
            label, arguments = (3, 1, "Add"), self._orders_of_terms(tree)
        elif tree.kind == _PRODUCT:
            label, arguments = (3, 0, "Mul"), sorted(self.order(factor) for factor in tree.factors)
        elif tree.kind == _POWER:
            label, arguments = (3, 2, "Pow"), [self.order(tree.base), self.order(tree.exponent)]
        elif tree.name in ("max", "min"):
            raise _UnknownError
        else:
            label = (4, _FUNCTION_ORDER[tree.name], tree.name)
            arguments = [self.order(tree.argument)]
        return label, (len(arguments), tuple(arguments)), exponent, coefficient

    def _orders_of_terms(self, tree: _Tree) -> list[Any]:
        ordered = self._ordered_terms(tree)
        # A positive number is written before a lone negative multiple of one factor: 1 - 2*x.
        core, coefficient = tree.terms[0]
        if len(tree.terms) == 1 and tree.number > 0 and coefficient < 0 and core.kind != _PRODUCT:
            ordered = [(None, tree.number), (core, coefficient)]
        return [
            self.order(self.constant(value)) if core is None else self._scaled_order(core, value)
            for core, value in ordered
        ]

    def _scaled_order(self, core: _Tree, coefficient: Number) -> Any:
        label, arguments, exponent, _ = self.order(core)
        return label, arguments, exponent, coefficient


# --- numbers ----------------------------------------------------------------------------------------------------


def _is_one(value: Number) -> bool:
    """Whether it is the integer 1: SymPy keeps the float 1.0."""
    return value == 1 and not isinstance(value, float)


def _tagged(value: Number) -> tuple[bool, Number]:
    return isinstance(value, float), value


def _plus(a: Number, b: Number) -> Number:
    total = a + b
    if isinstance(total, float):
        if not math.isfinite(total) or abs(total) <= _NEARLY * max(abs(float(a)), abs(float(b))):
            raise _UnknownError
        return total
    return total.numerator if isinstance(total, Fraction) and total.denominator == 1 else total


def _times(a: Number, b: Number) -> Number:
    product = a * b
    if isinstance(product, float):
        if not math.isfinite(product) or product == 0.0:
            if a == 0 or b == 0:
                return 0
            raise _UnknownError
        return product
    return product.numerator if isinstance(product, Fraction) and product.denominator == 1 else product


def _square_factor(value: int) -> tuple[int, int]:
    """`(a, b)` with `a*a*b == value` and no square in b."""
    whole, divisor = 1, 2
    while divisor * divisor <= value:
        while value % (divisor * divisor) == 0:
            whole, value = whole * divisor, value // (divisor * divisor)
        divisor += 1
    return whole, value


def _factors(tree: _Tree) -> tuple[_Tree, ...]:
    return tree.factors if tree.kind == _PRODUCT else (tree,)


# --- tables -----------------------------------------------------------------------------------------------------

_ORDER_OF_ONE = ((1, 0, "Number"), (0, ()), (), 1)
_FUNCTION_ORDER = {
    "exp": 10, "log": 11, "sin": 20, "cos": 21, "tan": 22, "sinh": 30, "cosh": 31, "tanh": 32,
    "abs": 10_000, "asin": 10_000, "acos": 10_000, "atan": 10_000,
}  # fmt: skip
_ODD = frozenset(("sin", "tan", "asin", "atan", "sinh", "tanh"))
_EVEN = frozenset(("cos", "cosh"))
_REAL = frozenset(("sin", "cos", "exp", "sinh", "cosh", "tanh", "atan", "abs"))
_INVERSES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("sin", "cos", "tan"), ("asin", "acos", "atan")),
    "abs": ("abs",),
}
_OF_FLOATS: dict[str, Callable[[float], float]] = {
    name: getattr(math, name)
    for name in ("exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh")
}
_AT_ZERO = {"exp": 1, "sin": 0, "cos": 1, "tan": 0, "asin": 0, "atan": 0, "sinh": 0, "cosh": 1, "tanh": 0}

_BINARY = [False, *(row.arity == 2 for row in OPERATORS)]
_HALF = Fraction(1, 2)


def _unimitated(builder: _Builder, *arguments: _Tree) -> _Tree:
    raise _UnknownError


def _integer_power(exponent: int) -> Callable[..., _Tree]:
    return lambda builder, a: builder.power(a, builder.constant(exponent))


def _function(name: str) -> Callable[..., _Tree]:
    return lambda builder, a: builder.function(name, a)


def _divide(builder: _Builder, a: _Tree, b: _Tree) -> _Tree:
    return builder.multiply(a, builder.power(b, builder.constant(-1)))


def _rules() -> list[Callable[..., _Tree]]:
    by_name: dict[str, Callable[..., _Tree]] = {
        "add": _Builder.add,
        "sub": lambda builder, a, b: builder.add(a, builder.negative(b)),
        "mul": _Builder.multiply,
        "div": _divide,
        "safe_div": _divide,
        "pow": _Builder.power,
        "neg": _Builder.negative,
        "inv": _integer_power(-1),
        "sqrt": lambda builder, a: builder.power(a, builder.constant(_HALF)),
        "safe_sqrt": lambda builder, a: builder.power(a, builder.constant(_HALF)),
        "safe_log": _function("log"),
        **{name: _integer_power(exponent) for exponent, name in POWER_ROWS.items()},
        "max": lambda builder, a, b: builder.extremum("max", a, b),
        "min": lambda builder, a, b: builder.extremum("min", a, b),
        **{name: _function(name) for name in ("abs", *_OF_FLOATS)},
    }
    return [_unimitated, *(by_name.get(row.name, _unimitated) for row in OPERATORS)]


_RULES = _rules()

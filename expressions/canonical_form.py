"""The canonical form of an expression, and its hash: equal for expressions that are equal by simple rules.

`canonical` rewrites an expression bottom-up into a normal form in which commuted, reassociated and otherwise
trivially equal expressions coincide. Two shapes carry the arithmetic:

    sum       constant + sum of coefficient * term       (like terms collected, terms sorted)
    product   product of base ** whole number            (like factors collected, factors sorted, no coefficient)

Rules, each an identity over the reals wherever its left side is finite:

    a - b, -a, a/c            coefficients; c*(a + b) is distributed, and a coefficient shared by all terms is
                              written once: 2*x + 2*y -> 2*(x + y)
    a/b, 1/a, a**k            exponents, for whole |k| <= 1000 (a**2.0 too; a**0 and 1**a are 1 in IEEE for any a)
    (3*x + 1)*y               sums inside products get the leading coefficient 1: 3*((x + 1/3)*y)
    f(-a)                     odd f: -f(a); even f: f(a); |c*a| -> |c|*|a|
    |a|                       a, where a is an even power, exp, cosh, a root or a magnitude
    |a|**(2k), sqrt(a**(2k))  a**(2k), |a|**k
    a**0.5, a**-0.5           sqrt(a), 1/sqrt(a)
    a**0.3/a, a**0.3*sqrt(a)  a**-0.7, a**0.8; a broken power and all other powers of its base are one power
    a*sqrt(a), a**1.5         sqrt(a)**3: a power of the root where twice the exponent is a whole number, as no
                              operator but those of a*sqrt(a) is needed. So a**0.4*a**0.6 -> sqrt(a)**2, which is
                              invalid where a is negative
    (2*a)**0.3, (a**0.3)**0.5 1.2311…*a**0.3, a**0.15
    log(exp(a)), tan(atan(a)) a
    max(a, max(b, a))         max(a, b), sorted; min likewise
    f(constants)              the number, where it is finite; log(-1) stays as it is

Domain. An invalid row is made valid only in the cases below; everything else keeps it invalid.

    removable points          a/a, a**3/a, 1/(1/a), a - a, 0*a lose the isolated points at which a is 0 or has a
                              pole. Where a is invalid on a whole region (log, sqrt, asin, acos, real powers) a
                              term that cancels stays as 0*a, a factor as a/a; where a may be 0 on a whole region
                              (through abs, max, min or a protected operator) a and 1/a do not cancel.
    overflow and underflow    of intermediate results, as in log(exp(1000)) or sqrt((1e-200*x)**2)

Not done, because it changes the domain or needs algebra: exp(log(a)), sqrt(a)**2, exp(a)*exp(b), sin**2 + cos**2,
products of sums multiplied out, common factors of sums taken out.
"""

from __future__ import annotations

import struct
import threading
from hashlib import blake2b
from typing import Any

import numpy as np

from expressions.canonical.algebra import Algebra, OutOfRangeError
from expressions.canonical.nodes import SUM
from expressions.expression import Expression

__all__ = ["canonical", "canonical_key", "without_affine"]

MAX_LENGTH = 2_000  # longer programs are returned as they are: the time grows with the square of the length


class _Local(threading.local):
    """One memory a thread, so that no lock is needed and a fork never inherits a held one."""

    def __init__(self) -> None:
        self.algebra = Algebra()


_LOCAL = _Local()


def canonical(expression: Expression) -> Expression:
    """Normal form of an expression by the rules at the top of this module. Idempotent.

    The values agree up to rounding wherever the expression is finite. Subtrees met before are remembered.

    Args:
        expression: any expression; one of more than `MAX_LENGTH` tokens is returned as it is.
    """
    if len(expression) > MAX_LENGTH:
        return expression
    node = _LOCAL.algebra.read(expression)
    return Expression._trusted(np.array(node.tokens, dtype=np.int16), np.array(node.constants, dtype=np.float64))


def without_affine(expression: Expression) -> Expression:
    """The canonical form without an outer scale and offset: `3.2*x - 6.4*y + 1` becomes `x - 2*y`.

    The first term of a sum gets the coefficient 1, as sums in products do. A constant stays as it is.
    """
    if len(expression) > MAX_LENGTH:
        return expression
    algebra = _LOCAL.algebra
    node = algebra.read(expression)
    if node.kind == SUM:
        try:
            node = algebra.sum(dict(node.terms), 0.0)
            node = algebra.scale(node, algebra.leading_coefficient(node) or 1.0, divide=True)
        except OutOfRangeError:
            pass
    return Expression._trusted(np.array(node.tokens, dtype=np.int16), np.array(node.constants, dtype=np.float64))


def canonical_key(expression: Expression, constants: bool = True) -> bytes:
    """Hash of the canonical form, the same in every process and run.

    Args:
        expression: any expression.
        constants: whether expressions with different constants are told apart, to 12 significant digits. If
            False, the key is that of the skeleton: constants count by where they stand, not by their values,
            except that what disappears (0, 1, -1 and whole exponents) is gone: `x`, `c*x` and `x + c` are three
            skeletons.

    Returns:
        16 bytes (BLAKE2b). Equal keys for expressions that the rules make equal; different keys otherwise, but
        for collisions of probability 2**-128.
    """
    if len(expression) > MAX_LENGTH:
        return _digest(expression.tokens.tolist(), expression.constants.tolist() if constants else ())
    node = _LOCAL.algebra.read(expression)
    if node.digests is None:
        node.digests = {}
    if constants not in node.digests:
        node.digests[constants] = _digest(node.tokens, node.constants if constants else ())
    return node.digests[constants]


def _digest(tokens: Any, constants: Any) -> bytes:
    data = struct.pack(f"<{len(tokens)}h", *tokens)
    if constants:
        data += b"|" + " ".join([f"{value:.11e}" for value in constants]).encode()
    return blake2b(data, digest_size=16).digest()

"""Equations that are linear in the same terms: one product of matrices instead of a sum for each.

A block of 64 outputs that reads out eight hidden factors is eight terms and a matrix. Term by term it would be
some thousand small kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expressions.expression import Expression
from expressions.operators import FIRST_VARIABLE, TOKEN

__all__ = ["ReadOut", "read_outs"]

_FEWEST_OUTPUTS = 3  # below which a matrix costs more than the sums
_FEWEST_TERMS = 2
_ADD, _SUB, _NEG, _MUL, _DIV, _INV = (TOKEN[name] for name in ("add", "sub", "neg", "mul", "div", "inv"))
_NO_TERM = b""  # of a constant that stands alone


@dataclass(frozen=True)
class ReadOut:
    """Some outputs that are linear in the same terms.

    Attributes:
        outputs: numbers of the outputs, rising.
        terms: terms without their factors; a last one, the offset, is not among them.
        factors: number of the constant that is each term's factor, the offset's last; -1 where the factor is 1.
            `[outputs, terms (+ 1)]`
        signs: 1 or -1. `[outputs, terms (+ 1)]`
    """

    outputs: tuple[int, ...]
    terms: tuple[Expression, ...]
    factors: np.ndarray
    signs: np.ndarray


@dataclass(frozen=True)
class _Factor:
    """What a term is multiplied by."""

    constant: int
    sign: int


def read_outs(programs: Sequence[Expression], columns: int) -> list[ReadOut]:
    """The groups of outputs that are linear in the same terms.

    All outputs of a group have all of its terms: a zero in the matrix would make an output undefined where a term
    is that it does not have.

    Args:
        programs: equations whose constants are variables, from number `columns` on.
        columns: number of the variables that are none of the constants.
    """
    groups: dict[tuple[bytes, ...], list[int]] = {}
    found: list[dict[bytes, _Factor]] = []
    for number, program in enumerate(programs):
        terms = _terms(program, columns)
        found.append(terms)
        if sum(term != _NO_TERM for term in terms) >= _FEWEST_TERMS:
            groups.setdefault(tuple(sorted(terms, reverse=True)), []).append(number)  # the offset last
    return [_group(outputs, terms, found) for terms, outputs in groups.items() if len(outputs) >= _FEWEST_OUTPUTS]


def _group(outputs: list[int], terms: tuple[bytes, ...], found: list[dict[bytes, _Factor]]) -> ReadOut:
    factors = [[found[output][term] for term in terms] for output in outputs]
    return ReadOut(
        tuple(outputs),
        tuple(Expression(np.frombuffer(term, dtype=np.int16)) for term in terms if term != _NO_TERM),
        np.array([[factor.constant for factor in row] for row in factors]),
        np.array([[factor.sign for factor in row] for row in factors]),
    )


def _terms(program: Expression, columns: int) -> dict[bytes, _Factor]:
    """Terms of a sum, as programs, and their factors; empty where a term occurs twice."""
    found: dict[bytes, _Factor] = {}
    waiting = [(0, 1)]  # where a part of the sum begins, and its sign
    while waiting:
        start, sign = waiting.pop()
        token = int(program.tokens[start])
        if token == _NEG:
            waiting.append((start + 1, -sign))
        elif token in (_ADD, _SUB):
            second = program.subtree_end(start + 1)
            waiting += [(start + 1, sign), (second, sign if token == _ADD else -sign)]
        else:
            term, constant = _split(program.tokens[start : program.subtree_end(start)], columns)
            if term.tobytes() in found:
                return {}
            found[term.tobytes()] = _Factor(constant, sign)
    return found


def _split(term: np.ndarray, columns: int) -> tuple[np.ndarray, int]:
    """A term without its factor, and the factor's constant, -1 where there is none."""
    constant = term - FIRST_VARIABLE - columns  # not below 0 for constants only
    if len(term) == 1:
        return (term[:0], int(constant[0])) if constant[0] >= 0 else (term, -1)
    if term[0] == _MUL and constant[-1] >= 0 and Expression(term).subtree_end(1) == len(term) - 1:
        return term[1:-1], int(constant[-1])  # t*c
    lead = int(np.argmin((term == _MUL) | (term == _DIV)))  # of c*t/u the program is / * c t u
    if lead == 0 or constant[lead] < 0:
        return term, -1
    inner = [] if term[lead - 1] == _MUL else [_INV]  # c/t is c*(1/t)
    return np.array([*term[: lead - 1], *inner, *term[lead + 1 :]], dtype=np.int16), int(constant[lead])

"""What the state of an island on disk must be: as a stranger may have written it, it is checked whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expressions.expression import Expression
from expressions.limits import MAX_TOKENS
from expressions.operators import CONSTANT, FIRST_VARIABLE, TOKEN
from expressions.schema import program, tokens
from foundation.schema import Check, FormatError, choice, list_of, number, optional, record, row_of, whole
from searches.common.search_state import count
from searches.evolution.settings import GeneticProgrammingSettings

__all__ = ["MEMORY", "island_state"]

MEMORY = 50_000
"""Skeletons that an island remembers as tried."""

_BITS_32, _BITS_64, _BITS_128 = 2**32 - 1, 2**64 - 1, 2**128 - 1
_ERROR = number(0.0, infinite=True)
_PYTHON_RANDOM = row_of(
    whole(3, 3),
    row_of(*[whole(0, _BITS_32)] * 624, whole(1, 624)),
    optional(number()),
)
_NUMPY_RANDOM = record(
    {
        "bit_generator": choice("PCG64"),
        "state": record({"state": whole(0, _BITS_128), "inc": whole(0, _BITS_128)}),
        "has_uint32": whole(0, 1),
        "uinteger": whole(0, _BITS_32),
    }
)
_BEST = row_of(whole(1), number(0.0), tokens, list_of(number(), most=MAX_TOKENS))
_PER_INDIVIDUAL = ("nmse", "fitness", "rank", "crowding", "keys")


def island_state(settings: GeneticProgrammingSettings, variables: int) -> Check:
    """Check for what `searches.evolution.island.Island.state` returned; programs become equations.

    Args:
        settings: settings of the search.
        variables: number of variables.
    """
    allowed = {*map(TOKEN.__getitem__, settings.operators), *range(FIRST_VARIABLE, FIRST_VARIABLE + variables)}
    if settings.constants:
        allowed.add(CONSTANT)

    def equation(value: Any) -> Expression:
        found = program(value)
        if len(found) > settings.max_length or found.depth > settings.max_height:
            raise FormatError("is an equation that is too large for this search", "")
        if not allowed.issuperset(found.tokens.tolist()):
            raise FormatError("is an equation of other operators or variables than this search has", "")
        return found

    def best(value: Any) -> tuple[float, Expression]:
        _, error, *pair = _BEST(value)
        return error, equation(pair)

    most = 2 * settings.population + settings.migrants + 2
    fields: dict[str, Check] = {
        "population": list_of(equation, least=1, most=most),
        "nmse": list_of(_ERROR, most=most),
        "fitness": list_of(row_of(number(0.0), number(0.0)), most=most),
        "rank": list_of(whole(), most=most),
        "crowding": list_of(_ERROR, most=most),
        "keys": list_of(whole(0, _BITS_64), most=most),
        "tried": list_of(row_of(whole(0, _BITS_64), count), most=MEMORY),
        "best": list_of(best, most=10 * settings.max_length),
        "evaluations": count,
        "generation": count,
        "python_random": _PYTHON_RANDOM,
        "numpy_random": _NUMPY_RANDOM,
    }
    whole_state = record(fields)

    def check(value: Any) -> Mapping[str, Any]:
        state = whole_state(value)
        individuals = len(state["population"])
        if any(len(state[key]) != individuals for key in _PER_INDIVIDUAL):
            raise FormatError(f"has {individuals} individuals, but not a score of every one", "")
        return state

    return check

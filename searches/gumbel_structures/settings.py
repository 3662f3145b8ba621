"""Settings of the search for structures: defaults, limits and meaning."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.settings import Settings, SettingsError, setting

__all__ = ["StructureSearchSettings"]

_BYTES_A_STRUCTURE = 10_000  # with its skeleton and its fit


@dataclass(frozen=True, kw_only=True)
class StructureSearchSettings(Settings):
    """Settings of a search for structures.

    Attributes:
        seconds: time limit, the attempts before a resume included; None: no limit.
        instances: most structures to propose, those of all processes together; None: no limit. Unlike time, it
            does not depend on how busy the machine is.
        proposals: structures of a generation and process.
        capacity: most elites of the repository.
        power: exponent of the power law by which an elite is copied, `rank ** -power`.
        resampled: share of a copy's connections that are drawn anew.
        fresh: share of the structures that copy no elite.
        examples: elites that the proposer learns from in one generation.
        fitted_share: rank, as a share of the capacity, of the elite that a screened skeleton must beat to be
            fitted.
        patience: new skeletons without progress after which the search begins anew; what it found is kept.
        parsimony: decrease of the logarithm of the error that one token more must bring.
        longest: most tokens of a skeleton.
        search_rows: rows to fit on.
        screen_rows: rows to screen on.
        frequency_starts: starting points where a constant turns a sine or cosine.
        starts: starting points of all other skeletons with nonlinear constants.
        polish_equations: equations of the final front that are pruned, rounded and simplified.
        simplify_seconds: SymPy's time limit for the picked equation, and for all others together; 0: no SymPy.
        stop_when_exact: whether to end when an equation leaves nothing but rounding.

    Raises:
        SettingsError: a value is not allowed, or neither a time nor a number of instances limits the search.
    """

    group = "search"

    seconds: float | None = setting(60.0, above=0)
    instances: int | None = setting(None, least=1)
    proposals: int = setting(600, least=1)
    capacity: int = setting(400, least=1)
    power: float = setting(1.5, least=0)
    resampled: float = setting(0.2, least=0, most=1)
    fresh: float = setting(0.1, least=0, most=1)
    examples: int = setting(40, least=1)
    fitted_share: float = setting(0.125, least=0, most=1)
    patience: int = setting(3000, least=1)
    parsimony: float = setting(0.2, least=0)
    longest: int = setting(60, least=3, most=150)
    search_rows: int = setting(300, least=2)
    screen_rows: int = setting(64, least=2)
    frequency_starts: int = setting(4, least=1)
    starts: int = setting(2, least=1)
    polish_equations: int = setting(6, least=0)
    simplify_seconds: float = setting(3.0, least=0)
    stop_when_exact: bool = setting(True)

    def needed_memory(self) -> dict[tuple[str, ...], float]:
        """Bytes of the structures of a generation, and of the elites."""
        return {
            ("proposals",): float(_BYTES_A_STRUCTURE * self.proposals),
            ("capacity",): float(_BYTES_A_STRUCTURE * self.capacity),
        }

    def _check_together(self) -> None:
        if self.seconds is None and self.instances is None:
            raise SettingsError("the search would never end: give search.seconds or search.instances")

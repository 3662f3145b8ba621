"""Settings of the callbacks that search: what they take beside the settings of their search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from datamodules.settings.tables import NAME, NAMES
from foundation.settings import Rule, Settings, SettingsError, processes_rule, seed_setting, setting
from searches.evolution.settings import MOST_ISLANDS

__all__ = [
    "CMAESSearchSettings",
    "DistillationSettings",
    "EliteRepositorySettings",
    "GPSearchSettings",
    "NetworkReadingSettings",
    "StructureSearchOwnSettings",
    "divided",
]

_BYTES_AN_ELITE = 200
PROBLEMS = Rule(
    lambda value: isinstance(value, list | tuple) and all(map(NAME.allows, value)),
    "a list of problems or suites, such as [nguyen,I.12.1]",
)
BLOCKS = Rule(
    lambda value: (
        value is None
        or NAME.allows(value)
        or (isinstance(value, list | tuple) and bool(value) and all(map(NAME.allows, value)))
    ),
    "a list of blocks of the model, such as [encoder,decoder], or null",
)


@dataclass(frozen=True, kw_only=True)
class GPSearchSettings(Settings):
    """What the searches of the latents share.

    Attributes:
        seed: random seed, from which every search derives its own.
        trials: number of searches for every latent.
        archive: file with the best equations of all runs; searches start from them and add theirs. None: neither.
        workers: number of processes on this machine; None: one for every core.
        islands: number of populations of a search; None: as many as there are cores for it.
    """

    group = "search"

    seed: int = seed_setting()
    trials: int = setting(1, least=1, most=10_000)
    archive: str | None = setting(None)
    workers: int | None = setting(None, rule=processes_rule())
    islands: int | None = setting(None, least=1, most=MOST_ISLANDS)


@dataclass(frozen=True, kw_only=True)
class DistillationSettings(Settings):
    """What the searches of a network's blocks share.

    Attributes:
        seed: random seed, from which every search derives its own.
        blocks: names of the blocks that are written as equations; None: those that the model names, or all of its
            parts that have weights.
        tolerance: rise of the model's loss on the validation rows that equations may cost, relative to its size.
        tuning_epochs: number of passes over the training rows in which the equations' constants learn from the
            model's loss; 0: none.
        ask: whether the network is asked for more than its data say.
        workers: number of processes on this machine; None: one for every core.
    """

    group = "search"

    seed: int = seed_setting()
    blocks: tuple[str, ...] | None = setting(None, rule=BLOCKS)
    tolerance: float = setting(0.01, least=0)
    tuning_epochs: int = setting(1, least=0, most=10_000)
    ask: bool = setting(True)
    workers: int | None = setting(None, rule=processes_rule())


@dataclass(frozen=True, kw_only=True)
class CMAESSearchSettings(Settings):
    """What is searched for in the latent space of a map.

    Attributes:
        seed: random seed for the rows of problems, and from which every search derives its own.
        problems: names and suites of the catalogue (`datamodules.tables.problems`).
        heldout: number of generated equations, unseen in training, that are searched for, too; none where the
            data are a table, which is searched for then.
        table: table of the user's own: a file, or what else `data=tabular` reads. None: none.
        target: column of the table to explain.
        features: columns of the table to explain it by; None: all others.
        noise_level: noise on the training rows of problems, as a share of the target's root mean square; a
            quarter of the rows then serves to choose by.
        workers: number of processes on this machine; None: one for every core, or one where the map is on a GPU.
    """

    group = "search"

    seed: int = seed_setting()
    problems: tuple[str, ...] = setting((), rule=PROBLEMS)
    heldout: int = setting(6, least=0, most=10_000)
    table: str | None = setting(None)
    target: str | None = setting(None, rule=NAME)
    features: tuple[str, ...] | None = setting(None, rule=NAMES)
    noise_level: float = setting(0.0, least=0)
    workers: int | None = setting(None, rule=processes_rule())

    def _check_together(self) -> None:
        if self.table is not None and self.target is None:
            raise SettingsError(
                f"search.target is missing: give the column of search.table={self.table} that is to be explained"
            )


@dataclass(frozen=True, kw_only=True)
class EliteRepositorySettings(Settings):
    """The repository of elites of the published equation learner.

    Attributes:
        size: number of elites of a restart.
        exponent: exponent of the power law by which an elite is copied.
        constants: constants of the equation that is shown first: `shared`, as published, or `fitted`.
        simplify_seconds: SymPy's time limit for an equation; 0: no SymPy.
    """

    group = "search"

    size: int = setting(400, least=1)
    exponent: float = setting(1.5, least=0)
    constants: str = setting("shared", choices=("shared", "fitted"))
    simplify_seconds: float = setting(3.0, least=0)

    def needed_memory(self) -> dict[tuple[str, ...], float]:
        """Bytes of the elites of one restart."""
        return {("size",): float(_BYTES_AN_ELITE * self.size)}


@dataclass(frozen=True, kw_only=True)
class StructureSearchOwnSettings(Settings):
    """What the search for structures takes beside `searches.gumbel_structures.settings.StructureSearchSettings`.

    Attributes:
        seed: random seed for every draw.
    """

    group = "search"

    seed: int = seed_setting()


@dataclass(frozen=True, kw_only=True)
class NetworkReadingSettings(Settings):
    """What is read after the training of a reader.

    Attributes:
        examples: number of networks of the test that are read, where no file is given.
        beams: number of beams of the search, and of draws.
    """

    group = "search"

    examples: int = setting(24, least=1)
    beams: int = setting(16, least=1)


def divided(options: dict[str, Any], own: type[Settings]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of a callback: its own, and those of its search."""
    names = own.setting_names()
    mine = {name: value for name, value in options.items() if name in names}
    return mine, {name: value for name, value in options.items() if name not in names}

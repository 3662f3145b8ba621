"""What goes together: the data that each model learns from, the search that explains it, the metrics of its fit.

This is the only place that says so. A command that puts other parts together is refused by it before torch is
imported, and the table in `docs/guide.md` is compared with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from configs.registry import SETTINGS
from datamodules.settings.tables import TableSettings

__all__ = ["SYSTEMS", "System", "name_of", "tables"]


@dataclass(frozen=True)
class System:
    """A model, and what goes with it.

    Attributes:
        learns_from: name of the data that the model learns from; None: any table of rows.
        search: name of the search that explains the model.
        other_searches: names of searches that can be chosen in its place.
        explains: part of the run that gets the equations.
        metrics: names of the model's metrics by which the best epoch can be chosen (`checkpoint.monitor`).
        search_metrics: names of such metrics that its search logs during the fit.
        explores_tables: whether a table may stand in for the data: the model learns from its own all the same, and
            the search explains the target of the table.
        needs_target: whether a table must have a target.
    """

    learns_from: str | None
    search: str
    explains: str
    metrics: tuple[str, ...] = ()
    search_metrics: tuple[str, ...] = ()
    explores_tables: bool = False
    needs_target: bool = True
    other_searches: tuple[str, ...] = ()

    @property
    def searches(self) -> tuple[str, ...]:
        """Names of all searches of its own."""
        return (self.search, *self.other_searches)

    @property
    def data(self) -> tuple[str, ...]:
        """Names of the data that a run may have."""
        own = () if self.learns_from is None else (self.learns_from,)
        return (*own, *tables()) if self.learns_from is None or self.explores_tables else own


SYSTEMS: Mapping[str, System] = {
    "autoencoder": System(
        learns_from=None,
        search="gp",
        explains="latents",
        metrics=("validation/reconstruction_mse", "validation/r2"),
        needs_target=False,
        other_searches=("distill",),
    ),
    "gmeql": System(
        learns_from=None,
        search="structures",
        explains="target",
        search_metrics=("search/best_nmse",),
    ),
    "gmeql_paper": System(
        learns_from=None,
        search="elites",
        explains="target",
        search_metrics=("fit/best_mae", "fit/mean_mae"),
    ),
    "weights_to_tokens": System(
        learns_from="network_weights",
        search="network_reading",
        explains="networks",
        metrics=("validation/loss", "validation/token_accuracy", "validation/exact_match"),
    ),
    "cvae": System(
        learns_from="equations",
        search="cmaes",
        explains="target",
        metrics=(
            "validation/prior_cross_entropy",
            "validation/posterior_cross_entropy",
            "validation/kl",
            "validation/active_units",
            "validation/token_accuracy",
            "validation/expression_accuracy",
        ),
        explores_tables=True,
    ),
}
"""Name of a model -> what goes with it. A search that stands in no row goes with every model."""


def tables() -> tuple[str, ...]:
    """Names of the data that are a table of rows."""
    rows = (name for name, (settings, *_) in SETTINGS.values() if issubclass(settings, TableSettings))
    return tuple(name.removeprefix("data_") for name in rows)


def name_of(group: str, target: object) -> str | None:
    """Name of a model, of data or of a search by its class; None where the class is none of that group.

    Args:
        group: `model`, `data` or `search`.
        target: class as a configuration names it, `_target_`.
    """
    name = SETTINGS[target][0] if isinstance(target, str) and target in SETTINGS else ""
    return name.removeprefix(f"{group}_") if name.startswith(f"{group}_") else None

"""The base of all callbacks that report equations after a fit: when they do so, and what a full disk means."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

from foundation.errors import UserError
from reports.findings import Finding

__all__ = ["EquationSearch"]


class EquationSearch(Callback):
    """Finds equations in `on_fit_end`, or when somebody calls `search`.

    A concrete callback says in `find_and_report` what is done then.

    Args:
        run_dir: run directory, where the results go.
        deferred: whether `on_fit_end` does nothing, since `search(trainer, module)` will be called later.

    Attributes:
        interrupted: whether Ctrl-C cut the last search short, so that a resumed run goes on with it.
    """

    def __init__(self, run_dir: str | Path = ".", deferred: bool = False) -> None:
        self.run_dir = Path(run_dir)
        self.deferred = deferred
        self.interrupted = False

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Search, unless somebody else will say when."""
        if not self.deferred:
            self.search(trainer, pl_module)

    def search(
        self, trainer: Trainer, module: LightningModule, datamodule: LightningDataModule | None = None
    ) -> list[Finding]:
        """Find equations and report them.

        Nothing here is collective: a rank that waits for another would be timed out by the process group.

        Args:
            trainer: trainer of the fit.
            module: fitted model.
            datamodule: source of the rows; the one of the fit when not given.

        Returns:
            What was found, empty on ranks other than the first. After Ctrl-C, what was found until then.

        Raises:
            UserError: the search cannot be done, or the disk is full; what was found is on the terminal by then.
        """
        try:
            return self.find_and_report(trainer, module, datamodule or trainer.datamodule)  # type: ignore[attr-defined]
        except OSError as error:
            raise UserError(
                f"{self.run_dir} cannot be written to ({error.strerror or error}): make room, then "
                f"resume={self.run_dir}"
            ) from error

    @abstractmethod
    def find_and_report(self, trainer: Trainer, module: LightningModule, datamodule: Any) -> list[Finding]:
        """Find equations and report them; see `search`, which calls this.

        Args:
            trainer: trainer of the fit.
            module: fitted model.
            datamodule: source of the rows; None after a fit in forked processes, where it stayed.
        """

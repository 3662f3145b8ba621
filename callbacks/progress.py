"""A progress bar that costs next to nothing a step."""

import sys
import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from foundation.durations import duration
from foundation.terminal import warn

__all__ = ["EpochProgress"]

REFRESH_SECONDS = 0.25
WARN_SECONDS = 60.0


class EpochProgress(ProgressBar):
    """One line for the whole fit: epochs, the loss, the time that is left.

    Where a callback has a method `fit_progress() -> (share, text)`, the line shows that instead: a search that
    ends by itself knows better how far it is.

    Lightning's bars update in every step, which for a network of a few hundred weights costs as much as the step.
    This one looks at the clock and draws four times a second; where there is no terminal it prints nothing but how
    long a fit of more than a minute will take, which is known after its first epoch.

    Example:
        ```yaml
        callbacks:
          - _target_: callbacks.progress.EpochProgress
        ```
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._drawn = 0.0
        self._epoch_began = 0.0
        self._warned = False
        self._teller: Callable[[], tuple[float, str]] | None = None

    def disable(self) -> None:
        """Called by Lightning on all ranks but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Called by Lightning to undo `disable`."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the bar."""
        self._warned = False
        if not self._enabled or not sys.stderr.isatty():
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            auto_refresh=False,
        )
        self._progress.start()
        self._teller = next((c.fit_progress for c in trainer.callbacks if hasattr(c, "fit_progress")), None)  # type: ignore[attr-defined]
        if self._teller is not None:
            self._task = self._progress.add_task("fit", total=1.0, loss="")
            return
        epochs = trainer.max_epochs if trainer.max_epochs is not None and trainer.max_epochs > 0 else None
        self._task = self._progress.add_task("fit, epochs", total=epochs, completed=trainer.current_epoch, loss="")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of an epoch."""
        self._epoch_began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw, if it is time to."""
        if self._progress is None or self._task is None or time.perf_counter() - self._drawn < REFRESH_SECONDS:
            return
        self._drawn = time.perf_counter()
        if self._teller is not None:
            share, text = self._teller()
            self._progress.update(self._task, completed=share, loss=text)
            self._progress.refresh()
            return
        batches = trainer.num_training_batches
        done = trainer.current_epoch + (batch_idx + 1) / batches if batches else trainer.current_epoch
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        self._progress.update(
            self._task, completed=round(done, 1), loss="" if loss is None else f"loss {loss:.3g}"
        )
        self._progress.refresh()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After the first epoch, say how long a long fit will take."""
        if self._warned or not self._enabled or not trainer.max_epochs or trainer.max_epochs < 0:
            return
        self._warned = True
        epochs = trainer.max_epochs - trainer.current_epoch - 1
        left = epochs * (time.perf_counter() - self._epoch_began)
        if left > WARN_SECONDS:
            warn(f"The fit takes about {duration(left)}: {epochs} more epochs.")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the bar."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=1.0 if self._teller else trainer.current_epoch)
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = None

"""Settings of the generated equations (system 4)."""

from __future__ import annotations

from dataclasses import dataclass

from datamodules.settings.streams import StreamSettings
from foundation.settings import SettingsError, processes_rule, seed_setting, setting

__all__ = ["EquationsSettings"]


_BYTES_A_CELL = 12


@dataclass(frozen=True, kw_only=True)
class EquationsSettings(StreamSettings):
    """Settings of the generated problems and of their batches.

    Attributes:
        batch_size: Number of samples in a batch, for each rank.
        epoch_samples: Number of samples of an epoch, of all ranks together.
        held_out_samples: Number of samples of validation, and of test.
        num_workers: Number of processes that make batches; 0: they are made between the steps, which takes a few
            percent of the time.
        skeletons: File of the training's skeletons, see `datamodules.streams.skeleton_file`, drawn by all cores
            where it is missing: then all epochs have these; None: new ones every `pool_epochs` epochs.
        corpus: Folder of a corpus for the training, see `datamodules.streams.corpus`, made where it is missing;
            None: the stream, which never repeats itself.
        corpus_samples: Number of samples that are read of the corpus, and made where it has fewer.
        seed: Random seed for every draw.
    """

    batch_size: int = setting(128, least=1)
    epoch_samples: int = setting(16_384, least=1)
    held_out_samples: int = setting(2_048, least=1)
    num_workers: int = setting(0, rule=processes_rule(0))
    skeletons: str | None = setting(None)
    corpus: str | None = setting(None)
    corpus_samples: int = setting(1_048_576, least=1)
    seed: int = seed_setting()

    def needed_memory(self) -> dict[tuple[str, ...], float]:
        """Bytes of the skeletons, and of the rows of a batch: float64 when they are drawn, then float32."""
        cells = self.most_rows * (self.variables + 1)
        needed = super().needed_memory()
        needed["batch_size", "most_rows"] = float(_BYTES_A_CELL * self.batch_size * cells)
        return needed

    def _check_together(self) -> None:
        super()._check_together()
        if self.skeletons is not None and self.corpus is not None:
            raise SettingsError(
                f"data.skeletons={self.skeletons} and data.corpus={self.corpus} exclude each other: give one"
            )

"""System 3: a transformer that reads a small network's equation from its weights.

Source: B. Saiprasad, D. Singh, "Symbolic Regression via Neural Network weights". `modules.networks.weights.reader`
holds the network and says how it differs from the paper's. It learns from a zoo of small networks, see the data
`network_weights`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torchmetrics import Metric

from modules.networks.equation_map.conditional_vae import token_losses
from modules.networks.ranks import weight_of_rank
from modules.networks.weights.reader import PRETRAINED, WeightReader, r2_rows, read_reader_weights
from modules.networks.weights.small_networks import shuffled
from modules.settings.weights_to_tokens import ReadingTask, WeightsToTokensSettings
from modules.training.averaged_module import AveragedModule, initialise

__all__ = ["ReadingMeasures", "WeightsToTokens"]

ACCURATE_R2 = 0.999  # SRBench's accuracy solution
_OF_THE_NETWORKS = ("widths", "activation", "biases")
_WAYS = ("greedy", "beam", "sampled", "refit", "least_squares")


class WeightsToTokens(AveragedModule):
    """A reader of weights and its averaged weights, which validation, test and readings use.

    A batch is weights `[batch, P]` and the ids of their equations `[batch, T]`; the loss is the cross entropy of
    the characters.

    Logged once an epoch: `fit/loss` (nats a character), `fit/samples_per_second`, `validation/loss`,
    `validation/token_accuracy` (each character after the right ones before it) and `validation/exact_match`. Of
    the test, on equations that no network of the training has: `test/loss`, `test/token_accuracy`, and of the
    equations as they are written one character after the other, the likeliest each time: `test/exact_match` (the
    whole string), `test/structure_accuracy` (the same powers of x), `test/sign_accuracy` (and every sign),
    `test/coefficient_mae`, `test/r2_above_0.99_rate`, `test/accuracy_rate` (R2 > 0.999) and `test/r2_median`, with
    R2 between the values of the equation that was read and those of the true one, and
    `test/network_r2_above_0.99_rate`, against the network itself; the same rates by length of the true string,
    `test/exact_match_length_8` and so on; and `test/exact_match_beam`, `_sampled`, `_refit`, `_least_squares` of
    the other ways of `modules.networks.weights.reader.Reading`, of which the last learns nothing.

    Args:
        **options: settings by name: those of `modules.settings.weights_to_tokens.ReadingTask`, which the data
            say, and of `modules.settings.weights_to_tokens.WeightsToTokensSettings`.

    Raises:
        UserError: a setting is unknown, its value is not allowed, or the initial weights do not exist.
    """

    settings: WeightsToTokensSettings
    average: WeightReader

    def __init__(self, **options: Any) -> None:
        super().__init__()
        of_the_data = ReadingTask.setting_names()
        task = ReadingTask.of({name: value for name, value in options.items() if name in of_the_data})
        settings = WeightsToTokensSettings.of(
            {name: value for name, value in options.items() if name not in of_the_data}
        )
        self.save_hyperparameters({**task.as_mapping(), **settings.as_mapping()})
        self.settings = settings
        self.reader = WeightReader(task, settings)
        self.average = copy.deepcopy(self.reader).requires_grad_(False)
        # A reader that takes any network may begin from one that was trained on others.
        others = _OF_THE_NETWORKS if self.reader.encoder.any_shape else ()
        self.initialised = initialise(
            (self.reader, self.average), settings.init, PRETRAINED, read_reader_weights, irrelevant=others
        )
        """Whether it began from weights that know something."""
        lengths = self.reader.longest + 1
        self.validation_measures, self.test_measures = TokenMeasures(), TokenMeasures()
        self.readings = torch.nn.ModuleList(ReadingMeasures(lengths) for _ in _WAYS)
        self._losses: list[Tensor] = []
        self._rows, self._began = 0, 0.0

    def load_state_dict(self, *arguments: Any, **options: Any) -> Any:
        """Take weights from elsewhere, which know something."""
        self.initialised = True
        return super().load_state_dict(*arguments, **options)

    @staticmethod
    def data_arguments(datamodule: Any) -> dict[str, Any]:
        """Constructor arguments that the data determine."""
        task: ReadingTask = datamodule.task()
        return task.as_mapping()

    # --- training -------------------------------------------------------------------------------------------

    @property
    def learned(self) -> WeightReader:
        """The network that is trained."""
        return self.reader

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch."""
        flat, ids = batch
        if self.settings.augment:
            flat = shuffled(self.reader.shape, flat)
        ids = ids[:, : int((ids > 0).sum(dim=1).max())]
        nats, counted = token_losses(self.reader.scores(flat, ids), ids)
        loss = nats.sum() / counted.sum() * weight_of_rank(counted.sum())
        self._losses.append(loss.detach())
        self._rows += len(flat)
        return loss

    def on_train_epoch_start(self) -> None:
        """Discard the measurements of an epoch that was interrupted."""
        self._losses, self._rows, self._began = [], 0, time.perf_counter()

    def on_train_epoch_end(self) -> None:
        """Log once an epoch, because `self.log` in every step costs time."""
        if self._losses:
            self.log("fit/loss", torch.stack(self._losses).mean(), sync_dist=True)
            rate = self._rows / max(time.perf_counter() - self._began, 1e-9)
            self.log("fit/samples_per_second", rate, sync_dist=True, reduce_fx="sum")
        self._losses = []

    # --- validation and test --------------------------------------------------------------------------------

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Update the validation measures."""
        self.validation_measures.update(self.average.scores(*batch), batch[1])

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Update the test measures."""
        flat, ids = batch
        self.test_measures.update(self.average.scores(flat, ids), ids)
        read = self.average.read(self.average.shape, flat, self.settings.beams)
        for way, measures in self._ways():
            measures.update(self.average, getattr(read, way), ids, read.outputs)

    def _ways(self) -> Iterator[tuple[str, ReadingMeasures]]:
        """The ways of reading with their measures."""
        for way, measures in zip(_WAYS, self.readings, strict=True):
            yield way, cast(ReadingMeasures, measures)

    def on_validation_epoch_end(self) -> None:
        """Log the validation measures."""
        self._log_measures("validation", self.validation_measures.compute())
        self.validation_measures.reset()

    def on_test_epoch_end(self) -> None:
        """Log the test measures."""
        measures = self.test_measures.compute()
        measures.pop("exact_match")  # the test logs the match of greedily decoded equations instead
        self._log_measures("test", measures)
        self.test_measures.reset()
        for way, readings in self._ways():
            found = readings.compute()
            if way != "greedy":
                found = {f"{name}_{way}": found[name] for name in ("exact_match", "r2_above_0.99_rate")}
            self._log_measures("test", found)
            readings.reset()

    def _log_measures(self, stage: str, measures: dict[str, Tensor]) -> None:
        for name, value in measures.items():  # the same on all ranks
            self.log(f"{stage}/{name}", value.float(), sync_dist=True)


class TokenMeasures(Metric):
    """Accuracy of predicted characters, each after the true ones, over a whole data set and all ranks."""

    full_state_update = False
    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        # rows, characters, nats, right characters, rows with right characters alone
        self.add_state("counts", torch.zeros(5, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, scores: Tensor, ids: Tensor) -> None:
        """Add the scores, `[batch, T - 1, size]`, and the true ids, `[batch, T]`, of a batch."""
        nats, counted = token_losses(scores, ids)
        right = (scores.argmax(dim=-1) == ids[:, 1:]) & counted
        whole = (right | ~counted).all(dim=1)
        rows = torch.tensor(len(ids), dtype=torch.float64, device=ids.device)
        self.counts += torch.stack([rows, *(part.double().sum() for part in (counted, nats, right, whole))])

    def compute(self) -> dict[str, Tensor]:
        """The measures, by name."""
        rows, tokens, nats, right, whole = self.counts
        return {"loss": nats / tokens, "token_accuracy": right / tokens, "exact_match": whole / rows}


class ReadingMeasures(Metric):
    """Quality of the equations that were read, over a whole data set and all ranks.

    Args:
        lengths: number of possible lengths, one more than the characters of the longest string.
    """

    full_state_update = False
    counts: Tensor
    r2: list[Tensor]
    _columns = ("rows", "exact", "structure", "signs", "mae", "r2_99", "accurate", "network_r2_99")

    def __init__(self, lengths: int) -> None:
        super().__init__()
        shape = (lengths, len(self._columns))
        self.add_state("counts", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("r2", [], dist_reduce_fx="cat")

    def update(self, reader: WeightReader, read: Tensor, ids: Tensor, outputs: Tensor) -> None:
        """Add a batch.

        Args:
            reader: reader, whose grammar the ids follow.
            read: equations that were read. `[batch, T]`
            ids: true equations. `[batch, T]`
            outputs: outputs of the networks at `reader.points()`. `[batch, X]`
        """
        found, true = reader.coefficients(read), reader.coefficients(ids)
        r2 = r2_rows(reader.values(ids), reader.values(read))
        to_network = r2_rows(outputs, reader.values(read))
        columns = [
            torch.ones_like(r2),
            (read == ids).all(dim=1),
            ((found != 0) == (true != 0)).all(dim=1),
            (found.sign() == true.sign()).all(dim=1),
            (found - true).abs().mean(dim=1),
            r2 >= 0.99,
            r2 > ACCURATE_R2,
            to_network >= 0.99,
        ]
        length = (ids > 0).sum(dim=1) - 2
        self.counts.index_add_(0, length, torch.stack([column.double() for column in columns], dim=1))
        self.r2.append(r2)

    def compute(self) -> dict[str, Tensor]:
        """The measures, by name."""
        rows, exact, structure, signs, mae, r2_99, accurate, network_r2_99 = self.counts.T
        total = rows.sum()
        r2 = torch.cat(list(self.r2)) if isinstance(self.r2, Sequence) else self.r2
        measures = {
            "exact_match": exact.sum() / total,
            "structure_accuracy": structure.sum() / total,
            "sign_accuracy": signs.sum() / total,
            "coefficient_mae": mae.sum() / total,
            "r2_above_0.99_rate": r2_99.sum() / total,
            "accuracy_rate": accurate.sum() / total,
            "network_r2_above_0.99_rate": network_r2_99.sum() / total,
            "r2_median": r2.median(),
        }
        for length in (rows > 0).nonzero()[:, 0].tolist():
            measures[f"exact_match_length_{length}"] = exact[length] / rows[length]
            measures[f"r2_above_0.99_rate_length_{length}"] = r2_99[length] / rows[length]
        return measures

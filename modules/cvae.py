"""System 4: a conditional variational autoencoder of equations, whose latent space is searched for equations.

Source: Q. Li, Y. Hu, J. Liu, Y. Chen, "GenSR: symbolic regression based on equation generative space", ICLR 2026,
arXiv 2602.20557. `modules.networks.equation_map.conditional_vae` holds the network and says how it differs from
the paper's. The latent search uses the network through `modules.networks.equation_map.latent_map.LatentMap`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from expressions.skeleton import INTEGERS
from expressions.vocabulary import Vocabulary
from modules.networks.equation_map.conditional_vae import Batch, ConditionalVAE, Losses, divergence, token_losses
from modules.networks.equation_map.latent_map import PRETRAINED, LatentMap, read_weights
from modules.networks.equation_map.set_encoder import point_features
from modules.settings.cvae import CVAESettings
from modules.training.averaged_module import AveragedModule, initialise

__all__ = ["CVAE", "EquationMeasures"]

ACTIVE_NATS = 0.01  # mean KL above which a latent counts as active
BEAMS = 10
BEAM_SAMPLES = 256  # test equations decoded by beam search, over all ranks


class CVAE(AveragedModule):
    """Prior, posterior and decoder of equations, with a moving average of their weights.

    The loss of a batch is the cross entropy a token of the rows decoded from a sample of the posterior, plus that
    of the rows decoded from a sample of the prior, plus the KL divergence and two auxiliary losses. Validation,
    test and search use an exponential moving average of the weights.

    Logged once an epoch: `fit/loss`, `fit/prior_cross_entropy`, `fit/posterior_cross_entropy`, `fit/kl`,
    `fit/samples_per_second`, `fit/tokens_per_second`; of validation and test, from the means of prior and
    posterior: `prior_cross_entropy`, `posterior_cross_entropy` (nats a token), `kl` (nats), `active_units`
    (latents whose mean KL is above 0.01 nats), `token_accuracy` and `expression_accuracy` (prior, teacher-forced).
    The test also logs `validity`, the share of greedily decoded equations that are complete and allowed by the
    grammar; `exact_skeleton_greedy`, the share whose skeleton is the true one; and `exact_skeleton_beam`, the
    share of at most 256 samples whose true skeleton is among 10 beams.

    Args:
        variables: largest number of columns of a table.
        operators: names of operators, from the operator table.
        longest: largest number of tokens of an equation.
        **options: settings by name, see `modules.settings.cvae.CVAESettings`.

    Raises:
        UserError: a setting is unknown, its value is not allowed, or the initial weights do not exist.
    """

    settings: CVAESettings
    average: ConditionalVAE

    def __init__(self, variables: int, operators: Sequence[str], longest: int, **options: Any) -> None:
        super().__init__()
        settings = CVAESettings.of(options)
        operators = [str(name) for name in operators]
        self.save_hyperparameters(
            {"variables": variables, "operators": operators, "longest": longest, **settings.as_mapping()}
        )
        self.settings = settings
        self.network = ConditionalVAE(Vocabulary(operators, variables, integers=INTEGERS), longest, settings)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        initialise((self.network, self.average), settings.init, PRETRAINED, read_weights)
        latents = settings.latents
        self.validation_measures, self.test_measures = EquationMeasures(latents), EquationMeasures(latents)
        self.decoded = DecodedMeasures()
        self._sums: list[Tensor] = []
        self._rows = 0
        self._began = self._ended = 0.0

    @staticmethod
    def data_arguments(datamodule: Any) -> dict[str, Any]:
        """Constructor arguments that the data determine, from a datamodule that is set up."""
        return {
            "variables": int(datamodule.variables),
            "operators": [str(name) for name in datamodule.operators],
            "longest": int(datamodule.longest),
        }

    def export_map(self, path: str | Path) -> None:
        """Write the averaged weights as a file that `LatentMap.load` reads."""
        LatentMap(self.average).save(path, {})

    # --- training -------------------------------------------------------------------------------------------

    @property
    def learned(self) -> ConditionalVAE:
        """The network that is trained."""
        return self.network

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """The loss of one batch."""
        settings = self.settings
        parts = self.network.losses(
            Batch(*batch),
            settings.posterior_share,
            settings.free_bits,
            (settings.value_weight > 0, settings.presence_weight > 0),
        )
        loss = self._loss(parts) + self._nothing_of_unused(len(batch[0]))
        kept = (loss, parts.prior_cross_entropy, parts.posterior_cross_entropy, parts.kl, parts.tokens)
        self._sums.append(torch.stack([value.detach().float() for value in kept]))
        self._rows += len(batch[0])
        return loss

    def _loss(self, parts: Losses) -> Tensor:
        settings = self.settings
        warm = min(1.0, (self.trainer.global_step + 1) / max(1, settings.kl_warmup_steps))
        return (
            parts.prior_cross_entropy
            + parts.posterior_cross_entropy
            + settings.kl_weight * warm * parts.free_kl
            + settings.value_weight * parts.values
            + settings.presence_weight * parts.presence
        )

    def _nothing_of_unused(self, rows: int) -> Tensor | float:
        """0 times the parameters that the loss does not use: distributed training needs a gradient of each one."""
        unused: list[nn.Module] = []
        if min(rows - 1, round(rows * self.settings.posterior_share)) == 0:
            unused += [self.network.equation_encoder, self.network.posterior_head]
        if self.settings.value_weight == 0:
            unused.append(self.network.value_head)
        if self.settings.presence_weight == 0:
            unused.append(self.network.presence_head)
        if not unused:
            return 0.0
        return 0.0 * torch.stack([p.sum() for module in unused for p in module.parameters()]).sum()

    def on_train_epoch_start(self) -> None:
        """Discard the measurements of an epoch that was interrupted."""
        self._sums, self._rows = [], 0
        self._began = self._ended = time.perf_counter()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the time of training alone; a validation may interrupt the epoch."""
        if self.device.type == "cuda" and self.trainer.is_last_batch:
            torch.cuda.synchronize(self.device)
        self._ended = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        """Log once an epoch, because `self.log` in every step costs time."""
        if not self._sums:
            return
        sums = torch.stack(self._sums).double()
        loss, prior, posterior, kl, _ = sums.mean(dim=0)
        named = {"loss": loss, "prior_cross_entropy": prior, "posterior_cross_entropy": posterior, "kl": kl}
        self.log_dict({f"fit/{name}": value.float() for name, value in named.items()}, sync_dist=True)
        tokens = float(sums[:, 4].sum())
        seconds = max(self._ended - self._began, 1e-9)
        speeds = {"fit/samples_per_second": self._rows / seconds, "fit/tokens_per_second": tokens / seconds}
        self.log_dict(speeds, sync_dist=True, reduce_fx="sum")
        self._sums, self._rows = [], 0

    # --- validation and test --------------------------------------------------------------------------------

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Update the validation measures."""
        self._measure(self.validation_measures, Batch(*batch))

    def test_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Update the test measures."""
        example = Batch(*batch)
        self._measure(self.test_measures, example)
        self._decode(example, self.trainer.global_rank + self.trainer.world_size * batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the validation measures."""
        self._log_measures("validation", self.validation_measures)

    def on_test_epoch_end(self) -> None:
        """Log the test measures."""
        self._log_measures("test", self.test_measures)
        self._log_measures("test", self.decoded)

    def _decode(self, batch: Batch, number: int) -> None:
        """Decode equations from the prior mean greedily and, for the first samples of the test, by beam search.

        Args:
            batch: batch of the test.
            number: number of the batch among those of all ranks, which take turns.
        """
        network = self.average
        data = network.encode(point_features(batch.inputs, batch.target, batch.present))
        mean = network.prior(data).mean
        wanted = nn.functional.pad(batch.ids, (0, network.longest + 2 - batch.ids.shape[1]))
        greedy = network.decode(mean, batch.present)
        self.decoded.update_greedy(greedy, wanted, network.allowed(greedy[:, :-1], batch.present))
        rows = slice(0, max(0, BEAM_SAMPLES - number * len(wanted)))
        if len(wanted[rows]):
            beams, _ = network.beam(mean[rows], batch.present[rows], BEAMS)
            self.decoded.update_beam(beams, wanted[rows])

    def _measure(self, measure: EquationMeasures, batch: Batch) -> None:
        network = self.average
        data = network.encode(point_features(batch.inputs, batch.target, batch.present))
        prior, posterior = network.prior(data), network.posterior(data, batch.ids)
        scores = network.scores(prior.mean, batch.ids, batch.present)
        others = network.scores(posterior.mean, batch.ids, batch.present)
        measure.update(scores, others, batch.ids, divergence(posterior, prior))

    def _log_measures(self, stage: str, measure: Metric) -> None:
        for name, value in measure.compute().items():  # the same on all ranks
            self.log(f"{stage}/{name}", value.float(), sync_dist=True)
        measure.reset()


class EquationMeasures(Metric):
    """Accuracy of the predicted equations over a whole data set and all ranks.

    Args:
        latents: number of latent dimensions.
    """

    full_state_update = False
    counts: Tensor
    kl: Tensor

    def __init__(self, latents: int) -> None:
        super().__init__()
        # rows, tokens, nats from the prior, nats from the posterior, right tokens, right equations
        self.add_state("counts", torch.zeros(6, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("kl", torch.zeros(latents, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prior_scores: Tensor, posterior_scores: Tensor, ids: Tensor, kl: Tensor) -> None:
        """Add a batch.

        Args:
            prior_scores: scores of the id after each id, from the prior mean. `[batch, T - 1, size]`
            posterior_scores: scores of the id after each id, from the posterior mean. `[batch, T - 1, size]`
            ids: equations with start and end, padded with 0. `[batch, T]`
            kl: KL divergence of every latent, nats. `[batch, latents]`
        """
        prior_nats, counted = token_losses(prior_scores, ids)
        posterior_nats, _ = token_losses(posterior_scores, ids)
        right = (prior_scores.argmax(dim=-1) == ids[:, 1:]) & counted
        whole = (right | ~counted).all(dim=1)
        parts = (counted, prior_nats, posterior_nats, right, whole)
        rows = torch.tensor(len(ids), dtype=torch.float64, device=self.counts.device)
        self.counts += torch.stack([rows, *(part.double().sum() for part in parts)])
        self.kl += kl.double().sum(dim=0)

    def compute(self) -> dict[str, Tensor]:
        """The measures, by name."""
        rows, tokens, prior, posterior, right, whole = self.counts
        kl = self.kl / rows
        return {
            "prior_cross_entropy": prior / tokens,
            "posterior_cross_entropy": posterior / tokens,
            "kl": kl.sum(),
            "active_units": (kl > ACTIVE_NATS).sum(),
            "token_accuracy": right / tokens,
            "expression_accuracy": whole / rows,
        }


class DecodedMeasures(Metric):
    """Validity and exactness of the decoded equations over a whole data set and all ranks."""

    full_state_update = False
    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        # written greedily, of these complete, and right; written by beam search, of these right
        self.add_state("counts", torch.zeros(5, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, *counts: Tensor) -> None:
        """Add counts."""
        self.counts += torch.stack([count.double() for count in counts])

    def update_greedy(self, ids: Tensor, wanted: Tensor, allowed: Tensor) -> None:
        """Add equations that were decoded greedily.

        Args:
            ids: decoded equations. `[batch, T]`
            wanted: true equations. `[batch, T]`
            allowed: ids that the grammar allows after each id but the last. `[batch, T - 1, size]` bool
        """
        follows = allowed.gather(2, ids[:, 1:, None])[..., 0].all(dim=1)
        complete = follows & (ids == Vocabulary.end).any(dim=1)
        right = (ids == wanted).all(dim=1)
        rows, none = torch.tensor(len(ids), device=ids.device), torch.tensor(0, device=ids.device)
        self.update(rows, complete.sum(), right.sum(), none, none)

    def update_beam(self, beams: Tensor, wanted: Tensor) -> None:
        """Add the beams of a beam search, `[batch, beams, T]`, and the true equations, `[batch, T]`."""
        right = (beams == wanted[:, None]).all(dim=2).any(dim=1)
        rows, none = torch.tensor(len(beams), device=beams.device), torch.tensor(0, device=beams.device)
        self.update(none, none, none, rows, right.sum())

    def compute(self) -> dict[str, Tensor]:
        """The measures, by name."""
        rows, complete, greedy, searched, beam = self.counts
        return {
            "validity": complete / rows,
            "exact_skeleton_greedy": greedy / rows,
            "exact_skeleton_beam": beam / searched,
        }

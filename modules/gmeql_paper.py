"""System 2 as published: the Gumbel-max equation learner (GMEQL) of Algorithm 1, with its repository of elites.

Source: G. Chen, "Learning Symbolic Expressions via Gumbel-Max Equation Learner Networks", arXiv 2012.06921v2,
    Algorithm 1. The paper leaves some points open, which this module decides as follows:

- "Initialise" draws z ~ N(0, 0.5) and w ~ N(1, 0.02) (standard deviations, as its public code has them) and
  resets Adam's moments. The repository stays: nothing else passes from one round of stage 1 to the next, and to
  stage 2.
- Stage 1 trains z alone, and has no offline training.
- A new instance copies the sampled choices V of an elite, not only the largest ones. A fixed number of its
  connections is drawn afresh: 20 %, rounded, at least one. While a repository is empty, all are drawn afresh.
- The instances for offline training are drawn from the repository evenly, with replacement.
- The two gradients for z, that of the loss and that of eq. (7), have unrelated units, so each has its own Adam
  moments. z is the sum of two parameters, one for each gradient, so that one optimiser step applies both
  gradients at the same z.
- The loss of an iteration is the mean of eq. (1) over its instances. An elite keeps the error with which it
  entered the repository, as published, and here also a copy of the weights that it had then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from expressions.equation_learner.architecture import Architecture
from expressions.goodness_of_fit import nmse
from foundation.errors import UserError
from modules.networks.gumbel_max.choices import (
    distance_gradient,
    likelihood_gradient,
    relaxed,
    selected,
    soft_gradient,
)
from modules.networks.gumbel_max.draws import Draw, Draws
from modules.networks.gumbel_max.instance_repository import InstanceRepository
from modules.networks.gumbel_max.network import GumbelMaxNetwork, Measured
from modules.networks.ranks import gathered_rows, of_all_ranks
from modules.settings.gmeql import GMEQLPaperSettings

__all__ = ["GMEQLPaper"]


class GMEQLPaper(LightningModule):
    """R restarts of Algorithm 1 side by side, each with its own logits, weights and repository.

    A training step is one iteration of all restarts: each measures `instances` new instances on the whole table.
    `setup` asks the datamodule for epochs of `epoch_iterations` passes over the table.
    `callbacks.elite_repository.EliteRepository` adds the repository; without it all instances are fresh samples,
    and none is kept. The number of epochs determines the length of stage 2.

    At the end of every epoch the module logs `fit/stage` and `fit/entropy_1`, … (mean entropy of the choices of
    each layer's connections, as a share of the largest possible; the last one is the output's). `test/nrmse` is
    the error of the best elite of all restarts with its choices made hard, `test/soft_nrmse` the error of the same
    elite as it was sampled.

    Args:
        in_features: number of input columns.
        **options: settings by name, see `modules.settings.gmeql.GMEQLPaperSettings`.

    Raises:
        UserError: a setting is unknown, its value is not allowed, or the layers form no network.
    """

    def __init__(self, in_features: int, **options: Any) -> None:
        super().__init__()
        settings = GMEQLPaperSettings.of(options)
        self.save_hyperparameters({"in_features": in_features, **settings.as_mapping()})
        self.settings = settings
        self.automatic_optimization = False  # gradients are written by hand
        self.restarts, self.instances = settings.restarts, settings.instances
        self.temperature, self.sampling = settings.temperature, settings.sampling
        self.architecture = Architecture(settings.layers, in_features, settings.constant)
        self.network = GumbelMaxNetwork(self.architecture)
        self.elites: InstanceRepository | None = None
        """Repository with the fields `elite_fields`; the callback that adds it sets this attribute."""
        self._make_tensors()
        self._iteration, self._stage = 0, 0
        self._draws: Draws | None = None
        self._table: _Table | None = None
        self._tested: list[tuple[Tensor, Tensor, Tensor]] = []

    def _make_tensors(self) -> None:
        choices = (self.restarts, *self.network.barrier.shape)
        self.online_logits = nn.Parameter(torch.zeros(choices))
        self.offline_logits = nn.Parameter(torch.zeros(choices))
        self.weights = nn.Parameter(torch.ones(self.restarts, self.architecture.weights))
        self.stage: Tensor
        self.iterations: Tensor  # number of iterations at the end of the last epoch
        self.seed: Tensor  # random seed for every draw
        self.best_choices: Tensor  # log V, weights and error of every restart's best elite, to predict with
        self.best_weights: Tensor
        self.best_errors: Tensor
        self.register_buffer("stage", torch.zeros((), dtype=torch.int64))
        self.register_buffer("iterations", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seed", torch.randint(2**31, ()))
        self.register_buffer("best_choices", torch.zeros(choices))
        self.register_buffer("best_weights", torch.ones(self.restarts, self.architecture.weights))
        self.register_buffer("best_errors", torch.full((self.restarts,), torch.inf))

    @staticmethod
    def data_arguments(datamodule: Any) -> dict[str, int]:
        """Constructor arguments that the data determine, from a datamodule that is set up.

        Raises:
            UserError: the data has no target.
        """
        if datamodule.target_name is None:
            raise UserError("an equation learner needs data with a target: name one, data.target=COLUMN")
        return {"in_features": len(datamodule.feature_names)}

    @property
    def elite_fields(self) -> dict[str, tuple[int, ...]]:
        """Shapes of an elite's fields: log V of its choices, and the weights with which it was measured."""
        return {"choices": tuple(self.network.barrier.shape), "weights": (self.architecture.weights,)}

    @property
    def iteration(self) -> int:
        """Number of iterations that are done."""
        return self._iteration

    @property
    def logits(self) -> Tensor:
        """z, -inf where there is no source. `[R, C, choices]`"""
        return self.online_logits.detach() + self.offline_logits.detach() + self.network.barrier

    def forward(self, inputs: Tensor, hard: bool = True) -> Tensor:
        """Predictions of the best elite of every restart.

        Args:
            inputs: input columns. `[rows, features]`
            hard: whether the elite's choices are made hard, as in an equation; otherwise they are as sampled.

        Returns:
            Predictions. `[R, rows]`
        """
        network = self.network.to(self.device)
        selection = selected(self.best_choices, "hard" if hard else self.sampling)
        return network.forward(selection, self.best_weights, network.columns(inputs))

    # --- Algorithm 1 ----------------------------------------------------------------------------------------

    @torch.no_grad()
    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """One iteration of Algorithm 1, for all restarts."""
        if self._round_begins():
            self._initialise()
        table, draw = self._prepared(batch), self._next_draw()
        proposal = self.propose(draw)
        measured = self.measure(proposal, table)
        self.store(proposal, measured)
        self.update(proposal, measured, draw)
        self._iteration += 1

    def _round_begins(self) -> bool:
        """Whether the next iteration is the first one of a round of stage 1, or of stage 2."""
        if self.settings.stage1_rounds == 0:
            return self._iteration == 0
        rounds, into_round = divmod(self._iteration, self.settings.stage1_iterations)
        return into_round == 0 and rounds <= self.settings.stage1_rounds

    def _initialise(self) -> None:
        """Draw new z and w, the same ones on every rank, and reset Adam's moments."""
        self._stage = 1 if self._iteration < self.settings.stage1_rounds * self.settings.stage1_iterations else 2
        self.stage.fill_(self._stage)
        sequence = np.random.SeedSequence([int(self.seed), self._iteration])
        generator = torch.Generator().manual_seed(int(sequence.generate_state(1)[0]))
        z = torch.randn(self.online_logits.shape, generator=generator) * self.settings.logit_std
        w = 1.0 + torch.randn(self.weights.shape, generator=generator) * self.settings.weight_std
        self.online_logits.copy_(z)
        self.offline_logits.zero_()
        self.weights.copy_(w)
        optimizer: Any = self.optimizers()
        optimizer.optimizer.state.clear()

    def propose(self, draw: Draw) -> _Proposal:
        """New instances: copies of elites with a few connections drawn afresh, or fresh samples."""
        fresh = relaxed(self.logits.flatten(0, 1).index_select(0, draw.owners), draw.noise, self.temperature)
        if draw.parents is None or self.elites is None:
            choices = fresh
        else:
            parents = self.elites.by_power_law(draw.parents)
            choices = self.elites.take("choices", parents).flatten(0, 1)
            choices.index_copy_(0, draw.places, fresh)
        choices = choices.view(-1, *self.network.barrier.shape)
        return _Proposal(choices, selected(choices, self.sampling), fresh)

    def measure(self, proposal: _Proposal, table: _Table) -> Measured:
        """Errors and gradients of instances with their restart's weights."""
        weights = self.weights[:, None].expand(-1, self.instances, -1).flatten(0, 1)
        return self.network.measure(proposal.selection, weights, table.columns, table.target)

    def store(self, proposal: _Proposal, measured: Measured) -> None:
        """Offer the new instances of all ranks to the repository."""
        if self.elites is None:
            return
        errors = self._of_all_ranks(measured.errors).cpu().numpy()
        better = errors < self.elites.worst()[:, None]
        if not better.any():
            return
        # Keys are the costliest part, so only instances that would enter the repository get one.
        restart, number = np.nonzero(better)
        owner = torch.from_numpy(restart).to(self.device)
        chosen = self._of_all_ranks(proposal.choices)[owner, torch.from_numpy(number).to(self.device)]
        keys = self.architecture.keys(chosen.argmax(dim=-1).cpu().numpy())
        self.elites.add(restart, errors[better], keys, {"choices": chosen, "weights": self.weights[owner]})

    def update(self, proposal: _Proposal, measured: Measured, draw: Draw) -> None:
        """One step of Adam: z by the loss and, in stage 2, by the elites; w in stage 2."""
        gradients: dict[nn.Parameter, Tensor] = {}
        if self.sampling != "hard":
            gradients[self.online_logits] = self._online_gradient(proposal, measured, draw)
        if self._stage == 2:
            by_restart = measured.weight_gradient.view(self.restarts, self.instances, -1)
            gradients[self.weights] = by_restart.mean(dim=1)
            if self.settings.offline_gradient != "none" and self.elites is not None and self.elites.counts.all():
                gradients[self.offline_logits] = self._offline_gradient(self.elites, draw)
        self._average(list(gradients.values()))
        for parameter in (self.online_logits, self.offline_logits, self.weights):
            parameter.grad = gradients.get(parameter)  # a parameter without one is left as it is
        optimizer: Any = self.optimizers()
        optimizer.step()

    def _online_gradient(self, proposal: _Proposal, measured: Measured, draw: Draw) -> Tensor:
        """Gradient of the mean error for z, through the connections that were drawn afresh. `[R, C, choices]`"""
        for_choices = measured.selection_gradient.flatten(0, 1).index_select(0, draw.places)
        own = soft_gradient(proposal.fresh, for_choices, self.temperature)
        total = torch.zeros_like(self.online_logits)
        total.flatten(0, 1).index_add_(0, draw.owners, own)
        return total.div_(self.instances)

    def _offline_gradient(self, elites: InstanceRepository, draw: Draw) -> Tensor:
        """Gradient for z whose descent makes the elites more likely. `[R, C, choices]`"""
        choices = elites.take("choices", elites.evenly(draw.recalled))
        choices = choices.view(self.restarts, -1, *self.network.barrier.shape)
        logits = self.logits[:, None]
        if self.settings.offline_gradient == "eq11":
            return distance_gradient(logits, choices, self.temperature).mean(dim=1)
        return likelihood_gradient(logits, choices, self.temperature).mean(dim=1).neg_()

    def _prepared(self, batch: tuple[Tensor, ...]) -> _Table:
        if self._table is None or self._table.inputs is not batch[0]:  # the same table every time
            self._table = _Table(batch[0], self.network.columns(batch[0]), batch[1].reshape(-1))
        return self._table

    def _next_draw(self) -> Draw:
        if self._draws is None:
            raise RuntimeError("on_train_epoch_start has not been called")
        draw = self._draws.next()
        if draw.parents is not None and (self.elites is None or not self.elites.counts.all()):
            draw = self._draws.everywhere(draw)  # there is nothing to copy yet
        return draw

    # --- several processes ----------------------------------------------------------------------------------

    def _of_all_ranks(self, values: Tensor) -> Tensor:
        """Instances of all ranks, grouped by restart. `[R * p, ...] -> [R, ranks * p, ...]`"""
        values = values.view(self.restarts, self.instances, *values.shape[1:])
        parts = of_all_ranks(values)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _average(self, gradients: Sequence[Tensor]) -> None:
        """Replace gradients by their mean over the ranks."""
        if self.trainer.world_size == 1 or not gradients:
            return
        total = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(total)
        total.div_(self.trainer.world_size)
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, mean in zip(gradients, total.split(sizes), strict=True):
            gradient.copy_(mean.view(gradient.shape))

    # --- Lightning ------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Ask the datamodule for epochs of the whole table."""
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and hasattr(datamodule, "repeat_table"):
            datamodule.repeat_table(self.settings.epoch_iterations)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser, at constant learning rates."""
        return self.optimizer()

    def optimizer(self) -> torch.optim.Optimizer:
        """One Adam, whose groups differ in their learning rates."""
        groups = [
            {"params": [self.online_logits, self.offline_logits], "lr": self.settings.learning_rate},
            {"params": [self.weights], "lr": self.settings.weight_learning_rate},
        ]
        return torch.optim.Adam(groups, fused=self.device.type in ("cpu", "cuda"))

    def on_fit_start(self) -> None:
        """Continue from the checkpoint's iteration."""
        self.network = self.network.to(self.device)
        self._iteration, self._stage = int(self.iterations), int(self.stage)

    def on_train_epoch_start(self) -> None:
        """Give the epoch random generators of its own: a resumed run repeats no draw, and ranks differ."""
        settings = self.settings
        self._draws = Draws(
            np.random.SeedSequence([int(self.seed), self.current_epoch, self.global_rank]),
            self.network,
            self.restarts,
            self.instances,
            resampled=max(1, round(settings.resampled * self.architecture.connections)),
            recalled=settings.offline_instances,
        )

    def on_train_epoch_end(self) -> None:
        """Store what a checkpoint needs, and log the stage and the entropies."""
        self.iterations.fill_(self._iteration)
        if self.elites is not None:
            self.best_choices.copy_(self.elites.best("choices"))
            self.best_weights.copy_(self.elites.best("weights"))
            self.best_errors.copy_(torch.from_numpy(self.elites.lowest))
        self.log("fit/stage", float(self._stage), sync_dist=True)
        for name, entropy in self.entropies().items():
            self.log(f"fit/{name}", entropy, sync_dist=True)

    def entropies(self) -> dict[str, float]:
        """Mean entropy of the choices of every layer's connections, between 0 and 1."""
        chances = torch.log_softmax(self.logits, dim=-1)
        entropies = torch.special.entr(chances.exp()).sum(dim=-1)  # [R, C]
        shares = entropies / torch.from_numpy(np.log(np.maximum(self.architecture.choices, 2))).to(entropies)
        return {
            f"entropy_{number}": float(shares[:, layer.first_connection :][:, : layer.connections].mean())
            for number, layer in enumerate(self.architecture.layers, 1)
            if layer.connections
        }

    def test_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Predict with the best elite of all restarts."""
        best = int(self.best_errors.argmin())
        self._tested.append((batch[1].reshape(-1), self(batch[0])[best], self(batch[0], hard=False)[best]))

    def on_test_epoch_end(self) -> None:
        """Log the test errors."""
        tested = (gathered_rows(torch.cat(part)) for part in zip(*self._tested, strict=True))
        target, hard, soft = (part.double().numpy() for part in tested)
        self._tested = []
        self.log("test/nrmse", float(np.sqrt(nmse(target, hard))), sync_dist=True)
        self.log("test/soft_nrmse", float(np.sqrt(nmse(target, soft))), sync_dist=True)


@dataclass(frozen=True)
class _Table:
    """The training table as the network needs it.

    Attributes:
        inputs: input columns as the loader gives them. `[rows, features]`
        columns: sources of the first layer. `[sources, rows]`
        target: target column. `[rows]`
    """

    inputs: Tensor
    columns: Tensor
    target: Tensor


@dataclass(frozen=True)
class _Proposal:
    """New instances of all restarts.

    Attributes:
        choices: log V. `[R * p, C, choices]`
        selection: share of each source that the network uses. `[R * p, C, choices]`
        fresh: log V of the connections that were drawn afresh, in the order of the draw. `[fresh, choices]`
    """

    choices: Tensor
    selection: Tensor
    fresh: Tensor

"""System 2 with our changes: a Gumbel-max equation learner whose samples are hard structures.

Source: G. Chen, "Learning Symbolic Expressions via Gumbel-Max Equation Learner Networks", arXiv 2012.06921v2.

`modules.gmeql_paper` is the paper's algorithm. Measurements of it showed two faults. Soft mixtures fit data that
no equation fits: an instance with error 0.017 had error 16.7 after its choices were made hard. And a vector of
weights that many structures share pulls all of them, the right one included, to the mean of the target. So here
every sample is one-hot (the Gumbel-max trick proper, the limit of eq. 2 for temperature 0) and no weights are
shared: the constants of a structure's skeleton are fitted for it alone (`searches.common.skeleton_fitting`). The
logits learn from the best structures by the gradient of their log likelihood (the hard form of eq. 7).

What is proposed and what becomes of it is `searches.structures`. In a fit, `callbacks.structure_search` runs that
search, and a training step's batch is a sample of its elites. Without a Trainer, the model is a proposer as it is:

    model = GMEQL(in_features=2, layers=DEFAULT_LAYERS)
    search(inputs, target, seed=0, space=model.space, proposer=model)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from expressions.equation_learner.architecture import Architecture
from expressions.equation_learner.structure_space import StructureSpace
from expressions.evaluation import evaluate_torch
from expressions.expression import Expression
from expressions.goodness_of_fit import nmse
from expressions.numbering import plain, restored
from foundation.errors import UserError
from modules.networks.ranks import gathered_rows
from modules.settings.gmeql import GMEQLSettings

__all__ = ["GMEQL", "Elites"]

Elites = tuple[Tensor, Tensor]
"""Structures `[elites, places]`, and a mask of the places that their skeletons depend on, `[elites, places]`."""


class GMEQL(LightningModule):
    """Logits of the choices of a Gumbel-max network, learned from hard structures.

    The places of a structure are the network's connections, followed by the gates of its sums
    (`expressions.equation_learner.structure_space`). A training step's batch is a sample of `elites`, not rows
    of the table; where there is no search, or no elite yet, it is empty and changes nothing.

    At the end of an epoch the module logs `fit/entropy_1`, …, the mean entropy of each layer's connections as a
    share of the largest possible (the last one is the output's), and `fit/loss`, the negative log likelihood of
    a choice of an elite. `test/nrmse` is the error of the best equation, which the search stores in `equation`.

    Args:
        in_features: number of input columns.
        **options: settings by name, see `modules.settings.gmeql.GMEQLSettings`.

    Raises:
        UserError: a setting is unknown, its value is not allowed, or the layers form no network.
    """

    def __init__(self, in_features: int, **options: Any) -> None:
        super().__init__()
        settings = GMEQLSettings.of(options)
        self.save_hyperparameters({"in_features": in_features, **settings.as_mapping()})
        self.settings = settings
        self.space = StructureSpace(Architecture(settings.layers, in_features, settings.constant))
        choices = torch.from_numpy(self.space.choices)
        self.logits = nn.Parameter(torch.zeros(len(choices), int(choices.max())))
        self.barrier: Tensor
        excluded = torch.arange(self.logits.shape[1]) >= choices[:, None]
        self.register_buffer(
            "barrier", torch.zeros(excluded.shape).masked_fill_(excluded, -torch.inf), persistent=False
        )
        self.equation: Expression | None = None
        self.elites: Callable[[], Elites] | None = None
        """Source of a sample of elites for every training step; a search sets it."""
        self._losses: list[Tensor] = []
        self._tested: list[tuple[Tensor, Tensor]] = []

    @staticmethod
    def data_arguments(datamodule: Any) -> dict[str, int]:
        """Constructor arguments that the data determine, from a datamodule that is set up."""
        if datamodule.target_name is None:
            raise UserError("an equation learner needs data with a target: name one, data.target=…")
        return {"in_features": len(datamodule.feature_names)}

    # --- a proposer of structures ---------------------------------------------------------------------------

    @torch.no_grad()
    def begin(self, rng: np.random.Generator) -> None:
        """Draw new logits: the search begins anew."""
        drawn = rng.normal(0.0, self.settings.logit_std, self.logits.shape)
        drawn[self.space.is_gate, 1] += self.settings.gate_logit
        self.logits.copy_(torch.from_numpy(drawn))

    @torch.no_grad()
    def propose(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Hard structures from the logits alone, by the Gumbel-max trick. `[count, places]`"""
        arrivals = rng.standard_exponential((count, *self.logits.shape), dtype=np.float32)
        noise = -np.log(np.maximum(arrivals, 1e-30))
        return np.asarray(np.argmax((self.logits + self.barrier).cpu().numpy() + noise, axis=-1))

    def learn(self, structures: np.ndarray, used: np.ndarray) -> None:
        """One training step without a Trainer.

        Args:
            structures: choices of the elites. `[elites, places]`
            used: mask of the places that their skeletons depend on. `[elites, places]` bool
        """
        elites = (torch.from_numpy(part).to(self.device) for part in (structures.astype(np.int64), used))
        (gradient,) = torch.autograd.grad(self.loss(*elites), self.logits)
        with torch.no_grad():
            self.logits.sub_(self.settings.learning_rate * gradient)

    @property
    def memory(self) -> np.ndarray:
        """The logits. `[places, choices]`"""
        return self.logits.detach().cpu().numpy()

    @memory.setter
    def memory(self, memory: np.ndarray) -> None:
        """Restore the logits. `[places, choices]`"""
        with torch.no_grad():
            self.logits.copy_(torch.from_numpy(memory))

    def loss(self, structures: Tensor, used: Tensor) -> Tensor:
        """Negative log likelihood of the choices (eq. 7 for one-hot choices), summed over places, mean of elites.

        Args:
            structures: choices of the elites; 0 where there are none. `[elites, places]`
            used: mask of the places that count. `[elites, places]`
        """
        loss: Tensor = -(self.log_likelihood(structures) * used).sum() / max(1, len(structures))
        return loss

    def log_likelihood(self, structures: Tensor) -> Tensor:
        """Log probability of every choice. `[elites, places] -> [elites, places]`"""
        logs = torch.log_softmax(self.logits + self.barrier, dim=-1)
        return logs[torch.arange(len(logs), device=logs.device), structures]

    def entropies(self) -> list[float]:
        """Mean entropy of every layer's connections, between 0 and 1."""
        logs = torch.log_softmax(self.logits.detach() + self.barrier, dim=-1)
        entropy = -(logs.exp() * logs.clamp(min=-1e30)).sum(dim=-1)
        parts = []
        for layer in self.space.architecture.layers:
            own = entropy[layer.first_connection : layer.first_connection + layer.connections]
            if layer.connections and layer.sources > 1:
                parts.append(float(own.mean()) / float(np.log(layer.sources)))
        return parts

    # --- Lightning ------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Have the fit train on elites, and the rows of a table come in double precision.

        Raises:
            UserError: the data module cannot give its place to them.
        """
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        if hasattr(datamodule, "serve_double"):
            datamodule.serve_double()  # equations are computed in it: a date of ten digits needs all of them
        if stage != "fit":
            return
        if not hasattr(datamodule, "train_on"):
            raise UserError("model=gmeql learns from elites: its data must be a table, such as data=tabular")
        datamodule.train_on(self.train_dataloader)

    def train_dataloader(self) -> DataLoader[Elites]:
        """A sample of elites for every step of an epoch, drawn when the step begins."""
        return DataLoader(_Samples(self, self.settings.epoch_steps), batch_size=None)

    def sample_elites(self) -> Elites:
        """A sample of elites, which is empty without a search."""
        if self.elites is not None:
            return self.elites()
        nothing = torch.zeros(0, len(self.logits), dtype=torch.long)
        return nothing, nothing.bool()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser, at a constant learning rate."""
        return self.optimizer()

    def optimizer(self) -> torch.optim.Optimizer:
        """Plain gradient descent: Adam would move a choice that is seldom seen as far as a frequent one."""
        return torch.optim.SGD(self.parameters(), lr=self.settings.learning_rate)

    def training_step(self, batch: Elites, batch_idx: int) -> Tensor:
        """Loss of a sample of elites; see `loss`."""
        structures, used = batch
        loss = self.loss(structures, used)
        if len(structures):
            self._losses.append(loss.detach() / used.sum() * len(structures))
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the loss and the entropies."""
        if self._losses:
            self.log("fit/loss", torch.stack(self._losses).mean(), sync_dist=True)
        self._losses = []
        for number, entropy in enumerate(self.entropies(), 1):
            self.log(f"fit/entropy_{number}", entropy, sync_dist=True)

    def forward(self, inputs: Tensor) -> Tensor:
        """Predictions of the best equation. `[rows, features] -> [rows]`"""
        if self.equation is None:
            raise UserError("there is no equation yet: fit with callbacks.structure_search.StructureSearch")
        return evaluate_torch([self.equation], inputs.double())[0]

    def test_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Keep the predictions and targets of the batch until the end of the epoch."""
        if self.equation is not None:
            self._tested.append((self(batch[0]).cpu(), batch[1].double().cpu()))

    def on_test_epoch_end(self) -> None:
        """Log the error of the best equation."""
        if self._tested:
            values, target = (gathered_rows(torch.cat(parts)).numpy() for parts in zip(*self._tested, strict=True))
            self.log("test/nrmse", float(np.sqrt(nmse(target, values))), sync_dist=True)
        self._tested = []

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the best equation beside the logits."""
        if self.equation is not None:
            checkpoint["equation"] = plain(self.equation)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the best equation.

        Raises:
            UserError: the checkpoint does not name the equation's operators, or this version lacks one of them.
        """
        if "equation" in checkpoint:
            self.equation = restored(checkpoint["equation"], "the checkpoint's equation", "fit again")


class _Samples(Dataset[Elites]):
    """As many samples of elites as an epoch has steps; each is drawn when it is asked for."""

    def __init__(self, model: GMEQL, steps: int) -> None:
        self.model, self.steps = model, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Elites:
        if step >= self.steps:
            raise IndexError(step)
        return self.model.sample_elites()

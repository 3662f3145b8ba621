"""System 2 with our changes: a Gumbel-max equation learner whose samples are hard structures.

Source: G. Chen, "Learning Symbolic Expressions via Gumbel-Max Equation Learner Networks", arXiv 2012.06921v2.

`modules.gmeql_paper` is the paper's algorithm. Measurements of it showed two faults. Soft mixtures fit data that
no equation fits: an instance with error 0.017 had error 16.7 after its choices were made hard. And a vector of
weights that many structures share pulls all of them, the right one included, to the mean of the target. So here
every sample is one-hot (the Gumbel-max trick proper, the limit of eq. 2 for temperature 0) and no weights are
shared: the constants of a structure's skeleton are fitted for it alone (`searches.common.skeleton_fitting`). The
logits learn from the best structures by the gradient of their log likelihood (the hard form of eq. 7).

The search itself is `callbacks.structure_search.StructureSearch`: it proposes, fits and keeps structures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from expressions.evaluation import evaluate_torch
from expressions.expression import Expression
from expressions.goodness_of_fit import nmse
from expressions.numbering import plain, restored
from foundation.errors import UserError
from modules.networks.gumbel_max.architecture import Architecture
from modules.networks.gumbel_max.skeletons import Skeletons
from modules.settings.gmeql import GMEQLSettings

__all__ = ["GMEQL"]


class GMEQL(LightningModule):
    """Logits of the choices of a Gumbel-max network, learned from hard structures.

    The places of a structure are the network's connections, followed by the gates of its sums
    (`modules.networks.gumbel_max.skeletons`). At the end of an epoch the module logs `fit/entropy_1`, …, the mean
    entropy of each layer's connections as a share of the largest possible (the last one is the output's), and
    `fit/loss`, the negative log likelihood of a choice of an elite. `test/nrmse` is the error of the best
    equation, which the search stores in `equation`.

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
        self.skeletons = Skeletons(Architecture(settings.layers, in_features, settings.constant))
        choices = torch.from_numpy(self.skeletons.choices)
        self.logits = nn.Parameter(torch.zeros(len(choices), int(choices.max())))
        self.barrier: Tensor
        excluded = torch.arange(self.logits.shape[1]) >= choices[:, None]
        self.register_buffer(
            "barrier", torch.zeros(excluded.shape).masked_fill_(excluded, -torch.inf), persistent=False
        )
        self.equation: Expression | None = None
        self.examples: tuple[Tensor, Tensor] | None = None
        """Structures `[examples, places]` that the next step learns from, and which of their places count."""
        self._losses: list[Tensor] = []
        self._tested: list[tuple[Tensor, Tensor]] = []

    @staticmethod
    def data_arguments(datamodule: Any) -> dict[str, int]:
        """Constructor arguments that the data determine, from a datamodule that is set up."""
        if datamodule.target_name is None:
            raise UserError("an equation learner needs data with a target: name one, data.target=…")
        return {"in_features": len(datamodule.feature_names)}

    # --- structures -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def initialise(self, rng: np.random.Generator) -> None:
        """Draw new logits."""
        drawn = rng.normal(0.0, self.settings.logit_std, self.logits.shape)
        drawn[self.skeletons.is_gate, 1] += self.settings.gate_logit
        self.logits.copy_(torch.from_numpy(drawn))

    @torch.no_grad()
    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Hard structures from the logits alone, by the Gumbel-max trick. `[count, places]`"""
        arrivals = rng.standard_exponential((count, *self.logits.shape), dtype=np.float32)
        noise = -np.log(np.maximum(arrivals, 1e-30))
        return np.asarray(np.argmax((self.logits + self.barrier).cpu().numpy() + noise, axis=-1))

    def log_likelihood(self, structures: Tensor) -> Tensor:
        """Log probability of every choice. `[examples, places] -> [examples, places]`"""
        logs = torch.log_softmax(self.logits + self.barrier, dim=-1)
        return logs[torch.arange(len(logs), device=logs.device), structures]

    def entropies(self) -> list[float]:
        """Mean entropy of every layer's connections, between 0 and 1."""
        logs = torch.log_softmax(self.logits.detach() + self.barrier, dim=-1)
        entropy = -(logs.exp() * logs.clamp(min=-1e30)).sum(dim=-1)
        parts = []
        for layer in self.skeletons.architecture.layers:
            own = entropy[layer.first_connection : layer.first_connection + layer.connections]
            if layer.connections and layer.sources > 1:
                parts.append(float(own.mean()) / float(np.log(layer.sources)))
        return parts

    # --- Lightning ------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Ask the datamodule for epochs of `epoch_steps` steps."""
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and hasattr(datamodule, "repeat_table"):
            datamodule.repeat_table(self.settings.epoch_steps)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain gradient descent: Adam would move a choice that is seldom seen as far as a frequent one."""
        return torch.optim.SGD(self.parameters(), lr=self.settings.learning_rate)

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Negative log likelihood of the examples' choices (eq. 7 for one-hot choices), summed over places."""
        if self.examples is None:
            return 0.0 * self.logits.sum()
        structures, counts = self.examples
        loss: Tensor = -(self.log_likelihood(structures) * counts).sum() / len(structures)
        self._losses.append(loss.detach() / counts.sum() * len(structures))
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
            values, target = (torch.cat(parts).numpy() for parts in zip(*self._tested, strict=True))
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

"""System 2 as we run it: a Gumbel-max equation learner whose samples are hard structures.

Source: G. Chen, "Learning Symbolic Expressions via Gumbel-Max Equation Learner Networks", arXiv 2012.06921v2.

`modules.gmeql_paper` is the paper's algorithm. Measured on it: soft mixtures are good at what no equation can do
(an instance with error 0.017 had 16.7 once its choices were made hard), and one shared vector of weights pulls
the structures that share it to the mean of the target, the right one among them. So here every sample is one-hot
(the Gumbel-max trick proper, the limit of eq. 2 for temperature 0), no weights are shared: a structure stands
for its skeleton, whose constants are fitted for it alone (`searches.common.skeleton_fitting`), and the logits
learn from the structures that were found to be good, by the gradient of their log likelihood (the hard form of
eq. 7).

The search itself, what is proposed and what becomes of it, is `callbacks.structure_search.StructureSearch`.
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

    Places are the network's connections and, behind them, the gates of its sums
    (`modules.networks.gumbel_max.skeletons`). Logged at the end of an epoch: `fit/entropy_1`, … the mean entropy
    of each layer's connections as a share of the largest possible, the last for the output; `fit/loss`, the
    negative log likelihood of a choice of an elite. `test/nrmse` is the error of the best equation, which the
    search gives to `equation`.

    Args:
        in_features: number of input columns.
        **options: settings by name, see `modules.settings.gmeql.GMEQLSettings`.

    Raises:
        UserError: a setting is unknown or its value not allowed, or the layers are no network.
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
        """What of the constructor is the data's to say, from a datamodule that is set up."""
        if datamodule.target_name is None:
            raise UserError("an equation learner needs data with a target: name one, data.target=…")
        return {"in_features": len(datamodule.feature_names)}

    # --- structures -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def initialise(self, rng: np.random.Generator) -> None:
        """New logits."""
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
        """Ask the datamodule for epochs of so many steps."""
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and hasattr(datamodule, "repeat_table"):
            datamodule.repeat_table(self.settings.epoch_steps)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain gradient steps: Adam would give a choice that is hardly ever seen the same step as any other."""
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
        """Log what is cheap to know."""
        if self._losses:
            self.log("fit/loss", torch.stack(self._losses).mean(), sync_dist=True)
        self._losses = []
        for number, entropy in enumerate(self.entropies(), 1):
            self.log(f"fit/entropy_{number}", entropy, sync_dist=True)

    def forward(self, inputs: Tensor) -> Tensor:
        """What the best equation predicts. `[rows, features] -> [rows]`"""
        if self.equation is None:
            raise UserError("there is no equation yet: fit with callbacks.structure_search.StructureSearch")
        return evaluate_torch([self.equation], inputs.double())[0]

    def test_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Keep the rows until all are there."""
        if self.equation is not None:
            self._tested.append((self(batch[0]).cpu(), batch[1].double().cpu()))

    def on_test_epoch_end(self) -> None:
        """Log the error of the best equation."""
        if self._tested:
            values, target = (torch.cat(parts).numpy() for parts in zip(*self._tested, strict=True))
            self.log("test/nrmse", float(np.sqrt(nmse(target, values))), sync_dist=True)
        self._tested = []

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The equation goes with the logits."""
        if self.equation is not None:
            checkpoint["equation"] = plain(self.equation)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the equation up again.

        Raises:
            UserError: its operators are not named, or this version does not have them.
        """
        if "equation" in checkpoint:
            self.equation = restored(checkpoint["equation"], "the checkpoint's equation", "fit again")

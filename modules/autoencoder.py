"""System 1: an autoencoder with a small bottleneck, whose latents a search rewrites as equations.

Source: N. Anecone, "Symbolic Regression on Latent Representations from Autoencoders Using Genetic
    Programming", 2024. The text describes an autoencoder (`decode=inputs`); the authors' public code trains
    a price regressor with a bottleneck (`decode=target`). Both are here, with the layers of that code:
    inputs-16-8-latents-8-16-outputs, tanh.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanSquaredError, Metric, R2Score

from foundation.errors import UserError, near
from modules.networks.perceptron import ACTIVATIONS, Perceptron

__all__ = ["Autoencoder"]

SCALINGS = ("standard", "minmax", "none")
DECODES = ("inputs", "target")
SCHEDULES = ("constant", "cosine")

Statistics = Mapping[str, Sequence[float]]
"""`offset` and `scale`, one number a column."""


class Autoencoder(LightningModule):
    """Encoder and decoder that scale inside, so that raw units go in and come out.

    There are `features` input columns, `latents` bottleneck units and `outputs` decoded columns (the features
    themselves, or one target). The loss is the mean squared error of the scaled outputs. What is
    logged: `fit/loss`, `validation/reconstruction_mse` and `test/reconstruction_mse` in scaled units,
    `test/mse` in raw ones, `validation/r2` and `test/r2`, the mean over the outputs, which no scaling
    changes.

    Args:
        in_features: Number of input columns.
        latents: Width of the bottleneck.
        hidden: Widths of the encoder's hidden layers, joined by `-`; the decoder has them in reverse.
        activation: Name of the activation between the layers.
        decode: `inputs` reconstructs the inputs; `target` predicts the target.
        scaling: Of the inputs, from the training rows: `standard` (mean 0, variance 1), `minmax` (0 to 1)
            or `none`.
        target_scaling: The same for the target; only `decode=target` reads it.
        learning_rate: Of Adam, at its start.
        schedule: `constant`, or `cosine` down to zero at the end of the fit.

    Raises:
        UserError: If a value is outside what is listed.
    """

    def __init__(
        self,
        in_features: int,
        latents: int = 2,
        hidden: str = "16-8",
        activation: str = "tanh",
        decode: str = "inputs",
        scaling: str = "standard",
        target_scaling: str = "standard",
        learning_rate: float = 1e-3,
        schedule: str = "constant",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        widths = hidden_widths(hidden)
        _check_choice("activation", activation, tuple(ACTIVATIONS))
        _check_choice("decode", decode, DECODES)
        _check_choice("scaling", scaling, SCALINGS)
        _check_choice("target_scaling", target_scaling, SCALINGS)
        _check_choice("schedule", schedule, SCHEDULES)
        if in_features < 1 or latents < 1:
            raise UserError(f"in_features={in_features} and latents={latents} must both be at least 1")
        outputs = in_features if decode == "inputs" else 1
        self.encoder = Perceptron((in_features, *widths, latents), activation)
        self.decoder = Perceptron((latents, *reversed(widths), outputs), activation)
        self.decode_target = decode == "target"
        self.input_offset: Tensor
        self.input_scale: Tensor
        self.output_offset: Tensor
        self.output_scale: Tensor
        self.register_buffer("input_offset", torch.zeros(in_features))
        self.register_buffer("input_scale", torch.ones(in_features))
        self.register_buffer("output_offset", torch.zeros(outputs))
        self.register_buffer("output_scale", torch.ones(outputs))
        self.measures = nn.ModuleDict(
            {
                "validation/reconstruction_mse": MeanSquaredError(),
                "validation/r2": R2Score(),
                "test/reconstruction_mse": MeanSquaredError(),
                "test/r2": R2Score(),
                "test/mse": MeanSquaredError(),
            }
        )
        self._losses: list[Tensor] = []

    @staticmethod
    def data_arguments(datamodule: Any) -> dict[str, int]:
        """What of the constructor is the data's to say, from a datamodule that is set up."""
        return {"in_features": len(datamodule.feature_names)}

    def encode(self, inputs: Tensor) -> Tensor:
        """The latents `[batch, latents]` of raw inputs `[batch, features]`."""
        latents: Tensor = self.encoder((inputs - self.input_offset) / self.input_scale)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """The outputs `[batch, outputs]`, in raw units, of latents `[batch, latents]`."""
        outputs: Tensor = self.decoder(latents) * self.output_scale + self.output_offset
        return outputs

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs `[batch, outputs]`, in raw units, of raw inputs `[batch, features]`."""
        return self.decode(self.encode(inputs))

    def set_statistics(self, inputs: Statistics, target: Statistics | None = None) -> None:
        """Take over how inputs and target are scaled, `scaled = (raw - offset) / scale`.

        Args:
            inputs: `offset` and `scale`, each `[features]`, of the training rows.
            target: The same for the target, each `[1]`; only `decode=target` reads it.

        Raises:
            UserError: If there are not as many columns as the model was built for, or there is no target to
                decode.
        """
        outputs = target if self.decode_target else inputs
        if outputs is None:
            raise UserError("decode=target needs data with a target: name one, or use decode=inputs")
        for name, values in (("input", inputs), ("output", outputs)):
            for part in ("offset", "scale"):
                buffer = self.get_buffer(f"{name}_{part}")
                if len(values[part]) != len(buffer):
                    raise UserError(
                        f"the data has {len(values[part])} {name}s, the model was built for {len(buffer)}"
                    )
                buffer.copy_(torch.tensor(values[part], dtype=buffer.dtype))

    def setup(self, stage: str) -> None:
        """Ask the datamodule for the statistics of its training rows; a checkpoint brings its own later."""
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and hasattr(datamodule, "input_statistics"):
            target = None
            if datamodule.target_name is not None:
                target = datamodule.target_statistics(self.hparams["target_scaling"])
            self.set_statistics(datamodule.input_statistics(self.hparams["scaling"]), target)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam, one fused step; where asked for, a cosine to zero over the whole fit."""
        fused = self.device.type in ("cpu", "cuda")
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams["learning_rate"], fused=fused)
        if self.hparams["schedule"] == "constant":
            return optimizer
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Mean squared error of one batch, in scaled units."""
        outputs, wanted = self._scaled(batch)
        loss = nn.functional.mse_loss(outputs, wanted)
        self._losses.append(loss.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the mean loss once an epoch: `self.log` in every step costs half as much as the step itself."""
        if self._losses:
            self.log("fit/loss", torch.stack(self._losses).mean(), sync_dist=True)
        self._losses = []

    def on_train_epoch_start(self) -> None:
        """An epoch that was cut off leaves nothing behind."""
        self._losses = []

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Update the validation measures."""
        self._measure("validation", batch)

    def test_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Update the test measures."""
        self._measure("test", batch)

    def on_validation_epoch_end(self) -> None:
        """Log the validation measures."""
        self._log_measures("validation")

    def on_test_epoch_end(self) -> None:
        """Log the test measures."""
        self._log_measures("test")

    def _scaled(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Scaled outputs and what they should be, both `[batch, outputs]`."""
        inputs = batch[0]
        scaled = (inputs - self.input_offset) / self.input_scale
        wanted = scaled
        if self.decode_target:
            wanted = (batch[1].reshape(-1, 1) - self.output_offset) / self.output_scale
        return self.decoder(self.encoder(scaled)), wanted

    def _measure(self, stage: str, batch: tuple[Tensor, ...]) -> None:
        outputs, wanted = self._scaled(batch)
        for name, measure in self._measures(stage).items():
            if name == "test/mse":
                measure.update(outputs * self.output_scale, wanted * self.output_scale)
            else:
                measure.update(outputs, wanted)

    def _log_measures(self, stage: str) -> None:
        for name, measure in self._measures(stage).items():
            self.log(name, measure.compute(), sync_dist=False)  # torchmetrics has already met the other ranks
            measure.reset()

    def _measures(self, stage: str) -> dict[str, Metric]:
        return {
            name: measure
            for name, measure in self.measures.items()
            if name.startswith(f"{stage}/") and isinstance(measure, Metric)
        }


def hidden_widths(hidden: str) -> tuple[int, ...]:
    """Read `16-8` as (16, 8); an empty text is no hidden layer.

    Raises:
        UserError: If a part is not a positive whole number.
    """
    parts = [part for part in str(hidden).split("-") if part]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"hidden={hidden} must be widths joined by '-', such as 16-8")
    return tuple(int(part) for part in parts)


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{name}={value} is not one of the choices; {near(value, allowed)}")

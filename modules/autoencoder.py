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

from foundation.errors import UserError
from modules.networks.perceptron import Perceptron
from modules.settings.autoencoder import AutoencoderSettings

__all__ = ["Autoencoder"]

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
        **options: Settings by name, see `modules.settings.autoencoder.AutoencoderSettings`.

    Raises:
        SettingsError: If a setting is unknown or its value is not allowed.
    """

    def __init__(self, in_features: int, **options: Any) -> None:
        super().__init__()
        settings = AutoencoderSettings.of(options)
        self.save_hyperparameters({"in_features": in_features, **settings.as_mapping()})
        self.settings = settings
        widths = settings.hidden_widths
        outputs = in_features if settings.decode == "inputs" else 1
        self.encoder = Perceptron((in_features, *widths, settings.latents), settings.activation)
        self.decoder = Perceptron((settings.latents, *reversed(widths), outputs), settings.activation)
        self.decode_target = settings.decode == "target"
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
        """Constructor arguments that the data determine, from a datamodule that is set up."""
        return {"in_features": len(datamodule.feature_names)}

    def blocks(self, features: Sequence[str], target: str | None) -> dict[str, tuple[list[str], list[str]]]:
        """The blocks that can be equations, with names of inputs and outputs; scaled ones end in `_scaled`.

        Args:
            features: names of the input columns.
            target: name of the target.
        """
        scaled = [f"{name}_scaled" for name in features]
        latents = [f"latent_{number}" for number in range(self.settings.latents)]
        outputs = [f"{target}_scaled"] if self.decode_target else scaled
        return {"encoder": (scaled, latents), "decoder": (latents, outputs)}

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
        """Set the scaling of inputs and target, `scaled = (raw - offset) / scale`.

        Args:
            inputs: `offset` and `scale` of the input columns over the training rows. `[features]` each
            target: `offset` and `scale` of the target; only `decode=target` reads them. `[1]` each

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
                target = datamodule.target_statistics(self.settings.target_scaling)
            self.set_statistics(datamodule.input_statistics(self.settings.scaling), target)

    def optimizer(self) -> torch.optim.Optimizer:
        """A new optimiser: Adam with fused steps."""
        fused = self.device.type in ("cpu", "cuda")
        return torch.optim.Adam(self.parameters(), lr=self.settings.learning_rate, fused=fused)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser; with `schedule=cosine`, the learning rate falls to zero over the whole fit."""
        optimizer = self.optimizer()
        if self.settings.schedule == "constant":
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
        """Discard the losses of an epoch that was interrupted."""
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
        """Scaled outputs and their scaled targets, both `[batch, outputs]`."""
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
            self.log(name, measure.compute(), sync_dist=True)  # the same on all ranks
            measure.reset()

    def _measures(self, stage: str) -> dict[str, Metric]:
        return {
            name: measure
            for name, measure in self.measures.items()
            if name.startswith(f"{stage}/") and isinstance(measure, Metric)
        }

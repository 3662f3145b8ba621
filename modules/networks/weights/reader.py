"""Reads the equation of a small network from its weights: an encoder, a decoder, and a choice among equations.

Source: B. Saiprasad, D. Singh, "Symbolic Regression via Neural Network weights": weights, an encoder, a
transformer decoder that writes characters. Three things differ from the paper. The grammar masks the decoder, so
that every decoded string is an equation. There are further encoders (`modules.networks.weights.encoders`). Among
several equations, drawn or found by beam search, the reader takes the one that agrees best with the network
itself.

Notation, in shapes: networks B, weights P of each, latents Z, ids T of an equation with start and end, beams W,
points X, terms that an equation can have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from expressions.polynomial_grammar import SumVocabulary
from foundation.errors import UserError
from modules.networks.transformer.decoding import beams, decoded
from modules.networks.transformer.equation_transformer import EquationDecoder
from modules.networks.weights.encoders import build_encoder
from modules.networks.weights.small_networks import NetworkShape
from modules.networks.weights_file import WeightsFile, read_weights_file, write_weights_file
from modules.pretrained import WEIGHTS_TO_TOKENS_SMALL
from modules.settings.weights_to_tokens import WEIGHTS_FORMAT as FORMAT
from modules.settings.weights_to_tokens import ReaderSize, ReadingTask

__all__ = ["PRETRAINED", "Reading", "WeightReader", "load_reader", "r2_rows", "read_reader_weights", "save_reader"]

PRETRAINED = WEIGHTS_TO_TOKENS_SMALL
"""The weights that come with the package."""

COMPARED = 64  # number of points on which equations and networks are compared
JUDGED = 200  # number of points on which the equation that was taken is judged
_ROWS_AT_ONCE = 512
_CONSTANT = 1e-9  # spread, relative to the magnitude, below which values are constant


@dataclass(frozen=True)
class Reading:
    """Equations that were read from networks, in five ways, and what these were chosen from.

    Attributes:
        greedy: equation of the likeliest character in each step. `[B, T]`
        beam: equation of a beam search that agrees best with the network. `[B, T]`
        sampled: best equation among the drawn ones, as many as beams, and `greedy`. `[B, T]`
        refit: the better of `beam` and `sampled`, or the equation with its terms and with rounded coefficients
            fitted to the network's outputs, if that agrees better. `[B, T]`
        least_squares: sum of all terms, fitted to the network's outputs and rounded; nothing in it is learned.
            `[B, T]`
        outputs: outputs of the networks. `[B, X]`
        candidates: every equation that one of the ways above has looked at; some appear more than once.
            `[B, 2 W + 4, T]`
    """

    greedy: Tensor
    beam: Tensor
    sampled: Tensor
    refit: Tensor
    least_squares: Tensor
    outputs: Tensor
    candidates: Tensor


class WeightReader(nn.Module):
    """Encoder of weights and decoder of equations.

    Args:
        task: facts about the networks of the training and their equations.
        size: size of the encoder and the decoder.

    Raises:
        UserError: the functions of the grammar cannot be read.
    """

    def __init__(self, task: ReadingTask, size: ReaderSize) -> None:
        super().__init__()
        self.settings = task.as_mapping() | size.part(ReaderSize).as_mapping()
        """What says which reader this is, as `build` takes it."""
        self.shape = NetworkShape.of(task.widths, task.activation, task.biases)
        self.vocabulary = SumVocabulary(
            task.degree, task.canonical, task.largest, list(task.functions), task.terms
        )
        self.low, self.high, self.longest = task.low, task.high, self.vocabulary.longest
        self.encoder = build_encoder(
            size, self.shape, task.low, task.high, self.vocabulary.size(task.low, task.high)
        )
        self.decoder = EquationDecoder(
            len(self.vocabulary),
            self.longest + 1,
            size.latents,
            size.width,
            size.heads,
            size.decoder_layers,
            size.prefix,
            size.mlp_ratio,
        )

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> WeightReader:
        """A reader built from the settings of another reader.

        Raises:
            SettingsError: a setting is unknown, missing or not allowed.
        """
        of_the_data = ReadingTask.setting_names()
        task = {name: settings[name] for name in of_the_data if name in settings}
        size = {name: value for name, value in settings.items() if name not in of_the_data}
        return cls(ReadingTask.of(task), ReaderSize.of(size))

    def scores(self, flat: Tensor, ids: Tensor) -> Tensor:
        """Scores of the id after each id but the last, for networks of the training's shape.

        Args:
            flat: weights of the networks. `[B, P]`
            ids: equations with start and end, padded with 0. `[B, T]`

        Returns:
            Scores. `[B, T - 1, size]`
        """
        scores: Tensor = self.decoder(self.encoder(self.shape, flat), ids[:, :-1])
        return scores

    def check(self, shape: NetworkShape) -> None:
        """Check that networks of a shape can be read.

        Raises:
            UserError: the encoder knows no other shape than that of its training.
        """
        if shape != self.shape and not self.encoder.any_shape:
            raise UserError(
                f"the network is {shape}, but encoder={self.settings['encoder']} reads {self.shape} alone: use a "
                "model with encoder=probe, or one trained on such networks"
            )

    @torch.no_grad()
    def read(self, shape: NetworkShape, flat: Tensor, width: int) -> Reading:
        """The equations of networks.

        Args:
            shape: shape of all networks.
            flat: weights of the networks. `[B, P]`
            width: number W of beams, and of draws.

        Raises:
            UserError: see `check`.
        """
        self.check(shape)
        parts = [self._read(shape, some, width) for some in flat.split(max(1, _ROWS_AT_ONCE // width))]
        columns = zip(*([getattr(part, name) for name in Reading.__annotations__] for part in parts), strict=True)
        return Reading(*(torch.cat(column) for column in columns))

    def _read(self, shape: NetworkShape, flat: Tensor, width: int) -> Reading:
        latents = self.encoder(shape, flat)
        present = torch.ones(len(flat), 1, dtype=torch.bool, device=flat.device)
        greedy = decoded(self.decoder, self.vocabulary, self.longest, latents, present)
        outputs = shape.run(flat, self.points(flat.device))
        found, logs = beams(self.decoder, self.vocabulary, self.longest, latents, present, width)
        found = torch.where(logs.isinf()[:, :, None], found[:, :1], found)  # unused beams repeat the likeliest
        beam = self._best(torch.cat([greedy[:, None], found], dim=1), outputs)
        drawn = self._drawn(latents, present, width)
        sampled = self._best(torch.cat([greedy[:, None], drawn], dim=1), outputs)
        better = self._best(torch.stack([beam, sampled], dim=1), outputs)
        refitted = self._fitted(outputs, self.coefficients(better) != 0)
        refit = self._best(torch.stack([better, refitted], dim=1), outputs)
        least_squares = self._fitted(outputs, None)
        others = torch.stack([greedy, refitted, refit, least_squares], dim=1)
        candidates = torch.cat([found, drawn, others], dim=1)
        return Reading(greedy, beam, sampled, refit, least_squares, outputs, candidates)

    def _drawn(self, latents: Tensor, present: Tensor, count: int) -> Tensor:
        """Equations drawn from the decoder, the same ones in every call. `[B, count, T]`"""
        generator = torch.Generator(latents.device).manual_seed(0)
        several, of_each = (part.repeat_interleave(count, dim=0) for part in (latents, present))
        ids = decoded(self.decoder, self.vocabulary, self.longest, several, of_each, 1.0, generator)
        return ids.view(len(latents), count, -1)

    def points(self, device: torch.device | None = None) -> Tensor:
        """Points on which equations and networks are compared. `[X]`"""
        return torch.linspace(self.low, self.high, COMPARED, device=device)

    @torch.no_grad()
    def compared(self, shape: NetworkShape, flat: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and outputs of networks by which their equations are judged.

        Args:
            shape: shape of all networks.
            flat: weights of the networks. `[B, P]`

        Returns:
            Inputs `[JUDGED]`, evenly spread over the range of the training, and outputs `[B, JUDGED]`, float64.
        """
        x = torch.linspace(self.low, self.high, JUDGED)
        return x.double().numpy(), shape.run(flat, x).double().numpy()

    def coefficients(self, ids: Tensor) -> Tensor:
        """Coefficients of equations, see `SumVocabulary.coefficients`. `[..., T] -> [..., terms]` float64"""
        found = self.vocabulary.coefficients(ids.flatten(0, -2).cpu().numpy())
        return torch.from_numpy(found).to(ids.device).view(*ids.shape[:-1], -1)

    def values(self, ids: Tensor) -> Tensor:
        """Values of equations at the points. `[..., T] -> [..., X]` float64"""
        return self.coefficients(ids) @ self._basis(ids.device)

    def _basis(self, device: torch.device) -> Tensor:
        """Values of the terms at the points. `[terms, X]`"""
        return torch.from_numpy(self.vocabulary.basis(self.points().numpy())).to(device)

    def _best(self, candidates: Tensor, outputs: Tensor) -> Tensor:
        """The candidates `[B, W, T]` that agree best with the networks, the first ones where several do."""
        errors = (self.values(candidates) - outputs[:, None]).square().mean(dim=2)
        place = errors.nan_to_num(nan=torch.inf).argmin(dim=1)
        best: Tensor = candidates[torch.arange(len(candidates)), place]
        return best

    def _fitted(self, outputs: Tensor, terms: Tensor | None) -> Tensor:
        """Sums of terms fitted to the networks' outputs, and rounded to the grammar.

        Args:
            outputs: outputs of the networks. `[B, X]`
            terms: whether each equation may have each term; None: all. `[B, terms]` bool

        Returns:
            Ids of the equations. `[B, T]`
        """
        all_terms = self._basis(outputs.device)
        used = torch.ones(len(outputs), len(all_terms), device=outputs.device) if terms is None else terms
        basis = all_terms.T * used[:, None].double()
        fitted = torch.linalg.pinv(basis) @ outputs.double()[:, :, None]
        texts = [self.vocabulary.spell(row) for row in np.nan_to_num(fitted[:, :, 0].cpu().numpy())]
        return torch.from_numpy(self.vocabulary.encode(texts)).to(outputs.device)


def r2_rows(truth: Tensor, values: Tensor) -> Tensor:
    """R2 of values against true values, row by row; for constant ones, relative to 0 instead of their mean.

    `[B, X], [B, X] -> [B]`; -inf where it is not finite.
    """
    truth, values = truth.double(), values.double()
    spread = (truth - truth.mean(dim=1, keepdim=True)).square().sum(dim=1)
    size = truth.square().sum(dim=1)
    r2 = 1.0 - (truth - values).square().sum(dim=1) / torch.where(spread > _CONSTANT * size, spread, size)
    return torch.nan_to_num(r2, nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)


# ------------------------------------------------------------------------------------------------ files


def save_reader(reader: WeightReader, path: str | Path, card: Mapping[str, Any]) -> None:
    """Write the weights of a reader, its settings and a card, which says how it was trained."""
    write_weights_file(path, FORMAT, reader.settings, reader.state_dict(), card)


def read_reader_weights(path: str | Path) -> WeightsFile:
    """Read what `save_reader` wrote.

    Raises:
        UserError: there is no such file, or it is another kind of file, or it is damaged.
    """
    wrong_kind = "holds no reader of weights: give a file that save_reader wrote"
    return read_weights_file(path, FORMAT, wrong_kind, _fits)


def load_reader(path: str | Path) -> WeightReader:
    """A reader from a file.

    Raises:
        UserError: the file is refused, see `read_reader_weights`.
    """
    weights = read_reader_weights(path)
    reader = WeightReader.build(weights.settings)
    reader.load_state_dict(weights.tensors)
    return reader.eval().requires_grad_(False)


def _fits(settings: Any, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the weights are those of a reader of the settings; builds it without its numbers."""
    if not isinstance(settings, dict):
        return False
    if set(settings) != {*ReadingTask.setting_names(), *ReaderSize.setting_names()}:
        return False
    try:
        with torch.device("meta"):
            reader = WeightReader.build(settings)
    except (TypeError, ValueError, KeyError, RuntimeError, OverflowError, UserError):
        return False
    return {name: tuple(value.shape) for name, value in reader.state_dict().items()} == dict(shapes)

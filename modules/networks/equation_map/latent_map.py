"""A trained network as a search sees it: NumPy in, NumPy out, and a file that holds numbers alone.

The file is a `safetensors` file, whose header is JSON: nothing in it is ever run. It holds the weights, the
settings that they need, and a card, which says how they were trained.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from expressions.skeleton import Skeleton, structure_of
from foundation.errors import UserError
from foundation.schema import list_of, text, whole
from modules.networks.equation_map.conditional_vae import ConditionalVAE, Gaussian
from modules.networks.equation_map.set_encoder import point_features
from modules.networks.weights_file import WeightsFile, read_weights_file, write_weights_file
from modules.pretrained import CVAE_SMALL
from modules.settings.cvae import WEIGHTS_FORMAT as FORMAT

__all__ = ["PRETRAINED", "LatentMap", "WeightsFile", "read_weights"]

PRETRAINED = CVAE_SMALL
"""The weights that come with the package."""

MOST_ROWS = 200
_ROWS_AT_ONCE = 512  # number of latents that are decoded together
_TABLES_AT_ONCE = 64
_LARGEST = 1e30  # largest magnitude of an input, so that float32 holds its sums
# A file must not make this machine allocate more than the file holds; `MapSize` limits the rest.
_LIMITS = {"variables": 4096, "longest": 4096}
_LISTS = {
    "operators": list_of(text(100), most=1_000),
    "integers": list_of(whole(-1_000_000, 1_000_000), most=1_000),
}

Table = tuple[np.ndarray, np.ndarray]


class LatentMap:
    """A trained latent space of equations: priors of tables, posteriors of equations, and decoded latents.

    Args:
        network: trained network; it stays on its device.
        card: facts about the network, JSON values.

    Attributes:
        variables: largest number of columns of a table.
        latents: number of dimensions of the space.
        longest: largest number of tokens of an equation.
        vocabulary: vocabulary of the equations.
        card: facts about the network, as they were saved.
    """

    def __init__(self, network: ConditionalVAE, card: Mapping[str, Any] | None = None) -> None:
        self.network = network
        self.card = dict(card or {})
        self.vocabulary = network.vocabulary
        self.variables = network.vocabulary.variables
        self.latents = network.latents
        self.longest = network.longest
        self._last: tuple[Table, Tensor] | None = None

    # --- priors and posteriors ------------------------------------------------------------------------------

    def prior(self, tables: Sequence[Table]) -> tuple[np.ndarray, np.ndarray]:
        """Priors p(z | numbers) of the equations of tables.

        Args:
            tables: inputs `[rows, v]` and target `[rows]` of each table, in raw units; the numbers of rows and
                columns may differ. Only the finite ones of the first 200 rows are used.

        Returns:
            Means and standard deviations. `[tables, latents]` float64 each

        Raises:
            UserError: a table has more columns than there are variables, or no row is finite.
        """
        mean = np.empty((len(tables), self.latents))
        std = np.empty_like(mean)
        finite = [_finite_rows(*table) for table in tables]
        by_rows: dict[int, list[int]] = {}
        for number, (_, target) in enumerate(finite):
            by_rows.setdefault(len(target), []).append(number)
        for numbers in by_rows.values():  # tables of as many rows go through the network together
            for begin in range(0, len(numbers), _TABLES_AT_ONCE):
                some = numbers[begin : begin + _TABLES_AT_ONCE]
                with self._evaluating():
                    mean[some], std[some] = _as_numpy(
                        self.network.prior(self._encoded([finite[number] for number in some]))
                    )
        return mean, std

    def posterior(self, table: Table, skeletons: Sequence[Skeleton]) -> tuple[np.ndarray, np.ndarray]:
        """Posteriors q(z | numbers, equation) of equations, given a table.

        Args:
            table: inputs `[rows, v]` and target `[rows]`, as for `prior`.
            skeletons: skeletons in operators and variables of the vocabulary.

        Returns:
            Means and standard deviations. `[skeletons, latents]` float64 each

        Raises:
            UserError: the table is refused as by `prior`, a skeleton is too long, or the vocabulary has no id for
                one of its tokens.
        """
        structures = [structure_of(skeleton) for skeleton in skeletons]
        ids = torch.from_numpy(self.vocabulary.encode_skeletons(structures, self.longest + 2)).to(self._device)
        mean = np.empty((len(skeletons), self.latents))
        std = np.empty_like(mean)
        with self._evaluating():
            data = self._encoded_last(table)
            for begin in range(0, len(ids), _ROWS_AT_ONCE):
                rows = slice(begin, begin + _ROWS_AT_ONCE)
                mean[rows], std[rows] = _as_numpy(
                    self.network.posterior(data.expand(len(ids[rows]), -1, -1), ids[rows])
                )
        return mean, std

    # --- decoding -------------------------------------------------------------------------------------------

    def decode(
        self, latents: np.ndarray, variables: int, *, temperature: float = 1.0, seed: int = 0
    ) -> list[Skeleton]:
        """One complete equation for each latent vector, in the first `variables` variables alone.

        Args:
            latents: latent vectors. `[n, latents]`
            variables: number of columns of the table that is searched.
            temperature: temperature of the draws; 0 takes the likeliest token of each step.
            seed: random seed for the draws, which use a generator of their own.
        """
        generator = torch.Generator(self._device).manual_seed(seed)
        skeletons: list[Skeleton] = []
        with self._evaluating():
            for some in self._places(latents).split(_ROWS_AT_ONCE):
                present = self._present(len(some), variables)
                ids = self.network.decode(some, present, temperature, generator)
                skeletons += self.vocabulary.decode_skeletons(ids.cpu())
        return skeletons

    def beam(self, latents: np.ndarray, variables: int, width: int) -> list[list[Skeleton]]:
        """The likeliest equations of each latent vector that a beam search finds, best first.

        Args:
            latents: latent vectors. `[n, latents]`
            variables: number of columns of the table that is searched.
            width: number of beams, at least 1; also the largest number of equations for a latent vector.
        """
        if width < 1:
            raise UserError(f"width={width} must be at least 1")
        found: list[list[Skeleton]] = []
        with self._evaluating():
            for some in self._places(latents).split(max(1, _ROWS_AT_ONCE // width)):
                ids, logs = self.network.beam(some, self._present(len(some), variables), width)
                for own, likely in zip(ids.cpu(), logs.isfinite().cpu(), strict=True):
                    found.append(self.vocabulary.decode_skeletons(own[likely]))
        return found

    # --- files ----------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> LatentMap:
        """Read what `save` wrote.

        Raises:
            UserError: there is no such file, or it is another kind of file, or it is damaged.
        """
        weights = read_weights(path)
        network = ConditionalVAE.build(weights.settings)
        network.load_state_dict(weights.tensors)
        return cls(network.to(device).eval().requires_grad_(False), weights.card)

    def save(self, path: str | Path, card: Mapping[str, Any], half: bool = False) -> None:
        """Write the weights, their settings and a card, whole or not at all.

        Args:
            path: path of the file, which is replaced if it exists.
            card: facts about the weights, JSON values: data, steps, measures.
            half: whether weights are written as float16, which halves the file and rounds each by up to 1 part in
                2,048.
        """
        write_weights_file(path, FORMAT, self.network.settings, self.network.state_dict(), card, half)

    # --- small things ---------------------------------------------------------------------------------------

    @property
    def _device(self) -> torch.device:
        return self.network.decoder.positions.device

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """No gradients, and float32 even under autocast, because searches compare latents by small differences."""
        with torch.inference_mode(), torch.autocast(self._device.type, enabled=False):
            yield

    def _encoded(self, tables: Sequence[Table]) -> Tensor:
        """Encoded tables that have the same number of rows. `[tables, queries, width]`"""
        rows = len(tables[0][1])
        inputs = np.zeros((len(tables), rows, self.variables), dtype=np.float32)
        present = np.zeros((len(tables), self.variables), dtype=bool)
        for number, (own, _) in enumerate(tables):
            self._check_columns(own.shape[1])
            inputs[number, :, : own.shape[1]] = own
            present[number, : own.shape[1]] = True
        target = np.stack([target for _, target in tables]).astype(np.float32)
        parts = (torch.from_numpy(part).to(self._device) for part in (inputs, target, present))
        return self.network.encode(point_features(*parts))

    def _encoded_last(self, table: Table) -> Tensor:
        """The encoded table, cached: a search encodes the same table hundreds of times."""
        if self._last is None or self._last[0] is not table:
            self._last = (table, self._encoded([_finite_rows(*table)]))
        return self._last[1]

    def _places(self, latents: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(latents, dtype=np.float32)).to(self._device)

    def _present(self, rows: int, variables: int) -> Tensor:
        self._check_columns(variables)
        return (torch.arange(self.variables, device=self._device) < variables).expand(rows, -1)

    def _check_columns(self, columns: int) -> None:
        if columns > self.variables:
            raise UserError(
                f"the table has {columns} columns, but the model knows equations of {self.variables} variables "
                "at most: choose as many columns, or a model with more"
            )


def _finite_rows(inputs: np.ndarray, target: np.ndarray) -> Table:
    """The finite ones of the first rows, clipped to the range of float32; the target's scale does not matter."""
    inputs, target = np.asarray(inputs[:MOST_ROWS], np.float64), np.asarray(target[:MOST_ROWS], np.float64)
    good = np.isfinite(target) & np.isfinite(inputs).all(axis=1)
    if not good.any():
        raise UserError(f"none of the table's first {len(good)} rows is finite: give rows without gaps")
    inputs, target = inputs[good], target[good]
    largest = np.abs(target).max()
    return np.clip(inputs, -_LARGEST, _LARGEST), target / largest if largest > 0 else target


def _as_numpy(distribution: Gaussian) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation."""
    mean = distribution.mean.double().cpu().numpy()
    return mean, np.exp(0.5 * distribution.log_variance.double().cpu().numpy())


# ------------------------------------------------------------------------------------------------ the file


def read_weights(path: str | Path) -> WeightsFile:
    """Read a weights file and check that its parts fit together.

    Raises:
        UserError: there is no such file, or it is another kind of file, or it is damaged.
    """
    return read_weights_file(
        path, FORMAT, "holds no model of equations: give a file that LatentMap.save wrote", _fits
    )


def _fits(settings: Any, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the weights are those of a network of the settings; builds it without its numbers."""
    if not isinstance(settings, dict):
        return False
    for name, largest in _LIMITS.items():
        if type(settings.get(name)) is not int or not 1 <= settings[name] <= largest:
            return False
    try:
        for name, check in _LISTS.items():
            check(settings.get(name))
        with torch.device("meta"):
            network = ConditionalVAE.build(settings)
    except (TypeError, ValueError, KeyError, RuntimeError, ZeroDivisionError, OverflowError, UserError):
        return False
    return {name: tuple(value.shape) for name, value in network.state_dict().items()} == dict(shapes)

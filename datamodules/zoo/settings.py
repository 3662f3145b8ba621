"""Settings of a zoo of small networks and of their training. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from foundation.errors import UserError
from foundation.settings import Settings, SettingsError, seed_setting, setting
from modules.settings.activations import ACTIVATION_NAMES
from modules.settings.weights_to_tokens import FUNCTIONS, WIDTHS

if TYPE_CHECKING:
    from expressions.polynomial_grammar import SumVocabulary
    from modules.networks.weights.small_networks import NetworkShape

__all__ = ["FORMAT", "TrainingSettings", "ZooSettings"]

FORMAT = "rediscover zoo 2"


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """Settings of the training of networks.

    Attributes:
        optimizer: `gauss_newton`, or `adam`, which needs some 500 steps.
        steps: Number of steps of the optimiser.
        learning_rate: Learning rate of Adam.
        gain: Factor of the random starts: weights are normal with deviation gain / sqrt(inputs of the layer).
        bias_std: Standard deviation of the biases at the start.
    """

    group = "data"

    optimizer: str = setting("gauss_newton", choices=("gauss_newton", "adam"))
    steps: int = setting(16, least=1)
    learning_rate: float = setting(0.02, above=0)
    gain: float = setting(1.0, above=0)
    bias_std: float = setting(0.5, least=0)


@dataclass(frozen=True, kw_only=True)
class ZooSettings(TrainingSettings):
    """Settings of the networks and equations of a zoo.

    Attributes:
        widths: Widths of all networks, from the input to the output, such as `1-8-7-8-1`.
        activation: Name of their activation.
        biases: Whether they have biases.
        start: `independent` random starts, or one `shared` by all networks.
        start_seed: Random seed for the shared start.
        passes: Largest number of times that a network below the floor is trained on.
        floor: R2 that a network must reach to be read; what it has reached is kept with each.
        train_points: Number of points that a network is trained on.
        x_low: Lower end of the range of x.
        x_high: Upper end of the range of x.
        target_size: Size of the targets while networks are trained; their last layer takes it up. A small one
            leaves networks so near their start that they differ from it by a linear function of the target.
        equations: `uniform` by length in the canonical spelling, or `slides`, as published.
        degree: Highest power of x.
        largest: Largest magnitude of a coefficient.
        functions: Functions of x that terms may have instead of a power, such as `sin(2*x)`.
        terms: Largest number of terms of an equation; None: any number.
        zoo_seed: Random seed for everything that is drawn for the zoo; another one is another zoo.
    """

    widths: str = setting("1-8-7-8-1", rule=WIDTHS)
    activation: str = setting("tanh", choices=ACTIVATION_NAMES)
    biases: bool = setting(True)
    start: str = setting("independent", choices=("independent", "shared"))
    start_seed: int = seed_setting()
    passes: int = setting(4, least=1)
    floor: float = setting(0.999, below=1)
    train_points: int = setting(16, least=2)
    x_low: float = setting(-1.0, above=-1e3, below=1e3)
    x_high: float = setting(1.0, above=-1e3, below=1e3)
    target_size: float = setting(1.0, above=0)
    equations: str = setting("uniform", choices=("uniform", "slides"))
    degree: int = setting(2, least=1, most=6)
    largest: int = setting(5, least=1, most=9)
    functions: tuple[str, ...] = setting((), rule=FUNCTIONS)
    terms: int | None = setting(None, least=1)
    zoo_seed: int = seed_setting()

    @property
    def shape(self) -> NetworkShape:
        """Shape of all networks."""
        from modules.networks.weights.small_networks import NetworkShape

        return NetworkShape.of(self.widths, self.activation, self.biases)

    @property
    def vocabulary(self) -> SumVocabulary:
        """Vocabulary of the equations."""
        return _vocabulary(self.degree, self.equations == "uniform", self.largest, self.functions, self.terms)

    @property
    def scale(self) -> float:
        """Number that targets are divided by for the training: their largest value, for a `target_size` of 1."""
        return self.vocabulary.size(self.x_low, self.x_high) / self.target_size

    @property
    def content(self) -> dict[str, Any]:
        """What decides the networks, by name."""
        return {"format": FORMAT, **self.part(ZooSettings).as_mapping()}

    @property
    def name(self) -> str:
        """Name of the zoo's folder."""
        words = json.dumps(self.content, sort_keys=True)
        return hashlib.sha256(words.encode()).hexdigest()[:12]

    def _check_together(self) -> None:
        if self.x_low >= self.x_high:
            raise SettingsError(f"data.x_low={self.x_low} must be less than data.x_high={self.x_high}")
        if not self.biases and self.x_low != -self.x_high:
            raise SettingsError(
                f"without biases x must range from -x_high to x_high, not from {self.x_low} to {self.x_high}"
            )
        try:
            self.vocabulary.size(self.x_low, self.x_high)  # refuses what it does not know, and what is not finite
        except UserError as error:
            raise SettingsError(f"data.{error}") from error


@cache
def _vocabulary(*options: Any) -> SumVocabulary:
    """The vocabulary of these options; its automaton is asked for by every shard."""
    from expressions.polynomial_grammar import SumVocabulary

    return SumVocabulary(*options)

"""Settings of the Gumbel-max equation learners (system 2), ours and the published one."""

from __future__ import annotations

from dataclasses import dataclass

from expressions.equation_learner.default_layers import DEFAULT_LAYERS
from foundation.settings import Rule, Settings, setting

__all__ = ["SAMPLINGS", "GMEQLPaperSettings", "GMEQLSettings"]

LAYERS = Rule(
    lambda value: (
        isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(one, str) for one in value)
    ),
    "a list of layers, such as ['id*2 mul sin', 'add sum']",
)
_BYTES_AN_INSTANCE = 2_000  # of its choices as shares, and of their gradient
SAMPLINGS = ("soft", "straight_through", "hard")
# The network of the paper's public code, for b1 to b4. The one for b5 to b8 is unpublished.
PUBLISHED = ("id square cube pow4 pow5 pow6 sin cos", "add mul div sum", "add mul")


@dataclass(frozen=True, kw_only=True)
class GMEQLSettings(Settings):
    """Network and learning of the equation learner with hard structures.

    Attributes:
        layers: functions of every layer's nodes, with multiplicities, from the inputs to the output, see
            `expressions.equation_learner.architecture`.
        constant: whether the first layer may choose the constant 1, too.
        learning_rate: step along the gradient of the log likelihood.
        logit_std: standard deviation of the logits at a start.
        gate_logit: mean logit of an open gate at a start; below 0, a sum begins with few terms.
        epoch_steps: number of generations in an epoch, that is, between two checkpoints.
    """

    group = "model"

    layers: tuple[str, ...] = setting(DEFAULT_LAYERS, rule=LAYERS)
    constant: bool = setting(True)
    learning_rate: float = setting(0.1, least=0)
    logit_std: float = setting(0.5, least=0)
    gate_logit: float = setting(-1.0, above=-20, below=20)
    epoch_steps: int = setting(20, least=1)


@dataclass(frozen=True, kw_only=True)
class GMEQLPaperSettings(Settings):
    """Network and learning of Algorithm 1 of Chen (2020).

    Attributes:
        layers: functions of every layer's nodes, with multiplicities, see
            `expressions.equation_learner.architecture`.
        constant: whether the first layer may choose the constant 1, too.
        restarts: number of runs side by side, each with parameters and a repository of its own.
        instances: number p of new instances in every iteration and restart.
        temperature: temperature lambda of eq. (2).
        sampling: `soft` as published; `hard` samples are one-hot, so that z follows the offline gradient only;
            `straight_through` are one-hot with the gradient of the soft ones.
        resampled: share of an elite's connections that a new instance draws afresh; 1 uses no repository.
        offline_gradient: gradient of the offline training: `eq7` as published, `eq11` its alternative, or `none`.
        offline_instances: number r of elites that each offline gradient is taken of.
        learning_rate: learning rate of the logits z.
        weight_learning_rate: learning rate of the weights w.
        logit_std: standard deviation of z at a round's start.
        weight_std: standard deviation of w around 1 at a round's start.
        stage1_rounds: number of rounds of stage 1; 0 leaves it out.
        stage1_iterations: number of iterations of each round.
        epoch_iterations: number of iterations of an epoch, at whose end a checkpoint is written.
    """

    group = "model"

    layers: tuple[str, ...] = setting(PUBLISHED, rule=LAYERS)
    constant: bool = setting(True)
    restarts: int = setting(5, least=1, most=1000)
    instances: int = setting(40, least=1)
    temperature: float = setting(2 / 3, above=0)
    sampling: str = setting("soft", choices=SAMPLINGS)
    resampled: float = setting(0.2, above=0, most=1)
    offline_gradient: str = setting("eq7", choices=("eq7", "eq11", "none"))
    offline_instances: int = setting(40, least=1)
    learning_rate: float = setting(1e-3, above=0)
    weight_learning_rate: float = setting(1e-3, least=0)
    logit_std: float = setting(0.5, least=0)
    weight_std: float = setting(0.02, least=0)
    stage1_rounds: int = setting(3, least=0)
    stage1_iterations: int = setting(2000, least=1)
    epoch_iterations: int = setting(500, least=1)

    def needed_memory(self) -> dict[tuple[str, ...], float]:
        """Bytes of the choices of an iteration's instances."""
        return {("restarts", "instances"): float(_BYTES_AN_INSTANCE * self.restarts * self.instances)}

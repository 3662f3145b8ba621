"""Settings of a training by AdamW with an average of the weights, which both transformers share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from foundation.settings import Rule, Settings, setting

__all__ = ["AveragedTrainingSettings", "bytes_of_blocks"]

_BYTES_A_WEIGHT = 20  # float32, with its average, its gradient and two moments of Adam

INIT = Rule(
    lambda value: isinstance(value, str) and (value in ("auto", "pretrained", "scratch") or Path(value).is_file()),
    "auto, pretrained, scratch or the path of a file of weights",
)


@dataclass(frozen=True, kw_only=True)
class AveragedTrainingSettings(Settings):
    """Training by AdamW, with a warm-up, a cosine and an exponential moving average of the weights.

    Attributes:
        learning_rate: learning rate after the warm-up.
        weight_decay: weight decay of matrices; biases, norms and embeddings have none.
        warmup_steps: steps over which the learning rate rises from 0.
        total_steps: step at which the cosine ends, at 5 % of the learning rate; None: the trainer's end, by its
            epochs or else by `max_time`; where both are open, the rate stays constant.
        ema_decay: decay of the average of the weights, a step; 0 keeps no memory.
        init: first weights: `scratch`, random; `pretrained`, those that come with the package; `auto`, those if
            they fit; or the path of a file of weights.
    """

    group = "model"

    learning_rate: float = setting(1e-3, above=0)
    weight_decay: float = setting(0.01, least=0)
    warmup_steps: int = setting(500, least=0)
    total_steps: int | None = setting(None, least=1)
    ema_decay: float = setting(0.999, least=0, below=1)
    init: str = setting("auto", rule=INIT)


def bytes_of_blocks(layers: int, width: int, mlp_ratio: float | None = None) -> float:
    """Bytes of the matrices of blocks in training: of transformers, or of two matrices each.

    Args:
        layers: number of blocks.
        width: width of their vectors.
        mlp_ratio: hidden width of the feed-forward networks, in multiples of `width`; None: there is no attention,
            and the networks are as wide as the vectors.
    """
    matrices = 2.0 if mlp_ratio is None else 4.0 + 2.0 * mlp_ratio
    return _BYTES_A_WEIGHT * layers * width**2 * matrices

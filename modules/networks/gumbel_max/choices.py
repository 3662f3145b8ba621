"""Choices of a Gumbel-max network: soft samples (eq. 2), what they select, and the gradients for their logits.

Source: G. Chen, "Learning Symbolic Expressions via Gumbel-Max Equation Learner Networks", arXiv 2012.06921v2. The
notation is that of `modules.networks.gumbel_max.network`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["distance_gradient", "gumbel_noise", "likelihood_gradient", "relaxed", "selected", "soft_gradient"]

_LOWEST = -1e30  # logarithm of a choice: with -inf, z - lambda log V would be NaN where there is no source
_TINY = 1e-30  # of an exponential variate, whose logarithm must be finite


def gumbel_noise(shape: Sequence[int], device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Standard Gumbel noise, `-log(E)` of exponential variates E. `[*shape]` float32"""
    noise = torch.empty(*shape, device=device).exponential_(generator=generator)
    return noise.clamp_(min=_TINY).log_().neg_()


def relaxed(logits: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Logarithm of a soft choice (eq. 2): V = softmax((z + noise) / temperature).

    The logarithm is what the offline gradients need, and where V underflows it is still finite.

    Args:
        logits: z, -inf where there is no source. `[..., choices]`
        noise: standard Gumbel noise. `[..., choices]`
        temperature: lambda.

    Returns:
        log V. `[..., choices]`
    """
    scores = (logits + noise) / temperature
    return scores - scores.logsumexp(dim=-1, keepdim=True)  # torch's log_softmax is slow where M is small


def selected(log_choices: Tensor, sampling: str) -> Tensor:
    """What the network uses of each source. `[..., choices] -> [..., choices]`

    Args:
        log_choices: log V of soft samples.
        sampling: one of `modules.settings.gmeql.SAMPLINGS`. `soft` uses V itself; `hard` and `straight_through`
            use the one-hot vector of its largest entry, and differ in the gradient, see `soft_gradient`.
    """
    if sampling == "soft":
        return log_choices.exp()
    largest = log_choices.argmax(dim=-1, keepdim=True)
    return torch.zeros_like(log_choices).scatter_(-1, largest, 1.0)


def soft_gradient(log_choices: Tensor, gradient: Tensor, temperature: float) -> Tensor:
    """Gradient for z through eq. (2), `V (g - V.g) / lambda`, of a gradient g for V.

    For `soft` samples it is the exact one; `straight_through` takes it although the network used the one-hot
    vector; `hard` samples have none.

    Args:
        log_choices: log V. `[..., choices]`
        gradient: gradient of the loss for V. `[..., choices]`
        temperature: temperature lambda.

    Returns:
        Gradient for z. `[..., choices]`
    """
    choices = log_choices.exp()
    weighted = choices * gradient
    return (weighted - choices * weighted.sum(dim=-1, keepdim=True)) / temperature


def likelihood_gradient(logits: Tensor, log_choices: Tensor, temperature: float) -> Tensor:
    """Gradient of the log likelihood of soft choices (eq. 7): d log P(V) / d z_l = 1 - M e_l.

    There are M sources, and e = softmax(z - lambda log V).

    Args:
        logits: z, -inf where there is no source. `[..., choices]`
        log_choices: log V. `[..., choices]`
        temperature: lambda.

    Returns:
        The gradient, 0 where there is no source; to be ascended. `[..., choices]`
    """
    real = logits.isfinite().to(logits.dtype)
    scores = logits - (temperature * log_choices).clamp_(min=_LOWEST)
    pulls = scores.sub_(scores.amax(dim=-1, keepdim=True)).exp_()  # torch's softmax is slow where M is small
    pulls.div_(pulls.sum(dim=-1, keepdim=True))
    return real - pulls.mul_(real.sum(dim=-1, keepdim=True))


def distance_gradient(logits: Tensor, log_choices: Tensor, temperature: float) -> Tensor:
    """Gradient of the squared distance of exp(z) to V^lambda (eq. 11); arguments as in `likelihood_gradient`.

    Returns:
        The gradient, 0 where there is no source; to be descended. `[..., choices]`
    """
    scores = logits.exp()
    return 2.0 * (scores - (temperature * log_choices).exp()) * scores

"""Fitted compositions without the coefficients that the data do not need.

A dense polynomial of degree 2 in a function is a long valley: the fit comes near to the law and then goes slowly.
With what is 0 left out, the rest of the way takes a few steps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from searches.direct.composition_models import Models, fitted, linear_fit, needs

__all__ = ["pruned"]

_EXACT = 1e-20
_TINY = 1e-6  # of the largest coefficient: none, in an exact law
_STEPS = 10
_NEAR, _RISE = 1e-7, 3.0
"""Error from which a model may be the law, and by what factor it may rise there: it falls again as one goes on."""
_TRIED = 3  # coefficients of which one may be left out
_CHI_SQUARE = 9.0  # three standard deviations of a coefficient


def pruned(model: Models, monomials: np.ndarray, target: np.ndarray) -> Models:
    """One model, without one coefficient after the other as long as the error hardly rises.

    Args:
        model: model to begin with.
        monomials: values of the monomials, the first is 1, each of spread 1. `[monomials, rows]`
        target: values of ordinary size. `[rows]`
    """
    cut = _without_tiny(model, monomials, target)
    if cut.errors[0] <= max(_EXACT, float(model.errors[0])):
        model = cut
    while True:
        error = float(model.errors[0])
        rise = _RISE if _EXACT < error < _NEAR else 1.0 + _CHI_SQUARE / len(target)
        limit = max(_EXACT, rise * error)
        options = _one_less(model, *needs(model, monomials, target))
        if not len(options):
            return model
        tried = fitted(options, monomials, target, _STEPS, careful=True)
        best = tried.of(np.array([tried.errors.argmin()]))
        if not best.errors[0] <= limit:
            return model
        model = best


def _without_tiny(model: Models, monomials: np.ndarray, target: np.ndarray) -> Models:
    """Without all coefficients that are nearly 0, fitted again."""
    sizes = np.abs(model.inner)
    inner_free = model.inner_free & (sizes > _TINY * sizes.max(axis=2, keepdims=True))
    linear_free = model.linear_free.copy()
    if model.shape in ("plus", "times"):
        linear = np.abs(linear_fit(model, monomials, target))
        part = slice(0, -1) if model.shape == "plus" else slice(1, None)
        linear_free[:, part] &= linear[:, part] > _TINY * linear[:, part].max()
    cut = replace(
        model,
        inner=np.where(inner_free, model.inner, 0.0),
        inner_free=inner_free,
        linear_free=linear_free,
        errors=np.full(1, np.inf),
    )
    return fitted(cut, monomials, target, _STEPS, careful=True)


def _one_less(model: Models, inner_needs: np.ndarray, linear_needs: np.ndarray) -> Models:
    """The model without one of the coefficients that are needed least."""
    inner = np.where(model.inner_free[0], inner_needs, np.inf)
    linear = np.where(model.linear_free[0], linear_needs, np.inf)
    if model.shape in ("sum", "product"):
        linear[1:] = np.inf
    elif model.shape == "plus":
        linear[-1] = np.inf
    every = np.concatenate([linear, inner.ravel()])
    order = [number for number in np.argsort(every, kind="stable")[:_TRIED].tolist() if np.isfinite(every[number])]
    options = model.of(np.zeros(len(order), dtype=int))
    for row, number in enumerate(order):
        if number < len(linear):
            options.linear_free[row, number] = False
        else:
            place = np.unravel_index(number - len(linear), inner.shape)
            options.inner[row][place], options.inner_free[row][place] = 0.0, False
    varying = np.all(np.any(options.inner_free[:, :, 1:], axis=2), axis=1)
    usable = varying & options.linear_free[:, _first_of_function(model) :].any(axis=1)
    found = options.of(np.flatnonzero(usable))
    return replace(found, errors=np.full(len(found), np.inf))


def _first_of_function(model: Models) -> int:
    """Number of the first linear coefficient that is a factor of a function."""
    return model.linear_free.shape[1] - 1 if model.shape == "plus" else 1

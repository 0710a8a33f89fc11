"""The round-off of a computation, measured by perturbing it.

A jaxpr is evaluated again with the result of every rounded operation multiplied by 1 ± u, with random signs and with u
a rounding unit, or a thousand of them to stand out from the round-off itself (D. S. Parker, Monte Carlo arithmetic,
1997). For a function that can only be called, fourth differences at close points cancel what is smooth (J. J. Moré and
S. M. Wild, Estimating computational noise, SIAM J. Sci. Comput. 33, 2011).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.gradients.float64 import Rounding, evaluate

__all__ = ["AMPLIFICATION", "TRIES", "noise_by_differences", "noise_by_perturbation", "perturbed", "perturbed_results"]

AMPLIFICATION = 2.0**10
"""Perturbations are this much larger than round-off, to stand out from it."""

TRIES = 6
"""How often each perturbation is drawn."""

_SIGNS = 2**14  # in a row
_LARGEST = 2.0**-6  # of itself that a perturbation changes a number by
_EPSILON = float(np.finfo(np.float64).eps)


@functools.cache
def _random_signs() -> np.ndarray:
    """Return a row of random signs for each perturbed evaluation."""
    return np.random.default_rng(0).choice([-1.0, 1.0], (TRIES, _SIGNS))


def perturbed(jaxpr: Any) -> Callable[..., Any]:
    """Return the function (signs, factors, units, *vectors) that evaluates a jaxpr with every operation perturbed."""

    def run(signs: Any, factors: Any, units: Any, *vectors: Any) -> Any:
        return evaluate(jaxpr, vectors, _perturbation(signs, factors, units))[0]

    return run


def perturbed_results(run: Callable[..., np.ndarray]) -> Iterator[np.ndarray]:
    """Yield what a thousand rounding units in each operation lead to, `TRIES` times, and then what one leads to.

    One at a time: each may be as large as the arguments of a network.

    Args:
        run: what `perturbed` returned, compiled, at the point: (signs, factors, units) -> outputs.
    """
    for units in (AMPLIFICATION, 1.0):
        for signs in _random_signs():
            yield run(signs, 1.0 + signs * min(units * _EPSILON, _LARGEST), units)


def noise_by_perturbation(exact: np.ndarray, epsilon: float, results: Iterable[np.ndarray]) -> np.ndarray:
    """Return the round-off of each output, infinite where no digit is known.

    Args:
        exact: the outputs.
        epsilon: their rounding unit.
        results: the `perturbed_results`.
    """
    amplified, single = np.zeros(exact.shape), np.zeros(exact.shape)
    with np.errstate(invalid="ignore"):  # a try may leave the domain
        for i, result in enumerate(results):
            moved, largest = abs(result - exact), (amplified, single)[i // TRIES]
            np.maximum(largest, np.where(np.isfinite(moved), moved, 0.0), out=largest)
        # Where a thousand roundings do not do much more than one, the function is chaotic: no digit is known.
        chaotic = (single > 16 * amplified / AMPLIFICATION) & (single > 64 * epsilon * abs(exact))
    return np.where(chaotic, np.inf, np.maximum(amplified / AMPLIFICATION, single))


def _perturbation(signs: Any, factors: Any, units: Any) -> Rounding:
    """Return a function that changes each element by plus or minus so many rounding units.

    Each call takes the signs from another place on. The factors for float64 are ``factors``.
    """
    places = itertools.count(1)

    def perturb(value: jax.Array, epsilon: float) -> jax.Array:
        is_float64 = epsilon == _EPSILON
        row = factors if is_float64 else signs
        if 2 * value.size > _SIGNS:
            row = jnp.tile(row, value.size // _SIGNS + 2)
        start = next(places) * 0x9E3779B1 % (len(row) - value.size)
        factor = lax.slice(row, (start,), (start + value.size,)).reshape(value.shape)
        if not is_float64:
            factor = 1.0 + factor * jnp.minimum(units * epsilon, _LARGEST)
        return value * factor.astype(value.dtype)

    return perturb


def noise_by_differences(
    call: Callable[..., np.ndarray], epsilon: float, vectors: tuple[np.ndarray, ...]
) -> np.ndarray:
    """Return the round-off of each output of a function that can only be called, along a random line."""
    line = vectors[0] * np.random.default_rng(0).uniform(-1, 1, vectors[0].shape)
    noise = epsilon * abs(call(*vectors))
    for spacing in (2.0**-20, 2.0**-30, 2.0**-40):
        row = [call(vectors[0] + k * spacing * line, *vectors[1:]) for k in range(7)]
        with np.errstate(invalid="ignore"):
            moved = np.max(abs(np.diff(row, 4, axis=0)), axis=0) / 8
        noise = np.maximum(noise, np.where(np.isfinite(moved), moved, 0.0))
    return noise

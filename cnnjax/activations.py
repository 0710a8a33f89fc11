"""Activation functions by name, and LeNet-5's scaled hyperbolic tangent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import jax
import jax.numpy as jnp

__all__ = ["ACTIVATIONS", "ActivationName", "scaled_tanh"]

ActivationName = Literal[
    "identity",
    "scaled_tanh",
    "tanh",
    "sigmoid",
    "relu",
    "relu6",
    "gelu",
    "gelu_exact",
    "silu",
    "hard_sigmoid",
    "hard_swish",
]
"""The names of the activation functions in `ACTIVATIONS`."""

AMPLITUDE = 1.7159
SLOPE = 2 / 3


def scaled_tanh(a: jax.Array) -> jax.Array:
    """Return the activation function of LeNet-5, which the paper calls its squashing function, elementwise::

        f(a) = A tanh(S a),   A = 1.7159,  S = 2/3

    With these constants f(1) = 1 and f(-1) = -1 (to 3e-6, by the rounding of A), so the targets +1 and -1 lie
    where the second derivative is largest and not where the function saturates.

    Args:
        a: the sums, of any shape.

    Returns:
        f(a), of the same shape.

    Example:
        >>> print(scaled_tanh(jnp.array([-1.0, 0.0, 1.0])).round(4))
        [-1.  0.  1.]

    Source: LeCun et al. 1998, section II.B and appendix A.
    """
    return AMPLITUDE * jnp.tanh(SLOPE * a)


def _identity(a: jax.Array) -> jax.Array:
    return a


def _gelu_exact(a: jax.Array) -> jax.Array:
    return jax.nn.gelu(a, approximate=False)


ACTIVATIONS: Mapping[ActivationName, Callable[[jax.Array], jax.Array]] = MappingProxyType(
    {
        "identity": _identity,
        "scaled_tanh": scaled_tanh,
        "tanh": jnp.tanh,
        "sigmoid": jax.nn.sigmoid,
        "relu": jax.nn.relu,
        "relu6": jax.nn.relu6,
        "gelu": jax.nn.gelu,
        "gelu_exact": _gelu_exact,
        "silu": jax.nn.silu,
        "hard_sigmoid": jax.nn.hard_sigmoid,
        "hard_swish": jax.nn.hard_swish,
    }
)
"""Name to function; every function is elementwise. "gelu" is the approximation by tanh, as in `jax.nn`."""

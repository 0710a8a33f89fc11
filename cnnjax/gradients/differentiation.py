"""The derivatives that JAX computes, through the rules under test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["MODES", "Mode", "conjugate", "differentiate"]

Mode = Literal["fwd", "rev", "lin"]
"""A kind of differentiation: ``jax.jvp``, ``jax.vjp`` or ``jax.linearize``."""

MODES: tuple[Mode, ...] = ("fwd", "rev", "lin")


def differentiate(mode: Mode, call: Callable[[Any], Any], x: Any, probe: Any) -> tuple[Any, Any]:
    """Return the derivative of ``call`` at ``x`` that JAX computes, and the value that comes with it.

    ``probe`` is a cotangent for "rev" and a tangent for "fwd" and "lin".
    """
    if mode == "rev":
        value, pullback = jax.vjp(call, x)
        return pullback(probe)[0], value
    if mode == "fwd":
        value, tangent = jax.jvp(call, (x,), (probe,))
        return tangent, value
    value, pushforward = jax.linearize(call, x)
    return pushforward(probe), value


def conjugate(arrays: Iterable[Any]) -> list[Any]:
    """Conjugate complex arrays: a cotangent of real and imaginary parts is the conjugate of JAX's complex cotangent."""
    return [lax.conj(a) if jnp.iscomplexobj(a) else a for a in arrays]

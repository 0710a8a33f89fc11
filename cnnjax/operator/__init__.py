"""The convolution operator: one trilinear form, several methods that compute its three derivatives, one choice.

`primitives` makes the form known to JAX; `methods` compute it; `choice` picks one for each direction. What calls the
operator has checked the arguments.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from cnnjax._errors import ArgumentTypeError, ArgumentValueError, complaint, describe
from cnnjax._shapes import Geometry
from cnnjax.operator.calls import DIRECTIONS, Call
from cnnjax.operator.choice import choose
from cnnjax.operator.methods import BY_NAME
from cnnjax.operator.primitives import forward

__all__ = ["METHODS", "Call", "check_method", "choices", "convolve"]

METHODS: tuple[str, ...] = tuple(BY_NAME)


def check_method(call: str, method: Any) -> None:
    """Raise unless `method` is "auto" or one of METHODS."""
    if method != "auto" and method not in METHODS:
        error = ArgumentValueError if isinstance(method, str) else ArgumentTypeError
        expected = 'one of "auto", ' + ", ".join(f'"{name}"' for name in METHODS)
        raise error(
            complaint(call, "method", got=describe(method), expected=expected, fix='use method="auto" or leave it out')
        )


def convolve(
    name: str, x: jax.Array, w: jax.Array, geometry: Geometry, groups: int, method: str, dtype: Any, precision: Any
) -> jax.Array:
    """Convolve x (N, *size, C_in) with w (*kernel, C_in / groups, C_out) into (N, *output, C_out) of `dtype`.

    Raises ArgumentValueError, for the function called `name`, when the method does not serve this call.
    """
    widest = max(x.dtype, w.dtype, jnp.dtype(dtype), key=lambda candidate: candidate.itemsize)
    call = Call(geometry, x.shape[0], x.shape[-1], w.shape[-1], groups, method, precision, widest)
    _check_served(name, call)
    return forward(x, w, call, dtype)


def choices(name: str, call: Call, platform: str) -> tuple[dict[str, tuple[str, str]], dict[str, str | None]]:
    """For each direction the chosen method and why; for each method the reason why it does not serve, or None."""
    _check_served(name, call)
    chosen = {direction: choose(direction, call, platform) for direction in DIRECTIONS}
    return chosen, {other.name: other.refuses(call) for other in BY_NAME.values()}


def _check_served(name: str, call: Call) -> None:
    """Raise ArgumentValueError unless the method of a call serves it."""
    reason = None if call.method == "auto" else BY_NAME[call.method].refuses(call)
    if reason is not None:
        serving = ", ".join(f'"{other.name}"' for other in BY_NAME.values() if other.refuses(call) is None)
        raise ArgumentValueError(
            complaint(
                name,
                "method",
                got=f"{call.method!r}, which does not serve this call: {reason}",
                expected=f'"auto" or one that does: {serving}',
                fix='use method="auto"',
            )
        )

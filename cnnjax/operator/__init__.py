"""The convolution operator: one trilinear form, several methods that compute its three derivatives, one choice.

`primitives` makes the form known to JAX; `methods` compute it; `choice` picks one for each direction. What calls the
operator has checked the arguments.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax

from cnnjax._errors import ArgumentTypeError, ArgumentValueError, complaint, describe
from cnnjax._shapes import Geometry
from cnnjax.operator.calls import DIRECTIONS, Call, widest
from cnnjax.operator.choice import choose
from cnnjax.operator.methods import BY_NAME
from cnnjax.operator.primitives import forward
from cnnjax.operator.tuned import Tuned

__all__ = ["METHODS", "Call", "Tuned", "check_method", "check_served", "choices", "convolve"]

METHODS: tuple[str, ...] = tuple(BY_NAME)


def check_method(call: str, method: Any) -> None:
    """Raise unless `method` is "auto", one of METHODS, or measurements."""
    if method != "auto" and method not in METHODS and not isinstance(method, Tuned):
        error = ArgumentValueError if isinstance(method, str) else ArgumentTypeError
        expected = 'one of "auto", ' + ", ".join(f'"{name}"' for name in METHODS) + ", or what cnnjax.tune returns"
        raise error(
            complaint(call, "method", got=describe(method), expected=expected, fix='use method="auto" or leave it out')
        )


def convolve(
    name: str,
    x: jax.Array,
    w: jax.Array,
    geometry: Geometry,
    groups: int,
    method: str | Tuned,
    dtype: Any,
    precision: Any,
) -> jax.Array:
    """Convolve x (N, *size, C_in) with w (*kernel, C_in / groups, C_out) into (N, *output, C_out) of `dtype`.

    Raises ArgumentValueError, for the function called `name`, when the method does not serve this call.
    """
    maps = x.shape[-1], w.shape[-1], groups
    call = Call(geometry, x.shape[0], *maps, precision=precision, dtype=widest(x.dtype, w.dtype, dtype))
    return forward(x, w, _asking(name, call, method), dtype)


def choices(
    name: str, call: Call, method: str | Tuned, platform: str
) -> tuple[dict[str, tuple[str, str]], dict[str, str | None]]:
    """For each direction the chosen method and why; for each method the reason why it does not serve, or None."""
    asking = _asking(name, call, method)
    chosen = {direction: choose(direction, asking.asked(direction, platform), platform) for direction in DIRECTIONS}
    if isinstance(method, Tuned):
        chosen = {direction: method.explained(call, direction, *why) for direction, why in chosen.items()}
    return chosen, {other.name: other.refuses(call) for other in BY_NAME.values()}


def check_served(name: str, call: Call, method: str) -> None:
    """Raise ArgumentValueError, for the function called `name`, unless a method serves a call."""
    reason = None if method == "auto" else BY_NAME[method].refuses(call)
    if reason is not None:
        serving = ", ".join(f'"{other.name}"' for other in BY_NAME.values() if other.refuses(call) is None)
        raise ArgumentValueError(
            complaint(
                name,
                "method",
                got=f"{method!r}, which does not serve this call: {reason}",
                expected=f'"auto" or one that does: {serving}',
                fix='use method="auto"',
            )
        )


def _asking(name: str, call: Call, method: str | Tuned) -> Call:
    """The call with its method: the program of a call carries what was asked for, or what was measured."""
    if isinstance(method, Tuned):
        return replace(call, measured=method.measured(call))
    check_served(name, call, method)
    return replace(call, method=method)

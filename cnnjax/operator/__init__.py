"""The convolution operator: one trilinear form, several methods that compute its three derivatives, one choice.

`primitives` makes the form known to JAX; `methods` compute it; `choice` picks one for each direction. What calls the
operator has checked the arguments.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax

from cnnjax._core.lazy import lazy_submodules
from cnnjax._core.messages import describe, type_error, value_error
from cnnjax._core.shapes import Geometry
from cnnjax.operator.choice import choose
from cnnjax.operator.methods import BY_NAME
from cnnjax.operator.primitives import forward
from cnnjax.operator.spec import DIRECTIONS, ConvSpec, MethodName, widest
from cnnjax.operator.tuned import Tuned

__all__ = ["METHODS", "ConvSpec", "MethodName", "Tuned", "check_method", "check_served", "choices", "convolve"]

# They describe and measure convolutions, which are built on this package.
__getattr__ = lazy_submodules(__name__, "explanation", "tuning")

METHODS: tuple[MethodName, ...] = tuple(BY_NAME)


def check_method(caller: str, method: Any) -> None:
    """Raise unless `method` is "auto", one of METHODS, or measurements."""
    if method != "auto" and method not in METHODS and not isinstance(method, Tuned):
        error = value_error if isinstance(method, str) else type_error
        expected = 'one of "auto", ' + ", ".join(f'"{name}"' for name in METHODS) + ", or what cnnjax.tune returns"
        raise error(caller, "method", got=describe(method), expected=expected, fix='use method="auto" or leave it out')


def convolve(
    caller: str,
    x: jax.Array,
    w: jax.Array,
    geometry: Geometry,
    groups: int,
    method: MethodName | Tuned,
    dtype: Any,
    precision: Any,
) -> jax.Array:
    """Convolve x (N, *size, C_in) with w (*kernel, C_in / groups, C_out) into (N, *output, C_out) of `dtype`.

    Raises ArgumentValueError, for the function `caller`, when the method does not serve this call.
    """
    maps = x.shape[-1], w.shape[-1], groups
    spec = ConvSpec(geometry, x.shape[0], *maps, precision=precision, dtype=widest(x.dtype, w.dtype, dtype))
    return forward(x, w, _asking(caller, spec, method), dtype)


def choices(
    caller: str, spec: ConvSpec, method: MethodName | Tuned, platform: str
) -> tuple[dict[str, tuple[str, str]], dict[str, str | None]]:
    """For each direction the chosen method and why; for each method the reason why it does not serve, or None."""
    asking = _asking(caller, spec, method)
    chosen = {direction: choose(direction, asking.asked(direction, platform), platform) for direction in DIRECTIONS}
    if isinstance(method, Tuned):
        chosen = {direction: method.explained(spec, direction, *why) for direction, why in chosen.items()}
    return chosen, {other.name: other.refuses(spec) for other in BY_NAME.values()}


def check_served(caller: str, spec: ConvSpec, method: MethodName) -> None:
    """Raise ArgumentValueError, for the function `caller`, unless a method serves a call."""
    reason = None if method == "auto" else BY_NAME[method].refuses(spec)
    if reason is not None:
        serving = ", ".join(f'"{other.name}"' for other in BY_NAME.values() if other.refuses(spec) is None)
        raise value_error(
            caller,
            "method",
            got=f"{method!r}, which does not serve this call: {reason}",
            expected=f'"auto" or one that does: {serving}',
            fix='use method="auto"',
        )


def _asking(caller: str, spec: ConvSpec, method: MethodName | Tuned) -> ConvSpec:
    """The call with its method: the program of a call carries what was asked for, or what was measured."""
    if isinstance(method, Tuned):
        return replace(spec, measured=method.measured(spec))
    check_served(caller, spec, method)
    return replace(spec, method=method)

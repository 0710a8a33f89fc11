"""The convolution operator: one trilinear form, several methods for its three directions, one rule to choose.

`primitives` makes the three directions JAX primitives; `methods` compute them; `choice` picks a method for each. The
arguments have been checked by the public function that calls `convolve` or `convolve_transpose`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.lax import PrecisionLike
from jax.typing import DTypeLike

from cnnjax._core.lazy import lazy_submodules
from cnnjax._core.messages import describe, type_error, value_error
from cnnjax._core.shapes import Geometry
from cnnjax.operator.choice import Choice, choose
from cnnjax.operator.method import flipped
from cnnjax.operator.methods import BY_NAME
from cnnjax.operator.primitives import forward, input_gradient
from cnnjax.operator.spec import DIRECTIONS, ConvSpec, Direction, Links, MethodName, Platform, widest
from cnnjax.operator.tuned import Tuned

__all__ = [
    "METHODS",
    "ConvSpec",
    "Links",
    "MethodName",
    "Tuned",
    "check_method",
    "check_served",
    "choices",
    "convolve",
    "convolve_transpose",
]

# These describe and measure convolutions, which are built on this package.
__getattr__ = lazy_submodules(__name__, "explanation", "tuning")

METHODS: tuple[MethodName, ...] = tuple(BY_NAME)
"""The names of the methods, in the order in which they are listed."""


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
    dtype: DTypeLike,
    precision: PrecisionLike,
    links: Links | Literal["nonzero weights"] | None = None,
) -> jax.Array:
    """Convolve x (N, *size, C_in) with w (*kernel, C_in / groups, C_out) into (N, *output, C_out) of `dtype`.

    With `links`, an output map reads the maps that it is connected to; the weights of other pairs must be zero.

    Raises ArgumentValueError, for the function `caller`, if the method does not serve this convolution.
    """
    maps = x.shape[-1], w.shape[-1], groups
    spec = ConvSpec(geometry, x.shape[0], *maps, precision=precision, dtype=widest(x.dtype, w.dtype, dtype))
    return forward(x, w, replace(_with_method(caller, spec, method), links=links), dtype)


def convolve_transpose(
    caller: str,
    y: jax.Array,
    w: jax.Array,
    geometry: Geometry,
    groups: int,
    method: MethodName | Tuned,
    dtype: DTypeLike,
    precision: PrecisionLike,
    links: Links | Literal["nonzero weights"] | None = None,
) -> jax.Array:
    """Apply the adjoint of `convolve` in x to y (N, *output, C_out): x (N, *size, C_in) of `dtype`.

    Raises ArgumentValueError, for the function `caller`, if the method does not serve this convolution.
    """
    if not jnp.issubdtype(y.dtype, jnp.inexact):
        # JAX differentiates no integers, nor do the methods: their adjoints are a convolution with the flipped kernel.
        y, w, of_flipped = flipped(y, w, geometry, groups)
        return convolve(caller, y, w, of_flipped, groups, method, dtype, precision)
    maps = w.shape[-2] * groups, w.shape[-1], groups
    spec = ConvSpec(geometry, y.shape[0], *maps, precision=precision, dtype=widest(y.dtype, w.dtype, dtype))
    return input_gradient(w, y, replace(_with_method(caller, spec, method), links=links), dtype)


def choices(
    caller: str, spec: ConvSpec, method: MethodName | Tuned, platform: Platform
) -> tuple[dict[Direction, Choice], dict[MethodName, str | None]]:
    """Return the choice for each direction, and for each method why it does not serve the convolution, or None."""
    requested = _with_method(caller, spec, method)
    chosen: dict[Direction, Choice] = {}
    for direction in DIRECTIONS:
        choice = choose(direction, requested.resolved(direction, platform), platform)
        chosen[direction] = method.explain(spec, direction, choice) if isinstance(method, Tuned) else choice
    return chosen, {name: candidate.refuses(spec) for name, candidate in BY_NAME.items()}


def check_served(caller: str, spec: ConvSpec, method: MethodName) -> None:
    """Raise ArgumentValueError, for the function `caller`, unless the method serves the convolution."""
    reason = None if method == "auto" else BY_NAME[method].refuses(spec)
    if reason is not None:
        serving = ", ".join(f'"{name}"' for name, candidate in BY_NAME.items() if candidate.refuses(spec) is None)
        raise value_error(
            caller,
            "method",
            got=f"{method!r}, which does not serve this call: {reason}",
            expected=f'"auto" or one that does: {serving}',
            fix='use method="auto"',
        )


def _with_method(caller: str, spec: ConvSpec, method: MethodName | Tuned) -> ConvSpec:
    """Write the method, or what was measured, into the spec: it becomes part of the traced program."""
    if isinstance(method, Tuned):
        return replace(spec, measured=method.measured(spec))
    check_served(caller, spec, method)
    return replace(spec, method=method)

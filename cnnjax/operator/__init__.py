"""The convolution operator: several methods that compute one sum, and the choice between them.

A method is one file with a function `convolve(x, w, geometry, groups, dtype, precision)`; what calls it has checked
the arguments, so methods check nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cnnjax._errors import ArgumentTypeError, ArgumentValueError, complaint, describe
from cnnjax._shapes import Geometry
from cnnjax.operator import definition, xla

__all__ = ["METHODS", "check_method", "convolve"]

_BY_NAME: dict[str, Callable[..., jax.Array]] = {"definition": definition.convolve, "lax": xla.convolve}

METHODS: tuple[str, ...] = tuple(_BY_NAME)


def check_method(call: str, method: Any) -> None:
    """Raise unless `method` is "auto" or one of METHODS."""
    if method != "auto" and method not in METHODS:
        error = ArgumentValueError if isinstance(method, str) else ArgumentTypeError
        expected = 'one of "auto", ' + ", ".join(f'"{name}"' for name in METHODS)
        raise error(
            complaint(
                call,
                "method",
                got=describe(method),
                expected=expected,
                fix='use method="auto" or leave it out',
            )
        )


def convolve(
    x: jax.Array, w: jax.Array, geometry: Geometry, groups: int, method: str, dtype: jnp.dtype, precision: Any
) -> jax.Array:
    """Convolve x (N, *size, C_in) with w (*kernel, C_in / groups, C_out) by the named method, "auto" for "lax"."""
    chosen = "lax" if method == "auto" else method
    return _BY_NAME[chosen](x, w, geometry, groups, dtype, precision)

"""A convolution from its arguments to its result: check them, apply the connection table, call the operator."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax import operator
from cnnjax._core.arguments import (
    as_array,
    as_images,
    as_optional_array,
    check_bias,
    check_rank,
    check_same_dtype,
    dtype_or_none,
)
from cnnjax._core.messages import describe, type_error
from cnnjax._core.shapes import AXES, check_maps, kernel_axes
from cnnjax._core.windows import pad_boundary
from cnnjax.conv.settings import ConvSettings
from cnnjax.conv.tables import reorder_maps, wired

__all__ = ["add_bias", "convolve", "result_dtype", "summed_in"]


def convolve(
    caller: str, spatial_axes: int, x: Any, w: Any, b: Any, settings: ConvSettings, *, argument: str = "w"
) -> jax.Array:
    """Convolve x with w over 1 to 3 spatial axes, for the public function `caller`, which names w `argument`.

    Raises TypeError and ValueError as `conv2d` documents.
    """
    x, batched = as_images(caller, "x", x, (*AXES[spatial_axes], "C_in"), integers=True)
    w = as_array(caller, "w", w, integers=True)
    check_rank(caller, "w", w, (*kernel_axes(spatial_axes), "C_in / groups", "C_out"))
    b = as_optional_array(caller, "b", b, integers=True)
    check_same_dtype(caller, x=x, w=w, b=b)
    groups = check_maps(caller, x.shape if batched else x.shape[1:], w.shape, settings.groups)
    if b is not None:
        check_bias(caller, b, w.shape[-1:], "one bias for each output map, C_out")
    operator.check_method(caller, settings.method)
    dtype = result_dtype(caller, x.dtype, settings.preferred_element_type)
    geometry = settings.geometry(caller, x.shape[1:-1], w.shape[:-2], argument)
    x, w = summed_in(dtype, x, w)
    w, wiring = wired(caller, w, settings, groups)

    x, geometry = pad_boundary(x, geometry)
    x, method, links = reorder_maps(x, wiring.inputs), settings.method, wiring.links
    y = operator.convolve(caller, x, w, geometry, wiring.groups, method, dtype, settings.precision, links)
    y = reorder_maps(y, np.argsort(wiring.outputs))
    y = y if b is None else add_bias(y, b)
    return y if batched else y[0]


def add_bias(y: jax.Array, b: jax.Array) -> jax.Array:
    """Add a bias (C,) to the maps of y (..., C)."""
    return y + lax.expand_dims(b, range(y.ndim - 1)).astype(y.dtype)


def summed_in(dtype: jnp.dtype, x: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return x and w as they are, or in `dtype` if they are integers and it is not: lax, too, multiplies in `dtype`."""
    of_integers = jnp.issubdtype(x.dtype, jnp.integer) and not jnp.issubdtype(dtype, jnp.integer)
    return (x.astype(dtype), w.astype(dtype)) if of_integers else (x, w)


_RESULTS: dict[Any, tuple[tuple[Any, ...], str]] = {
    jnp.complexfloating: ((jnp.complexfloating,), "a complex"),
    jnp.floating: ((jnp.floating,), "a floating"),
    jnp.signedinteger: ((jnp.signedinteger, jnp.floating), "a signed integer or floating"),
    jnp.unsignedinteger: ((jnp.integer, jnp.floating), "an integer or floating"),
}
"""The kinds of dtype that a convolution of each kind may have, and how they are named; the same as those of lax."""


def result_dtype(caller: str, dtype: jnp.dtype, preferred: Any) -> jnp.dtype:
    """Return `preferred` if a convolution of arrays of `dtype` may have it, and `dtype` if it is None.

    It is at least as wide and of the same kind; of unsigned integers it may be signed, of integers floating.
    """
    if preferred is None:
        return dtype
    result = dtype_or_none(preferred)
    kinds, named = next(allowed for kind, allowed in _RESULTS.items() if jnp.issubdtype(dtype, kind))
    fits = result is not None and any(jnp.issubdtype(result, kind) for kind in kinds)
    if result is None or not fits or result.itemsize < dtype.itemsize:
        raise type_error(
            caller,
            "preferred_element_type",
            got=describe(preferred) if result is None else str(result),
            expected=f"{named} dtype at least as wide as {dtype}",
            fix="leave it out and cast the result, or cast x and w first",
        )
    return result

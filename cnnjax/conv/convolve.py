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

__all__ = ["add_bias", "convolve", "result_dtype"]


def convolve(
    caller: str, spatial_axes: int, x: Any, w: Any, b: Any, settings: ConvSettings, *, argument: str = "w"
) -> jax.Array:
    """Convolve x with w over 1 to 3 spatial axes, for the public function `caller`, which names w `argument`.

    Raises TypeError and ValueError as `conv2d` documents.
    """
    x, batched = as_images(caller, "x", x, (*AXES[spatial_axes], "C_in"))
    w = as_array(caller, "w", w)
    check_rank(caller, "w", w, (*kernel_axes(spatial_axes), "C_in / groups", "C_out"))
    b = as_optional_array(caller, "b", b)
    check_same_dtype(caller, x=x, w=w, b=b)
    groups = check_maps(caller, x.shape if batched else x.shape[1:], w.shape, settings.groups)
    if b is not None:
        check_bias(caller, b, w.shape[-1:], "one bias for each output map, C_out")
    operator.check_method(caller, settings.method)
    dtype = result_dtype(caller, x.dtype, settings.preferred_element_type)
    geometry = settings.geometry(caller, x.shape[1:-1], w.shape[:-2], argument)
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


def result_dtype(caller: str, dtype: jnp.dtype, preferred: Any) -> jnp.dtype:
    """Return `preferred` if it is a dtype at least as wide as `dtype` and of its kind, and `dtype` if it is None."""
    if preferred is None:
        return dtype
    result = dtype_or_none(preferred)
    is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
    kind, named = (jnp.complexfloating, "complex") if is_complex else (jnp.floating, "floating")
    if result is None or not jnp.issubdtype(result, kind) or result.itemsize < dtype.itemsize:
        raise type_error(
            caller,
            "preferred_element_type",
            got=describe(preferred) if result is None else str(result),
            expected=f"a {named} dtype at least as wide as {dtype}",
            fix="leave it out and cast the result, or cast x and w first",
        )
    return result

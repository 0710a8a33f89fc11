"""The function of a direction by cnnjax and by jax.lax, and its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import cnnjax
from benchmarks.configurations.configuration import Configuration, Convolution, Pool
from cnnjax.operator.spec import Direction

__all__ = ["LIBRARIES", "arguments", "function", "method"]

LIBRARIES = ("cnnjax", "lax")
_LAYOUT = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}


def function(library: str, of: Configuration, direction: str) -> Callable[..., jax.Array]:
    """A function of the arrays in `arguments`; new at each call, so that nothing of it has been compiled.

    A gradient is that of one array alone, as the derivative of a layer computes it.
    """
    if isinstance(of, Pool):
        pool = _pool_of_cnnjax(of) if library == "cnnjax" else _pool_of_lax(of)
        if direction == "forward":
            return lambda x: pool(x)
        return lambda x, y: jax.vjp(pool, x)[1](y)[0]
    convolve = _convolution_of_cnnjax(of) if library == "cnnjax" else _convolution_of_lax(of)
    source, weights = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (of.y if of.transposed else of.x, of.w))
    if direction == "forward":
        return lambda x, w: convolve(x, w)
    if direction == "input_gradient":
        return lambda w, y: jax.linear_transpose(lambda x: convolve(x, w), source)(y)[0]
    return lambda x, y: jax.linear_transpose(lambda w: convolve(x, w), weights)(y)[0]


def arguments(of: Configuration, direction: str, seed: int = 0) -> tuple[jax.Array, ...]:
    """The arrays that a direction reads, in float32: normal numbers, and for pools distinct ones.

    Equal maxima share the gradient in cnnjax, and lax gives it to the first, so a maximum must be unique.
    """
    random = np.random.default_rng(seed)
    normal = lambda shape: random.standard_normal(shape, np.float32)  # noqa: E731
    if isinstance(of, Pool):
        n = math.prod(of.x)
        x = ((random.permutation(n).astype(np.float32) - n / 2) / max(n, 1)).reshape(of.x)
        return tuple(map(jnp.asarray, (x,) if direction == "forward" else (x, normal(of.y))))
    source, result = (of.y, of.x) if of.transposed else (of.x, of.y)
    shapes = {"forward": (source, of.w), "input_gradient": (of.w, result), "weight_gradient": (source, result)}
    return tuple(jnp.asarray(normal(shape)) for shape in shapes[direction])


def method(of: Configuration, direction: str) -> str:
    """The method that cnnjax chooses for a direction; a pool has none: ""."""
    if isinstance(of, Pool):
        return ""
    if of.transposed and direction != "weight_gradient":
        direction = "input_gradient" if direction == "forward" else "forward"
    settings: dict[str, Any] = {"stride": of.stride, "padding": of.padding, "dilation": of.dilation}
    explanation = cnnjax.explain(of.x, of.w, **settings, groups=of.groups)
    return explanation.chosen[cast(Direction, direction)].method


def _convolution_of_cnnjax(of: Convolution) -> Callable[..., jax.Array]:
    settings: dict[str, Any] = {
        "stride": of.stride,
        "padding": of.padding,
        "dilation": of.dilation,
        "groups": of.groups,
    }
    if of.transposed:
        convolve = getattr(cnnjax, f"conv{len(of.size)}d_transpose")
        settings["output_padding"] = of.output_padding
    else:
        convolve = getattr(cnnjax, f"conv{len(of.size)}d")
    return lambda x, w: convolve(x, w, **settings)


def _convolution_of_lax(of: Convolution) -> Callable[..., jax.Array]:
    settings: dict[str, Any] = {
        "window_strides": of.stride,
        "padding": of.geometry.pads,
        "rhs_dilation": of.dilation,
        "dimension_numbers": _LAYOUT[len(of.size)],
        "feature_group_count": of.groups,
    }
    if not of.transposed:
        return lambda x, w: lax.conv_general_dilated(x, w, **settings)
    like = jax.ShapeDtypeStruct(of.x, jnp.float32)
    return lambda y, w: jax.linear_transpose(lambda x: lax.conv_general_dilated(x, w, **settings), like)(y)[0]


def _pool_of_cnnjax(of: Pool) -> Callable[[jax.Array], jax.Array]:
    pool = getattr(cnnjax, f"{'avg' if of.average else 'max'}_pool{len(of.size)}d")
    return lambda x: pool(x, of.window, stride=of.stride, padding=of.padding)


def _pool_of_lax(of: Pool) -> Callable[[jax.Array], jax.Array]:
    geometry = of.geometry
    where = ((1, *of.window, 1), (1, *of.stride, 1), ((0, 0), *geometry.pads, (0, 0)))
    if not of.average:
        return lambda x: lax.reduce_window(x, -jnp.inf, lax.max, *where)
    if not any(map(any, geometry.pads)):
        return lambda x: lax.reduce_window(x, 0.0, lax.add, *where) / math.prod(of.window)
    count = np.ones((1, *geometry.output, 1), np.float32)
    for axis, (n, k, s, (before, _)) in enumerate(
        zip(geometry.size, geometry.kernel, geometry.stride, geometry.pads, strict=True), 1
    ):
        first = s * np.arange(geometry.output[axis - 1]) - before
        inside = np.minimum(first + k, n) - np.maximum(first, 0)
        count *= inside.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(count.ndim)])
    return lambda x: lax.reduce_window(x, 0.0, lax.add, *where) / count

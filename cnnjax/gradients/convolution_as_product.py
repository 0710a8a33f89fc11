"""A convolution in float64 as a matrix product.

On a CPU, XLA has a fast convolution for float32 and narrower floats, and plain loops for float64, which take up to ten
times as long as the product of the same numbers.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["convolve", "is_faster_as_product"]

_MANY_PRODUCTS = 2**18  # from which on the loops take longer than compiling a few more operations
_MANY_FEATURES = 8  # of the output, among which the cost of collecting the patches is divided
_LARGEST = 2**24  # numbers in all patches
_UNROLLED = 32  # slices along one axis


def is_faster_as_product(eqn: Any) -> bool:
    """Whether an equation of a jaxpr is a convolution that takes less time as a product when it is widened."""
    if eqn.primitive.name != "conv_general_dilated" or jax.default_backend() != "cpu":
        return False
    if eqn.params["feature_group_count"] > 1 or eqn.params["batch_group_count"] > 1:
        return False
    features, _, *lengths = (eqn.invars[1].aval.shape[i] for i in eqn.params["dimension_numbers"].rhs_spec)
    samples, _, *counts = (eqn.outvars[0].aval.shape[i] for i in eqn.params["dimension_numbers"].out_spec)
    patches = samples * math.prod(counts) * math.prod(eqn.invars[1].aval.shape) // max(features, 1)
    large = features >= _MANY_FEATURES and patches * features >= _MANY_PRODUCTS
    return large and patches <= _LARGEST and all(min(pair) <= _UNROLLED for pair in zip(lengths, counts, strict=True))


def convolve(x: Any, kernel: Any, params: dict[str, Any]) -> jax.Array:
    """Return the convolution of ``x`` with ``kernel``, where ``params`` are those of its equation, without groups.

    The patches (N, *positions, *kernel, C) are cut out one axis after the other, by a slice for each element of the
    kernel or for each position, whichever are fewer.
    """
    dimensions, positions = params["dimension_numbers"], []
    x = lax.transpose(x, (dimensions.lhs_spec[0], *dimensions.lhs_spec[2:], dimensions.lhs_spec[1]))
    kernel = lax.transpose(kernel, (*dimensions.rhs_spec[2:], dimensions.rhs_spec[1], dimensions.rhs_spec[0]))
    padding = [(*ends, dilation - 1) for ends, dilation in zip(params["padding"], params["lhs_dilation"], strict=True)]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *padding, (0, 0, 0)])
    for axis, (stride, dilation) in enumerate(zip(params["window_strides"], params["rhs_dilation"], strict=True), 1):
        length = kernel.shape[axis - 1]
        count = (x.shape[axis] - (length - 1) * dilation - 1) // stride + 1
        positions.append(count)
        if length <= count:
            x = jnp.stack([_strided(x, axis, k * dilation, count, stride) for k in range(length)], -2)
        else:
            patches = jnp.stack([_strided(x, axis, o * stride, length, dilation) for o in range(count)], axis)
            x = jnp.moveaxis(patches, axis + 1, -2)
    samples, features = x.shape[0], kernel.shape[-1]
    product = x.reshape(samples * math.prod(positions), -1) @ kernel.reshape(-1, features)
    spatial = range(1, len(positions) + 1)
    as_listed = lax.transpose(product.reshape(samples, *positions, features), (0, len(positions) + 1, *spatial))
    return lax.transpose(as_listed, np.argsort(dimensions.out_spec))


def _strided(x: Any, axis: int, start: int, count: int, step: int) -> jax.Array:
    return lax.slice_in_dim(x, start, start + (count - 1) * step + 1, step, axis)

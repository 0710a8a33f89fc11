"""One matrix product, where a convolution is nothing else: a 1 x 1 kernel, or a kernel as large as the image.

    1 x 1:  y (N P, C_out) = x (N P, C_in) @ w (C_in, C_out)
    whole:  y (N, C_out)   = x (N, size C_in) @ w (size C_in, C_out)

Cost: as the definition, without patches. It serves ungrouped calls without padding.

Source: Lin, Chen and Yan 2014, "Network in network", section 3.1, for the first; LeCun et al. 1998, layer C5, for the
second.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.operator.calls import Call, Method, transposed_in_w, transposed_in_x

__all__ = ["METHOD", "is_pointwise", "is_whole"]


def is_pointwise(call: Call) -> bool:
    """Whether the kernel is 1 x 1, without padding."""
    return call.taps == 1 and call.geometry.padded == call.geometry.size


def is_whole(call: Call) -> bool:
    """Whether the kernel covers the image, without padding."""
    return call.geometry.kernel == call.geometry.size == call.geometry.padded and call.unit_dilation


def _refuses(call: Call) -> str | None:
    if call.groups != 1:
        return "it is for one group"
    if not (is_pointwise(call) or is_whole(call)):
        return "the kernel is neither 1 x 1 nor as large as the image, or there is padding"
    return None


def _convolve(x: jax.Array, w: jax.Array, call: Call) -> jax.Array:
    if is_whole(call):
        rows = w.reshape(math.prod(call.geometry.size) * call.c_in, call.c_out)
        y = jnp.matmul(x.reshape(call.n, -1), rows, precision=call.precision)
        return y.reshape(call.y_shape)
    stops = [(n - 1) * s + 1 for n, s in zip(call.geometry.output, call.geometry.stride, strict=True)]
    start = [0] * len(call.x_shape)
    x = lax.slice(x, start, (call.n, *stops, call.c_in), (1, *call.geometry.stride, 1))
    return jnp.matmul(x, w.reshape(call.c_in, call.c_out), precision=call.precision)


METHOD = Method("matmul", _convolve, transposed_in_x(_convolve), transposed_in_w(_convolve), _refuses)

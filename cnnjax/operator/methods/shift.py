"""Shift and multiply: one matrix product for each tap, over the shifted image.

    y = sum over taps t of  shift_t(x) (N P, C_in) @ w[t] (C_in, C_out)

Cost: as the definition, in `taps` matrix products; no patches are stored. It serves ungrouped calls.

Source: the "accumulating 1 x 1" form; Anderson, Vasudevan, Keane and Gregg 2017, "Low-memory GEMM-based convolution
algorithms for deep neural networks", section 3.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cnnjax._windows import pad_zeros, under_each_tap
from cnnjax.operator.calls import Call, Method, transposed_in_w, transposed_in_x

__all__ = ["METHOD"]


def _refuses(call: Call) -> str | None:
    return None if call.groups == 1 else "it is for one group; use grouped or depthwise"


def _convolve(x: jax.Array, w: jax.Array, call: Call) -> jax.Array:
    y = jnp.zeros(call.y_shape, x.dtype)
    for tap, seen in under_each_tap(pad_zeros(x, call.geometry), call.geometry):
        y = y + jnp.matmul(seen, w[tap], precision=call.precision)
    return y


METHOD = Method(
    "shift", _convolve, transposed_in_x(_convolve), transposed_in_w(_convolve), _refuses, loops=("forward",)
)

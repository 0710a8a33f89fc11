"""im2col: write out the patch under every position as a row, then one matrix product.

    y (N P, C_out) = patches (N P, taps C_in) @ w (taps C_in, C_out)

Cost: as the definition, in one large product, and taps / stride^2 times the memory of the image for the patches. It
serves ungrouped calls.

Source: Chellapilla, Puri and Simard 2006, "High performance convolutional neural networks for document processing".
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
    padded = pad_zeros(x, call.geometry)
    patches = jnp.concatenate([seen for _, seen in under_each_tap(padded, call.geometry)], axis=-1)
    rows = w.reshape(call.taps * call.c_in, call.c_out)
    return jnp.matmul(patches, rows, precision=call.precision)


METHOD = Method("im2col", _convolve, transposed_in_x(_convolve), transposed_in_w(_convolve), _refuses)

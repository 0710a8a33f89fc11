"""Partial Toeplitz: a block of neighbouring outputs of a row in one product with a banded matrix of the kernel::

    y[n, i, r b : r b + r, :] = x[n, i s : i s + k_h, r b s : r b s + span, :] @ T,   span = (r - 1) s + k_w

T (k_h span C_in, r C_out) holds the kernel r times, each shifted by the stride. With few maps the products of the other
methods are too thin to fill the vector units; here they are r times as wide, for span / (r k_w) times the work.

Cost: span / k_w times the multiply-accumulates of r outputs, in one product. It serves one group and one or two
spatial axes, without dilation.

Source: the kernel as a banded Toeplitz matrix, Gray 2006, "Toeplitz and circulant matrices", section 1.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax._core.windows import MANY_TAPS, pad_constant
from cnnjax.operator.method import Method, transposed_in_w, transposed_in_x
from cnnjax.operator.spec import ConvSpec, Direction

__all__ = ["METHOD"]

# So many bytes of image and cotangent stay in the cache: products of them take half the time of a larger one. There may
# be this many times as many parts, so that they are equal; otherwise the batch stays whole.
_IN_CACHE, _MOST_TIMES = 2**24, 8


def _refuses(spec: ConvSpec) -> str | None:
    if spec.groups != 1 or len(spec.geometry.kernel) > 2:
        return "it is for one group and at most two axes"
    if math.prod(spec.geometry.kernel[:-1]) > MANY_TAPS:
        return f"it is for kernels of at most {MANY_TAPS} rows"
    return None if spec.unit_dilation else "it is for dilation 1"


def _convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    if len(spec.geometry.kernel) == 1:  # an image of one row
        return jnp.squeeze(_convolve(x[:, None], w[None], spec.with_one_row()), axis=1)
    geometry = spec.geometry
    (k_h, k_w), (s_h, s_w), (rows, columns) = geometry.kernel, geometry.stride, geometry.output
    block = min(8, columns)
    blocks = -(-columns // block)
    span = (block - 1) * s_w + k_w
    strips = _strips(pad_constant(x, geometry), blocks, block * s_w, span)

    # T[u, j, c, q, o] = w[u, j - q s, c, o] if that is a tap, else 0
    tap = np.arange(span)[:, None] - s_w * np.arange(block)[None]
    is_tap = (tap >= 0) & (tap < k_w)
    banded = jnp.where(is_tap[None, :, :, None, None], w[:, np.clip(tap, 0, k_w - 1)], jnp.zeros((), w.dtype))
    matrix = banded.transpose(0, 1, 3, 2, 4).reshape(k_h * span * spec.c_in, block * spec.c_out)

    last = (rows - 1) * s_h + 1
    patches = jnp.stack([lax.slice_in_dim(strips, u, u + last, s_h, axis=1) for u in range(k_h)], axis=3)
    y = jnp.matmul(patches.reshape(spec.n, rows, blocks, k_h * span * spec.c_in), matrix, precision=spec.precision)
    # The surplus columns of the last block are cut off.
    return y.reshape(spec.n, rows, blocks * block, spec.c_out)[:, :, :columns]


def _strips(padded: jax.Array, blocks: int, step: int, span: int) -> jax.Array:
    """The pixels under each block of outputs, (N, H, blocks, span, C): `span` columns, every `step` columns.

    A strip is a block of `step` columns and the first columns of the following ones, whatever the width.
    """
    n, height, width, maps = padded.shape
    following = -(-span // step)
    columns = (blocks + following - 1) * step
    padded = lax.pad(padded, jnp.zeros((), padded.dtype), [(0, 0, 0), (0, 0, 0), (0, columns - width, 0), (0, 0, 0)])
    parts = padded.reshape(n, height, -1, step, maps)
    together = [lax.slice_in_dim(parts, a, a + blocks, axis=2) for a in range(following)]
    return jnp.concatenate(together, axis=3)[:, :, :, :span]


def _parts_of_batch(spec: ConvSpec) -> int:
    """Into how many equal parts the batch is cut: image and cotangent of each take at most `_IN_CACHE` bytes."""
    numbers = math.prod(spec.x_shape) + math.prod(spec.y_shape)
    wanted = math.ceil(numbers * spec.accumulation_dtype.itemsize / _IN_CACHE)
    return next((parts for parts in range(wanted, _MOST_TIMES * wanted) if spec.n % parts == 0), 1)


def _spreads(direction: Direction, spec: ConvSpec) -> tuple[int, ...]:
    # Beside the band, T is zero; and in the input gradient so are the surplus columns of the last block.
    return {"forward": (0,), "input_gradient": (0, 1), "weight_gradient": ()}[direction]


METHOD = Method(
    "toeplitz",
    _convolve,
    transposed_in_x(_convolve),
    transposed_in_w(_convolve),
    _refuses,
    spreads=_spreads,
    parts_of_batch=_parts_of_batch,
)

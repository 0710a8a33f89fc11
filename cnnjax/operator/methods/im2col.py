"""im2col: write out the patch under every position as a row, then one matrix product.

    y (N P, C_out) = patches (N P, taps C_in) @ w (taps C_in, C_out)
    w (taps C_in, C_out) = patches^T (taps C_in, N P) @ y (N P, C_out)

The forward pass writes all patches out at once. The weight gradient takes a few images, or a few rows of one image, at
a time, so that their patches stay in the cache, and adds the products up.

Cost: as the definition, in large products, and taps / stride^2 times the memory of the image for the patches (for the
weight gradient 4 MiB at a time, 16 MiB of few maps). It serves ungrouped calls.

Source: Chellapilla, Puri and Simard 2006, "High performance convolutional neural networks for document processing".
"""

from __future__ import annotations

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax._shapes import Geometry
from cnnjax._windows import pad_zeros, under_each_tap
from cnnjax.operator.calls import Call, Method, transposed_in_x

__all__ = ["METHOD", "products_of_patches"]

# Patches of 1 to 16 MiB at a time were measured; 4 MiB was the fastest or next to it on every shape (docs/operator.md).
_BYTES_AT_A_TIME = 4 * 2**20
# Fewer floats side by side than a vector holds are slow to copy; copied in rows, larger products pay.
_FEW_MAPS = 8
_BYTES_OF_FEW_MAPS = 16 * 2**20


def _refuses(call: Call) -> str | None:
    return None if call.groups == 1 else "it is for one group; use grouped or depthwise"


def _convolve(x: jax.Array, w: jax.Array, call: Call) -> jax.Array:
    padded = pad_zeros(x, call.geometry)
    patches = jnp.concatenate([seen for _, seen in under_each_tap(padded, call.geometry)], axis=-1)
    rows = w.reshape(call.taps * call.c_in, call.c_out)
    return jnp.matmul(patches, rows, precision=call.precision)


def _weight_gradient(x: jax.Array, y: jax.Array, call: Call) -> jax.Array:
    return products_of_patches(x, y, call, 1).reshape(call.w_shape)


def products_of_patches(x: jax.Array, y: jax.Array, call: Call, blocks: int) -> jax.Array:
    """patches^T @ y, with the maps of x and y in so many blocks: (blocks, taps C_in / blocks, C_out / blocks)."""
    geometry, width = call.geometry, call.c_in // blocks
    stride, extent = geometry.stride[0], geometry.extent[0]
    thin = blocks == 1 and call.c_in <= _FEW_MAPS
    images, rows = _at_a_time(call, x.dtype.itemsize, _BYTES_OF_FEW_MAPS if thin else _BYTES_AT_A_TIME)
    parts, strips = max(1, -(-call.n // images)), -(-geometry.output[0] // rows)

    # The last images and rows are filled up with zeros, which add nothing.
    (before, _), *pads = geometry.pads
    missing, beyond = parts * images - call.n, strips * rows - geometry.output[0]
    after = (strips * rows - 1) * stride + extent - geometry.size[0] - before
    zero = jnp.zeros((), x.dtype)
    x = lax.pad(x, zero, [(0, missing, 0), (before, after, 0), *((a, b, 0) for a, b in pads), (0, 0, 0)])
    y = lax.pad(y, zero, [(0, missing, 0), (0, beyond, 0), *((0, 0, 0),) * (y.ndim - 2)])
    read = (rows - 1) * stride + extent
    strip = replace(geometry.after_padding(), size=(read, *geometry.padded[1:]))

    def product(step: jax.Array | int) -> jax.Array:
        image, row = step // strips * images, step % strips * rows
        seen = _blocks_first(_cut(x, (image, row * stride), (images, read)), blocks)
        given = _blocks_first(_cut(y, (image, row), (images, rows)), blocks)
        given = given.reshape(blocks, -1, call.c_out // blocks)
        if thin:
            product = jnp.einsum("mk,kn->mn", _rows_of_taps(seen, strip), given[0], precision=call.precision)
            return product.reshape(call.c_in, call.taps, -1).swapaxes(0, 1).reshape(1, -1, call.c_out)
        patches = jnp.concatenate([view for _, view in under_each_tap(seen, strip)], axis=-1)
        patches = patches.reshape(blocks, -1, call.taps * width)
        return jnp.einsum("bkm,bkn->bmn", patches, given, precision=call.precision)

    if parts * strips == 1:
        return product(0)
    total = jnp.zeros((blocks, call.taps * width, call.c_out // blocks), x.dtype)
    return lax.scan(lambda total, step: (total + product(step), None), total, jnp.arange(parts * strips))[0]


def _rows_of_taps(seen: jax.Array, strip: Geometry) -> jax.Array:
    """The patches transposed, (C_in taps, N P): copied along the rows of the image."""
    images, *size, maps = seen.shape
    planes = jnp.moveaxis(seen, -1, 0).reshape(maps * images, *size, 1)
    views = [view.reshape(maps, images, *strip.output) for _, view in under_each_tap(planes, strip)]
    return jnp.stack(views, axis=1).reshape(maps * len(views), -1)


def _at_a_time(call: Call, itemsize: int, most_bytes: int) -> tuple[int, int]:
    """How many images, and how many rows of one, to take in a product: as equal as the number of steps allows."""
    rows, *others = call.geometry.output
    row = itemsize * math.prod(others) * (call.taps * call.c_in + call.c_out)
    if row * rows <= most_bytes:
        most = most_bytes // max(1, row * rows)
        return -(-call.n // max(1, -(-call.n // most))) or 1, rows
    most = max(1, most_bytes // row)
    return 1, -(-rows // -(-rows // most))


def _cut(a: jax.Array, start: tuple[jax.Array | int, ...], size: tuple[int, int]) -> jax.Array:
    """Some images and rows of a, from `start` on, whole along the other axes."""
    rest = a.ndim - len(size)
    return lax.dynamic_slice(a, (*start, *(0,) * rest), (*size, *a.shape[len(size) :]))


def _blocks_first(a: jax.Array, blocks: int) -> jax.Array:
    """(N, ..., maps) -> (blocks N, ..., maps / blocks)."""
    a = jnp.moveaxis(a.reshape(*a.shape[:-1], blocks, -1), -2, 0)
    return a.reshape(-1, *a.shape[2:])


METHOD = Method("im2col", _convolve, transposed_in_x(_convolve), _weight_gradient, _refuses)

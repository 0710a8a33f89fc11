"""im2col: write out the patch under every position as a row, then one matrix product.

    y (N P, C_out) = patches (N P, taps C_in) @ w (taps C_in, C_out)
    w (taps C_in, C_out) = patches^T (taps C_in, N P) @ y (N P, C_out)

The forward pass writes all patches out at once. The weight gradient takes a few images, or a few rows of one image, at
a time, so that their patches stay in the cache, and adds the products up.

Cost: as the definition, in large products, and taps / stride^2 times the memory of the image for the patches (for the
weight gradient 8 MiB at a time). It serves ungrouped calls.

Source: Chellapilla, Puri and Simard 2006, "High performance convolutional neural networks for document processing".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax._core.shapes import Geometry
from cnnjax._core.windows import pad_zeros, under_each_tap
from cnnjax.operator.method import Method, transposed_in_x
from cnnjax.operator.spec import ConvSpec

__all__ = ["METHOD", "Patches", "blocks_first", "patches_side_by_side", "products_of_patches"]

# (images with their padding, geometry, blocks) -> (blocks, images P, taps C_in / blocks)
Patches = Callable[[jax.Array, Geometry, int], jax.Array]

# Patches of 2 to 16 MiB at a time were measured; 8 MiB was the fastest or next to it on every shape (docs/operator.md).
_BYTES_AT_A_TIME = 8 * 2**20
_MOST_BYTES = 16 * 2**20
# With so many maps on the short side and so many values on the long one, the transposed operand is written out: the
# product of two plain matrices, for which XLA has a kernel of its own, is faster by more than that costs.
_SHORT, _LONG = 32, 256
# Fewer floats side by side than a vector holds are slow to copy.
_FEW_MAPS = 8


def _refuses(spec: ConvSpec) -> str | None:
    return None if spec.groups == 1 else "it is for one group; use grouped or depthwise"


def _convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    padded = pad_zeros(x, spec.geometry)
    patches = jnp.concatenate([seen for _, seen in under_each_tap(padded, spec.geometry)], axis=-1)
    rows = w.reshape(spec.taps * spec.c_in, spec.c_out)
    return jnp.matmul(patches, rows, precision=spec.precision)


def _weight_gradient(x: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    patches = _patches_in_rows if spec.c_in <= _FEW_MAPS else patches_side_by_side
    return products_of_patches(x, y, spec, 1, patches).reshape(spec.w_shape)


def products_of_patches(x: jax.Array, y: jax.Array, spec: ConvSpec, blocks: int, patches: Patches) -> jax.Array:
    """patches^T @ y, with the maps of x and y in so many blocks: (blocks, taps C_in / blocks, C_out / blocks)."""
    geometry, width = spec.geometry, spec.c_in // blocks
    stride, extent = geometry.stride[0], geometry.extent[0]
    # A sum that is larger than the patches is not to be read and written more often than they are.
    of_sum = x.dtype.itemsize * spec.taps * spec.c_in * (spec.c_out // blocks)
    most_bytes = min(max(of_sum, _BYTES_AT_A_TIME), _MOST_BYTES)
    images, rows = _at_a_time(spec, x.dtype.itemsize, most_bytes)
    parts, strips = max(1, -(-spec.n // images)), -(-geometry.output[0] // rows)

    # The last images and rows are filled up with zeros, which add nothing.
    (before, _), *pads = geometry.pads
    missing, beyond = parts * images - spec.n, strips * rows - geometry.output[0]
    after = (strips * rows - 1) * stride + extent - geometry.size[0] - before
    others = ((0, 0, 0),) * len(geometry.size)
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, missing, 0), *others, (0, 0, 0)])
    y = lax.pad(y, jnp.zeros((), y.dtype), [(0, missing, 0), (0, beyond, 0), *others])
    read = (rows - 1) * stride + extent
    strip = replace(geometry.after_padding(), size=(read, *geometry.padded[1:]))

    def padded(x: jax.Array) -> jax.Array:
        edges = [(0, 0, 0), (before, after, 0), *((a, b, 0) for a, b in pads), (0, 0, 0)]
        return lax.pad(x, jnp.zeros((), x.dtype), edges)

    if strips > 1:
        whole = padded(x)
        seen_from = lambda image, row: _cut(whole, (image, row * stride), (images, read))  # noqa: E731
    else:  # padded when it is in the cache
        seen_from = lambda image, _: padded(_cut(x, (image,), (images,)))  # noqa: E731

    # The narrower operand on the left: a product of a short and a long side is up to twice as fast this way round.
    of_patches, of_y = spec.taps * width, spec.c_out // blocks
    turned = of_y < of_patches
    short, long = sorted((of_patches, of_y))
    written_out = blocks == 1 and short >= _SHORT and long >= _LONG

    def product(step: jax.Array | int) -> jax.Array:
        image, row = step // strips * images, step % strips * rows
        given = blocks_first(_cut(y, (image, row), (images, rows)), blocks)
        operands = patches(seen_from(image, row), strip, blocks), given.reshape(blocks, -1, of_y)
        narrow, wide = operands[::-1] if turned else operands
        if written_out:
            # The barrier outlives the step of the compiler that would read the transpose in place.
            narrow = lax.optimization_barrier(jnp.swapaxes(narrow, 1, 2))
            return jnp.einsum("bnk,bkm->bnm", narrow, wide, precision=spec.precision)
        return jnp.einsum("bkn,bkm->bnm", narrow, wide, precision=spec.precision)

    steps = jnp.arange(parts * strips)
    if len(steps) == 1:
        total = product(0)
    else:
        total = jnp.zeros((blocks, short, long), x.dtype)
        total = lax.scan(lambda total, step: (total + product(step), None), total, steps)[0]
    return jnp.swapaxes(lax.optimization_barrier(total), 1, 2) if turned else total


def patches_side_by_side(seen: jax.Array, strip: Geometry, blocks: int) -> jax.Array:
    """The patches of some images, (blocks, images P, taps C_in / blocks): views under each tap, put side by side."""
    seen = blocks_first(seen, blocks)
    together = jnp.concatenate([view for _, view in under_each_tap(seen, strip)], axis=-1)
    return together.reshape(blocks, -1, together.shape[-1])


def _patches_in_rows(seen: jax.Array, strip: Geometry, blocks: int) -> jax.Array:
    """The same of few maps, copied along the rows of the image and turned."""
    images, *size, maps = seen.shape
    planes = jnp.moveaxis(seen, -1, 0).reshape(maps * images, *size, 1)
    views = [view.reshape(maps, -1) for _, view in under_each_tap(planes, strip)]
    return jnp.concatenate(views).T[None]


def _at_a_time(spec: ConvSpec, itemsize: int, most_bytes: int) -> tuple[int, int]:
    """How many images, and how many rows of one, to take in a product."""
    rows, *others = spec.geometry.output
    row = itemsize * math.prod(others) * (spec.taps * spec.c_in + spec.c_out)
    if row * rows <= most_bytes:
        return _equal_parts(spec.n, most_bytes // max(1, row * rows)), rows
    return 1, _equal_parts(rows, most_bytes // row)


def _equal_parts(count: int, most: int) -> int:
    """Parts of at most so many: the largest that leave nothing over, which would be copied, or nearly equal ones."""
    count = max(1, count)
    most = min(max(1, most), count)
    divisors = (size for size in range(most, most // 2, -1) if count % size == 0)
    return next(divisors, -(-count // -(-count // most)))


def _cut(a: jax.Array, start: tuple[jax.Array | int, ...], size: tuple[int, ...]) -> jax.Array:
    """Some images and rows of a, from `start` on, whole along the other axes."""
    rest = a.ndim - len(size)
    return lax.dynamic_slice(a, (*start, *(0,) * rest), (*size, *a.shape[len(size) :]))


def blocks_first(a: jax.Array, blocks: int) -> jax.Array:
    """(N, ..., maps) -> (blocks N, ..., maps / blocks)."""
    a = jnp.moveaxis(a.reshape(*a.shape[:-1], blocks, -1), -2, 0)
    return a.reshape(-1, *a.shape[2:])


METHOD = Method("im2col", _convolve, transposed_in_x(_convolve), _weight_gradient, _refuses)

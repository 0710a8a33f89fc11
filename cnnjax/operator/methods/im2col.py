"""im2col: write the patch under every position into a row of a matrix, then multiply once::

    y (N P, C_out) = patches (N P, taps C_in) @ w (taps C_in, C_out)
    w (taps C_in, C_out) = patches^T (taps C_in, N P) @ y (N P, C_out)

The forward pass writes out all patches at once. The weight gradient takes a few images, or a few rows of one image, at
a time, so that their patches stay in the cache, and adds up the products.

Cost: as the definition, in large products, and taps / stride^2 times the memory of the image for the patches (8 MiB at
a time for the weight gradient). It serves one group.

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
from cnnjax._core.windows import MANY_TAPS, pad_constant, patches, tap_views
from cnnjax.operator.method import Method, transposed_in_x
from cnnjax.operator.spec import ConvSpec

__all__ = ["METHOD", "Patches", "blocks_first", "concatenated_patches", "products_of_patches"]

Patches = Callable[[jax.Array, Geometry, int], jax.Array]
"""Extracts patches: (padded images, geometry, blocks) -> (blocks, images P, taps C_in / blocks)."""

# Of 2 to 16 MiB of patches at a time, 8 MiB was the fastest or second fastest on every shape (docs/guides/operator.md).
_BYTES_AT_A_TIME = 8 * 2**20
_MOST_BYTES = 16 * 2**20
# Of small arrays, patches at a time of once or twice the arrays' own size: about what XLA's convolution copies.
_LEAST_BYTES = 2**19
# From these sizes of the product on, its transposed operand is written out: XLA has a faster kernel for two plain
# matrices, and the difference exceeds the cost of the copy.
_SHORT, _LONG = 32, 256
# Up to this number of positions, the sum is larger than all patches.
_FEW_POSITIONS = 64
# Copying fewer adjacent floats than a vector register holds is slow.
_FEW_MAPS = 8


def _refuses(spec: ConvSpec) -> str | None:
    return None if spec.groups == 1 else "it is for one group; use grouped or depthwise"


def _convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    rows = _side_by_side(pad_constant(x, spec.geometry), spec.geometry)
    columns = w.reshape(spec.num_taps * spec.c_in, spec.c_out)
    return jnp.matmul(rows, columns, precision=spec.precision)


def _weight_gradient(x: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    few = spec.c_in <= _FEW_MAPS and spec.num_taps <= MANY_TAPS
    extract = _transposed_patches if few else concatenated_patches
    return products_of_patches(x, y, spec, 1, extract).reshape(spec.w_shape)


def products_of_patches(x: jax.Array, y: jax.Array, spec: ConvSpec, blocks: int, extract: Patches) -> jax.Array:
    """patches^T @ y, with the maps of x and y in `blocks` blocks: (blocks, taps C_in / blocks, C_out / blocks)."""
    geometry, width = spec.geometry, spec.c_in // blocks
    stride, extent = geometry.stride[0], geometry.extent[0]
    # If the sum is larger than the patches, larger parts keep it from being read and written more often than they are.
    of_sum = x.dtype.itemsize * spec.num_taps * spec.c_in * (spec.c_out // blocks)
    of_arrays = (1 if spec.groups > 1 else 2) * (x.nbytes + y.nbytes)
    most_bytes = min(max(of_sum, _BYTES_AT_A_TIME), _MOST_BYTES, max(of_arrays, _LEAST_BYTES))
    images, rows = _at_a_time(spec, x.dtype.itemsize, most_bytes)
    parts, strips = max(1, -(-spec.n // images)), -(-geometry.output[0] // rows)

    read = (rows - 1) * stride + extent
    strip = replace(geometry.after_padding(), size=(read, *geometry.padded[1:]))
    if strips > 1:
        whole = pad_constant(x, geometry)
        part_of_x = lambda image, row: _cut(whole, (image, row * stride), (images, read))  # noqa: E731
    else:  # padded part by part, while it is in the cache
        part_of_x = lambda image, _: pad_constant(_cut(x, (image,), (images,)), geometry)[:, :read]  # noqa: E731

    def part_of_y(image: jax.Array | int, row: jax.Array | int, step: jax.Array | int) -> jax.Array:
        part = _cut(y, (image, row), (images, rows))
        if parts * images == spec.n and strips * rows == geometry.output[0]:
            return part
        # The last part overlaps the one before. What that has added is zero here, where the definition has a product
        # too, so that a NaN reaches no weight that does not read it.
        first_image, first_row = step // strips * images, step % strips * rows
        step_dtype = jnp.asarray(step).dtype
        is_new = [
            start + lax.broadcasted_iota(step_dtype, part.shape, axis) >= first
            for axis, (start, first) in enumerate([(image, first_image), (row, first_row)])
        ]
        return jnp.where(is_new[0] & is_new[1], part, jnp.zeros_like(part))

    # The narrower operand goes on the left: a product of a short and a long side is up to twice as fast in this order.
    of_patches, of_y = spec.num_taps * width, spec.c_out // blocks
    # With few positions it is the sum that takes the time, and transposing it would double that.
    transposed = of_y < of_patches and spec.n * math.prod(geometry.output) > _FEW_POSITIONS
    shape = (of_y, of_patches) if transposed else (of_patches, of_y)
    written_out = blocks == 1 and min(shape) >= _SHORT and max(shape) >= _LONG

    def product(step: jax.Array | int) -> jax.Array:
        image = jnp.minimum(step // strips * images, spec.n - images)
        row = jnp.minimum(step % strips * rows, geometry.output[0] - rows)
        cotangent = blocks_first(part_of_y(image, row, step), blocks)
        operands = extract(part_of_x(image, row), strip, blocks), cotangent.reshape(blocks, -1, of_y)
        left, right = operands[::-1] if transposed else operands
        if written_out:
            # The barrier outlives the compiler pass that would fold the transpose into the product.
            left = lax.optimization_barrier(jnp.swapaxes(left, 1, 2))
            return jnp.einsum("bnk,bkm->bnm", left, right, precision=spec.precision)
        return jnp.einsum("bkn,bkm->bnm", left, right, precision=spec.precision)

    steps = jnp.arange(parts * strips)
    if len(steps) == 1:
        total = product(0)
    else:
        total = jnp.zeros((blocks, *shape), x.dtype)
        total = lax.scan(lambda total, step: (total + product(step), None), total, steps)[0]
    return jnp.swapaxes(lax.optimization_barrier(total), 1, 2) if transposed else total


def concatenated_patches(image: jax.Array, strip: Geometry, blocks: int) -> jax.Array:
    """The patches (blocks, images P, taps C_in / blocks), by concatenating the views under each tap."""
    rows = _side_by_side(blocks_first(image, blocks), strip)
    return rows.reshape(blocks, -1, rows.shape[-1])


def _side_by_side(padded: jax.Array, geometry: Geometry) -> jax.Array:
    """The patches (N, *output, taps C) of padded images."""
    if geometry.num_taps > MANY_TAPS:
        taps = patches(padded, geometry)
        return taps.reshape(*taps.shape[:-2], -1)
    return jnp.concatenate([view for _, view in tap_views(padded, geometry)], axis=-1)


def _transposed_patches(image: jax.Array, strip: Geometry, blocks: int) -> jax.Array:
    """The same patches for few maps and one block: copied along the rows of each map, then transposed."""
    images, *size, maps = image.shape
    planes = jnp.moveaxis(image, -1, 0).reshape(maps * images, *size, 1)
    views = [view.reshape(maps, -1) for _, view in tap_views(planes, strip)]
    return jnp.concatenate(views).T[None]


def _at_a_time(spec: ConvSpec, itemsize: int, most_bytes: int) -> tuple[int, int]:
    """How many images, and how many rows of each, one product takes."""
    rows, *others = spec.geometry.output
    row = itemsize * math.prod(others) * (spec.num_taps * spec.c_in + spec.c_out)
    if row * rows <= most_bytes:
        return _equal_parts(spec.n, most_bytes // max(1, row * rows)), rows
    return 1, _equal_parts(rows, most_bytes // row)


def _equal_parts(count: int, most: int) -> int:
    """The size of the parts of `count`, at most `most`: a divisor, if one is not much smaller, else nearly equal parts.

    A divisor leaves no last part that overlaps the one before.
    """
    count = max(1, count)
    most = min(max(1, most), count)
    divisors = (size for size in range(most, most // 2, -1) if count % size == 0)
    return next(divisors, -(-count // -(-count // most)))


def _cut(a: jax.Array, start: tuple[jax.Array | int, ...], size: tuple[int, ...]) -> jax.Array:
    """A part of a along its first axes, from `start` on; the other axes are whole."""
    rest = a.ndim - len(size)
    return lax.dynamic_slice(a, (*start, *(0,) * rest), (*size, *a.shape[len(size) :]))


def blocks_first(a: jax.Array, blocks: int) -> jax.Array:
    """(N, ..., maps) -> (blocks N, ..., maps / blocks)."""
    a = jnp.moveaxis(a.reshape(*a.shape[:-1], blocks, -1), -2, 0)
    return a.reshape(-1, *a.shape[2:])


METHOD = Method("im2col", _convolve, transposed_in_x(_convolve), _weight_gradient, _refuses)

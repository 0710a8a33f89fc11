"""Gathered: im2col whose patches are gathered in contiguous runs of memory, for the weight gradient on one CPU device::

    w (taps C_in, C_out) = patches^T (taps C_in, N P) @ y (N P, C_out),  patches[n p, t] = x[n, p s + t d]

The taps of a row of the kernel are adjacent in a channels-last image, all maps included, so a patch is a few contiguous
runs. XLA's CPU compiler writes patches at 3 to 10 GB/s by concatenating views, and at 40 to 80 by a gather of runs, if
the gather stands alone: fused with its surroundings it is as slow as the concatenation.

Cost: as `im2col`, or with groups as `block_diagonal`, which also compute the forward pass and the input gradient. It
serves every convolution.

Source: Chellapilla, Puri and Simard 2006, "High performance convolutional neural networks for document processing".
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import jax
import numpy as np
from jax import lax

from cnnjax._core.shapes import Geometry
from cnnjax.operator.method import Method, serves_all
from cnnjax.operator.methods import block_diagonal, im2col
from cnnjax.operator.spec import ConvSpec, Direction
from cnnjax.operator.unfused import unfused

__all__ = ["METHOD", "weight_gradient"]

# Patches of two neighbouring positions are half as many and one tap wider. From 8 taps a row on, the extra tap costs
# less than that saves (audio: 16.3 ms instead of 17.3), as long as the products are narrow.
_MANY_TAPS, _FEW_MAPS = 8, 64


def _forward(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    return _of_patches(spec).forward(x, w, spec)


def _input_gradient(w: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    return _of_patches(spec).input_gradient(w, y, spec)


def weight_gradient(x: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    """The weight gradient of any convolution, by products of gathered patches."""
    if _pays_in_pairs(spec):
        return _weight_gradient_of_pairs(x, y, spec)
    if spec.groups > 1:
        return block_diagonal.weight_gradient_of_patches(x, y, spec, _gathered)
    return im2col.products_of_patches(x, y, spec, 1, _gathered).reshape(spec.w_shape)


def _pays_in_pairs(spec: ConvSpec) -> bool:
    """Whether patches of two neighbouring positions are faster: few maps, and many taps in a row."""
    geometry = spec.geometry
    adjacent = geometry.stride[-1] == geometry.dilation[-1] == 1
    even = geometry.output[-1] % 2 == 0
    few = spec.groups == 1 and spec.c_out <= _FEW_MAPS
    return few and adjacent and even and geometry.kernel[-1] >= _MANY_TAPS


def _weight_gradient_of_pairs(x: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    """Take two neighbouring positions as one with twice the maps: half as many patches, and wider products.

    w[..., t, c, o] = pair[..., t, c, 0, o] + pair[..., t + 1, c, 1, o]
    """
    geometry = spec.geometry
    kernel = (*geometry.kernel[:-1], geometry.kernel[-1] + 1)
    by_pair = replace(geometry, kernel=kernel, stride=(*geometry.stride[:-1], 2))
    y = y.reshape(spec.n, *by_pair.output, 2 * spec.c_out)
    pair = weight_gradient(x, y, replace(spec, geometry=by_pair, c_out=2 * spec.c_out))
    pair = pair.reshape(*kernel, spec.c_in, 2, spec.c_out)
    return pair[..., :-1, :, 0, :] + pair[..., 1:, :, 1, :]


def _of_patches(spec: ConvSpec) -> Method:
    """The method whose forward pass and input gradient this one uses."""
    return (im2col if spec.groups == 1 else block_diagonal).METHOD


def _gathered(image: jax.Array, strip: Geometry, blocks: int) -> jax.Array:
    """The patches (blocks, images P, taps C_in / blocks), gathered run by run."""
    images, *_, maps = image.shape
    if blocks == strip.num_taps == 1 and set(strip.stride) == {1}:
        return image.reshape(1, -1, maps)  # nothing to gather
    width = maps // blocks
    run = strip.kernel[-1] * width if strip.dilation[-1] == 1 else width
    # Computed, because a constant would be as large in the program as the image.
    starts = width * _first_pixels(blocks * images, strip)
    runs = lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(), start_index_map=(0,))

    def gather(pixels: jax.Array) -> jax.Array:
        return lax.gather(pixels.ravel(), starts[:, None], runs, (run,), mode="promise_in_bounds")

    patches = unfused(gather, im2col.blocks_first(image, blocks))
    return patches.reshape(blocks, -1, math.prod(strip.kernel) * width)


def _first_pixels(images: int, strip: Geometry) -> jax.Array:
    """The index of the pixel read at every image, position and tap; of a row of adjacent taps, only the first."""
    *others, last = strip.kernel
    taps = (*others, 1 if strip.dilation[-1] == 1 else last)
    shape = (images, *strip.output, *taps)
    # In an image, the pixels of an axis are `distance` apart.
    distance = [math.prod(strip.size[axis + 1 :]) for axis in range(len(strip.size))]
    steps = (
        math.prod(strip.size),
        *(stride * d for stride, d in zip(strip.stride, distance, strict=True)),
        *(dilation * d for dilation, d in zip(strip.dilation, distance, strict=True)),
    )
    indices = (step * lax.broadcasted_iota(np.int32, shape, axis) for axis, step in enumerate(steps))
    return functools.reduce(lax.add, indices).ravel()


def _spreads(direction: Direction, spec: ConvSpec) -> tuple[int, ...]:
    return _of_patches(spec).spreads(direction, spec)


METHOD = Method(
    "gathered", _forward, _input_gradient, weight_gradient, serves_all, spreads=_spreads, slow_in_branch=True
)

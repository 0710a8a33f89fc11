"""A value that is not finite reaches only the results that read it.

Some methods multiply data by zeros that are not in the arrays: those beside the blocks of a block-diagonal kernel, off
the band of a Toeplitz matrix, between or around the pixels of a dilated cotangent. That adds nothing, unless a factor
is NaN or infinite: 0 * inf = NaN in a result that has nothing to do with it. If an operand that such a method would
spread is not finite, the method is given zeros in the places concerned, and the results that read one become NaN.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.operator.method import Method
from cnnjax.operator.methods import xla
from cnnjax.operator.spec import ConvSpec, Direction

__all__ = ["contained", "is_finite"]

# Shorter rows would make a slow product.
_WIDE = 16


def contained(method: Method, direction: Direction, a: jax.Array, b: jax.Array, spec: ConvSpec) -> jax.Array:
    """Compute the forward pass or the input gradient by a method that spreads some of its operands."""
    compute = method.direction(direction)
    spread = method.spreads(direction, spec)
    finite = functools.reduce(jnp.logical_and, [is_finite((a, b)[i]) for i in spread])

    def reads(a: jax.Array, b: jax.Array) -> jax.Array:
        found = [_READS[direction, i](~jnp.isfinite((a, b)[i]), spec) for i in spread]
        return functools.reduce(jnp.logical_or, found)

    def marked(found: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
        a, b = (_zero_unless_finite(array) if i in spread else array for i, array in enumerate((a, b)))
        result = compute(a, b, spec)
        return jnp.where(found, jnp.full((), jnp.nan, result.dtype), result)

    if method.slow_in_branch:
        nothing = jax.eval_shape(reads, a, b)
        found = lax.cond(finite, lambda a, b: jnp.zeros(nothing.shape, bool), reads, a, b)
        return marked(found, a, b)
    # The method stands in both branches: a result that passes through a branch is copied.
    return lax.cond(finite, lambda a, b: compute(a, b, spec), lambda a, b: marked(reads(a, b), a, b), a, b)


def _zero_unless_finite(array: jax.Array) -> jax.Array:
    return jnp.where(jnp.isfinite(array), array, jnp.zeros_like(array))


def is_finite(array: jax.Array) -> jax.Array:
    """Whether all numbers of an array of at least two axes are finite: 0 times any other number is NaN.

    As a product with a vector of zeros the test runs at the speed of the memory, several times that of a reduction.
    """
    *others, length, maps = array.shape
    if all(isinstance(size, int) for size in others):  # symbolic sizes cannot be merged
        array = array.reshape(-1, maps if maps >= _WIDE else length * maps)
    return jnp.sum(jnp.matmul(array, jnp.zeros(array.shape[-1], array.dtype))) == 0


# Which results read a number of a set: a convolution of the set, as zeros and ones, with ones. A result reads all maps
# of its group alike, so each group is one map.


def _outputs_of_pixels(bad: jax.Array, spec: ConvSpec) -> jax.Array:
    """Which y (N, *output, C_out) read a pixel of the set (N, *size, C_in)."""
    images = _groups_as_images(bad, spec.groups)
    ones = jnp.ones((*spec.geometry.kernel, 1, 1), jnp.float32)
    found = xla.METHOD.forward(images, ones, _single(spec, images))
    return _images_as_groups(found, spec.groups, spec.c_out)


def _pixels_of_outputs(bad: jax.Array, spec: ConvSpec) -> jax.Array:
    """Which x (N, *size, C_in) are read for a y of the set (N, *output, C_out)."""
    images = _groups_as_images(bad, spec.groups)
    ones = jnp.ones((*spec.geometry.kernel, 1, 1), jnp.float32)
    found = xla.METHOD.input_gradient(ones, images, _single(spec, images))
    return _images_as_groups(found, spec.groups, spec.c_in)


def _pixels_of_weights(bad: jax.Array, spec: ConvSpec) -> jax.Array:
    """Which x (1, *size, C_in) are read with a weight of the set (*kernel, C_in / groups, C_out)."""
    any_output = jnp.any(bad.reshape(*bad.shape[:-1], spec.groups, -1), axis=-1)  # (*kernel, C_in / groups, groups)
    weights = jnp.swapaxes(any_output, -1, -2).reshape(*spec.geometry.kernel, spec.c_in, 1)
    ones = jnp.ones((1, *spec.geometry.output, 1), jnp.float32)
    one = replace(spec, n=1, c_out=1, groups=1, dtype=ones.dtype)
    return xla.METHOD.input_gradient(weights.astype(jnp.float32), ones, one) > 0


_READS = {
    ("forward", 0): _outputs_of_pixels,
    ("input_gradient", 0): _pixels_of_weights,
    ("input_gradient", 1): _pixels_of_outputs,
}


def _groups_as_images(bad: jax.Array, groups: int) -> jax.Array:
    """(N, ..., C) -> (groups N, ..., 1), whether any map of a group is in the set, as 0 or 1."""
    of_group = jnp.any(bad.reshape(*bad.shape[:-1], groups, -1), axis=-1)
    images = jnp.moveaxis(of_group, -1, 0).reshape(groups * bad.shape[0], *bad.shape[1:-1], 1)
    return images.astype(jnp.float32)


def _images_as_groups(counts: jax.Array, groups: int, maps: int) -> jax.Array:
    """(groups N, ..., 1) -> (N, ..., C), whether a count is above 0, for every map of a group."""
    found = jnp.moveaxis((counts > 0).reshape(groups, counts.shape[0] // groups, *counts.shape[1:-1]), 0, -1)
    return jnp.repeat(found, maps // groups, axis=-1)


def _single(spec: ConvSpec, images: jax.Array) -> ConvSpec:
    return replace(spec, n=images.shape[0], c_in=1, c_out=1, groups=1, dtype=images.dtype)

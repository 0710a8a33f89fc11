"""Space to depth: the stride is folded into the maps, so that a strided convolution becomes one without a stride::

    x'[n, i, (a, c)] = x[n, i s + a - before, c]        w'[u, (a, c), o] = w[u s + a, c, o]        y = conv(x', w')

With few maps and a stride, as in the first layer of a network, the patches hold too few adjacent values to be copied
fast, and the products of the input gradient are too thin; folded, there are s^2 times as many maps. Where the stride
does not divide the kernel, w' is filled up with zeros.

Cost: (s ceil(k / s) / k)^2 times the multiply-accumulates of the definition. It serves one group, with a stride and
without dilation.

Source: Shi et al. 2016, "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
neural network", section 3, for the input gradient (there called sub-pixel convolution).
"""

from __future__ import annotations

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.operator.method import Compute, Method
from cnnjax.operator.methods import im2col, xla
from cnnjax.operator.spec import ConvSpec, Direction

__all__ = ["METHOD", "folded", "input_gradient_by"]


def _refuses(spec: ConvSpec) -> str | None:
    if spec.groups != 1 or not spec.unit_dilation:
        return "it is for one group and dilation 1"
    return "there is no stride" if spec.unit_stride else None


def folded(spec: ConvSpec) -> ConvSpec:
    """The convolution without stride that remains after folding the stride into the maps."""
    geometry = spec.geometry
    kernel = tuple(-(-k // s) for k, s in zip(geometry.kernel, geometry.stride, strict=True))
    size = tuple(positions + k - 1 for positions, k in zip(geometry.output, kernel, strict=True))
    ones, none = (1,) * len(kernel), ((0, 0),) * len(kernel)
    unstrided = replace(geometry, size=size, kernel=kernel, stride=ones, pads=none)
    return replace(spec, geometry=unstrided, c_in=spec.c_in * math.prod(geometry.stride))


def _fold_image(x: jax.Array, spec: ConvSpec) -> jax.Array:
    """x (N, *size, C_in) -> x' of the folded convolution."""
    geometry, inner = spec.geometry, folded(spec)
    config = [
        (before, blocks * s - before - size, 0)
        for (before, _), blocks, s, size in zip(
            geometry.pads, inner.geometry.size, geometry.stride, geometry.size, strict=True
        )
    ]
    return _fold(lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *config, (0, 0, 0)]), geometry.stride)


def _fold_kernel(w: jax.Array, spec: ConvSpec) -> jax.Array:
    """w (*kernel, C_in, C_out) -> w' of the folded convolution."""
    missing = [(0, -k % s) for k, s in zip(spec.geometry.kernel, spec.geometry.stride, strict=True)]
    w = jnp.moveaxis(jnp.pad(w, (*missing, (0, 0), (0, 0))), -1, 0)
    return jnp.moveaxis(_fold(w, spec.geometry.stride), 0, -1)


def _fold(a: jax.Array, stride: tuple[int, ...]) -> jax.Array:
    """(N, *blocks * stride, C) -> (N, *blocks, prod(stride) C)."""
    axes = len(stride)
    split = [part for size, s in zip(a.shape[1:-1], stride, strict=True) for part in (size // s, s)]
    blocks, within = range(1, 2 * axes, 2), range(2, 2 * axes + 1, 2)
    a = a.reshape(a.shape[0], *split, a.shape[-1]).transpose(0, *blocks, *within, 2 * axes + 1)
    return a.reshape(*a.shape[: axes + 1], -1)


def _convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    return xla.METHOD.forward(_fold_image(x, spec), _fold_kernel(w, spec), folded(spec))


def input_gradient_by(inner: Compute) -> Compute:
    """Return the input gradient in which `inner` computes that of the folded convolution."""

    def input_gradient(w: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
        image = jax.ShapeDtypeStruct(spec.x_shape, y.dtype)
        unfold = jax.linear_transpose(lambda x: _fold_image(x, spec), image)
        return unfold(inner(_fold_kernel(w, spec), y, folded(spec)))[0]

    return input_gradient


def _weight_gradient(x: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    kernel = jax.ShapeDtypeStruct(spec.w_shape, y.dtype)
    unfold = jax.linear_transpose(lambda w: _fold_kernel(w, spec), kernel)
    return unfold(im2col.METHOD.weight_gradient(_fold_image(x, spec), y, folded(spec)))[0]


def _spreads(direction: Direction, spec: ConvSpec) -> tuple[int, ...]:
    # The kernel is filled up with zeros to a multiple of the stride.
    return {"forward": (0,), "input_gradient": (0, 1), "weight_gradient": ()}[direction]


METHOD = Method(
    "space_to_depth",
    _convolve,
    input_gradient_by(xla.METHOD.input_gradient),
    _weight_gradient,
    _refuses,
    spreads=_spreads,
    slow_in_branch=True,
)

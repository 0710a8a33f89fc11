"""A method: one way to compute the three directions of a convolution, and the convolutions that it serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax._core.shapes import Geometry
from cnnjax.operator.spec import ConvSpec, Direction, MethodName

__all__ = [
    "Compute",
    "Method",
    "flipped",
    "serves_all",
    "spreads_nothing",
    "swap_maps",
    "transposed_in_w",
    "transposed_in_x",
]

Compute = Callable[[jax.Array, jax.Array, ConvSpec], jax.Array]
"""One direction: (x, w), (w, y) or (x, y), and the spec, to y, x or w."""


def transposed_in_x(forward: Compute) -> Compute:
    """Return the input gradient (w, y) -> x that belongs to a forward pass (x, w) -> y."""

    def input_gradient(w: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
        of_x = jax.ShapeDtypeStruct(spec.x_shape, y.dtype)
        return jax.linear_transpose(lambda x: forward(x, w, spec), of_x)(y)[0]

    return input_gradient


def transposed_in_w(forward: Compute) -> Compute:
    """Return the weight gradient (x, y) -> w that belongs to a forward pass (x, w) -> y."""

    def weight_gradient(x: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
        of_w = jax.ShapeDtypeStruct(spec.w_shape, y.dtype)
        return jax.linear_transpose(lambda w: forward(x, w, spec), of_w)(y)[0]

    return weight_gradient


def flipped(y: jax.Array, w: jax.Array, geometry: Geometry, groups: int) -> tuple[jax.Array, jax.Array, Geometry]:
    """Return the image, the weights and the geometry of the convolution that is the adjoint of another in x.

    The image has stride - 1 zeros between its pixels, so that every pixel of x meets all the positions that have read
    it, and the kernel is flipped, its input and output maps swapped.
    """
    axes = range(len(geometry.kernel))
    ends = [
        (extent - 1 - before, n + before - stride * (positions - 1) - 1, stride - 1)
        for n, positions, extent, stride, (before, _) in zip(
            geometry.size, geometry.output, geometry.extent, geometry.stride, geometry.pads, strict=True
        )
    ]
    y = lax.pad(y, jnp.zeros((), y.dtype), [(0, 0, 0), *ends, (0, 0, 0)])
    none = ((0, 0),) * len(axes)
    unstrided = Geometry(y.shape[1:-1], geometry.kernel, (1,) * len(axes), geometry.dilation, none)
    return y, swap_maps(lax.rev(w, axes), groups), unstrided


def swap_maps(w: jax.Array, groups: int) -> jax.Array:
    """(*kernel, C_in / groups, C_out) -> (*kernel, C_out / groups, C_in)."""
    *kernel, inputs, outputs = w.shape
    w = w.reshape(*kernel, inputs, groups, outputs // groups)
    return jnp.swapaxes(w, -1, -3).reshape(*kernel, outputs // groups, groups * inputs)


def spreads_nothing(direction: Direction, spec: ConvSpec) -> tuple[int, ...]:
    """No product has a factor that is not in the arrays."""
    return ()


def sums_in_its_own_dtype(direction: Direction, spec: ConvSpec) -> bool:
    """No 16-bit arrays are taken: their products would be summed in 16 bits."""
    return False


def whole_batch(spec: ConvSpec) -> int:
    """One part: the batch is not cut."""
    return 1


@dataclass(frozen=True)
class Method:
    """One way to compute the three directions of a convolution.

    `refuses(spec)` returns why a convolution is not served, or None if it is. In the directions of a spec that are
    `native(direction, spec)`, a method takes 16-bit arrays as they are and accumulates in float32 itself; otherwise it
    is given arrays in the dtype in which products are summed.
    `elementwise` are the directions that compile to one elementwise loop, which XLA would fuse with its surroundings.
    `spreads(direction, spec)` are the operands, 0 and 1, that the forward pass or the input gradient also multiplies by
    zeros that are not in the other operand: a NaN there would reach results that do not read it (`containment`).
    `parts_of_batch(spec)` is the number of equal parts, one after the other, in which one CPU device computes the input
    gradient of the batch.
    `slow_in_branch` methods call XLA's convolution, which runs several times slower in a branch than outside.
    """

    name: MethodName
    forward: Compute
    input_gradient: Compute
    weight_gradient: Compute
    refuses: Callable[[ConvSpec], str | None]
    native: Callable[[Direction, ConvSpec], bool] = sums_in_its_own_dtype
    elementwise: tuple[Direction, ...] = ()
    spreads: Callable[[Direction, ConvSpec], tuple[int, ...]] = spreads_nothing
    parts_of_batch: Callable[[ConvSpec], int] = whole_batch
    slow_in_branch: bool = False

    def direction(self, direction: Direction) -> Compute:
        """The function that computes a direction."""
        return getattr(self, direction)


def serves_all(spec: ConvSpec) -> None:
    """Refuse no convolution."""
    return

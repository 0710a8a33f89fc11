"""Which direction of which convolution a call of `lax.conv_general_dilated` is.

Along each axis the call sums over all q, p and t with::

    lhs_dilation * q + before = window_stride * p + rhs_dilation * t        (q in lhs, p in the result, t in rhs)

In the trilinear form T(x, w, y) of `cnnjax.operator.primitives`, this is ``pixel + before = stride * position +
dilation * tap``. A call whose lhs is not dilated is a forward pass if the result has the positions, and a weight
gradient if the result has the taps: there JAX exchanges batch and features of the lhs, and window_stride with
rhs_dilation. A call with a dilated lhs and without a stride is an input gradient with the kernel reversed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.typing import DTypeLike

from cnnjax._core.shapes import Geometry
from cnnjax.operator.method import swap_maps
from cnnjax.operator.spec import ConvSpec, Direction, widest

__all__ = ["Recognised", "recognise"]


@dataclass(frozen=True)
class Recognised:
    """A call of `lax.conv_general_dilated` as a direction of a convolution.

    Attributes:
        direction: what the call computes.
        spec: the convolution, of which it is a direction.
        numbers: the call's dimension numbers: the places of (batch, features, *spatial) in lhs and the result, and of
            (outputs, inputs, *spatial) in rhs.
    """

    direction: Direction
    spec: ConvSpec
    numbers: lax.ConvDimensionNumbers

    def operands(self, lhs: jax.Array, rhs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The operands of the direction in the operator's layout: (x, w), (w, y) or (x, y)."""
        if self.direction == "forward":
            return _image(lhs, self.numbers.lhs_spec), _kernel(rhs, self.numbers.rhs_spec)
        if self.direction == "weight_gradient":
            batch, features, *spatial = self.numbers.lhs_spec
            outputs, inputs, *positions = self.numbers.rhs_spec
            return _image(lhs, (features, batch, *spatial)), _image(rhs, (inputs, outputs, *positions))
        w = _kernel(rhs, self.numbers.rhs_spec)
        w = swap_maps(lax.rev(w, tuple(range(w.ndim - 2))), self.spec.groups)
        return w, _image(lhs, self.numbers.lhs_spec)

    def result(self, array: jax.Array) -> jax.Array:
        """What a direction computes, in the layout of the call."""
        batch, features, *spatial = self.numbers.out_spec
        axes = [*spatial, batch, features] if self.direction == "weight_gradient" else [batch, *spatial, features]
        return jnp.transpose(array, [axes.index(axis) for axis in range(array.ndim)])


def recognise(
    lhs: ShapedArray,
    rhs: ShapedArray,
    out: ShapedArray,
    *,
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int],
    rhs_dilation: Sequence[int],
    dimension_numbers: lax.ConvDimensionNumbers,
    feature_group_count: int,
    batch_group_count: int,
    precision: Any,
    **implied: Any,
) -> Recognised | str:
    """Recognise a call by the parameters of its primitive, or say why it is left to JAX.

    `lhs`, `rhs` and `out` are the abstract values of operands and result, which imply the parameters not named here.
    """
    numbers = dimension_numbers
    axes = len(lhs.shape) - 2
    if not 1 <= axes <= 3:
        return "it has no spatial axis, or more than three"
    if not all(isinstance(n, int) for n in (*lhs.shape, *rhs.shape, *out.shape)):
        return "a size is symbolic"
    if 0 in (*lhs.shape, *rhs.shape, *out.shape):
        return "an array is empty"
    if not (_is_real(lhs.dtype) and lhs.dtype == rhs.dtype and _is_real(out.dtype)):
        return "its arrays are not floating-point numbers of one dtype"
    if jnp.dtype(out.dtype).itemsize < jnp.dtype(lhs.dtype).itemsize:
        return "its result is narrower than its operands"
    at = lambda array, spec: tuple(array.shape[axis] for axis in spec)  # noqa: E731
    batch, lhs_maps, *size = at(lhs, numbers.lhs_spec)
    rhs_maps, _, *taps = at(rhs, numbers.rhs_spec)
    out_batch, _, *positions = at(out, numbers.out_spec)
    before = [low for low, _ in padding]

    direction: Direction
    if set(lhs_dilation) == {1}:
        exchanged = numbers.lhs_spec[0] > numbers.lhs_spec[1] and math.prod(positions) <= math.prod(taps)
        if batch_group_count > 1 or (exchanged and feature_group_count == 1):
            direction = "weight_gradient"
            geometry = _geometry(size, positions, rhs_dilation, window_strides, before, taps)
            sizes = lhs_maps, batch, rhs_maps, batch_group_count
        else:
            direction = "forward"
            geometry = _geometry(size, taps, window_strides, rhs_dilation, before, positions)
            sizes = batch, lhs_maps, rhs_maps, feature_group_count
    elif set(window_strides) == {1} and batch_group_count == 1:
        direction = "input_gradient"
        # Reversed, the first tap is the last: pixel = stride * position + dilation * tap - before.
        before = [d * (k - 1) - low for d, k, low in zip(rhs_dilation, taps, before, strict=True)]
        geometry = _geometry(positions, taps, lhs_dilation, rhs_dilation, before, size)
        sizes = out_batch, rhs_maps, lhs_maps, feature_group_count
    else:
        return "both the image and the positions of the kernel are spread out"
    if isinstance(geometry, str):
        return geometry
    spec = ConvSpec(geometry, *sizes, precision=precision, dtype=widest(lhs.dtype, out.dtype))
    return Recognised(direction, spec, numbers)


def _is_real(dtype: DTypeLike) -> bool:
    return jnp.dtype(dtype) in (jnp.float64, jnp.float32, jnp.bfloat16, jnp.float16)


def _geometry(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    before: Sequence[int],
    positions: Sequence[int],
) -> Geometry | str:
    """The geometry with this number of positions, or why there is none."""
    after: list[int] = []
    for n, k, s, d, low, p in zip(size, kernel, stride, dilation, before, positions, strict=True):
        missing = s * (p - 1) + d * (k - 1) + 1 - low - n
        if low < 0 or missing <= -s:
            return "its padding is negative"
        after.append(max(missing, 0))
    pads = tuple(zip(before, after, strict=True))
    return Geometry(tuple(size), tuple(kernel), tuple(stride), tuple(dilation), pads)


def _image(array: jax.Array, spec: Sequence[int]) -> jax.Array:
    """Order the axes (batch, features, *spatial) at `spec` as (batch, *spatial, features)."""
    batch, features, *spatial = spec
    return jnp.transpose(array, (batch, *spatial, features))


def _kernel(array: jax.Array, spec: Sequence[int]) -> jax.Array:
    """Order the axes (outputs, inputs, *spatial) at `spec` as (*spatial, inputs, outputs)."""
    outputs, inputs, *spatial = spec
    return jnp.transpose(array, (*spatial, inputs, outputs))

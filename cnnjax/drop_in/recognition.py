"""Which direction of which convolution a call of `lax.conv_general_dilated` is.

Along each axis the call sums over all products with::

    lhs_dilation * q + before = window_stride * p + rhs_dilation * t        (q in lhs, p in the result, t in rhs)

The trilinear form T(x, w, y) of `cnnjax.operator.primitives` has ``pixel + before = stride * position + dilation *
tap``. So the array whose factor is 1 along all axes can be the image x, and of the other two either can be the weights
w. If the image is the result or rhs, another array is read in reverse, so that no factor is negative. A call is the
direction that computes the array which its result is: the transposes that JAX makes of a convolution have the roles of
lhs, rhs and result exchanged, and so have those of its transposes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray

from cnnjax._core.shapes import Geometry
from cnnjax.operator.method import swap_maps
from cnnjax.operator.spec import ConvSpec, Direction, widest

__all__ = ["Recognised", "recognise"]

Array = Literal["lhs", "rhs", "out"]

# Operands and result are of one of these sets.
_DTYPES = (
    {"float16", "bfloat16", "float32", "float64"},
    {"int8", "int16", "int32", "int64"},
    {"uint8", "uint16", "uint32", "uint64"},
)

# The first two axes in a call's dimension numbers: N and C_in of the image, C_out of the kernel in lax's terms.
_AXES: dict[Array, str] = {"lhs": "NI", "rhs": "OI", "out": "NO"}


class _Roles(NamedTuple):
    """The arrays of a call that are the image, the weights and the map of positions."""

    x: Array
    w: Array
    y: Array

    @property
    def n(self) -> str:
        """The axis of a call that is the batch, which image and positions share."""
        return _shared(self.x, self.y)

    @property
    def c_in(self) -> str:
        """The axis of a call that is the input maps."""
        return _shared(self.x, self.w)

    @property
    def c_out(self) -> str:
        """The axis of a call that is the output maps."""
        return _shared(self.w, self.y)

    @property
    def reversed(self) -> Array | None:
        """The array that is read in reverse."""
        if self.x == "lhs":
            return None
        return "rhs" if self.x == "out" else "out"

    @property
    def direction(self) -> Direction:
        """The direction that computes the call's result."""
        if self.x == "out":
            return "input_gradient"
        return "forward" if self.y == "out" else "weight_gradient"


def _shared(a: Array, b: Array) -> str:
    return (set(_AXES[a]) & set(_AXES[b])).pop()


# Equally good ones in the order of preference.
_ALL_ROLES = (
    _Roles("lhs", "out", "rhs"),
    _Roles("rhs", "out", "lhs"),
    _Roles("lhs", "rhs", "out"),
    _Roles("out", "rhs", "lhs"),
    _Roles("out", "lhs", "rhs"),
    _Roles("rhs", "lhs", "out"),
)


@dataclass(frozen=True)
class Recognised:
    """A call of `lax.conv_general_dilated` as a direction of a convolution.

    Attributes:
        spec: the convolution, of which it is a direction.
        roles: the arrays of the call that are x, w and y.
        numbers: the call's dimension numbers: the places of (batch, features, *spatial) in lhs and the result, and of
            (outputs, inputs, *spatial) in rhs.
        unread: how many pixels at the beginning and end of each axis of x no product reads; `spec` is without them.
    """

    spec: ConvSpec
    roles: _Roles
    numbers: lax.ConvDimensionNumbers
    unread: tuple[tuple[int, int], ...]

    @property
    def direction(self) -> Direction:
        """What the call computes."""
        return self.roles.direction

    def operands(self, lhs: jax.Array, rhs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The operands of the direction in the operator's layout: (x, w), (w, y) or (x, y)."""
        of_call: dict[Array, jax.Array] = {"lhs": lhs, "rhs": rhs}
        first, second = (self._ordered(of_call[name], name) for name in self.roles if name != "out")
        return first, second

    def _ordered(self, array: jax.Array, name: Array) -> jax.Array:
        array = self._reversed(jnp.transpose(array, self._order(name)), name)
        if name == self.roles.w:
            return self._swapped(array)
        return self._with_margins(array, -1) if name == self.roles.x else array

    def result(self, array: jax.Array) -> jax.Array:
        """What a direction computes, in the layout of the call."""
        if self.roles.w == "out":
            array = self._swapped(array)
        elif self.roles.x == "out":
            array = self._with_margins(array, 1)
        order = self._order("out")
        return jnp.transpose(self._reversed(array, "out"), [order.index(axis) for axis in range(array.ndim)])

    def _reversed(self, array: jax.Array, name: Array) -> jax.Array:
        if name != self.roles.reversed:
            return array
        first = 0 if name == self.roles.w else 1
        return lax.rev(array, range(first, first + len(self.unread)))

    def _with_margins(self, x: jax.Array, sign: Literal[1, -1]) -> jax.Array:
        """Add zeros for the pixels that are not read, or remove these."""
        if not any(map(any, self.unread)):
            return x
        ends = [(sign * before, sign * after, 0) for before, after in self.unread]
        return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *ends, (0, 0, 0)])

    def _order(self, name: Array) -> list[int]:
        """The axes of an array of the call in the operator's order."""
        first, second, *spatial = _spec(self.numbers, name)
        places = dict(zip(_AXES[name], (first, second), strict=True))
        if name != self.roles.w:
            return [places.pop(self.roles.n), *spatial, *places.values()]
        # The groups of weights lie along their last axis: with groups, that of `rhs` and the result which is O.
        last = places.pop(self.roles.c_in if self._is_swapped else self.roles.c_out)
        return [*spatial, *places.values(), last]

    @property
    def _is_swapped(self) -> bool:
        """Whether the maps that the weights of a group share are, in the call, those of the image."""
        return self.spec.groups > 1 and self.roles.c_in == "O"

    def _swapped(self, w: jax.Array) -> jax.Array:
        return swap_maps(w, self.spec.groups) if self._is_swapped else w


def _spec(numbers: lax.ConvDimensionNumbers, name: Array) -> Sequence[int]:
    return {"lhs": numbers.lhs_spec, "rhs": numbers.rhs_spec, "out": numbers.out_spec}[name]


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
    shapes: dict[Array, tuple[int, ...]] = {"lhs": lhs.shape, "rhs": rhs.shape, "out": out.shape}
    left = _why_left(lhs, rhs, out)
    if left is not None:
        return left
    factors: dict[Array, Sequence[int]] = {"lhs": lhs_dilation, "rhs": rhs_dilation, "out": window_strides}
    sizes: dict[Array, list[int]] = {
        name: [shapes[name][axis] for axis in _spec(dimension_numbers, name)[2:]] for name in shapes
    }
    # JAX's transpose by the kernel names the features of lhs as its batch, and its result is a kernel. That of a user's
    # call is none, even if it is smaller than the kernel.
    of_weights = batch_group_count > 1 or dimension_numbers.lhs_spec[0] > dimension_numbers.lhs_spec[1]
    possible = [
        roles
        for roles in _ALL_ROLES
        if set(factors[roles.x]) == {1}
        and (roles.w != "out" or of_weights)
        and (feature_group_count == 1 or roles.n == "N")
        and (batch_group_count == 1 or roles.n == "I")
    ]
    if not possible:
        return "image, kernel and positions are all spread out, or exchanged in groups"
    # Where nothing is spread out, an input gradient is a forward pass too, with the maps of its kernel exchanged: that
    # would take a copy of the kernel.
    maps_last = tuple(dimension_numbers.rhs_spec[:2]) == (len(rhs.shape) - 2, len(rhs.shape) - 1)
    exchanged = maps_last and feature_group_count == 1 and jnp.issubdtype(lhs.dtype, jnp.floating)

    def preference(roles: _Roles) -> tuple[int, bool]:
        # The weights are the smallest array; rhs, as in the user's own call, unless lhs is smaller by far.
        size = math.prod(sizes[roles.w]) * (2 if roles.w == "lhs" else 1)
        return size, roles.w == "rhs" and (roles.x == "out") != exchanged

    roles = min(possible, key=preference)
    if roles.direction != "forward" and not jnp.issubdtype(lhs.dtype, jnp.floating):
        return "its arrays are integers, and its image or its positions are spread out"
    before = [low for low, _ in padding]
    if roles.reversed is not None:  # the last comes first
        around = zip(factors[roles.reversed], sizes[roles.reversed], before, strict=True)
        before = [factor * (n - 1) - low for factor, n, low in around]
    placed = _geometry(sizes[roles.x], sizes[roles.w], factors[roles.y], factors[roles.w], before, sizes[roles.y])
    if placed is None:
        return "no product reads a pixel"
    geometry, unread = placed
    at = lambda name, axis: shapes[name][_spec(dimension_numbers, name)[_AXES[name].index(axis)]]  # noqa: E731
    spec = ConvSpec(
        geometry,
        n=at(roles.x, roles.n),
        c_in=at(roles.x, roles.c_in),
        c_out=at(roles.y, roles.c_out),
        groups=max(feature_group_count, batch_group_count),
        precision=precision,
        dtype=widest(lhs.dtype, out.dtype),
    )
    return Recognised(spec, roles, dimension_numbers, unread)


def _why_left(lhs: ShapedArray, rhs: ShapedArray, out: ShapedArray) -> str | None:
    if not 3 <= len(lhs.shape) <= 5:
        return "it has no spatial axis, or more than three"
    if not all(isinstance(n, int) for n in (*lhs.shape, *rhs.shape, *out.shape)):
        return "a size is symbolic"
    if 0 in (*lhs.shape, *rhs.shape, *out.shape):
        return "an array is empty"
    if jnp.issubdtype(out.dtype, jnp.complexfloating):
        return "JAX makes it three convolutions of real numbers, which are calls of their own"
    if lhs.dtype != rhs.dtype or not any({lhs.dtype.name, out.dtype.name} <= dtypes for dtypes in _DTYPES):
        return "its arrays are not floating-point numbers, or integers, of one dtype"
    if jnp.dtype(out.dtype).itemsize < jnp.dtype(lhs.dtype).itemsize:
        return "its result is narrower than its operands"
    return None


def _geometry(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    before: Sequence[int],
    positions: Sequence[int],
) -> tuple[Geometry, tuple[tuple[int, int], ...]] | None:
    """The geometry with this number of positions on the pixels that are read, and the number of those before and after.

    None if no pixel is read.
    """
    read: list[int] = []
    pads: list[tuple[int, int]] = []
    unread: list[tuple[int, int]] = []
    for n, k, s, d, low, p in zip(size, kernel, stride, dilation, before, positions, strict=True):
        end = s * (p - 1) + d * (k - 1) + 1 - low  # one after the last pixel, in the image or beyond it
        # The rest of a step, in which no further window begins, may stay.
        after = n - end if n - end >= s else 0
        first = max(-low, 0)
        read.append(n - first - after)
        pads.append((max(low, 0), max(end - n, 0)))
        unread.append((first, after))
    if min(read) < 1:
        return None
    return Geometry(tuple(read), tuple(kernel), tuple(stride), tuple(dilation), tuple(pads)), tuple(unread)

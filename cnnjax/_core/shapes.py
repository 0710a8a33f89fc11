"""Convolution arithmetic: stride, padding and dilation turned into pad pairs and sizes. Plain integers, no arrays.

Sizes may be symbolic (`jax.export.symbolic_shape`). A check that holds for some of their values only is passed.

Every output size in cnnjax comes from `Geometry.output`::

    output = (before + size + after - (dilation * (kernel - 1) + 1)) // stride + 1        (along each axis)
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from jax.core import max_dim
from jax.errors import InconclusiveDimensionOperation

from cnnjax._core.messages import describe, type_error, value_error

__all__ = [
    "AXES",
    "PADDINGS",
    "Boundary",
    "Geometry",
    "Padding",
    "PaddingName",
    "check_maps",
    "check_not_empty",
    "conv_geometry",
    "integers",
    "kernel_axes",
    "transposed_geometry",
]

PaddingName = Literal["VALID", "SAME", "SAME_LOWER", "CIRCULAR", "EDGE", "REFLECT", "CAUSAL"]
Padding = PaddingName | int | Sequence[int] | Sequence[tuple[int, int]]

Boundary = Literal["zero", "wrap", "edge", "reflect"]

PADDINGS: tuple[PaddingName, ...] = ("VALID", "SAME", "SAME_LOWER", "CIRCULAR", "EDGE", "REFLECT")
"""The named paddings for any number of axes; "CAUSAL" is for one axis only."""
AXES = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}
"""The names of the spatial axes, by their number."""

_BOUNDARY: dict[str, Boundary] = {"CIRCULAR": "wrap", "EDGE": "edge", "REFLECT": "reflect"}


@dataclass(frozen=True)
class Geometry:
    """Which pixels a kernel reads: size, kernel, stride, dilation and padding along each spatial axis.

    `pads` are the (before, after) pairs; `boundary` is what the padding contains: "zero", "wrap" (the image continued
    periodically), "edge" (its edge pixel repeated) or "reflect" (the image mirrored about its edge pixel, which is not
    repeated).
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    boundary: Boundary = "zero"

    @property
    def extent(self) -> tuple[int, ...]:
        """The size of the dilated kernel: the pixels from its first to its last tap, both included."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def padded(self) -> tuple[int, ...]:
        """The size of the padded input."""
        return tuple(before + n + after for n, (before, after) in zip(self.size, self.pads, strict=True))

    @property
    def output(self) -> tuple[int, ...]:
        """The size of the output: the number of positions of the kernel."""
        return tuple((n - e) // s + 1 for n, e, s in zip(self.padded, self.extent, self.stride, strict=True))

    @property
    def taps(self) -> tuple[tuple[int, ...], ...]:
        """The index of every tap of the kernel, in row-major order."""
        return tuple(itertools.product(*map(range, self.kernel)))

    @property
    def num_taps(self) -> int:
        """The number of taps of the kernel."""
        return math.prod(self.kernel)

    def after_padding(self) -> Geometry:
        """The same positions on an input that has already been padded."""
        return replace(self, size=self.padded, pads=((0, 0),) * len(self.size), boundary="zero")

    def with_one_row(self) -> Geometry:
        """The same positions on images that are one row high, for a sequence."""
        ones = (1, *self.size), (1, *self.kernel), (1, *self.stride), (1, *self.dilation)
        return Geometry(*ones, ((0, 0), *self.pads), self.boundary)


def conv_geometry(
    caller: str,
    size: Sequence[int],
    kernel: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = "VALID",
    dilation: int | Sequence[int] = 1,
    kernel_argument: str = "w",
) -> Geometry:
    """Return the `Geometry` of a kernel on an input, after checking stride, padding and dilation against its size.

    Raises ArgumentTypeError for a setting that is not an integer, ArgumentValueError for one that does not fit.

    >>> conv_geometry("conv2d", (32, 32), (5, 5)).output
    (28, 28)
    >>> conv_geometry("conv1d", (10,), (3,), stride=2, padding="SAME").pads
    ((0, 1),)
    """
    axes = len(size)
    stride = integers(caller, "stride", stride, axes, least=1)
    dilation = integers(caller, "dilation", dilation, axes, least=1)
    bare = Geometry(tuple(size), tuple(kernel), stride, dilation, ((0, 0),) * axes)
    pads = _pad_pairs(caller, padding, bare)
    result = replace(bare, pads=pads, boundary=_BOUNDARY.get(padding, "zero") if isinstance(padding, str) else "zero")
    _check_fit(caller, result, padding, kernel_argument)
    return result


def transposed_geometry(
    caller: str,
    output: Sequence[int],
    kernel: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = "VALID",
    dilation: int | Sequence[int] = 1,
    output_padding: int | Sequence[int] = 0,
) -> Geometry:
    """Return the geometry of the convolution whose output has the size `output`; its `size` is that of the transpose.

    With a stride, several input sizes have the same output size. The smallest is taken, plus `output_padding`
    (0 to stride - 1) along each axis. With a padding in numbers, output_padding may also be 0 to dilation - 1; where it
    is the stride or more, the padding after the image is less by as much. A negative one stands for pixels at the end
    that no position reads.

    >>> transposed_geometry("conv2d_transpose", (14, 14), (2, 2), stride=2).size
    (28, 28)
    """
    axes = len(output)
    strides = integers(caller, "stride", stride, axes, least=1)
    extra = integers(caller, "output_padding", output_padding, axes, least=0)
    dilations = integers(caller, "dilation", dilation, axes, least=1)
    keeps_size = isinstance(padding, str) and padding != "VALID"  # one position on every stride-th pixel
    for e, s, d in zip(extra, strides, dilations, strict=True):
        if e >= s and (e >= d or keeps_size):
            reason = f"less than the stride {s}, because more would be a different number of positions"
            limit, expected = (s, reason) if keeps_size or d <= s else (d, f"less than the dilation {d}")
            fix = f"use 0 to {limit - 1}" if limit > 1 else "leave it out, it has a meaning with a stride only"
            raise value_error(caller, "output_padding", got=str(output_padding), expected=expected, fix=fix)
    bare = Geometry((1,) * axes, tuple(kernel), strides, dilations, ((0, 0),) * axes)
    pads = _pad_pairs(caller, padding, bare)
    span = tuple(s * (n - 1) for n, s in zip(output, strides, strict=True))
    if keeps_size:
        smallest = tuple(n + 1 for n in span)
    else:
        smallest = tuple(n + e - before - after for n, e, (before, after) in zip(span, bare.extent, pads, strict=True))
    size = tuple(n + e for n, e in zip(smallest, extra, strict=True))
    if any(_surely(lambda n=n: n < 1) for n in size):
        raise value_error(
            caller,
            "padding",
            got=describe(padding),
            expected=f"less padding: with it the result would have the size {size}",
            fix="use a smaller padding" + (", or a larger output_padding" if max(strides) > 1 else ""),
        )
    result = conv_geometry(caller, size, kernel, stride=stride, padding=padding, dilation=dilation)
    unread = (e if e >= s else 0 for e, s in zip(extra, strides, strict=True))
    pads = tuple((before, after - e) for (before, after), e in zip(result.pads, unread, strict=True))
    return replace(result, pads=pads)


def integers(caller: str, argument: str, value: Any, count: int, *, least: int) -> tuple[int, ...]:
    """Return `value`, one integer or one for each of `count` axes, as a tuple of plain integers.

    >>> integers("conv2d", "stride", 2, 2, least=1)
    (2, 2)
    """
    several = isinstance(value, (tuple, list))
    entries = tuple(value) if several else (value,) * count
    expected = f"an integer of at least {least}" + (f", or {count} of them, one for each axis" if count > 1 else "")
    fix = f"use {argument}={least} or more"
    if len(entries) != count:
        raise value_error(caller, argument, got=f"{value!r} ({len(entries)} entries)", expected=expected, fix=fix)
    plain = tuple(n for n in map(_plain_integer, entries) if n is not None)
    if len(plain) < count:
        raise type_error(caller, argument, got=describe(value), expected=expected, fix=fix)
    if any(n < least for n in plain):
        raise value_error(caller, argument, got=repr(value), expected=expected, fix=fix)
    return plain


def check_not_empty(caller: str, argument: str, shape: Sequence[int], got: str) -> None:
    """Raise ArgumentValueError if an axis other than the batch axis has length 0; `got` describes the array."""
    if 0 in shape:
        expected, fix = "at least one pixel and one map along every axis", "check how the array was sliced"
        raise value_error(caller, argument, got=got, expected=expected, fix=fix)


def check_maps(caller: str, x_shape: Sequence[int], w_shape: Sequence[int], groups: int) -> int:
    """Check that x, w (k, ..., C_in / groups, C_out) and `groups` agree on the numbers of maps; return groups."""
    spatial = len(w_shape) - 2
    c_in, slices, c_out = x_shape[-1], w_shape[-2], w_shape[-1]
    check_not_empty(caller, "x", x_shape[-spatial - 1 :], f"an array of shape {tuple(x_shape)}")
    check_not_empty(caller, "w", w_shape, f"an array of shape {tuple(w_shape)}")
    (groups,) = integers(caller, "groups", groups, 1, least=1)
    layout = None if slices == c_in else _layout_fix(tuple(x_shape), tuple(w_shape), groups)
    if c_in % groups or c_out % groups:
        raise value_error(
            caller,
            "groups",
            got=str(groups),
            expected=f"a divisor of both C_in = {c_in} and C_out = {c_out}",
            fix=layout or "use groups that divide both, or a ConnectionTable, which needs no divisibility",
        )
    if slices * groups != c_in:
        spatial_axes = ", ".join(kernel_axes(spatial))
        per_group = "C_in" if groups == 1 else f"C_in / groups = {c_in} / {groups}"
        has = f"x {tuple(x_shape)} has C_in = {c_in} maps"
        shape = f"({spatial_axes}, {c_in // groups}, C_out)"
        raise value_error(
            caller,
            "w",
            got=f"an array of shape {tuple(w_shape)} with {slices} input maps",
            expected=f"{c_in // groups} = {per_group} at axis {spatial} of w, because {has}",
            fix=(f"{layout}; otherwise " if layout else "")
            + f"give w the shape {shape}, or x {slices * groups} maps in its last axis",
        )
    return groups


def kernel_axes(spatial_axes: int) -> tuple[str, ...]:
    """The names of the spatial axes of a kernel.

    >>> kernel_axes(1), kernel_axes(2)
    (('k',), ('k_h', 'k_w'))
    """
    return ("k",) if spatial_axes == 1 else tuple(f"k_{axis.lower()}" for axis in AXES[spatial_axes])


def _layout_fix(x_shape: tuple[int, ...], w_shape: tuple[int, ...], groups: int) -> str | None:
    """The transposition to channels last, for arrays that would fit if they were channels first; else None."""
    spatial = len(w_shape) - 2
    axes = "".join(AXES[spatial])
    batched = len(x_shape) == spatial + 2
    first = int(batched)
    order_x = (*range(first), *range(first + 1, first + 1 + spatial), first)
    order_w = (*range(2, spatial + 2), 1, 0)
    x_is, x_fix = f"x looks like {'N' * batched}C{axes}", f"jnp.transpose(x, {order_x})"
    w_is, w_fix = f"w looks like OI{axes}", f"jnp.transpose(w, {order_w})"
    if x_shape[first] == w_shape[-2] * groups:
        return f"{x_is} (channels first): pass {x_fix}"
    # Kernels are mostly squares smaller than the numbers of maps. If the leading axes of w are one, w is in HWIO order.
    square = len(set(w_shape[:spatial])) == 1
    if square and (len(set(w_shape[2:])) > 1 or w_shape[2] > w_shape[0]):
        return None
    if w_shape[1] * groups == x_shape[-1]:
        return f"{w_is} (output maps first): pass {w_fix}"
    if x_shape[first] == w_shape[1] * groups:
        return f"{x_is} and {w_is} (channels first): pass {x_fix} and {w_fix}"
    return None


def _surely(condition: Callable[[], bool]) -> bool:
    """Whether a condition on sizes holds for all values of the symbolic ones."""
    try:
        return condition()
    except InconclusiveDimensionOperation:
        return False


def _plain_integer(value: Any) -> int | None:
    """The value as an int, or None if it is not an integer."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _pad_pairs(caller: str, padding: Any, bare: Geometry) -> tuple[tuple[int, int], ...]:
    """The (before, after) pads of each axis; `bare` is the geometry without padding."""
    if isinstance(padding, str):
        return _named_pads(caller, padding, bare)
    axes = len(bare.size)
    entries = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * axes
    pairs = tuple(tuple(entry) if isinstance(entry, (tuple, list)) else (entry, entry) for entry in entries)
    example = ", ".join(["(1, 1)"] * axes) + ("," if axes == 1 else "")
    names = ", ".join(_padding_names(axes))
    expected = f"one of {names}, an integer of at least 0, or a (before, after) pair for each axis"
    fix = f'use padding="SAME", padding=1 or padding=({example})'
    well_formed = len(pairs) == axes and all(len(pair) == 2 for pair in pairs)
    plain = [tuple(n for n in map(_plain_integer, pair) if n is not None) for pair in pairs]
    if any(len(numbers) < len(pair) for numbers, pair in zip(plain, pairs, strict=True)):
        raise type_error(caller, "padding", got=describe(padding), expected=expected, fix=fix)
    if not well_formed:
        raise value_error(caller, "padding", got=repr(padding), expected=expected, fix=fix)
    if any(n < 0 for pair in plain for n in pair):
        crop = "to crop, slice x before the call"
        raise value_error(caller, "padding", got=repr(padding), expected=expected, fix=crop)
    return tuple((before, after) for before, after in plain)


def _named_pads(caller: str, padding: str, bare: Geometry) -> tuple[tuple[int, int], ...]:
    if padding == "VALID":
        return ((0, 0),) * len(bare.size)
    if padding in ("SAME", "SAME_LOWER"):
        totals = [
            max_dim((-(-n // s) - 1) * s + e - n, 0)
            for n, e, s in zip(bare.size, bare.extent, bare.stride, strict=True)
        ]
        # An odd total puts its extra row after the image in SAME, before it in SAME_LOWER.
        pairs = [(total // 2, total - total // 2) for total in totals]
        return tuple(pairs if padding == "SAME" else [(after, before) for before, after in pairs])
    if padding in _BOUNDARY:
        # The pads do not depend on the stride, so that stride s gives every s-th value of stride 1.
        return tuple(((e - 1) // 2, e // 2) for e in bare.extent)
    names = _padding_names(len(bare.size))
    if padding == "CAUSAL" and padding in names:
        return tuple((e - 1, 0) for e in bare.extent)
    if padding == "CAUSAL":
        fix = "CAUSAL needs one axis of time: use conv1d, or explicit (before, after) pairs"
    elif padding.upper() in names:
        fix = f'write "{padding.upper()}"'
    else:
        fix = 'use "SAME" to keep the size, "VALID" for no padding'
    raise value_error(caller, "padding", got=repr(padding), expected=f"one of {', '.join(names)}, or integers", fix=fix)


def _padding_names(axes: int) -> tuple[PaddingName, ...]:
    return (*PADDINGS, "CAUSAL") if axes == 1 else PADDINGS


def _check_fit(caller: str, geometry: Geometry, padding: Padding, kernel_argument: str) -> None:
    """Raise ArgumentValueError if the kernel is larger than the padded input, or a mirror larger than the input."""
    axes = AXES[len(geometry.size)]
    what, dilation = ("window", "") if kernel_argument == "window" else ("kernel", " or dilation")
    for axis, n, padded, extent, pair in zip(
        axes, geometry.size, geometry.padded, geometry.extent, geometry.pads, strict=True
    ):
        if _surely(lambda extent=extent, padded=padded: extent > padded):
            dilated = "" if max(geometry.dilation) == 1 else f" (dilated by {geometry.dilation})"
            raise value_error(
                caller,
                kernel_argument,
                got=f"a {what} of {geometry.kernel}{dilated}, {extent} pixels along {axis}",
                expected=f"at most {padded}, the padded input's size along {axis} ({n} + {pair[0]} + {pair[1]})",
                fix=f'use a smaller {what}{dilation}, a larger input, or padding="SAME"',
            )
        if geometry.boundary == "reflect" and _surely(lambda n=n, pair=pair: max(pair) >= n):
            raise value_error(
                caller,
                "padding",
                got=f"{padding!r}, which needs {max(pair)} mirrored pixels along {axis}",
                expected=f"at most {n - 1}, because the input has {n} and its edge is not repeated",
                fix='use a smaller kernel, or padding="CIRCULAR" or "SAME"',
            )

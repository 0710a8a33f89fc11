"""What each primitive does to the axes of an array: where they move, and which part of the input they then read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from cnnjax.programs.extents import Extents
from cnnjax.programs.flattening import INDEX, REPEAT, STACK, Operation
from cnnjax.programs.products import convolution, matrix_product

__all__ = ["Axes", "is_reduction", "places", "propagate", "windows"]


@dataclass(frozen=True)
class Axes:
    """What the axes of an array mean.

    Attributes:
        extents: which part of the input its elements read.
        maps, batch: the axes of the maps and of the examples, once a convolution or a matrix product has told them.
    """

    extents: Extents
    maps: int | None = None
    batch: int | None = None

    def renumbered(self, places: Mapping[int, int], extents: Extents) -> Axes:
        """Maps and examples moved as the axes are."""
        return Axes(extents, _place(places, self.maps), _place(places, self.batch))

    def joined(self, other: Axes) -> Axes:
        """Of an array that is computed from two."""
        maps = other.maps if self.maps is None else self.maps
        batch = other.batch if self.batch is None else self.batch
        return Axes(self.extents.joined(other.extents), maps, batch)


def _place(places: Mapping[int, int], axis: int | None) -> int | None:
    return None if axis is None else places.get(axis)


def is_reduction(operation: Operation) -> bool:
    """Whether axes are reduced to one element."""
    return operation.name.startswith(("reduce_", "arg")) and "axes" in operation.params


def places(operation: Operation) -> dict[int, int] | None:
    """Where a primitive that only moves, adds or removes axes puts each; None for any other."""
    name, params = operation.name, operation.params
    old, new = (shapes[0].shape for shapes in (operation.shapes_in, operation.shapes_out))
    if name == "broadcast_in_dim":
        moved = enumerate(params["broadcast_dimensions"])
        return {axis: place for axis, place in moved if old[axis] == new[place]}
    if name == "transpose":
        return {axis: place for place, axis in enumerate(params["permutation"])}
    if name == "squeeze":
        left = [axis for axis in range(len(old)) if axis not in params["dimensions"]]
        return {axis: place for place, axis in enumerate(left)}
    if is_reduction(operation):
        left = [axis for axis in range(len(old)) if axis not in params["axes"]]
        return {axis: place for place, axis in enumerate(left)}
    if name == STACK:
        return {axis: axis + 1 for axis in range(len(old))}
    if name == INDEX:
        return {axis: axis - 1 for axis in range(1, len(old))}
    return None


def windows(operation: Operation) -> list[tuple[int, int, int, int, int]]:
    """(axis, extent, stride, before, spread) of each axis of a `reduce_window`."""
    params = operation.params
    rank = len(operation.shapes_in[0].shape)
    ones = (1,) * rank
    return [
        (axis, (size - 1) * dilation + 1, stride, low, spread)
        for axis, (size, stride, (low, _), spread, dilation) in enumerate(
            zip(
                params["window_dimensions"],
                params.get("window_strides") or ones,
                params["padding"],
                params.get("base_dilation") or ones,
                params.get("window_dilation") or ones,
                strict=True,
            )
        )
    ]


def propagate(operation: Operation, operands: Sequence[Axes | None]) -> list[Axes | None]:
    """The axes of the results of an operation; None for an operand, or a result, that does not depend on the input."""
    if all(axes is None for axes in operands):
        return [None] * len(operation.results)
    if operation.name == "split":
        return _split(operation, operands)
    special = _SPECIAL.get(operation.name, _moved)
    found = special(operation, operands)
    return [found or _elementwise(operands, operation, aval.shape) for aval in operation.shapes_out]


def _moved(operation: Operation, operands: Sequence[Axes | None]) -> Axes | None:
    """After a primitive that moves axes, or passes windows over them."""
    axes = operands[0]
    moved = places(operation)
    if axes is None:
        return None
    if moved is not None:
        return axes.renumbered(moved, axes.extents.renumbered(moved))
    if operation.name.startswith("reduce_window"):
        extents = axes.extents
        for axis, extent, stride, before, spread in windows(operation):
            count = operation.shapes_out[0].shape[axis]
            extents = extents.windowed(axis, extent=extent, stride=stride, before=before, spread=spread, count=count)
        return replace(axes, extents=extents)
    if operation.name.startswith("cum"):
        rank = len(operation.shapes_in[0].shape)
        return replace(axes, extents=axes.extents.reduced([operation.params["axis"]], rank, keep=True))
    return None


def _elementwise(operands: Sequence[Axes | None], operation: Operation, shape: Sequence[int]) -> Axes | None:
    """Of an elementwise primitive, or of one that is not known: operands of another rank are read as a whole."""
    joined: Axes | None = None
    for axes, aval in zip(operands, operation.shapes_in, strict=True):
        if axes is None:
            continue
        same = {axis: axis for axis, n in enumerate(shape) if len(aval.shape) == len(shape) and n == aval.shape[axis]}
        here = axes.renumbered(same, axes.extents.renumbered(same))
        joined = here if joined is None else joined.joined(here)
    return joined


def _split(operation: Operation, operands: Sequence[Axes | None]) -> list[Axes | None]:
    axes, along = operands[0], operation.params["axis"]
    parts: list[Axes | None] = []
    start = 0
    for size in operation.params["sizes"]:
        extents = axes and axes.extents.windowed(along, extent=1, stride=1, before=-start, count=size)
        parts.append(axes and extents and replace(axes, extents=extents))
        start += size
    return parts


def _reshape(operation: Operation, operands: Sequence[Axes | None]) -> Axes | None:
    axes = operands[0]
    if axes is None:
        return None
    old, new = operation.shapes_in[0].shape, operation.shapes_out[0].shape
    extents = axes.extents.reshaped(old, new)
    kept = dict(_unchanged(old, new))
    return axes.renumbered(kept, extents)


def _unchanged(old: Sequence[int], new: Sequence[int]) -> list[tuple[int, int]]:
    """The axes that a reshape leaves as they are: those with as many elements before and after them."""
    ends = {}
    before = 1
    for j, n in enumerate(new):
        ends.setdefault((before, n), j)
        before *= n
    pairs: list[tuple[int, int]] = []
    before = 1
    for i, n in enumerate(old):
        if (before, n) in ends:
            pairs.append((i, ends[before, n]))
        before *= n
    return pairs


def _slice(operation: Operation, operands: Sequence[Axes | None]) -> Axes | None:
    axes, params = operands[0], operation.params
    strides = params["strides"] or (1,) * len(params["start_indices"])
    return axes and replace(
        axes, extents=axes.extents.sliced(params["start_indices"], strides, operation.shapes_out[0].shape)
    )


def _pad(operation: Operation, operands: Sequence[Axes | None]) -> Axes | None:
    axes = operands[0]
    if axes is None:
        return None
    extents = axes.extents
    for axis, (low, _, interior) in enumerate(operation.params["padding_config"]):
        count = operation.shapes_out[0].shape[axis]
        extents = extents.windowed(axis, extent=1, stride=1, before=low, spread=interior + 1, count=count)
    return replace(axes, extents=extents)


def _dynamic_slice(operation: Operation, operands: Sequence[Axes | None]) -> Axes | None:
    """The start is not known, but neighbours stay neighbours."""
    axes = operands[0]
    shape = operation.shapes_out[0].shape
    return axes and replace(axes, extents=axes.extents.sliced((0,) * len(shape), (1,) * len(shape), shape))


def _concatenate(operation: Operation, operands: Sequence[Axes | None]) -> Axes | None:
    """Along the axis of joining, the longest operand counts: the others are pixels around it."""
    axis, count = operation.params["dimension"], operation.shapes_out[0].shape[operation.params["dimension"]]
    start, longest = 0, 0
    joined: Axes | None = None
    main: Extents | None = None
    for axes, aval in zip(operands, operation.shapes_in, strict=True):
        if axes is not None:
            extents = axes.extents.windowed(axis, extent=1, stride=1, before=start, count=count)
            here = replace(axes, extents=extents)
            joined = here if joined is None else joined.joined(here)
            if aval.shape[axis] > longest:
                longest, main = aval.shape[axis], extents
        start += aval.shape[axis]
    if joined is None or main is None or (along := main.input_axis(axis)) is None:
        return joined
    return replace(joined, extents=joined.extents.with_interval(along, main.intervals[along]))


def _convolution(operation: Operation, operands: Sequence[Axes | None]) -> Axes | None:
    out = operation.shapes_out[0].shape
    conv = convolution(operation.name, operation.params, [aval.shape for aval in operation.shapes_in], out)
    axes = operands[conv.image]
    if axes is None:
        return None
    extents = axes.extents.reduced([conv.maps], len(operation.shapes_in[conv.image].shape), keep=True)
    moved = {conv.batch: conv.out_batch} | dict(zip(conv.spatial, conv.out_spatial, strict=True))
    for axis, kernel, dilation, stride, before, spread in zip(
        conv.spatial, conv.kernel, conv.dilation, conv.stride, conv.before, conv.spread, strict=True
    ):
        extent, count = (kernel - 1) * dilation + 1, out[moved[axis]]
        extents = extents.windowed(axis, extent=extent, stride=stride, before=before, spread=spread, count=count)
    return Axes(extents.renumbered(moved), conv.out_maps, conv.out_batch)


def _matrix_product(operation: Operation, operands: Sequence[Axes | None]) -> Axes | None:
    shapes = [aval.shape for aval in operation.shapes_in]
    product = matrix_product(operation.params, shapes, operation.shapes_out[0].shape)
    joined: Axes | None = None
    for axes, places in zip(operands, product.placed, strict=True):
        if axes is not None:
            here = axes.renumbered(places, axes.extents.renumbered(places))
            joined = here if joined is None else joined.joined(here)
    return joined


def _gather(operation: Operation, operands: Sequence[Axes | None]) -> Axes | None:
    """Rows of a table that is no input, by indices that are: each row is where its index was."""
    if operands[0] is not None or operands[1] is None:
        return None
    numbers = operation.params["dimension_numbers"]
    rank = len(operation.shapes_out[0].shape)
    of_indices = [axis for axis in range(rank) if axis not in numbers.offset_dims]
    moved = dict(enumerate(of_indices))
    return operands[1].renumbered(moved, operands[1].extents.renumbered(moved))


def _repeat(operation: Operation, operands: Sequence[Axes | None]) -> Axes | None:
    before, after = operands
    if after is None or before is None:
        return after or before
    return replace(after, extents=after.extents.repeated(before.extents, operation.params["length"]))


_SPECIAL: dict[str, Callable[[Operation, Sequence[Axes | None]], Axes | None]] = {
    "reshape": _reshape,
    "slice": _slice,
    "pad": _pad,
    "dynamic_slice": _dynamic_slice,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolution,
    "cnnjax_forward": _convolution,
    "cnnjax_input_gradient": _convolution,
    "cnnjax_weight_gradient": _convolution,
    "dot_general": _matrix_product,
    "gather": _gather,
    REPEAT: _repeat,
}

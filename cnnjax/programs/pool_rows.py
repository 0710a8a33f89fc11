"""The rows of pools: windows that slide over each map, or reductions of whole maps."""

from __future__ import annotations

import math
from dataclasses import replace

from cnnjax.programs.drafts import Draft
from cnnjax.programs.extents import Interval
from cnnjax.programs.flattening import Operation
from cnnjax.programs.state import ARITHMETIC, MOVES, ROOTS, State

__all__ = ["pool_row", "pool_row_of_cnnjax", "reduction_row"]

_WINDOWS = {"reduce_window_max": "MaxPool", "reduce_window_min": "MinPool", "reduce_window_sum": "AvgPool"}
_WHOLE = {"reduce_max": "GlobalMaxPool", "reduce_sum": "GlobalAvgPool"}
_WITH_NUMBERS = frozenset({*ARITHMETIC, "max", "select_n"})
_OF_MOMENTS = frozenset({"square", "integer_pow", *ROOTS})


def pool_row(state: State, operation: Operation) -> None:
    """Draft the row of a `reduce_window` over the input; without an earlier layer, maps are along an unpooled axis."""
    axes = state.value(operation.operands[0]).axes
    window, shape = operation.params["window_dimensions"], operation.shapes_in[0].shape
    if axes is None or max(window) == 1:
        return
    rank = len(shape)
    maps = axes.maps if axes.maps is not None else (rank - 1 if window[-1] == 1 else 1)
    others = tuple(
        axis for axis in range(rank) if axis not in (maps, axes.batch or 0) and (window[axis] > 1 or shape[axis] > 1)
    )
    kernel = tuple(window[axis] for axis in others)
    kind = f"{_WINDOWS.get(operation.name, 'Pool')}{len(others)}D"
    draft = _start(state, operation, kind, kernel, maps)
    draft.num_connections = math.prod(draft.shape) * math.prod(kernel)
    draft.size_in, draft.size = (
        tuple(aval.shape[axis] for axis in others) for aval in (operation.shapes_in[0], operation.shapes_out[0])
    )
    state.passes_over(axes, others)


def _start(state: State, operation: Operation, kind: str, kernel: tuple[int, ...], maps: int, source: int = 0) -> Draft:
    """Draft the row of a pool of one of the operands, whose maps are along an axis."""
    draft = state.start(operation, kind)
    draft.kernel = kernel
    draft.c_in = draft.c_out = draft.groups = operation.shapes_in[source].shape[maps]
    return draft


def pool_row_of_cnnjax(state: State, operation: Operation) -> None:
    """A pool whose steps have been followed: its window is what they have added to what its input reads."""
    pooled, image, *parameters = state.operands(operation)
    if pooled.axes is None or image.axes is None:
        return
    rank = len(operation.shapes_in[0].shape)
    spatial, maps = tuple(range(1, rank - 1)), rank - 1
    before, after = image.axes.extents, pooled.axes.extents
    kernel = tuple(
        1 if (i := before.input_axis(axis)) is None else _window(before.intervals[i], after.intervals[i])
        for axis in spatial
    )
    units = math.prod(operation.shapes_out[0].shape)
    draft = _start(state, operation, f"{operation.params['kind']}{rank - 2}D", kernel, maps, source=1)
    draft.num_connections = units * math.prod(kernel)
    draft.size_in, draft.size = operation.shapes_in[1].shape[1:-1], operation.shapes_out[0].shape[1:-1]
    if parameters:
        draft.num_macs = units
        draft.num_connections += units * (len(parameters) - 1)
        for value in parameters:
            draft.uses += value.uses
    state.passes_over(image.axes, spatial)
    axes = draft.axes = replace(pooled.axes, maps=maps, batch=0)
    state.change(operation, lambda value: replace(value, axes=axes))


def _window(before: Interval, after: Interval) -> int:
    """The pixels of a window, from what an element reads before and after it."""
    return int((after.high - after.low - (before.high - before.low)) / before.jump) + 1


def reduction_row(state: State, operation: Operation) -> None:
    """Draft the row of a reduction of whole maps, unless it is that of a normalisation."""
    axes, shape = state.value(operation.operands[0]).axes, operation.shapes_in[0].shape
    if axes is None or axes.maps is None or len(shape) < 3:
        return
    others = tuple(axis for axis in range(len(shape)) if axis not in (axes.maps, axes.batch))
    along_input = any(axes.extents.input_axis(axis) is not None for axis in others)
    if not along_input or {*operation.params["axes"]} != {*others} or _feeds_normalisation(state, operation):
        return
    kernel = tuple(shape[axis] for axis in others)
    draft = _start(state, operation, _WHOLE[operation.name], kernel, axes.maps)
    draft.num_connections, draft.size_in, draft.size = math.prod(shape), kernel, ()


def _feeds_normalisation(state: State, operation: Operation) -> bool:
    """Whether a mean is squared, a root is taken of it, or it is subtracted from what depends on the input."""
    reached = [*operation.results]
    for variable in reached:
        for reader in state.readers.get(variable, ()):
            others = [operand for operand in reader.operands if operand != variable]
            depends = not state.dependent.isdisjoint(others)
            if reader.name in _OF_MOMENTS or (reader.name == "sub" and depends):
                return True
            is_plain = not depends and not any(state.value(other).uses for other in others)
            if reader.name in MOVES or (reader.name in _WITH_NUMBERS and is_plain):
                reached += [result for result in reader.results if result not in reached]
    return False

"""The rows of parameters that are not multiplied by matrices: biases, scales, shifts, normalisations, tables, codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from cnnjax.programs.drafts import Draft
from cnnjax.programs.flattening import Operation
from cnnjax.programs.parameters import Use, union
from cnnjax.programs.state import State, Value

__all__ = ["arithmetic_row", "distance_row", "table_row"]


def arithmetic_row(state: State, operation: Operation) -> None:
    """Note a parameter that is added to values, or multiplied by them: a bias, or a step of a scale and shift."""
    first, second = state.operands(operation)
    if first.axes is not None and second.axes is not None:
        _normalised(state, operation, first, second)
        return
    data, other = (second, first) if first.axes is None else (first, second)
    if data.axes is None:
        return
    uses = [use for use in other.uses if not use.scaled and (data.is_late or use.leaf not in state.program.captured)]
    if not uses:
        return
    if operation.name == "sub" and data is first:
        uses = [replace(use, negated=not use.negated) for use in uses]
    if operation.name in ("add", "add_any") and data.product is not None and _is_bias(uses, data.product):
        data.product.uses += uses
        data.product.has_bias = True
        data.product.num_connections += math.prod(data.product.shape)
        return
    maps = _axes_of(state, operation, 1 if data is first else 0)
    if data.axes.maps is None and len(maps) == 1:
        state.change(operation, lambda value: replace(value, axes=value.axes and replace(value.axes, maps=maps[0])))
    draft = _continued(data.affine, state, operation, "Norm" if data.is_root else "Affine")
    draft.add(uses)


def _axes_of(state: State, operation: Operation, operand: int) -> list[int]:
    """The axes along which an operand changes that is broadcast to the result."""
    shape = operation.shapes_in[operand].shape
    maker = state.maker(operation.operands[operand])
    if maker is not None and maker.name == "broadcast_in_dim":
        before = maker.shapes_in[0].shape
        return [place for axis, place in enumerate(maker.params["broadcast_dimensions"]) if before[axis] > 1]
    return [axis for axis, n in enumerate(shape) if n > 1]


def _is_bias(uses: Sequence[Use], product: Draft) -> bool:
    """Whether parameters that are added to a convolution or matrix product are one number for each of its maps."""
    has_roots = any(use.root for use in uses)
    return not product.has_bias and not has_roots and sum(use.count for use in uses) == product.c_out


def _continued(draft: Draft | None, state: State, operation: Operation, kind: str) -> Draft:
    """The row of scales and shifts that an operation belongs to, of which it is a further one or the first."""
    if draft is None or draft.scope != operation.scope:
        draft = state.start(operation, kind)
    draft.shape = tuple(operation.shapes_out[0].shape)
    draft.axes = state.value(operation.results[0]).axes
    state.change(operation, lambda value: replace(value, affine=draft))
    return draft


def _normalised(state: State, operation: Operation, first: Value, second: Value) -> None:
    """A product with, or a quotient by, a root of means."""
    if operation.name not in ("mul", "div") or first.is_root == second.is_root:
        return
    root = first if first.is_root else second
    _continued(root.affine, state, operation, "Norm")
    state.change(operation, lambda value: replace(value, is_root=False, is_moment=False))


def distance_row(state: State, operation: Operation) -> bool:
    """Draft the row of squared distances to codes, sum_j (x[n, 1, j] - codes[1, i, j])^2, from that of the difference.

    Returns whether a sum is one. Captured codes are no parameters.
    """
    squared = state.maker(operation.operands[0])
    if squared is None or (squared.name != "square" and squared.params.get("y") != 2):
        return False
    difference = state.maker(squared.operands[0])
    if difference is None or difference.name != "sub" or len(difference.shapes_out[0].shape) != 3:
        return False
    draft = state.value(difference.results[0]).affine
    if draft is None or operation.params["axes"] != (2,) or difference.shapes_in[0].shape[1] != 1:
        return False
    draft.kind = "RBF"
    draft.num_macs = draft.num_connections = math.prod(difference.shapes_out[0].shape)
    _, draft.c_out, draft.c_in = difference.shapes_out[0].shape
    draft.uses = [use for use in draft.uses if use.leaf not in state.program.captured]
    draft.shape, draft.axes = tuple(operation.shapes_out[0].shape), state.value(operation.results[0]).axes
    draft.size_in = draft.size = ()
    return True


def table_row(state: State, operation: Operation) -> None:
    """Rows looked up in a table, or learned values put beside others."""
    if state.value(operation.results[0]).axes is None:
        return
    uses = union(use for value in state.operands(operation) for use in value.uses)
    if operation.name == "concatenate":
        uses = tuple(use for use in uses if use.leaf not in state.program.captured)
    if uses:
        state.start(operation, "Concatenate" if operation.name == "concatenate" else "Embedding").add(uses)
        state.change(operation, lambda value: replace(value, is_late=True))

"""The rows of convolutions and matrix products."""

from __future__ import annotations

import math
from dataclasses import replace

from cnnjax.programs.flattening import Operation
from cnnjax.programs.parameters import CONNECTED
from cnnjax.programs.products import convolution, matrix_product
from cnnjax.programs.propagation import Axes
from cnnjax.programs.state import State

__all__ = ["convolution_row", "matrix_product_row"]


def convolution_row(state: State, operation: Operation) -> None:
    """Draft the row of a convolution."""
    operands = state.operands(operation)
    conv = convolution(
        operation.name, operation.params, [a.shape for a in operation.shapes_in], operation.shapes_out[0].shape
    )
    draft = state.start(operation, conv.kind)
    draft.kernel, draft.c_in, draft.c_out, draft.groups = conv.kernel, conv.c_in, conv.c_out, conv.groups
    draft.size_in = tuple(operation.shapes_in[conv.image].shape[axis] for axis in conv.spatial)
    draft.size = tuple(draft.shape[axis] for axis in conv.out_spatial)
    draft.links, draft.num_macs, draft.num_connections = conv.links, conv.num_products, conv.num_products
    for use in operands[conv.weights].uses:
        if conv.links is None:
            draft.uses.append(use)
        else:
            draft.uses.append(replace(use, count=conv.num_weights, part=CONNECTED))
    state.passes_over(operands[conv.image].axes, conv.spatial)
    state.change(operation, lambda value: replace(value, product=draft, is_late=True))


def matrix_product_row(state: State, operation: Operation) -> None:
    """Draft the row of a matrix product: with weights, or of two arrays that depend on the input."""
    operands = state.operands(operation)
    shapes = [aval.shape for aval in operation.shapes_in]
    product = matrix_product(operation.params, shapes, operation.shapes_out[0].shape)
    # The operand that does not depend on the input is the weights; of two such operands, the second.
    weights = 0 if operands[0].axes is None and operands[1].axes is not None else 1
    image = 1 - weights
    of_weights = operands[weights].axes is None
    draft = state.start(operation, "Dense" if of_weights else "Product")
    draft.num_macs = draft.num_connections = product.num_products
    draft.uses += operands[weights].uses
    maps = [shapes[weights][axis] for axis in product.free[weights]]
    shared = product.num_groups if of_weights else 1
    draft.groups, draft.c_out = shared, shared * math.prod(maps)
    draft.c_in = shared * math.prod(shapes[image][axis] for axis in product.contracted[image])
    axes = operands[image].axes
    batch = 0 if axes is None or axes.batch is None else axes.batch
    draft.size_in = draft.size = tuple(
        n for axis in product.free[image] if axis != batch and ((n := shapes[image][axis]) > 1 or of_weights)
    )
    if axes is not None:
        for i, interval in enumerate(axes.extents.intervals):
            steps = [found for axis in product.contracted[image] if (found := interval.along(axis))]
            if steps:
                draft.contracted[i] = math.prod(found.count for found in steps)
    place = product.placed[weights]
    units = next((place[axis] for axis in product.free[weights]), None)
    batch = product.placed[image].get(batch)
    state.change(operation, lambda value: replace(value, product=draft, is_late=True))
    if draft.axes is not None:
        draft.axes = Axes(draft.axes.extents, units, batch)
        state.change(operation, lambda value: replace(value, axes=draft.axes))

"""Read a flat program: one draft for each convolution, matrix product, pooling and normalisation.

Along with each variable goes what is known about it: whether it depends on the input, and which part of it it reads; or
the parameters that it is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp

from cnnjax.programs.extents import of_input
from cnnjax.programs.flattening import POOL, Operation, Program
from cnnjax.programs.parameters import Use, express
from cnnjax.programs.pool_rows import pool_row, pool_row_of_cnnjax, reduction_row
from cnnjax.programs.product_rows import convolution_row, matrix_product_row
from cnnjax.programs.products import PRODUCTS
from cnnjax.programs.propagation import Axes, is_reduction, propagate
from cnnjax.programs.scale_rows import arithmetic_row, distance_row, table_row
from cnnjax.programs.state import ARITHMETIC, MOVES, ROOTS, State, Value

__all__ = ["read"]


def read(program: Program, inputs: frozenset[int]) -> State:
    """Return what is known about a program, with the drafts in the order of execution.

    Args:
        program: the program.
        inputs: the variables of the arrays that are the input.
    """
    state = State(program, inputs)
    for variable, aval in program.arguments.items():
        if variable in inputs:
            state.values[variable] = Value(Axes(of_input(variable, aval.shape)))
        else:
            state.values[variable] = Value(uses=(Use(variable, math.prod(aval.shape)),))
    for variable, aval in program.captured.items():
        if jnp.issubdtype(aval.dtype, jnp.inexact):
            state.values[variable] = Value(uses=(Use(variable, math.prod(aval.shape)),))
    for operation in program.operations:
        _read(state, operation)
    return state


def _read(state: State, operation: Operation) -> None:
    """Follow one operation, and draft its row if it is to have one."""
    operands = state.operands(operation)
    axes = propagate(operation, _without_statistics(operation, operands))
    if all(found is None for found in axes):
        made = [Value(uses=uses) for uses in express(operation, [value.uses for value in operands])]
    else:
        made = [_follow(operation, operands, found) for found in axes]
    state.values.update(zip(operation.results, made, strict=True))
    row = _ROWS.get(operation.name)
    if row is not None and not operation.within_pool and (operation.name in PRODUCTS or not operation.in_reverse):
        row(state, operation)


def _follow(operation: Operation, operands: list[Value], axes: Axes | None) -> Value:
    """A result that depends on the input, as far as no row has to be drafted for that."""
    data = [value for value in operands if value.axes is not None]
    plain = len(data) == 1 and not any(value.uses for value in operands)
    moves = operation.name in MOVES
    of_moments = all(value.is_moment for value in data) and operation.name not in PRODUCTS
    return Value(
        axes,
        product=data[0].product if moves else None,
        affine=data[0].affine if plain and (moves or operation.name in ARITHMETIC) else None,
        is_moment=of_moments or is_reduction(operation),
        is_root=of_moments and (operation.name in ROOTS or any(value.is_root for value in data)),
        is_late=any(value.is_late for value in data),
    )


def _without_statistics(operation: Operation, operands: list[Value]) -> list[Axes | None]:
    """The axes of the operands; where values are normalised, only those of the values, by convention.

    A statistic is a mean over axes along which the values move.
    """
    steps = [0 if value.axes is None else value.axes.extents.num_steps for value in operands]
    drops = [
        operation.name in ARITHMETIC and v.is_moment and n < max(steps) for v, n in zip(operands, steps, strict=True)
    ]
    return [None if drop else value.axes for drop, value in zip(drops, operands, strict=True)]


def _sum_row(state: State, operation: Operation) -> None:
    if not distance_row(state, operation):
        reduction_row(state, operation)


_ROWS: dict[str, Callable[[State, Operation], None]] = {
    **{name: convolution_row for name in PRODUCTS if name != "dot_general"},
    "dot_general": matrix_product_row,
    POOL: pool_row_of_cnnjax,
    **dict.fromkeys(("reduce_window", "reduce_window_max", "reduce_window_min", "reduce_window_sum"), pool_row),
    "reduce_max": reduction_row,
    "reduce_sum": _sum_row,
    **dict.fromkeys(ARITHMETIC, arithmetic_row),
    "concatenate": table_row,
    "gather": table_row,
}

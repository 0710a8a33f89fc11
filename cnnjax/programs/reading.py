"""Read a flat program: one draft for each convolution, matrix product, pooling and normalisation.

Along with each variable goes what is known about it: whether it depends on the input, and which part of it it reads; or
the parameters that it is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import jax.numpy as jnp

from cnnjax.programs.drafts import Draft
from cnnjax.programs.extents import of_input
from cnnjax.programs.flattening import POOL, Operation, Program
from cnnjax.programs.parameters import Use, express, union
from cnnjax.programs.products import convolution, matrix_product
from cnnjax.programs.propagation import Axes, is_reduction, propagate, windows

__all__ = ["read"]

_MOVES = frozenset(
    {
        "broadcast_in_dim", "convert_element_type", "copy", "copy_p", "expand_dims", "optimization_barrier",
        "reduce_precision", "reshape", "squeeze", "stop_gradient", "transpose",
    }
)  # fmt: skip
"""Primitives that change no value."""

_ARITHMETIC = frozenset({"add", "add_any", "sub", "mul", "div"})
_ROOTS = frozenset({"sqrt", "rsqrt", "pow"})
_WINDOWS = {"reduce_window_max": "MaxPool", "reduce_window_min": "MinPool", "reduce_window_sum": "AvgPool"}
_WHOLE = {"reduce_max": "GlobalMaxPool", "reduce_sum": "GlobalAvgPool"}


@dataclass(frozen=True)
class _Value:
    """What is known about a variable.

    Attributes:
        axes: what its axes are, if it depends on the input.
        uses: the parameters that it is made of, if it does not.
        product: the convolution or matrix product of which it is the result, until something else is done to it.
        affine: the row of the scales and shifts that made it.
        is_moment: whether it is a mean, or made of means.
        is_root: whether it is a square root of means, as a standard deviation is.
        is_late: whether a convolution or a matrix product precedes it.
    """

    axes: Axes | None = None
    uses: tuple[Use, ...] = ()
    product: Draft | None = None
    affine: Draft | None = None
    is_moment: bool = False
    is_root: bool = False
    is_late: bool = False


_NUMBER = _Value()


def read(program: Program, inputs: frozenset[int], shapes: Mapping[int, tuple[int, ...]]) -> tuple[list[Draft], dict[int, set[int]]]:
    """Return the drafts in the order of execution, and for each input the axes that windows pass over.

    Args:
        program: the program.
        inputs: the variables of the arrays that are the input.
        shapes: the shape of each argument.
    """
    reader = _Reader(program)
    for variable, shape in shapes.items():
        if variable in inputs:
            reader.values[variable] = _Value(Axes(of_input(variable, shape)))
        else:
            reader.values[variable] = _Value(uses=(Use(variable, math.prod(shape)),))
    for variable, aval in program.captured.items():
        if jnp.issubdtype(aval.dtype, jnp.inexact):
            reader.values[variable] = _Value(uses=(Use(variable, math.prod(aval.shape)),))
    for operation in program.operations:
        reader.read(operation)
    return reader.drafts, reader.spatial


@dataclass
class _Reader:
    program: Program
    values: dict[int, _Value] = field(default_factory=dict[int, _Value])
    drafts: list[Draft] = field(default_factory=list[Draft])
    spatial: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    made_by: dict[int, Operation] = field(default_factory=dict[int, Operation])
    readers: dict[int, list[Operation]] = field(default_factory=dict[int, list[Operation]])

    def __post_init__(self) -> None:
        """Index the operations by what they make and read."""
        for operation in self.program.operations:
            self.made_by.update(dict.fromkeys(operation.results, operation))
            for operand in operation.operands:
                if operand is not None:
                    self.readers.setdefault(operand, []).append(operation)

    def read(self, operation: Operation) -> None:
        """Follow one operation, and draft its row if it is to have one."""
        operands = [self._value(operand) for operand in operation.operands]
        axes = propagate(operation, _without_statistics(operation, operands))
        if all(found is None for found in axes):
            made = [_Value(uses=uses) for uses in express(operation, [value.uses for value in operands])]
        else:
            made = [self._follow(operation, operands, found) for found in axes]
        self.values.update(zip(operation.results, made, strict=True))
        if not operation.within_pool:
            self._draft(operation, operands)

    def _value(self, variable: int | None) -> _Value:
        return _NUMBER if variable is None else self.values.get(variable, _NUMBER)

    def _follow(self, operation: Operation, operands: list[_Value], axes: Axes | None) -> _Value:
        """A result that depends on the input, as far as no row has to be drafted for that."""
        data = [value for value in operands if value.axes is not None]
        plain = len(data) == 1 and not any(value.uses for value in operands)
        kept = data[0] if operation.name in _MOVES else _NUMBER
        affine = data[0].affine if plain and (operation.name in _MOVES or operation.name in _ARITHMETIC) else None
        of_moments = all(value.is_moment for value in data) or is_reduction(operation)
        return _Value(
            axes,
            product=kept.product,
            affine=affine,
            is_moment=of_moments and not operation.name.startswith(("dot", "conv", "cnnjax")),
            is_root=any(v.is_root for v in data) or (operation.name in _ROOTS and all(v.is_moment for v in data)),
            is_late=any(value.is_late for value in data),
        )

    def _draft(self, operation: Operation, operands: list[_Value]) -> None:
        name = operation.name
        if name == "conv_general_dilated" or name.startswith("cnnjax_"):
            self._convolution(operation, operands)
        elif name == "dot_general":
            self._matrix_product(operation, operands)
        elif name == POOL:
            self._pool_of_cnnjax(operation, operands)
        elif name.startswith("reduce_window"):
            self._pool(operation, operands)
        elif is_reduction(operation):
            self._reduction(operation, operands)
        elif name in _ARITHMETIC:
            self._arithmetic(operation, operands)
        elif name in ("concatenate", "gather"):
            self._table(operation, operands)

    def _start(self, operation: Operation, kind: str) -> Draft:
        """A row for the first result of an operation."""
        draft = Draft(
            operation.scope,
            kind,
            tuple(operation.shapes_out[0].shape),
            self._value(operation.results[0]).axes,
            operation.times,
        )
        self.drafts.append(draft)
        return draft

    def _change(self, operation: Operation, change: Callable[[_Value], _Value]) -> None:
        result = operation.results[0]
        self.values[result] = change(self._value(result))

    # --- products

    def _convolution(self, operation: Operation, operands: list[_Value]) -> None:
        conv = convolution(
            operation.name, operation.params, [a.shape for a in operation.shapes_in], operation.shapes_out[0].shape
        )
        draft = self._start(operation, conv.kind)
        draft.kernel, draft.c_in, draft.c_out, draft.groups = conv.kernel, conv.c_in, conv.c_out, conv.groups
        draft.size_in = tuple(operation.shapes_in[conv.image].shape[axis] for axis in conv.spatial)
        draft.size = tuple(draft.shape[axis] for axis in conv.out_spatial)
        draft.links, draft.num_macs, draft.num_connections = conv.links, conv.num_products, conv.num_products
        for use in operands[conv.weights].uses:
            if conv.links is None:
                draft.uses.append(use)
            elif use.count == math.prod(operation.shapes_in[conv.weights].shape):
                positions = math.prod(draft.shape) // conv.c_out
                draft.uses.append(replace(use, count=conv.num_products // positions, part=operation.results[0]))
        self._passes_over(operands[conv.image].axes, conv.spatial)
        self._change(operation, lambda value: replace(value, product=draft, is_late=True))

    def _passes_over(self, axes: Axes | None, spatial: tuple[int, ...]) -> None:
        """Note the axes of the input along which windows pass over."""
        if axes is None:
            return
        found = (axes.extents.input_axis(axis) for axis in spatial)
        self.spatial.setdefault(axes.extents.input, set()).update(axis for axis in found if axis is not None)

    def _matrix_product(self, operation: Operation, operands: list[_Value]) -> None:
        shapes = [aval.shape for aval in operation.shapes_in]
        product = matrix_product(operation.params, shapes, operation.shapes_out[0].shape)
        # The operand that does not depend on the input is the weights; of two such operands, the second.
        weights = 0 if operands[0].axes is None and operands[1].axes is not None else 1
        image = 1 - weights
        of_weights = operands[weights].axes is None
        draft = self._start(operation, "Dense" if of_weights else "Product")
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
        self._change(operation, lambda value: replace(value, product=draft, is_late=True))
        if draft.axes is not None:
            draft.axes = Axes(draft.axes.extents, units, batch)
            self._change(operation, lambda value: replace(value, axes=draft.axes))

    # --- pooling

    def _pool(self, operation: Operation, operands: list[_Value]) -> None:
        axes = operands[0].axes
        if axes is None:
            return
        extents = windows(operation)
        spatial = tuple(axis for axis, extent, stride, *_ in extents if extent > 1 or stride > 1)
        if not spatial:
            return
        rank = len(operation.shapes_in[0].shape)
        maps = axes.maps if axes.maps is not None else (rank - 1 if rank - 1 not in spatial else 1)
        window, shape = operation.params["window_dimensions"], operation.shapes_in[0].shape
        others = tuple(
            axis
            for axis in range(rank)
            if axis not in (maps, axes.batch or 0) and (window[axis] > 1 or shape[axis] > 1)
        )
        kernel = tuple(window[axis] for axis in others)
        kind = f"{_WINDOWS.get(operation.name, 'Pool')}{len(others)}D"
        draft = self._add_pool(operation, kind, kernel, maps)
        draft.num_connections = math.prod(draft.shape) * math.prod(kernel)
        draft.size_in, draft.size = (
            tuple(aval.shape[axis] for axis in others) for aval in (operation.shapes_in[0], operation.shapes_out[0])
        )
        self._passes_over(axes, others)

    def _add_pool(self, operation: Operation, kind: str, kernel: tuple[int, ...], maps: int, source: int = 0) -> Draft:
        draft = self._start(operation, kind)
        draft.kernel = kernel
        draft.c_in = draft.c_out = draft.groups = operation.shapes_in[source].shape[maps]
        return draft

    def _pool_of_cnnjax(self, operation: Operation, operands: list[_Value]) -> None:
        """A pool whose steps have been followed: its window is what they have added to what its input reads."""
        pooled, image, *parameters = operands
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
        draft = self._add_pool(operation, f"{operation.params['kind']}{rank - 2}D", kernel, maps, source=1)
        draft.num_connections = units * math.prod(kernel)
        draft.size_in, draft.size = operation.shapes_in[1].shape[1:-1], operation.shapes_out[0].shape[1:-1]
        if parameters:
            draft.num_macs = units
            draft.num_connections += units * (len(parameters) - 1)
            for value in parameters:
                draft.uses += value.uses
        self._passes_over(image.axes, spatial)
        self._change(operation, lambda value: replace(value, axes=replace(pooled.axes or image.axes, maps=maps, batch=0)))
        draft.axes = self._value(operation.results[0]).axes

    def _reduction(self, operation: Operation, operands: list[_Value]) -> None:
        axes, params = operands[0].axes, operation.params
        if axes is None:
            return
        shape = operation.shapes_in[0].shape
        if self._is_distance(operation):
            return
        if operation.name not in _WHOLE or axes.maps is None or len(shape) < 3:
            return
        others = tuple(axis for axis in range(len(shape)) if axis not in (axes.maps, axes.batch))
        along_input = [axis for axis in others if axes.extents.input_axis(axis) is not None]
        if not along_input or {*params["axes"]} != {*others} or self._feeds_normalisation(operation):
            return
        kernel = tuple(shape[axis] for axis in others)
        draft = self._add_pool(operation, _WHOLE[operation.name], kernel, axes.maps)
        draft.num_connections, draft.size_in, draft.size = math.prod(shape), kernel, ()

    def _feeds_normalisation(self, operation: Operation) -> bool:
        """Whether a mean is subtracted from other values, squared, or a root is taken of it."""
        reached, seen = [*operation.results], set[int]()
        while reached:
            variable = reached.pop()
            for reader in self.readers.get(variable, ()):
                others = [operand for operand in reader.operands if operand != variable]
                alone = all(self._value(other).axes is None and not self._value(other).uses for other in others)
                if reader.name in ("sub", "square", "integer_pow", *_ROOTS) and (others or reader.name != "sub"):
                    if reader.name != "sub" or any(other in self.readers for other in others if other is not None):
                        return True
                elif reader.name in _MOVES or (reader.name in ("mul", "div") and alone):
                    reached += [result for result in reader.results if result not in seen]
                    seen.update(reader.results)
        return False

    def _is_distance(self, operation: Operation) -> bool:
        """Whether a sum is that of the squared differences of the input and codes; its row is that of the difference."""
        squared = self.made_by.get(operation.operands[0] if operation.operands[0] is not None else -1)
        if operation.name != "reduce_sum" or squared is None:
            return False
        if squared.name != "square" and squared.params.get("y") != 2:
            return False
        difference = self.made_by.get(squared.operands[0] if squared.operands[0] is not None else -1)
        if difference is None or difference.name != "sub" or len(difference.shapes_out[0].shape) != 3:
            return False
        draft = self._value(difference.results[0]).affine
        if draft is None or operation.params["axes"] != (2,) or difference.shapes_in[0].shape[1] != 1:
            return False
        draft.kind = "RBF"
        draft.num_macs = draft.num_connections = math.prod(difference.shapes_out[0].shape)
        _, draft.c_out, draft.c_in = difference.shapes_out[0].shape
        draft.uses = [use for use in draft.uses if use.leaf not in self.program.captured]
        draft.shape, draft.axes = tuple(operation.shapes_out[0].shape), self._value(operation.results[0]).axes
        draft.size_in = draft.size = ()
        return True

    # --- biases, scales, shifts

    def _arithmetic(self, operation: Operation, operands: list[_Value]) -> None:
        if len(operands) != 2:
            return
        first, second = operands
        if first.axes is not None and second.axes is not None:
            self._normalised(operation, first, second)
            return
        data, other = (second, first) if first.axes is None else (first, second)
        if data.axes is None:
            return
        uses = [use for use in other.uses if not use.scaled and (data.is_late or use.leaf not in self.program.captured)]
        if not uses:
            return
        if operation.name == "sub" and data is first:
            uses = [replace(use, negated=not use.negated) for use in uses]
        product = data.product
        if product is not None and not product.has_bias and operation.name in ("add", "add_any"):
            if sum(use.count for use in uses) == product.c_out and not any(use.root for use in uses):
                product.uses += uses
                product.has_bias = True
                product.num_connections += math.prod(product.shape)
                return
        draft = data.affine or self._start(operation, "Affine")
        draft.add(uses)
        if data.is_root:
            draft.kind = "Norm"
        self._continue(operation, draft)

    def _continue(self, operation: Operation, draft: Draft) -> None:
        """An operation that belongs to a row of scales and shifts."""
        draft.shape = tuple(operation.shapes_out[0].shape)
        draft.axes = self._value(operation.results[0]).axes
        self._change(operation, lambda value: replace(value, affine=draft))

    def _normalised(self, operation: Operation, first: _Value, second: _Value) -> None:
        """A product with, or a quotient by, a root of means."""
        if operation.name not in ("mul", "div") or first.is_root == second.is_root:
            return
        root = first if first.is_root else second
        draft = root.affine or self._start(operation, "Norm")
        self._continue(operation, draft)
        self._change(operation, lambda value: replace(value, is_root=False, is_moment=False))

    def _table(self, operation: Operation, operands: list[_Value]) -> None:
        """Rows looked up in a table, or learned values put beside others."""
        if self._value(operation.results[0]).axes is None:
            return
        uses = union(use for value in operands for use in value.uses)
        if operation.name == "concatenate":
            uses = tuple(use for use in uses if use.leaf not in self.program.captured)
        if uses:
            self._start(operation, "Concatenate" if operation.name == "concatenate" else "Embedding").add(uses)
            self._change(operation, lambda value: replace(value, is_late=True))


def _without_statistics(operation: Operation, operands: list[_Value]) -> list[Axes | None]:
    """The axes of the operands; where values are normalised, only those of the values, by convention."""
    plain = [value for value in operands if value.axes is not None and not value.is_moment and not value.is_root]
    leaves_some = operation.name in _ARITHMETIC and bool(plain)
    return [None if leaves_some and value not in plain else value.axes for value in operands]


def _window(before, after) -> int:
    """The pixels of a window, from what an element reads before and after it."""
    return int((after.high - after.low - (before.high - before.low)) / before.jump) + 1

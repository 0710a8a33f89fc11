"""Which arguments of a program are its input, and which its parameters.

Parameters are what convolutions and matrix products multiply values of the input by. The arrays that the function
captures are parameters too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import jax.numpy as jnp
from jax.core import ShapedArray

from cnnjax.programs.flattening import Operation, Program
from cnnjax.programs.products import PRODUCTS

__all__ = ["inputs"]

_CAPTURED = -1
"""Stands for all captured arrays, as if they were one argument."""

_NOTHING: frozenset[int] = frozenset()


def inputs(program: Program, argument_of: Mapping[int, int]) -> frozenset[int]:
    """The variables of the arrays that are the input.

    A product of two operands shows the role of an argument. If one of them depends on one argument only and the other
    on more, the one is weights. If each depends on one argument, the weights are the one that is captured, or is
    weights elsewhere, or is a tree of arrays; or, of two single arrays, the second. What is computed from an argument
    and captured arrays, such as masked weights, depends on the argument.

    A single array that no product shows is input if it may belong to the examples: if it is not floating-point, has no
    axes, or is as long as another input; or if no product shows any input.

    Args:
        program: the program.
        argument_of: for the variable of each array, the number of the argument that it is a part of.
    """
    found = _Evidence()
    dependence: dict[int | None, frozenset[int]] = {
        **{variable: frozenset({argument}) for variable, argument in argument_of.items()},
        **{variable: frozenset({_CAPTURED}) for variable in program.captured},
    }
    for operation in program.operations:
        read = [dependence.get(operand, _NOTHING) for operand in operation.operands]
        if operation.name in PRODUCTS:
            found.look_at(operation, read)
        for result in operation.results:
            dependence[result] = frozenset[int]().union(*read)
    arrays = Counter(argument_of.values())
    single = {argument for argument, count in arrays.items() if count == 1}
    data, weights = found.decide(single)
    shown = {variable for variable, argument in argument_of.items() if argument in data}
    lengths = {program.arguments[variable].shape[:1] for variable in shown} | {()}
    others = {variable for variable, argument in argument_of.items() if argument in single - data - weights}
    return frozenset(shown) | {
        variable
        for variable in others
        if not shown or (aval := program.arguments[variable]).shape[:1] in lengths or not _is_floating(aval)
    }


def _is_floating(aval: ShapedArray) -> bool:
    return jnp.issubdtype(aval.dtype, jnp.inexact)


@dataclass
class _Evidence:
    weights: set[int] = field(default_factory=lambda: {_CAPTURED})
    undecided: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    others: list[frozenset[int]] = field(default_factory=list[frozenset[int]])

    def look_at(self, operation: Operation, read: list[frozenset[int]]) -> None:
        """Note what a product shows."""
        a, b = (depends - {_CAPTURED} or depends for depends in read)
        if operation.name == "cnnjax_input_gradient":
            a, b = b, a
        self.others += [a, b]
        if len(a) == len(b) == 1:
            if a != b:
                self.undecided.append((next(iter(a)), next(iter(b))))
        elif len(b) == 1 and a - b:
            self.weights |= b
        elif len(a) == 1 and b - a and operation.name == "dot_general":
            self.weights |= a

    def decide(self, single: set[int]) -> tuple[set[int], set[int]]:
        """The arguments that are the input, and those that are weights."""
        data: set[int] = set()
        for a, b in self.undecided:
            is_weights = [argument in self.weights and argument not in data for argument in (a, b)]
            if is_weights[0] == is_weights[1]:
                is_weights = [argument == _CAPTURED or argument not in single for argument in (a, b)]
            first, second = (b, a) if is_weights[0] and not is_weights[1] else (a, b)
            data.add(first)
            self.weights.add(second)
        self.weights -= data
        for depends in self.others:
            rest = depends - self.weights
            data |= rest if len(rest) == 1 else set()
        return data, self.weights

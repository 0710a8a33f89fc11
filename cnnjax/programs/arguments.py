"""Which arguments of a program are its input, and which its parameters.

Parameters are what convolutions and matrix products multiply values of the input by. The arrays that the function
captures are parameters too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    weights elsewhere, or is a tree of arrays; or, of two single arrays, the second. What no product shows is input if
    it is a single array.

    What is computed from an argument and captured arrays, such as masked weights, depends on the argument.

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
    arguments = [*argument_of.values()]
    single = {argument for argument in arguments if arguments.count(argument) == 1}
    data, weights = found.decide(single)
    return frozenset(
        variable
        for variable, argument in argument_of.items()
        if argument not in weights and (argument in data or argument in single)
    )


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
            known = [argument in self.weights for argument in (a, b)]
            if known[0] == known[1]:
                known = [argument not in single for argument in (a, b)]
            is_a = known[0] and not known[1]
            self.weights.add(a if is_a else b)
            data.add(b if is_a else a)
        for depends in self.others:
            rest = depends - self.weights
            data |= rest if len(rest) == 1 else set()
        return data - self.weights, self.weights

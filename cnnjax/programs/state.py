"""What is known about the variables of a program while it is read, and the rows drafted so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cnnjax.programs.drafts import Draft
from cnnjax.programs.flattening import Operation, Program
from cnnjax.programs.parameters import Use
from cnnjax.programs.propagation import Axes

__all__ = ["ARITHMETIC", "MOVES", "ROOTS", "State", "Value"]

MOVES = frozenset(
    {
        "broadcast_in_dim", "convert_element_type", "copy", "copy_p", "expand_dims", "optimization_barrier",
        "reduce_precision", "reshape", "squeeze", "stop_gradient", "transpose",
    }
)  # fmt: skip
"""Primitives that change no value."""

ARITHMETIC = frozenset({"add", "add_any", "sub", "mul", "div"})
ROOTS = frozenset({"sqrt", "rsqrt", "pow"})


@dataclass(frozen=True)
class Value:
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


_NUMBER = Value()


@dataclass
class State:
    """The program, and what has been found out about it.

    Attributes:
        program: the program.
        inputs: the variables of the arrays that are the input.
        values: what is known about each variable.
        drafts: the rows, in the order of execution.
        spatial: for each input, its axes along which windows pass.
        made_by: the operation that makes a variable.
        readers: the operations that read a variable.
        dependent: the variables that depend on the input, those not reached yet included.
    """

    program: Program
    inputs: frozenset[int]
    values: dict[int, Value] = field(default_factory=dict[int, Value])
    drafts: list[Draft] = field(default_factory=list[Draft])
    spatial: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    made_by: dict[int, Operation] = field(default_factory=dict[int, Operation])
    readers: dict[int, list[Operation]] = field(default_factory=dict[int, list[Operation]])

    dependent: set[int | None] = field(default_factory=set[int | None])

    def __post_init__(self) -> None:
        """Index the operations by what they make and read."""
        self.dependent |= self.inputs
        for operation in self.program.operations:
            self.made_by.update(dict.fromkeys(operation.results, operation))
            if not self.dependent.isdisjoint(operation.operands):
                self.dependent |= {*operation.results}
            for operand in operation.operands:
                if operand is not None:
                    self.readers.setdefault(operand, []).append(operation)

    def value(self, variable: int | None) -> Value:
        """What is known about an operand; a number is nothing special."""
        return _NUMBER if variable is None else self.values.get(variable, _NUMBER)

    def operands(self, operation: Operation) -> list[Value]:
        """What is known about the operands of an operation."""
        return [self.value(operand) for operand in operation.operands]

    def maker(self, variable: int | None) -> Operation | None:
        """The operation that makes a variable; None for an argument."""
        return None if variable is None else self.made_by.get(variable)

    def start(self, operation: Operation, kind: str) -> Draft:
        """Draft a row for the first result of an operation."""
        shape = tuple(operation.shapes_out[0].shape)
        axes = self.value(operation.results[0]).axes
        self.drafts.append(Draft(operation.scope, kind, shape, axes, operation.times))
        return self.drafts[-1]

    def change(self, operation: Operation, change: Callable[[Value], Value]) -> None:
        """Change what is known about the first result of an operation."""
        result = operation.results[0]
        self.values[result] = change(self.value(result))

    def passes_over(self, axes: Axes | None, spatial: tuple[int, ...]) -> None:
        """Note the axes of the input along which windows pass."""
        if axes is not None:
            found = (axes.extents.input_axis(axis) for axis in spatial)
            self.spatial.setdefault(axes.extents.input, set()).update(axis for axis in found if axis is not None)

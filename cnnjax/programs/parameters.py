"""Which elements of which arrays an expression of parameters is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cnnjax.programs.flattening import Operation

__all__ = ["CONNECTED", "Use", "express", "num_used", "union"]

CONNECTED = -1
"""In the place of a part: the weights of connected maps."""

_PARTS = frozenset({"slice", "split"})
_PARTS_OF_ONE_ITERATION = frozenset({"dynamic_slice", "gather"})
_ROOTS = frozenset({"sqrt", "rsqrt", "pow", "cbrt"})


@dataclass(frozen=True)
class Use:
    """Elements of an array that an expression is made of.

    Attributes:
        leaf: the variable of the array.
        count: the number of its elements.
        part: the variable of the part that was cut out of it; None for the whole array.
        negated: whether it has been subtracted.
        root: whether a square root has been taken, as of a variance.
        scaled: whether it has been multiplied by a number, as in a running average.
    """

    leaf: int
    count: int
    part: int | None = None
    negated: bool = False
    root: bool = False
    scaled: bool = False

    @property
    def key(self) -> tuple[int, int | None]:
        """What is used, however it is used."""
        return self.leaf, self.part


def union(uses: Iterable[Use]) -> tuple[Use, ...]:
    """The same without repetitions."""
    return tuple(dict.fromkeys(uses))


def express(operation: Operation, operands: Sequence[tuple[Use, ...]]) -> list[tuple[Use, ...]]:
    """The uses in the results of an operation whose operands do not depend on the input."""
    name = operation.name
    if name == "neg":
        uses = [_negated(use) for use in operands[0]]
    elif name == "sub":
        uses = [*operands[0], *map(_negated, operands[1])]
    elif name in ("mul", "div") and () in operands:
        uses = [replace(use, scaled=True) for read in operands for use in read]
    elif name in _ROOTS:
        uses = [replace(use, root=True) for use in operands[0]]
    else:
        uses = [use for read in operands for use in read]
    is_part = name in _PARTS or (name in _PARTS_OF_ONE_ITERATION and operation.times == 1)
    return [
        union(_part(use, result, math.prod(aval.shape)) if is_part else use for use in uses)
        for result, aval in zip(operation.results, operation.shapes_out, strict=True)
    ]


def _negated(use: Use) -> Use:
    return replace(use, negated=not use.negated)


def _part(use: Use, variable: int, count: int) -> Use:
    return replace(use, count=count, part=variable) if count < use.count else use


def num_used(uses: Iterable[Use], size_of: Mapping[int, int]) -> int:
    """The number of different elements: a part that is used twice counts once, and no array more than once."""
    parts: dict[int, dict[int | None, int]] = {}
    for use in uses:
        parts.setdefault(use.leaf, {})[use.part] = use.count
    return sum(min(size_of[leaf], sum(counts.values())) for leaf, counts in parts.items())

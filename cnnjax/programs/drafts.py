"""A row of a summary while the program is read: what has been found so far about one operation and its parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cnnjax.operator.spec import Links
from cnnjax.programs.parameters import Use
from cnnjax.programs.propagation import Axes

__all__ = ["Draft"]


@dataclass(eq=False)
class Draft:
    """One row.

    Attributes:
        scope: the named scopes around the operation.
        kind: such as "Conv2D".
        shape, axes: of its result.
        times: how often the loops around it run it.
        size_in, size: of the maps that it reads and of its own; None if they follow from `shape` and `axes`.
        kernel: of a convolution or a window; None for others.
        c_in, c_out, groups, links: which input maps each output map reads; c_in is 0 where that means nothing.
        num_macs, num_connections: in one iteration.
        uses: the parameters, and statistics, that it reads.
        has_bias: whether a bias has been added.
        contracted: the number of steps along each axis of the input that a matrix product sums over.
    """

    scope: str
    kind: str
    shape: tuple[int, ...]
    axes: Axes | None
    times: int
    size_in: tuple[int, ...] | None = None
    size: tuple[int, ...] | None = None
    kernel: tuple[int, ...] | None = None
    c_in: int = 0
    c_out: int = 0
    groups: int = 1
    links: Links | None = None
    num_macs: int = 0
    num_connections: int = 0
    uses: list[Use] = field(default_factory=list[Use])
    has_bias: bool = False
    contracted: dict[int, int] = field(default_factory=dict[int, int])

    def add(self, uses: Iterable[Use]) -> None:
        """Note parameters; what a square root is taken of makes this a normalisation."""
        for use in uses:
            self.uses.append(use)
            if use.root:
                self.kind = "Norm"

    def volume(self) -> tuple[int, tuple[int, ...]]:
        """The maps of the result, by default along its last axis, and their size."""
        if self.size is not None:
            return self.c_out, self.size
        maps = None if self.axes is None else self.axes.maps
        batch = None if self.axes is None else self.axes.batch
        maps = len(self.shape) - 1 if maps is None else maps
        batch = 0 if batch is None and maps > 0 else batch
        size = tuple(n for axis, n in enumerate(self.shape) if axis not in (maps, batch))
        return (self.shape[maps] if self.shape else 1), size

    def split_uses(self) -> tuple[list[Use], list[Use]]:
        """Parameters, and running statistics: what a normalisation subtracts, or takes the root of."""
        statistics = [u for u in self.uses if u.root or (u.negated and any(other.root for other in self.uses))]
        return [use for use in self.uses if use not in statistics], statistics

"""Tell a derivative that is wrong at the sign-flipped point from a point that is outside the domain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnjax.gradients.comparison import Comparator
from cnnjax.gradients.finite_differences import FiniteDifferences, Segment
from cnnjax.gradients.leaves import Leaf
from cnnjax.gradients.localization import check_segments
from cnnjax.gradients.report import Check

__all__ = ["may_be_outside_the_domain"]


def may_be_outside_the_domain(comparator: Comparator, check: Check, segments: Sequence[Segment]) -> bool:
    """Whether a check that fails at the sign-flipped point proves nothing, because the point may be outside the domain.

    It proves something where JAX's own rules give what the differences say, and where the derivative by an array is
    also wrong if the sign of no other is flipped: another may have to be positive, such as the concentration of a
    density, the derivative by whose variable is then something else than what the rule computes.
    """
    if not comparator.builtin_agrees_with_differences(segments):
        return True
    ratios = dict(check.leaves)
    wrong = [leaf for leaf in comparator.inputs if ratios.get(leaf.name, 0.0) > 1]
    return bool(wrong) and not any(_fails_by_itself(comparator, leaf, check, segments) for leaf in wrong)


def _fails_by_itself(comparator: Comparator, leaf: Leaf, check: Check, segments: Sequence[Segment]) -> bool:
    """Whether the derivative by an array is wrong where the sign of that array alone is flipped."""
    flipped = comparator.differences.x
    point, part = -flipped, slice(leaf.start, leaf.stop)
    point[part] = flipped[part]
    if np.array_equal(point, flipped):
        return True
    given = comparator.differences
    differences = FiniteDifferences(comparator.function.program, point, given.lines, given.jumps)
    alone = Comparator(
        comparator.function,
        differences,
        comparator.mode,
        comparator.weights,
        comparator.inputs,
        comparator.outputs,
        comparator.tolerances,
        comparator.thrifty,
    )
    mine = [segment for segment in segments if leaf.start <= segment.start and segment.stop <= leaf.stop]
    return not check_segments(alone, mine, check.point, check.order).ok

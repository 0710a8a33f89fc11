"""Where a function is checked: at which points, and along which segments of its input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnjax.gradients.checked_function import CheckedFunction
from cnnjax.gradients.finite_differences import Segment, magnitudes
from cnnjax.gradients.jaxprs import has_loop_under_custom_rule, may_iterate
from cnnjax.gradients.leaves import Leaf

__all__ = [
    "points_to_check",
    "random_shift",
    "segments_of_groups",
    "segments_of_ties",
    "segments_to_check",
    "symmetric_leaves",
]


def points_to_check(
    function: CheckedFunction, x: np.ndarray, inputs: Sequence[Leaf], order: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], list[tuple[str, str]]]:
    """Return the given point, a random one nearby, and the given one with its sign flipped.

    Also returns which of them were left out and why.
    """
    finite = np.isfinite(function.program(x))
    points, skipped = {"given": x}, []
    shift = random_shift(x, inputs, rng)
    for exponent in (-4, -8, -16):
        near = x + 2.0**exponent * shift
        if (np.isfinite(function.program.or_nan(near)) == finite).all():
            points["nearby"] = near
            break
    else:
        skipped.append((f"a nearby point, order {order}", "the function is not finite there"))
    if not function.strategy.traced:
        reason = "what a function that cannot be traced does there is not known"
    elif function.has_float_loop_condition:
        reason = "a while_loop whose end depends on floats may not end there"
    elif function.contains(has_loop_under_custom_rule):
        reason = "an iteration with a custom rule may not converge there"
    elif not np.isfinite(function.program.or_nan(-x)).any():
        reason = "it is outside the domain"
    else:
        points["sign-flipped"] = -x
        return points, skipped
    return points, [*skipped, (f"the sign-flipped point, order {order}", reason)]


def random_shift(x: np.ndarray, leaves: Sequence[Leaf], rng: np.random.Generator) -> np.ndarray:
    """Return a random direction in proportion to each number, along which an array stays what it may have to be."""
    shift = magnitudes(x, leaves) * rng.uniform(0.5, 1.0, x.shape) * rng.choice([-1.0, 1.0], x.shape)
    for leaf in leaves:
        if leaf.size and leaf.shape and not leaf.complex:
            part = slice(leaf.start, leaf.stop)
            shift[part] = _structured(x[part].reshape(leaf.shape), shift[part].reshape(leaf.shape)).reshape(-1)
    return shift


def _structured(array: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Change the shift so that symmetric and triangular matrices, probabilities and signs are kept.

    A function may be defined for such arrays only.
    """
    zero = array == 0
    if zero.any() and not zero.all() and (array >= 0).all():
        shift = np.where(zero, abs(shift), shift)
    if zero.any() and not zero.all() and (array <= 0).all():
        shift = np.where(zero, -abs(shift), shift)
    if is_symmetric(array):
        shift = (shift + shift.swapaxes(-1, -2)) / 2
    if _is_square(array) and not zero.all():
        if not np.triu(array, 1).any():
            shift = np.tril(shift)
        if not np.tril(array, -1).any():
            shift = np.triu(shift)
    totals = array.sum(-1, keepdims=True)
    if array.shape[-1] > 1 and (array >= 0).all() and np.allclose(totals, 1.0, rtol=0.0, atol=1e-5):
        shift = shift * array  # in proportion to each, and no sum changes
        shift = shift - array * shift.sum(-1, keepdims=True) / totals
    return shift


def _is_square(array: np.ndarray) -> bool:
    return array.ndim > 1 and array.shape[-1] == array.shape[-2] > 1


def is_symmetric(array: np.ndarray) -> bool:
    """Whether an array consists of symmetric matrices."""
    return _is_square(array) and bool((array == array.swapaxes(-1, -2)).all())


def symmetric_leaves(function: CheckedFunction, x: np.ndarray, leaves: Sequence[Leaf]) -> list[Leaf]:
    """Return the leaves that have to be moved as a whole: symmetric matrices in a function that may be a solver.

    A solver for symmetric matrices, as conjugate gradients, has no derivative by a single element.
    """
    if not function.contains(may_iterate):
        return []
    square = [leaf for leaf in leaves if leaf.shape and not leaf.complex]
    return [leaf for leaf in square if is_symmetric(x[leaf.start : leaf.stop].reshape(leaf.shape))]


def segments_to_check(
    inputs: Sequence[Leaf], rng: np.random.Generator, elements: int, whole: Sequence[Leaf] = ()
) -> list[Segment]:
    """Return every leaf along one line, then along the other, and then a few single elements of each.

    The leaves in ``whole`` have no derivative by a single element.
    """
    leaves = [leaf for leaf in inputs if leaf.size]
    found = [Segment(line, leaf.start, leaf.stop) for line in (0, 1) for leaf in leaves]
    for leaf in leaves:
        if leaf not in whole:
            count = leaf.stop - leaf.start
            found += [
                Segment.element(0, leaf.start + i) for i in rng.choice(count, min(elements, count), replace=False)
            ]
    return found


def segments_of_groups(inputs: Sequence[Leaf], count: int) -> list[Segment]:
    """Return all numbers as one segment, and then as ``count`` segments of neighbouring leaves.

    One comparison for each group takes less time than one for each leaf, and overlooks nothing that is not small
    beside the rest of its group.
    """
    leaves = [leaf for leaf in inputs if leaf.size]
    groups = [group for group in np.array_split(np.arange(len(leaves)), min(count, len(leaves))) if len(group)]
    found = [Segment(0, leaves[0].start, leaves[-1].stop)]
    found += [Segment(0, leaves[group[0]].start, leaves[group[-1]].stop) for group in groups]
    return list(dict.fromkeys(found))


def segments_of_ties(lines: np.ndarray) -> list[Segment]:
    """Return the segment of numbers that are tied with those of other leaves, if there is a line for them."""
    return [
        Segment(line, moved[0], moved[-1] + 1)
        for line in range(2, len(lines))
        for moved in [np.flatnonzero(lines[line])]
    ]

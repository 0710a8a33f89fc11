"""Where a function is checked: at which points, and along which segments of its input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnjax.gradients.checked_function import CheckedFunction
from cnnjax.gradients.finite_differences import Segment, magnitudes
from cnnjax.gradients.jaxprs import has_loop_under_custom_rule
from cnnjax.gradients.leaves import Leaf

__all__ = ["points_to_check", "random_shift", "segments_to_check"]


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
        if (np.isfinite(function.program(near)) == finite).all():
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
    elif not np.isfinite(function.program(-x)).any():
        reason = "it is outside the domain"
    else:
        points["sign-flipped"] = -x
        return points, skipped
    return points, [*skipped, (f"the sign-flipped point, order {order}", reason)]


def random_shift(x: np.ndarray, leaves: Sequence[Leaf], rng: np.random.Generator) -> np.ndarray:
    """Return a random direction in proportion to each number."""
    shift = magnitudes(x, leaves) * rng.uniform(0.5, 1.0, x.shape) * rng.choice([-1.0, 1.0], x.shape)
    for leaf in leaves:
        _keep_symmetry(leaf, x, shift)
    return shift


def _keep_symmetry(leaf: Leaf, x: np.ndarray, shift: np.ndarray) -> None:
    """Make the shift of a symmetric matrix symmetric: a function may be defined for such matrices only."""
    if leaf.complex or len(leaf.shape) < 2 or leaf.shape[-1] != leaf.shape[-2]:
        return
    part = slice(leaf.start, leaf.stop)
    matrix, moves = x[part].reshape(leaf.shape), shift[part].reshape(leaf.shape)
    if (matrix == matrix.swapaxes(-1, -2)).all():
        shift[part] = ((moves + moves.swapaxes(-1, -2)) / 2).reshape(-1)


def segments_to_check(inputs: Sequence[Leaf], rng: np.random.Generator, elements: int) -> list[Segment]:
    """Return every leaf along both lines, and a few single elements of each."""
    found = []
    for leaf in inputs:
        if leaf.size:
            found += [Segment(line, leaf.start, leaf.stop) for line in (0, 1)]
            chosen = rng.choice(leaf.stop - leaf.start, min(elements, leaf.stop - leaf.start), replace=False)
            found += [Segment.element(0, leaf.start + i) for i in chosen]
    return found

"""Find which elements of a derivative are wrong.

A segment of a leaf is compared as a whole first: with an error bar of 1e-10 of the sum, one wrong element in 10^5 is
seen. A comparison that fails is repeated with the function's round-off measured, with finer steps, and with the rule's
own round-off added to the bar; only then is the segment bisected until the wrong element is alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from cnnjax.gradients.comparison import Comparator, Comparison
from cnnjax.gradients.deadline import NO_DEADLINE, Deadline
from cnnjax.gradients.finite_differences import Segment
from cnnjax.gradients.kinks import is_convention, is_limiting_derivative
from cnnjax.gradients.leaves import Leaf, find_leaf
from cnnjax.gradients.report import NOT_FINITE, Check, Mismatch
from cnnjax.gradients.richardson import SIGNIFICANT

__all__ = ["check_segments", "find_suspects"]

_BETWEEN_LOOKS = 1.0  # seconds between two looks at the time
_LOCATING = 10.0  # seconds that finding the wrong element may take in any case
_BISECTIONS = 48
_SUSPECTS = 4  # elements of each leaf
_NOT_FINITE = 8  # elements that are named


def check_segments(
    comparator: Comparator,
    segments: Sequence[Segment],
    point: str,
    order: int,
    suspects: Sequence[Segment] = (),
    deadline: Deadline = NO_DEADLINE,
) -> Check:
    """Compare along the segments, one after the other until the deadline, and name what is wrong.

    Args:
        comparator: what to compare with what.
        segments: the most telling first; the first one is compared in any case.
        point: its name.
        order: of the derivative.
        suspects: elements that are likely wrong; the first few are compared in any case.
        deadline: when to stop.
    """
    name = f"{'gradient' if comparator.mode == 'rev' else 'tangent'} ({comparator.mode})"
    if bad := _not_finite(comparator):
        return Check(name, point, order, len(segments), np.inf, bad, note=NOT_FINITE)
    locating = max(_LOCATING, deadline.left)
    first = [*suspects[:_SUSPECTS], *segments[:1]]
    wanted = [*first, *suspects[_SUSPECTS:], *segments[1:]]
    comparison = _compare_until(comparator, wanted, len(first), deadline)
    segments = wanted[: len(comparison.computed)]
    doubtful = (comparison.ratio > 1).any(axis=1)
    if not deadline.is_up:
        doubtful |= comparison.uncertain.any(axis=1)
    if doubtful.any():
        rows = np.flatnonzero(doubtful)
        comparator.differences.measure_noise()
        comparison = comparison.replaced(rows, comparator.compare([segments[i] for i in rows], careful=True))
    ratio = comparison.ratio.max(axis=1, initial=0.0)
    mismatches: list[Mismatch] = []
    # Single elements first: what they explain need not be searched for.
    limit = Deadline.after(locating)
    for i in sorted(np.flatnonzero(ratio > 1), key=lambda i: (segments[i].size, -ratio[i])):
        if segments[i].size == 1 or not mismatches:
            found = _localize(comparator, segments[i], [_BISECTIONS], limit)
            mismatches += [_describe(comparator, segment) for segment in found]
    if not mismatches and point != "given":
        mismatches = _hidden(comparator, segments, comparison)
    compared = {(segment.start, segment.stop) for segment in segments}
    leaves: dict[str, float] = {}
    for segment, r in zip(segments, ratio.tolist(), strict=True):
        leaf = find_leaf(comparator.inputs, segment.start)
        if segment.stop <= leaf.stop:
            leaves[leaf.name] = max(r, leaves.get(leaf.name, 0.0))
    return Check(
        name,
        point,
        order,
        comparison.computed.size,
        worst=float(ratio.max(initial=0.0) if mismatches else ratio[ratio <= 1].max(initial=0.0)),
        mismatches=tuple({mismatch.where: mismatch for mismatch in mismatches}.values()),
        kinks=int(comparison.numerical.kink.any(axis=1).sum()),
        unresolved=int(comparison.unresolved.all(axis=1).sum()),
        leaves=tuple(leaves.items()),
        left_out=tuple(
            leaf.name for leaf in comparator.inputs if leaf.size and (leaf.start, leaf.stop) not in compared
        ),
    )


def _compare_until(
    comparator: Comparator, segments: Sequence[Segment], at_least: int, deadline: Deadline
) -> Comparison:
    """Compare along the first segments: ``at_least`` so many, and as many as the time allows.

    Where evaluations take long, each of the others is compared briefly before any of them is compared again.
    """
    start = time.perf_counter()
    parts, done = [comparator.compare(segments[:at_least])], at_least
    while done < len(segments) and not deadline.is_up:
        some = max(1, int(done * _BETWEEN_LOOKS / (time.perf_counter() - start)))
        parts.append(comparator.compare_briefly(segments[done : done + some]))
        done += some
    comparison = Comparison.joined(parts)
    vague = np.flatnonzero(comparator.vague(comparison))
    for row in vague[vague >= at_least].tolist():
        if deadline.is_up:
            break
        comparison = comparison.replaced([row], comparator.compare([segments[row]]))
    return comparison


def find_suspects(comparator: Comparator, whole: Sequence[Leaf] = ()) -> list[Segment]:
    """Return the elements of each leaf where the rule is furthest from JAX's own rules.

    The leaves in ``whole`` have no derivative by an element.
    """
    if comparator.builtin_gradient is None:
        return []
    with np.errstate(invalid="ignore"):
        distance = abs(comparator.gradient - comparator.builtin_gradient)
        size = abs(comparator.gradient) + abs(comparator.builtin_gradient)
        far = np.where(np.isfinite(distance) & (distance > 1e-6 * size), distance, 0.0)
    found = []
    for leaf in comparator.inputs:
        if leaf not in whole:
            places = leaf.start + np.flatnonzero(far[leaf.start : leaf.stop])
            found += places[np.argsort(-far[places], kind="stable")[:_SUSPECTS]].tolist()
    return [Segment.element(0, place) for place in sorted(found, key=lambda place: -far[place])]


def _localize(comparator: Comparator, segment: Segment, budget: list[int], limit: Deadline) -> list[Segment]:
    """Bisect a segment that fails until its wrong element is alone; nothing where a kink explains it."""
    if segment.size > 1 and budget[0] > 0 and not limit.is_up:
        budget[0] -= 1
        halves = segment.halves()
        ratios = comparator.compare(halves, careful=True).ratio.max(axis=1, initial=0.0)
        for at in np.argsort(-ratios):
            if ratios[at] > 1 and (found := _localize(comparator, halves[at], budget, limit)):
                return found
    convention = segment.size > 1 and is_convention(comparator, segment)
    return [] if convention or is_limiting_derivative(comparator, segment) else [segment]


def _describe(comparator: Comparator, segment: Segment) -> Mismatch:
    comparison = comparator.compare([segment], careful=True)
    at = int(comparison.ratio[0].argmax())
    if segment.size == 1:
        where = comparator.name_input(segment.start)
        size = comparator.differences.lines[segment.line, segment.start]
    else:
        where = f"along {comparator.name_input(segment.start)} ... {comparator.name_input(segment.stop - 1)}"
        size = 1.0
    if comparator.mode != "rev":
        where += f" -> {comparator.name_output(at)}"
    numerical = comparison.numerical[0, at]
    bar = (numerical.bar + comparison.noise[0, at]) / abs(size)
    return Mismatch(where, float(comparison.computed[0, at] / size), float(numerical.value / size), float(bar))


def _hidden(comparator: Comparator, segments: Sequence[Segment], comparison: Comparison) -> list[Mismatch]:
    """Return the elements where differences see nothing and the rule is far from JAX's own.

    The sum of a huge and a tiny term in one output hides the tiny one from any difference. Away from kinks JAX's own
    rules are then the only reference; a disagreement of more than round-off and 0.1 % is taken as wrong.
    """
    if comparator.builtin_gradient is None or not comparator.function.builtin_gradient:
        return []
    found = []
    for i, segment in enumerate(segments):
        at = segment.start
        computed, builtin = comparator.gradient[at], comparator.builtin_gradient[at]
        apart = abs(computed - builtin)
        size = abs(comparator.differences.lines[segment.line, at])
        blind = SIGNIFICANT * comparison.numerical.bar[i, 0] > apart * size
        if segment.size > 1 or not blind or not np.isfinite(apart) or not apart > 1e-3 * abs(builtin):
            continue
        builtin_noise = comparator.function.builtin_gradient.noise(comparator.differences.x, comparator.weights)
        bar = SIGNIFICANT * (comparator.gradient_noise + builtin_noise)[at] + 1e-3 * abs(builtin)
        if apart > bar:
            where = comparator.name_input(at) + " (by JAX's own rules; finite differences cannot resolve it)"
            found.append(Mismatch(where, float(computed), float(builtin), float(bar)))
    return found


def _not_finite(comparator: Comparator) -> tuple[Mismatch, ...]:
    """Return the first few derivatives that are not finite where the function is."""
    differences = comparator.differences
    if comparator.mode != "rev":
        whole = [Segment(0, 0, len(differences.x))]
        computed = comparator.computed(whole)[0][0]
        places = np.flatnonzero(~np.isfinite(computed) & comparator.finite)[:_NOT_FINITE]
        if not len(places):
            return ()
        numerical = differences.derivatives(whole)[0]
        return tuple(
            Mismatch(
                comparator.name_output(at), float(computed[at]), float(numerical.value[at]), float(numerical.bar[at])
            )
            for at in places
        )
    if not comparator.finite.all():
        return ()
    found = []
    for at in np.flatnonzero(~np.isfinite(comparator.gradient))[:_NOT_FINITE]:
        numerical = differences.derivatives([Segment.element(0, at)]).dot(comparator.weights)
        value, bar = (float(column[0] / differences.lines[0, at]) for column in (numerical.value, numerical.bar))
        found.append(Mismatch(comparator.name_input(at), float(comparator.gradient[at]), value, bar))
    return tuple(found)

"""Say what a wrong gradient looks like, by comparing it with the results of common mistakes.

These are simple transformations of the right gradient: a multiple of it, its transpose, its reverse, a shift by one,
its first sample alone. Where none fits, the wrong elements themselves often form a pattern: the border, one channel,
the places where the argument is negative or where several arguments are equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath

import numpy as np

from cnnjax.gradients.comparison import Comparator
from cnnjax.gradients.finite_differences import Segment
from cnnjax.gradients.jaxprs import STOP_GRADIENT
from cnnjax.gradients.leaves import Leaf
from cnnjax.gradients.report import NOT_FINITE
from cnnjax.gradients.richardson import LADDER

__all__ = ["CHECK_DIAGNOSES", "diagnose", "diagnose_comparison"]

_FEW_INPUTS = 512  # whose gradient by finite differences takes no time
_RULES = 4  # surrogates whose gradient is computed to explain a wrong one
_CLOSE = 1e-6  # of the largest number: two gradients this close are taken as equal

CHECK_DIAGNOSES = {
    NOT_FINITE: "the derivative of sqrt or of a norm at zero, or of the branch that jnp.where did not take: "
    "its argument has to be made safe before the function, not its result after it",
    "linearity": "a rule that is not linear: it clips, drops or normalizes the cotangent (or tangent), or adds to it",
    "repetition": "a rule that depends on what else ran, as one does that keeps its residuals outside, or on random "
    "numbers",
    "jit equals eager": "a rule that does something else when it is traced (it looks at values, or remembers them), or "
    "that goes through a narrower dtype",
    "vmap equals loop": "a batching rule that mixes up samples",
    "one argument at a time": "a rule that is wrong where another argument is held constant, or another output unused",
    "value": "a forward rule that returns another value than the function",
    "own dtype": "a rule that overflows or loses digits in the function's own dtype",
    "adjointness": "a forward and a reverse rule that belong to different functions",
}
"""What is likely wrong when a check fails, by the name of the check or its note."""


def diagnose_comparison(comparator: Comparator) -> tuple[str, ...]:
    """Say what a wrong derivative looks like: a surrogate that may be intended, or the result of a common mistake."""
    pair = _gradients(comparator)
    wrong = diagnose(*pair, comparator.differences.x, comparator.inputs) if pair else ()
    return (*_undeclared_surrogate(comparator), *wrong)


def _gradients(comparator: Comparator) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the gradient by the rule and the right one; None where that would take long."""
    differences = comparator.differences
    every = np.arange(len(differences.x))
    builtin = comparator.builtin_gradient
    if builtin is not None and np.isfinite(builtin).all():
        at = every[:: max(1, len(every) // (2 if comparator.thrifty else 16))]
        computed = (builtin[at] * differences.lines[1, at])[:, None]
        sample = comparator.compare([Segment.element(1, i) for i in at.tolist()])
        if not (replace(sample, computed=computed).ratio > 1).any():
            return comparator.gradient, builtin
    if len(every) > _FEW_INPUTS or comparator.thrifty:
        return None
    elements = [Segment.element(1, i) for i in every.tolist()]
    right = differences.projected(elements, comparator.weights, LADDER).value[:, 0]
    return comparator.computed_gradient(every), right / differences.lines[1]


def _undeclared_surrogate(comparator: Comparator) -> tuple[str, ...]:
    """Say which rule alone accounts for a gradient that is not the function's, and how to declare it as intended."""
    if comparator.builtin_gradient is None:
        return ()
    function, differences = comparator.function, comparator.differences
    undeclared = [name for name in function.rules if name not in function.intended]
    for name in undeclared[:_RULES]:
        program = function.gradient_with_rules(function.intended | {name})
        try:
            if program and len(undeclared) == 1:  # the gradient as it is, without another program for it
                with_rule = comparator.gradient
            else:
                with_rule = program(differences.x, comparator.weights) if program else comparator.builtin_gradient
        except Exception:  # a rule that cannot be taken as it is, as inside a while_loop
            continue
        size = np.max(abs(comparator.gradient), initial=0.0)
        if np.allclose(with_rule, comparator.gradient, rtol=1e-5, atol=1e-6 * size):
            declared, _, place = name.partition(" at ")
            what = f"the rule of {declared} ({PurePath(place).name})"
            if name == STOP_GRADIENT:
                what, declared = "a stopped gradient", "jax.lax.stop_gradient"
            return (f"{what}; if that is intended, declare it: check_grads(..., intended=[{declared}])",)
    return ()


def diagnose(computed: np.ndarray, right: np.ndarray, x: np.ndarray, leaves: Sequence[Leaf]) -> tuple[str, ...]:
    """Return one sentence for every leaf whose gradient is wrong.

    Args:
        computed: (n,) what the rule gives.
        right: (n,) what it should give.
        x: (n,) the point.
        leaves: the arrays they belong to.

    >>> leaf = Leaf("args[0]", (2, 2), np.float32, 0)
    >>> right = np.array([1.0, 2.0, 3.0, 4.0])
    >>> diagnose(-right, right, 0 * right, [leaf])
    ('args[0]: the wrong sign',)
    >>> diagnose(np.array([1.0, 3.0, 2.0, 4.0]), right, 0 * right, [leaf])
    ('args[0]: axes transposed to (1, 0)',)
    """
    sizes = {n: leaf.name for leaf in leaves for n in (*leaf.shape, leaf.size) if n > 1}
    found = []
    for leaf in leaves:
        part = slice(leaf.start, leaf.stop)
        shape = (2, *leaf.shape) if leaf.complex else leaf.shape
        mine, truth, at = (values[part].reshape(shape) for values in (computed, right, x))
        if leaf.size == 0 or _same(mine, truth) or not (np.isfinite(mine).all() and np.isfinite(truth).all()):
            continue
        others = [(other.name, right[other.start : other.stop]) for other in leaves if other is not leaf]
        text = _whole(mine, truth, leaf, sizes) or _exchanged(mine, others) or _pattern(mine, truth, at, leaf)
        found.append(f"{leaf.name}: {text}")
    return tuple(found)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(a.shape == b.shape and np.max(abs(a - b), initial=0.0) <= _CLOSE * np.max(abs(b), initial=0.0))


def _whole(mine: np.ndarray, truth: np.ndarray, leaf: Leaf, sizes: dict[int, str]) -> str | None:
    """Return which image of the right gradient the whole leaf is, if any."""
    if not mine.any():
        return "no gradient at all: it is stopped, or its term is missing"
    if not truth.any():
        return "a gradient where there should be none"
    factor = float((mine * truth).sum() / (truth * truth).sum())
    if _same(mine, factor * truth):
        return _factor(factor, sizes)
    if leaf.complex:
        if _same(mine * np.array([1, -1]).reshape(2, *[1] * (mine.ndim - 1)), truth):
            return "the conjugate (JAX's gradient of a real f is df/dx - i df/dy)"
        return None
    for name, image in _images(truth):
        if _same(mine, image):
            return name
    return None


def _factor(factor: float, sizes: dict[int, str]) -> str:
    if abs(factor + 1) < _CLOSE:
        return "the wrong sign"
    for ratio, what in (
        (factor, "a sum where it should be a mean"),
        (1 / factor, "a mean where it should be a sum"),
    ):
        n = round(abs(ratio))
        if n > 2 and abs(abs(ratio) - n) < _CLOSE * n and n in sizes:
            text = f"{factor:.6g} times the right gradient: {what} over {n}"
            return f"{text} (a size of {sizes[n]}), or a missing 1/{n}"
    return f"{factor:.6g} times the right gradient everywhere"


def _images(truth: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield simple images of an array, of its own shape."""
    axes = range(truth.ndim)
    for order in itertools.permutations(axes):
        if order != tuple(axes) and tuple(truth.shape[a] for a in order) == truth.shape:
            yield f"axes transposed to {order}", truth.transpose(order)
    for count in range(1, truth.ndim + 1):
        for chosen in itertools.combinations(axes, count):
            yield (
                f"reversed along axis {', '.join(map(str, chosen))} (a kernel not flipped?)",
                np.flip(truth, chosen),
            )
    for axis in axes:
        for by in (1, -1):
            yield f"shifted by {by} along axis {axis} (a padding off by one?)", np.roll(truth, by, axis)
        first = np.zeros_like(truth)
        start = tuple(slice(1) if a == axis else slice(None) for a in axes)
        first[start] = truth[start]
        yield f"only the first index of axis {axis}: one sample of the batch?", first
        mean = np.broadcast_to(truth.mean(axis, keepdims=True), truth.shape)
        yield f"the mean over axis {axis}, spread out again", mean
        yield f"the sum over axis {axis}, spread out again", mean * truth.shape[axis]
        yield f"summed up along axis {axis}", np.cumsum(truth, axis)


def _exchanged(mine: np.ndarray, others: Sequence[tuple[str, np.ndarray]]) -> str | None:
    for name, other in others:
        if other.size == mine.size and _same(mine.reshape(-1), other):
            return f"the gradient of {name}: two are exchanged"
    return None


def _pattern(mine: np.ndarray, truth: np.ndarray, at: np.ndarray, leaf: Leaf) -> str:
    """Return which elements are wrong and by what."""
    if leaf.complex:
        mine, truth, at = mine.reshape(2, -1), truth.reshape(2, -1), at.reshape(2, -1)
    size = np.max(abs(truth), initial=0.0)
    wrong = abs(mine - truth) > _CLOSE * np.maximum(abs(truth), 1e-3 * size)
    where = _where(wrong, mine, truth, at)
    count = f"{wrong.sum()} of {wrong.size} elements wrong, {where}" if not wrong.all() else "every element wrong"
    if not mine[wrong].any():
        return f"{count}: zero there"
    if (truth[wrong] != 0).all():
        ratios = mine[wrong] / truth[wrong]
        if np.ptp(ratios) <= _CLOSE * abs(ratios).max():
            return f"{count}: {ratios[0]:.6g} times the right gradient there"
    offsets = (mine - truth)[wrong]
    if np.ptp(offsets) <= _CLOSE * abs(offsets).max():
        return f"{count}: {offsets[0]:.6g} too much there"
    return count


def _where(wrong: np.ndarray, mine: np.ndarray, truth: np.ndarray, at: np.ndarray) -> str:
    """Return what the wrong elements have in common."""
    if wrong.sum() == 1:
        return f"at {[int(i) for i in np.argwhere(wrong)[0]]}"
    tests: list[tuple[str, Callable[[], np.ndarray]]] = [
        ("where the argument is negative", lambda: at < 0),
        ("where the argument is positive", lambda: at > 0),
        ("where the argument is zero", lambda: at == 0),
    ]
    for text, test in tests:
        places = test()
        if not places.all() and (wrong == places).all():
            return text
    if text := _beside_the_diagonal(wrong, truth):
        return text
    indices = [np.unique(column) for column in np.argwhere(wrong).T]
    block = np.zeros_like(wrong)
    block[np.ix_(*indices)] = True
    partial = [axis for axis, found in enumerate(indices) if len(found) < wrong.shape[axis]]
    if (block == wrong).all() and partial:
        return "at index " + " and ".join(f"{_short(indices[axis])} of axis {axis}" for axis in partial)
    for axes in itertools.chain.from_iterable(itertools.combinations(range(wrong.ndim), n) for n in (1, 2)):
        border = np.zeros_like(wrong)
        for axis in axes:
            for edge in (0, -1):
                border[tuple(edge if a == axis else slice(None) for a in range(wrong.ndim))] = True
        if wrong[border].any() and not wrong[~border].any() and not border.all():
            return f"on the border of axis {', '.join(map(str, axes))}"
    values, counts = np.unique(at, return_counts=True)
    if np.isin(at[wrong], values[counts > 1]).all() and (truth[wrong] == 0).any() and (mine[wrong] != 0).any():
        return "among equal arguments: every tie rewarded?"
    for text, test in tests[:2]:
        if not wrong[~test()].any():
            return "only " + text
    return "without a simple pattern"


def _beside_the_diagonal(wrong: np.ndarray, truth: np.ndarray) -> str | None:
    """Say that a function ignores one triangle of its matrices, where the gradient by that triangle is wrong."""
    if wrong.ndim < 2 or wrong.shape[-1] != wrong.shape[-2] or wrong.shape[-1] < 2:
        return None
    for part, of, name in ((np.tril, -1, "lower"), (np.triu, 1, "upper")):
        ignored = part(np.ones(wrong.shape, bool), of)
        if wrong[ignored].all() and not truth[ignored].any() and not np.diagonal(wrong, axis1=-2, axis2=-1).any():
            return f"off the diagonal: the function ignores the {name} triangle, and the gradient does not"
    return None


def _short(indices: np.ndarray) -> str:
    shown = ", ".join(map(str, indices[:4]))
    return f"{shown}, ..." if len(indices) > 4 else shown

"""Properties of a derivative that finite differences of a compiled program cannot see.

A derivative is linear, its two modes are adjoint to each other, it does not depend on what was computed before, on
compilation or on batching, it loses no more digits than the function does, and the value returned with it is that of
the function. Each check compares two computations of the same numbers, so its error bar is the round-off of the
computation, which is measured as soon as two numbers differ by more than their last places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from cnnjax.gradients.batching import check_arguments_one_at_a_time, check_batching
from cnnjax.gradients.checked_mode import Case, CheckedMode, Equality, check_equalities, listed_if_undecided
from cnnjax.gradients.deadline import TIME_IS_UP
from cnnjax.gradients.differentiation import Mode
from cnnjax.gradients.jaxprs import has_symbolic_zeros
from cnnjax.gradients.report import Check

__all__ = ["check_consistency"]

_SCALES = (2.0**-10, 2.0**10, -1.0)  # powers of two: a linear rule scales without rounding
_SPREAD = 10  # powers of two by which numbers within one cotangent are made larger or smaller


def check_consistency(
    modes: Mapping[Mode, CheckedMode], rng: np.random.Generator, progress: Callable[[str], None]
) -> Iterator[Check | tuple[str, str]]:
    """Yield a check for every property that applies, and for every one that cannot be tested what it is and why.

    Args:
        modes: those that exist, with the same function, points and deadline, after which no further property is tested.
        rng: for more probes.
        progress: is told what is being tested.
    """
    steps: list[tuple[str, Iterator[Check | tuple[str, str]]]] = []
    for mode, tested in modes.items():
        steps.append((f"linearity ({mode})", _linearity(tested, rng)))
        if tested.function.contains(has_symbolic_zeros):
            steps.append((f"one argument at a time ({mode})", check_arguments_one_at_a_time(tested)))
    if "rev" in modes and "fwd" in modes:
        steps.append(("adjointness", _adjointness(modes["rev"], modes["fwd"])))
    *_, last = modes.values()
    steps.append(("vmap equals loop", check_batching(last)))
    for name, checks in steps:
        if last.deadline.is_up:
            yield name, TIME_IS_UP
            continue
        progress(name)
        yield from listed_if_undecided(name, checks)


def _linearity(tested: CheckedMode, rng: np.random.Generator) -> Iterator[Check]:
    """Scale, add and cancel cotangents (or tangents); zero must give zero.

    Some have numbers of about the same size, which shows what is decided by all of them together, and some have
    numbers of many sizes: a threshold lies between two of them, wherever it is from 1e-6 to 1e6.
    """
    x, program = tested.points[0], tested.program
    probe = tested.probe.astype(np.float32).astype(np.float64)  # so that the sum below is exact
    powers = np.concatenate(
        [
            rng.permutation(np.linspace(-_SPREAD, _SPREAD, leaf.stop - leaf.start).round())
            for leaf in tested.probe_leaves
        ]
    )
    spread, mirrored = probe * 2.0**powers, probe * 2.0**-powers
    noise = tested.noise_at(x, abs(probe) + abs(spread) + abs(mirrored))

    def cases() -> Iterator[Case]:
        base, wide = program(x, probe), program(x, spread)
        for p, exact in ((spread, wide), (mirrored, program(x, mirrored)), (probe, base)):
            for s in _SCALES:
                yield program(x, s * p) / s, exact, noise
        yield program(x, probe + spread), base + wide, noise
        yield program(x, 0 * probe), 0 * base, noise

    yield tested.check("linearity", cases())


def _adjointness(rev: CheckedMode, fwd: CheckedMode) -> Iterator[Check]:
    """Compare <y, J v> with <J^T y, v>, leaf by leaf of v."""
    x, y, v = rev.points[0], rev.probe, fwd.probe
    gradient, noise = rev.program(x, y), rev.noise_at(x, y)
    used = y != 0  # a cotangent is zero where the function is not finite

    def equalities() -> Iterator[Equality]:
        for leaf in rev.flat.inputs:
            part = np.zeros_like(v)
            part[leaf.start : leaf.stop] = v[leaf.start : leaf.stop]
            image = fwd.program(x, part)
            size = abs(y[used]) @ abs(image[used]) + abs(gradient) @ abs(part)
            yield Equality(
                np.array([gradient @ part]),
                np.array([y[used] @ image[used]]),
                np.array([4 * rev.function.strategy.epsilon * size]),
                lambda part=part: noise() @ abs(part) + abs(y) @ fwd.noise_at(x, part)(),
                lambda _, leaf=leaf: f"<vjp, v> over {leaf.name}, against <y, jvp>",
            )

    yield check_equalities("adjointness", equalities())

"""Properties of a derivative that finite differences of a compiled program cannot see.

A derivative is linear, its two modes are adjoint to each other, it does not depend on what was computed before, on
compilation or on batching, it loses no more digits than the function does, and the value returned with it is that of
the function. Each check compares two computations of the same numbers, so its error bar is the round-off of the
computation, which is measured as soon as two numbers differ by more than their last places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np

from cnnjax.gradients.batching import check_arguments_one_at_a_time, check_batching
from cnnjax.gradients.checked_function import CheckedFunction
from cnnjax.gradients.checked_mode import Case, CheckedMode, Equality, check_equalities
from cnnjax.gradients.deadline import TIME_IS_UP, Deadline
from cnnjax.gradients.differentiation import Mode
from cnnjax.gradients.eager import EagerRun, same_bits
from cnnjax.gradients.flat_function import FlatFunction
from cnnjax.gradients.jaxprs import has_symbolic_zeros, samples_gamma
from cnnjax.gradients.leaves import find_leaf, largest
from cnnjax.gradients.own_dtype import check_in_own_dtype
from cnnjax.gradients.report import Check, Mismatch
from cnnjax.gradients.user_code import EvaluationError, first_line

__all__ = ["check_consistency"]

_SCALES = (2.0**-10, 2.0**10, -1.0)  # powers of two: a linear rule scales without rounding
_SPREAD = 10  # powers of two by which numbers within one cotangent are made larger or smaller


def check_consistency(
    flat: FlatFunction,
    function: CheckedFunction,
    modes: Sequence[Mode],
    points: Sequence[np.ndarray],
    probes: Mapping[Mode, np.ndarray],
    eager: Mapping[Mode, EagerRun | Exception],
    rng: np.random.Generator,
    deadline: Deadline,
    progress: Callable[[str], None],
) -> Iterator[Check | tuple[str, str]]:
    """Yield a check for every property that applies, and for every one that cannot be tested what it is and why.

    Args:
        flat: the function.
        function: the same with its derivative programs.
        modes: those that exist.
        points: the point to check at, and others near it.
        probes: a cotangent or tangent for each mode.
        eager: the runs of each mode without jit, with those probes.
        rng: for more probes.
        deadline: after which no further property is tested.
        progress: is told what is being tested.
    """
    tested = {mode: CheckedMode(mode, flat, function, tuple(points), probes[mode], eager[mode]) for mode in modes}
    steps: list[tuple[str, Iterator[Check | tuple[str, str]]]] = []
    for mode, one in tested.items():
        yield from _listed_if_it_raises(f"the rule without jit ({mode})", _eager(one))  # it has been run already
        steps.append((f"linearity ({mode})", _linearity(one, rng)))
        if function.contains(has_symbolic_zeros):
            steps.append((f"one argument at a time ({mode})", check_arguments_one_at_a_time(one)))
    if "rev" in tested and "fwd" in tested:
        steps.append(("adjointness", _adjointness(tested["rev"], tested["fwd"])))
    steps.append(("vmap equals loop", check_batching(tested[modes[-1]])))
    for name, checks in steps:
        if deadline.is_up:
            yield name, TIME_IS_UP
            continue
        progress(name)
        yield from _listed_if_it_raises(name, checks)


def _listed_if_it_raises(name: str, checks: Iterator[Check | tuple[str, str]]) -> Iterator[Check | tuple[str, str]]:
    """Yield checks until the user's code raises for a point, cotangent or tangent that was chosen here."""
    try:
        yield from checks
    except EvaluationError as error:
        yield name, first_line(error)


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
    size = abs(probe) + abs(spread) + abs(mirrored)

    def cases() -> Iterator[Case]:
        base, wide = program(x, probe), program(x, spread)
        for p, exact in ((spread, wide), (mirrored, program(x, mirrored)), (probe, base)):
            for s in _SCALES:
                yield program(x, s * p) / s, exact, x, size
        yield program(x, probe + spread), base + wide, x, size
        yield program(x, 0 * probe), 0 * base, x, size

    yield tested.check("linearity", cases())


def _eager(tested: CheckedMode) -> Iterator[Check | tuple[str, str]]:
    """Run the rule without jit in its own dtype: the same twice, as compiled, and as exact as can be."""
    mode, runs, function = tested.mode, tested.eager, tested.function
    if isinstance(runs, Exception):
        note = f"in the function's own dtype, without jit: {first_line(runs)}"
        yield Check(f"the rule runs ({mode})", "given", 1, 0, np.inf, note=note)
        return
    yield _repetition(tested, runs)
    yield _value(tested, runs.value)
    cases = [
        (found, tested.program(x, tested.probe), x, tested.probe)
        for found, x in zip(runs.derivatives, runs.points, strict=True)
    ]
    usable = bool(np.isfinite(runs.value).all())
    if function.contains(samples_gamma):
        yield f"jit equals eager ({mode})", "gamma variates are drawn in another way in float64"
    elif function.strategy.traced:
        # Casts to a narrower dtype round when they are called and are left out of the compiled program.
        unit = max(function.strategy.epsilon, function.unit or 0.0)
        check = tested.check("jit equals eager", cases, unit) if usable else None
        if function.strategy.widened and not (check and check.ok):
            try:
                wide = [(tested.eagerly_in_float64(x), exact, x, probe) for _, exact, x, probe in cases]
                check = tested.check("jit equals eager", wide, unit)
            except Exception as error:  # the user's code refuses float64
                yield f"jit equals eager, in float64 ({mode})", first_line(error)
        if check:
            yield check
    yield from check_in_own_dtype(tested, cases, usable)


def _repetition(tested: CheckedMode, runs: EagerRun) -> Check:
    """Compare runs of the same rule at the same point, with another call before, and one half way through."""
    name, first = f"repetition ({tested.mode})", runs.first
    size = len(first) - tested.function.m
    for again in runs.different:
        if jax.default_backend() == "cpu" or not np.allclose(first, again, rtol=1e-4):
            at = int(np.flatnonzero(~same_bits(first, again))[0])
            where = tested.name_result(at) if at < size else "the value of the function"
            mismatch = Mismatch(f"{where}, called again", float(again[at]), float(first[at]), 0.0)
            return Check(name, "given", 1, len(first), np.inf, (mismatch,))
    return Check(name, "given", 1, len(first), 0.0)


def _value(tested: CheckedMode, value: np.ndarray) -> Check:
    """Compare the value that comes with the derivative with the value of the function."""
    flat, function = tested.flat, tested.function
    unit = max(function.strategy.epsilon, function.unit or flat.coarsest_leaf)

    def noise() -> np.ndarray:
        return function.program.noise(tested.points[0]) * (unit / function.strategy.epsilon)

    def where(at: int) -> str:
        return f"the value {find_leaf(flat.outputs, at).element(at)} that comes with the derivative"

    bar = 4 * unit * largest(flat.value, flat.outputs)
    return check_equalities(f"value ({tested.mode})", [Equality(value, flat.value, bar, noise, where)])


def _adjointness(rev: CheckedMode, fwd: CheckedMode) -> Iterator[Check]:
    """Compare <y, J v> with <J^T y, v>, leaf by leaf of v."""
    x, y, v = rev.points[0], rev.probe, fwd.probe
    gradient = rev.program(x, y)
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
                lambda part=part: rev.program.noise(x, y) @ abs(part) + abs(y) @ fwd.program.noise(x, part),
                lambda _, leaf=leaf: f"<vjp, v> over {leaf.name}, against <y, jvp>",
            )

    yield check_equalities("adjointness", equalities())

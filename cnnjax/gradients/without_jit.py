"""The rules as their user runs them, without jit: the same twice, as compiled, and as exact as can be."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np

from cnnjax.gradients.checked_mode import Case, CheckedMode, Equality, check_equalities, listed_if_undecided
from cnnjax.gradients.deadline import TIME_IS_UP
from cnnjax.gradients.eager import EagerRun, same_bits
from cnnjax.gradients.jaxprs import samples_gamma
from cnnjax.gradients.leaves import find_leaf, largest
from cnnjax.gradients.own_dtype import check_in_own_dtype
from cnnjax.gradients.report import Check, Mismatch
from cnnjax.gradients.user_code import first_line

__all__ = ["check_without_jit"]


def check_without_jit(tested: CheckedMode) -> Iterator[Check | tuple[str, str]]:
    """Yield a check for every property of these runs, and for every one that is undecided what it is and why."""
    mode, runs, function = tested.mode, tested.eager, tested.function
    if isinstance(runs, Exception):
        note = f"in the function's own dtype, without jit: {first_line(runs)}"
        yield Check(f"the rule runs ({mode})", "given", 1, 0, np.inf, note=note)
        return
    yield _repetition(tested, runs)
    yield from listed_if_undecided(f"value ({mode})", _value(tested, runs.value))
    usable = bool(np.isfinite(runs.value).all())
    cases = [
        (found, tested.program(x, tested.probe), tested.noise_at(x, tested.probe))
        for found, x in zip(runs.derivatives, runs.points, strict=True)
    ]
    if function.contains(samples_gamma):
        yield f"jit equals eager ({mode})", "gamma variates are drawn in another way in float64"
    elif function.strategy.traced:
        yield from listed_if_undecided(f"jit equals eager ({mode})", _as_compiled(tested, runs, cases, usable))
    yield from listed_if_undecided(f"own dtype ({mode})", check_in_own_dtype(tested, cases, usable))


def _as_compiled(
    tested: CheckedMode, runs: EagerRun, cases: list[Case], usable: bool
) -> Iterator[Check | tuple[str, str]]:
    """Compare with the compiled program; where the dtype is not enough for that, run without jit in float64."""
    name, function = "jit equals eager", tested.function
    # Casts to a narrower dtype round when they are called and are left out of the compiled program.
    unit = max(function.strategy.epsilon, function.unit or 0.0)
    check = tested.check(name, cases, unit) if usable else None
    if function.strategy.widened and not (check and check.ok):
        if tested.deadline.left < runs.seconds:  # every operation is compiled again
            yield f"{name} ({tested.mode})", TIME_IS_UP
            return
        try:
            wide = [
                (tested.eagerly_in_float64(x), exact, noise)
                for x, (_, exact, noise) in zip(runs.points, cases, strict=True)
            ]
        except Exception as error:  # the user's code refuses float64
            yield f"{name}, in float64 ({tested.mode})", first_line(error)
        else:
            check = tested.check(name, wide, unit)
    if check:
        yield check


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


def _value(tested: CheckedMode, value: np.ndarray) -> Iterator[Check]:
    """Compare the value that comes with the derivative with the value of the function."""
    flat, function = tested.flat, tested.function
    unit = max(function.strategy.epsilon, function.unit or flat.coarsest_leaf)

    def noise() -> np.ndarray:
        measured = function.program.noise(tested.points[0], deadline=tested.deadline)
        return measured * (unit / function.strategy.epsilon)

    def where(at: int) -> str:
        return f"the value {find_leaf(flat.outputs, at).element(at)} that comes with the derivative"

    bar = 4 * unit * largest(flat.value, flat.outputs)
    yield check_equalities(f"value ({tested.mode})", [Equality(value, flat.value, bar, noise, where)])

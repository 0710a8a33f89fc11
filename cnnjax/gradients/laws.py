"""Laws of a derivative that finite differences of a compiled program cannot see.

A derivative is linear, its two modes are adjoint to each other, it does not depend on what was computed
before, on compilation or on batching, it loses no more digits than the function does, and the value that
comes with it is the value of the function. Each law compares two computations of the same numbers, so its
error bar is the round-off of the computation, which is measured as soon as two numbers differ by more than
their last places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.gradients.judge import UNCONVERGED
from cnnjax.gradients.leaves import FlatFunction, Leaf, as_the_user_runs_it, find_leaf, largest
from cnnjax.gradients.numerical import SIGNIFICANT
from cnnjax.gradients.programs import Program, Subject, derive, first_line, joined
from cnnjax.gradients.report import NOT_FINITE, Check, Wrong

__all__ = ["AsPython", "laws", "run_as_python"]

_SCALES = (2.0**-10, 2.0**10, -1.0)  # powers of two: a linear rule scales without rounding
_SPREAD = 10  # powers of two by which numbers within one cotangent are made larger or smaller
_NATIVE_LOSS = 2.0**-14  # relative to float64; a float32 rule that goes through half precision loses 2^-11


@dataclass(frozen=True)
class AsPython:
    """What a rule gave in the function's own dtype, without jit: at each point, and at the first one twice again."""

    points: tuple[np.ndarray, ...]
    found: tuple[np.ndarray, ...]
    value: np.ndarray
    repeats: tuple[np.ndarray, ...]
    """The derivative followed by the value that came with it."""


def run_as_python(
    flat: FlatFunction, mode: str, points: Sequence[np.ndarray], weights: np.ndarray
) -> AsPython | Exception:
    """Run a rule as its user would; whatever it raises is returned.

    It has to come before anything is traced in float64, for the reason that ``as_the_user_runs_it`` gives.
    """

    def run(x: np.ndarray, between: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        return flat.derive_eagerly(mode, x, weights, widen=False, between=between)

    try:
        first, value = as_the_user_runs_it(lambda: run(points[0]))
        elsewhere = [run(point)[0] for point in points[1:]]
        repeats = [np.concatenate(run(points[0], between)) for between in (None, points[-1])]
    except Exception as error:  # the user's code: whatever it raises
        return error
    return AsPython(tuple(points), (first, *elsewhere), value, tuple(repeats))


@dataclass(frozen=True)
class _Mode:
    """One derivative program with weights for it: a cotangent for "rev", else a tangent."""

    name: str
    flat: FlatFunction
    subject: Subject
    points: tuple[np.ndarray, ...]
    weights: np.ndarray
    python: AsPython | Exception

    @cached_property
    def program(self) -> Program:
        return self.subject.derivative(self.name)

    def eagerly_in_float64(self, x: np.ndarray) -> np.ndarray:
        with self.subject.setting.context():
            return self.flat.derive_eagerly(self.name, x, self.weights, widen=True)[0]

    @property
    def inside(self) -> Sequence[Leaf]:
        """What the weights are for."""
        return self.flat.outputs if self.name == "rev" else self.flat.inputs

    @property
    def outside(self) -> Sequence[Leaf]:
        """What comes out."""
        return self.flat.inputs if self.name == "rev" else self.flat.outputs

    def compare(self, law: str, pairs: Sequence[_Pair], unit: float | None = None) -> Check:
        """Compare what should be equal up to the derivative's round-off, in units of ``unit``."""
        unit = unit or self.subject.setting.epsilon
        if self.subject.loops_on_values and self.subject.setting.traced:
            unit = max(unit, UNCONVERGED / 32)
        worst, wrong = 0.0, None
        underflow = np.finfo(np.float64 if unit < 1e-10 else np.float32).tiny
        for found, expected, x, w in pairs:
            bar = 4 * unit * largest(expected, self.outside) + underflow
            ratio = _ratio(found, expected, bar)
            if (ratio > 1).any():
                bar = bar + self.program.noise(x, w) * (unit / self.subject.setting.epsilon)
                ratio = _ratio(found, expected, bar)
                place = int(ratio.argmax())
                if ratio[place] > 1 and wrong is None:
                    name = find_leaf(self.outside, place).element(place)
                    wrong = Wrong(name, float(found[place]), float(expected[place]), float(bar[place]))
            worst = max(worst, float(ratio.max(initial=0.0)))
        compared = sum(len(pair[0]) for pair in pairs)
        return Check(f"{law} ({self.name})", "given", 1, compared, worst, (wrong,) if wrong else ())


_Pair = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""What was found, what it should be, and the point and weights at which."""


def laws(
    flat: FlatFunction,
    subject: Subject,
    modes: Sequence[str],
    points: Sequence[np.ndarray],
    weights: Mapping[str, np.ndarray],
    runs: Mapping[str, AsPython | Exception],
    rng: np.random.Generator,
) -> Iterator[Check | tuple[str, str]]:
    """Yield a check for every law that applies, and for every law that cannot be tested what it is and why.

    Args:
        flat: the function.
        subject: the same with its derivative programs.
        modes: those of "rev", "fwd" and "lin" that exist.
        points: the point to check at, and others near it.
        weights: a cotangent or tangent for each mode.
        runs: of each mode as plain Python, with those weights.
        rng: for more of them.
    """
    benches = [_Mode(name, flat, subject, tuple(points), weights[name], runs[name]) for name in modes]
    for bench in benches:
        yield _linearity(bench, rng)
        yield from _as_python(bench)
        if subject.asks_for_zeros:
            yield _one_by_one(bench)
    yield from _batching(benches[-1])
    tests = {bench.name: bench for bench in benches}
    if "rev" in tests and "fwd" in tests:
        yield _adjointness(tests["rev"], tests["fwd"])


def _linearity(bench: _Mode, rng: np.random.Generator) -> Check:
    """Scale, add and cancel cotangents (or tangents); zero must give zero.

    Some have numbers of about the same size, which shows what is decided by all of them together, and some have
    numbers of many sizes: a threshold lies between two of them, wherever it is from 1e-6 to 1e6.
    """
    x, w = bench.points[0], bench.weights.astype(np.float32).astype(np.float64)  # so that the sum below is exact
    powers = np.concatenate(
        [rng.permutation(np.linspace(-_SPREAD, _SPREAD, leaf.stop - leaf.start).round()) for leaf in bench.inside]
    )
    spread, mirrored = w * 2.0**powers, w * 2.0**-powers
    base, wide, other = (bench.program(x, y) for y in (w, spread, mirrored))
    pairs = [(bench.program(x, s * y) / s, exact) for s in _SCALES for y, exact in ((spread, wide), (mirrored, other))]
    pairs += [(bench.program(x, s * w) / s, base) for s in _SCALES]
    pairs += [(bench.program(x, w + spread), base + wide), (bench.program(x, 0 * w), 0 * base)]
    size = abs(w) + abs(spread) + abs(mirrored)
    return bench.compare("linearity", [(found, exact, x, size) for found, exact in pairs])


def _as_python(bench: _Mode) -> Iterator[Check | tuple[str, str]]:
    """Run the rule as plain Python in its own dtype: the same twice, as compiled, and as exact as can be."""
    mode, runs = bench.name, bench.python
    if isinstance(runs, Exception):
        note = f"in the function's own dtype, without jit: {first_line(runs)}"
        yield Check(f"the rule runs ({mode})", "given", 1, 0, np.inf, note=note)
        return
    yield _repetition(bench, np.concatenate([runs.found[0], runs.value]), runs.repeats)
    yield _value(bench, runs.value)
    pairs = [
        (found, bench.program(p, bench.weights), p, bench.weights)
        for found, p in zip(runs.found, runs.points, strict=True)
    ]
    usable = bool(np.isfinite(runs.value).all())
    if bench.subject.draws_by_rejection:
        yield f"jit equals eager, own dtype ({mode})", "gamma variates are drawn in another way in float64"
        return
    if bench.subject.setting.traced:
        # Casts to a narrower dtype round when they are called and are left out of the compiled program.
        unit = max(bench.subject.setting.epsilon, bench.subject.unit or 0.0)
        check = bench.compare("jit equals eager", pairs, unit) if usable else None
        if bench.subject.setting.widened and not (check and check.ok):
            try:
                wide = [(bench.eagerly_in_float64(p), exact, p, w) for _, exact, p, w in pairs]
                check = bench.compare("jit equals eager", wide, unit)
            except Exception as error:  # the user's code refuses float64
                yield f"jit equals eager, in float64 ({mode})", first_line(error)
        if check:
            yield check
    yield from _own_dtype(bench, pairs, usable)


def _repetition(bench: _Mode, first: np.ndarray, repeats: Sequence[np.ndarray]) -> Check:
    """Compare runs of the same rule at the same point, with another call before, and one half way through."""
    size = len(first) - bench.subject.m
    for again in repeats:
        place = np.flatnonzero(~((first == again) | (np.isnan(first) & np.isnan(again))))
        if len(place) and (jax.default_backend() == "cpu" or not np.allclose(first, again, rtol=1e-4)):
            at = int(place[0])
            name = find_leaf(bench.outside, at).element(at) if at < size else "the value of the function"
            wrong = Wrong(f"{name}, called again", float(again[at]), float(first[at]), 0.0)
            return Check(f"repetition ({bench.name})", "given", 1, len(first), np.inf, (wrong,))
    return Check(f"repetition ({bench.name})", "given", 1, len(first), 0.0)


def _value(bench: _Mode, value: np.ndarray) -> Check:
    """Compare the value that comes with the derivative with the value of the function."""
    expected, outputs = bench.flat.value, bench.flat.outputs
    unit = max(bench.subject.setting.epsilon, bench.subject.unit or bench.flat.coarsest_leaf)
    bar = 4 * unit * largest(expected, outputs)
    ratio = _ratio(value, expected, bar)
    if (ratio > 1).any():
        noise = bench.subject.function.noise(bench.points[0])
        bar = bar + noise * (unit / bench.subject.setting.epsilon)
        ratio = _ratio(value, expected, bar)
    wrong = ()
    if (ratio > 1).any():
        at = int(ratio.argmax())
        name = f"the value {find_leaf(outputs, at).element(at)} that comes with the derivative"
        wrong = (Wrong(name, float(value[at]), float(expected[at]), float(bar[at])),)
    return Check(f"value ({bench.name})", "given", 1, len(value), float(ratio.max(initial=0.0)), wrong)


def _own_dtype(bench: _Mode, pairs: Sequence[_Pair], usable: bool) -> Iterator[Check | tuple[str, str]]:
    """The rule in the function's own dtype must be finite and lose no digits."""
    name = f"own dtype ({bench.name})"
    if not usable:
        yield name, "the function is not finite in its own dtype"
        return
    found, exact, *_ = pairs[0]
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        wrong = tuple(
            Wrong(
                find_leaf(bench.outside, int(i)).element(int(i)) + " in the function's own dtype",
                float(found[i]),
                float(exact[i]),
                0.0,
            )
            for i in bad[:8]
        )
        yield Check(name, "given", 1, len(found), np.inf, wrong, note=NOT_FINITE)
        return
    if bench.subject.unit is None or bench.subject.loops_on_values:
        return
    # Next to a kink the two precisions may be on different sides of it, but not at two points.
    unit = max(bench.subject.unit, _NATIVE_LOSS / 32)
    yield min((bench.compare("own dtype", [pair], unit) for pair in pairs), key=lambda check: check.worst)


def _batching(bench: _Mode) -> Iterator[Check | tuple[str, str]]:
    """Compare ``jax.vmap`` over distinct points with a loop over them: all leaves batched, and only some."""
    flat, setting = bench.flat, bench.subject.setting
    name = f"vmap equals loop ({bench.name})"
    rows = np.stack(bench.points[:3])
    if len(rows) < 2 or not setting.traced:
        yield name, "it takes two points in the domain and a function that can be traced"
        return
    weights = np.stack([bench.weights * (k + 1) for k in range(len(rows))])
    widened, shared = setting.widened, range(1, len(flat.inputs), 2)

    def along(arrays: Sequence[Any], w: Any) -> Any:
        if bench.name != "rev":
            w = flat.split(w, widened)
        found = derive(bench.name, lambda arrays: flat.join(arrays, widened), arrays, w)[0]
        # A cotangent of real and imaginary parts is the conjugate of JAX's complex cotangent.
        return flat.pack([lax.conj(a) if jnp.iscomplexobj(a) else a for a in jax.tree.leaves(found)])

    def arrays_of(rows: Any) -> tuple[list[Any], list[Any]]:
        return jax.vmap(lambda v: flat.split(v, widened))(rows), flat.split(rows[0], widened)

    def all_batched(rows: Any, weights: Any) -> Any:
        return jax.vmap(along)(arrays_of(rows)[0], weights)

    def some_batched(rows: Any, weights: Any) -> Any:
        batched, first = arrays_of(rows)
        some = [first[i] if i in shared else array for i, array in enumerate(batched)]
        axes = [None if i in shared else 0 for i in range(len(some))]
        return jax.vmap(along, in_axes=(axes, None))(some, weights[0])

    def weights_batched(rows: Any, weights: Any) -> Any:
        return jax.vmap(along, in_axes=(None, 0))(arrays_of(rows)[1], weights)

    mixed = rows.copy()
    for i in shared:
        leaf = flat.inputs[i]
        mixed[:, leaf.start : leaf.stop] = rows[0, leaf.start : leaf.stop]
    ways = {some_batched: [(x, weights[0]) for x in mixed]}
    if not bench.subject.is_plain:
        ways |= {
            all_batched: [*zip(rows, weights, strict=True)],
            weights_batched: [(rows[0], w) for w in weights],
        }
    sizes = (rows.size, weights.size)
    possible = {}
    for way in ways:
        try:
            possible[way] = Program(
                lambda r, w, way=way: way(r.reshape(rows.shape), w.reshape(weights.shape)).reshape(-1), sizes, setting
            )
        except Exception as error:  # no batching rule, or one that raises
            yield f"{name}, {way.__name__}", first_line(error)
    if not possible:
        return
    try:
        found = joined(possible.values())(rows.reshape(-1), weights.reshape(-1))
    except Exception as error:  # a rule that raises when it runs
        yield name, first_line(error)
        return
    cases = [case for way in possible for case in ways[way]]
    found = found.reshape(len(cases), -1)
    yield bench.compare(
        "vmap equals loop", [(f, bench.program(x, w), x, w) for f, (x, w) in zip(found, cases, strict=True)]
    )


def _one_by_one(bench: _Mode) -> Check:
    """Compare the derivative by all arguments with those by each, the others held constant.

    So also for the outputs of a reverse rule: each alone has a cotangent.
    """
    flat, widened = bench.flat, bench.subject.setting.widened

    def apart(x: Any, w: Any) -> Any:
        arrays = flat.split(x, widened)

        def moving(i: int, kept: slice) -> Callable[[Any], Any]:
            return lambda array: flat.pack(flat.call([*arrays[:i], array, *arrays[i + 1 :]])[kept], widened)

        if bench.name != "rev":
            tangents = flat.split(w, widened)
            parts = [derive(bench.name, moving(i, slice(None)), a, tangents[i])[0] for i, a in enumerate(arrays)]
            return sum(parts[1:], parts[0])
        gradients = []
        for i, array in enumerate(arrays):
            of_outputs = [
                derive("rev", moving(i, slice(j, j + 1)), array, w[leaf.start : leaf.stop])[0]
                for j, leaf in enumerate(flat.outputs)
            ]
            gradients.append(sum(of_outputs[1:], of_outputs[0]))
        # A cotangent of real and imaginary parts is the conjugate of JAX's complex cotangent.
        return flat.pack([lax.conj(a) if jnp.iscomplexobj(a) else a for a in gradients], widened)

    x, w = bench.points[0], bench.weights
    try:
        found = Program(apart, (len(x), len(w)), bench.subject.setting)(x, w)
    except Exception as error:  # the user's code: whatever it raises
        note = f"by one argument at a time: {first_line(error)}"
        return Check(f"the rule runs ({bench.name})", "given", 1, 0, np.inf, note=note)
    return bench.compare("one argument at a time", [(found, bench.program(x, w), x, w)])


def _adjointness(rev: _Mode, fwd: _Mode) -> Check:
    """Compare <y, J v> with <J^T y, v>, leaf by leaf of v."""
    x, y, v = rev.points[0], rev.weights, fwd.weights
    gradient = rev.program(x, y)
    worst, wrong, compared = 0.0, None, 0
    for leaf in rev.flat.inputs:
        part = np.zeros_like(v)
        part[leaf.start : leaf.stop] = v[leaf.start : leaf.stop]
        image = fwd.program(x, part)
        left, right = float(y @ image), float(gradient @ part)
        bar = 4 * rev.subject.setting.epsilon * float(abs(y) @ abs(image) + abs(gradient) @ abs(part))
        if abs(left - right) > SIGNIFICANT * bar:
            bar += float(rev.program.noise(x, y) @ abs(part) + abs(y) @ fwd.program.noise(x, part))
        ratio = abs(left - right) / (SIGNIFICANT * bar) if bar else 0.0
        if ratio > 1 and wrong is None:
            wrong = Wrong(f"<vjp, v> over {leaf.name}, against <y, jvp>", right, left, bar)
        worst, compared = max(worst, ratio), compared + 1
    return Check("adjointness", "given", 1, compared, worst, (wrong,) if wrong else ())


def _ratio(found: np.ndarray, expected: np.ndarray, bar: np.ndarray) -> np.ndarray:
    """Return |found - expected| over what the bar allows; NaN must meet NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(found == expected, 0.0, abs(found - expected) / (SIGNIFICANT * bar))
    both = np.isnan(found) & np.isnan(expected)
    return np.where(both, 0.0, np.nan_to_num(ratio, nan=np.inf, posinf=np.inf))

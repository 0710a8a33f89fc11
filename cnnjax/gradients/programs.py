"""The function under test and its derivatives as programs on float64 vectors, however they have to be run.

Python numbers in a function become constants of its working dtype when it is traced, so the best way to have
it in float64 is to trace it with float64 arguments. A function that insists on its own dtype is traced as it
is and its jaxpr evaluated in float64. A function that looks at values (``if x > 0``) cannot be traced and is
called step by step.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.gradients.intended import evaluate_beside, rules_in
from cnnjax.gradients.leaves import FlatFunction, has_no_derivative, largest
from cnnjax.gradients.numerical import SIGNIFICANT
from cnnjax.gradients.promote import (
    asks_for_zeros,
    calls_the_host,
    computes_in_float64,
    draws_by_rejection,
    evaluate,
    has_float_condition,
    has_rules,
    is_plain,
    iterates_under_a_rule,
    rounding_units_in,
)

__all__ = [
    "Program",
    "RuleRaised",
    "Subject",
    "choose_subject",
    "derive",
    "first_line",
    "joined",
]

_ROWS = 208  # evaluations in one call of a compiled program
_BUFFER = 2**19  # numbers that such a call may take or return
_SMALL = 2**17  # numbers that come in and go out
_QUICK = {  # what compiles fastest
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


@functools.cache
def _quick_options() -> dict[str, Any]:
    """The options of `_QUICK` that this XLA knows: they come and go with its releases."""

    def is_known(option: str, value: Any) -> bool:
        try:
            jax.jit(lambda: 0, compiler_options={option: value}).lower().compile()
        except jax.errors.JaxRuntimeError:
            return False
        return True

    return {option: value for option, value in _QUICK.items() if is_known(option, value)}


class UnavailableMode(Exception):  # noqa: N818
    """A function has no derivative in this mode, as JAX says itself."""


class RuleRaised(Exception):  # noqa: N818
    """A derivative rule raised an exception of its own."""


@contextlib.contextmanager
def _wide() -> Iterator[None]:
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


@contextlib.contextmanager
def _wide_in_all_threads() -> Iterator[None]:
    """Enable 64-bit types in all threads: XLA calls back from one of its own, where `jax.enable_x64` does not reach."""
    with ThreadPoolExecutor(1) as fresh:
        before = fresh.submit(jnp.result_type, float).result() == np.float64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


@dataclass(frozen=True)
class Setting:
    """A way of running a function: with which argument dtypes, and traced or called."""

    name: str
    widened: bool
    traced: bool

    def context(self) -> contextlib.AbstractContextManager[None]:
        """Return the configuration in which the user's Python code runs."""
        return _wide() if self.widened else contextlib.nullcontext()

    def vector(self, values: np.ndarray) -> jax.Array:
        """Return a vector in the dtype that the user's Python code receives; call it inside ``context()``."""
        return jnp.asarray(np.asarray(values, jax.dtypes.canonicalize_dtype(np.float64)))

    @property
    def epsilon(self) -> float:
        """The rounding unit of the numbers that come out."""
        narrow = self.traced or self.widened or jax.dtypes.canonicalize_dtype(np.float64) == np.float64
        return float(np.finfo(np.float64 if narrow else np.float32).eps)


SETTINGS = (
    Setting("float64", widened=True, traced=True),
    Setting("float64, from the jaxpr of the function in its own dtype", widened=False, traced=True),
    Setting("float64, called step by step", widened=True, traced=False),
    Setting("its own dtype, called step by step", widened=False, traced=False),
)


def choose_subject(
    flat: FlatFunction, modes: tuple[str, ...], intended: frozenset[str]
) -> tuple[Subject, dict[str, str], tuple[str, ...]]:
    """Return the function in the first setting in which it and its rules run and mean what they mean
    natively.

    Also returns which of the modes have no derivative, with JAX's reason, and why better settings were passed
    over.

    Raises:
        RuleRaised: a rule raises an exception in every setting.
    """
    unit = _coarsest_unit(flat)
    reasons: list[str] = []
    broken: RuleRaised | None = None
    for setting in SETTINGS:
        try:
            subject = Subject(flat.wide if setting.widened else flat.native, flat.point, setting, unit, intended)
            value = subject.function(flat.point)
            unavailable = subject.unavailable(modes)
        except RuleRaised as error:
            broken = error
            reasons.append(f"{setting.name}: {error}")
        except Exception as error:  # any failure of the user's code here only means: not this way
            reasons.append(f"{setting.name}: {first_line(error)}")
        else:
            last = setting == SETTINGS[-1]
            if last or subject.draws_by_rejection or _same_function(subject, value, flat, unit):
                return subject, unavailable, tuple(reasons)
            reasons.append(f"{setting.name}: it gives another value there, by more than round-off")
    raise broken or RuleRaised("; ".join(reasons))


def _same_function(subject: Subject, value: np.ndarray, flat: FlatFunction, unit: float | None) -> bool:
    """Tell a function that depends on its dtype, as a random one may, from the same one with more digits."""
    if value.shape != flat.value.shape:
        return False
    both = np.isfinite(value) & np.isfinite(flat.value)
    unit = unit or flat.coarsest_leaf
    bar = (1e-2 + 16 * unit) * largest(flat.value, flat.outputs) + 1e-30
    if np.all(abs(value - flat.value)[both] <= bar[both]):
        return True
    noise = subject.function.noise(flat.point) * (unit / subject.setting.epsilon)
    return bool(np.all(abs(value - flat.value)[both] <= (bar + SIGNIFICANT * noise)[both]))


def first_line(error: BaseException) -> str:
    """Return the type of an exception and the first line of what it says."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else ''}"


class Program:
    """A function of vectors, run in one setting; what comes in and goes out are float64 NumPy vectors."""

    def __init__(
        self,
        call: Callable[..., Any],
        sizes: tuple[int, ...],
        setting: Setting,
        intended: frozenset[str] = frozenset(),
    ) -> None:
        self.call, self.setting, self.sizes, self.intended = call, setting, sizes, intended
        if setting.traced:
            with setting.context():
                blanks = [jax.ShapeDtypeStruct((n,), jax.dtypes.canonicalize_dtype(np.float64)) for n in sizes]
                self._as_traced = self._jit(call)
                self.jaxpr: Any = self._as_traced.trace(*blanks).jaxpr

    def plain(self, *vectors: Any) -> Any:
        """Evaluate the jaxpr: a JAX function without custom rules, to be called with 64-bit types enabled."""
        return evaluate(self.jaxpr, vectors)[0]

    def beside(self, x: Any, moved: Any, intended: frozenset[str]) -> Any:
        """Evaluate at ``moved`` with every intended rule replaced by its tangent at ``x``."""
        return evaluate_beside(self.jaxpr, [x], [moved], intended)[0] if intended else self.plain(moved)

    def _jit(self, call: Callable[..., Any], comes_out: int = 0) -> Any:
        """Compile for a few runs: on small vectors the compiler's optimisations take longer than they save."""
        small = sum(self.sizes) + comes_out < _SMALL
        quick = small and jax.default_backend() == "cpu"
        return jax.jit(call, compiler_options=_quick_options() if quick else None)

    @functools.cached_property
    def _compiled(self) -> Callable[..., Any]:
        if self.setting.widened and computes_in_float64(self.jaxpr):
            return self._as_traced  # nothing to widen, and no second trace
        return self._jit(self.plain)

    @functools.cached_property
    def calls_the_host(self) -> bool:
        """Whether it calls back into Python."""
        return calls_the_host(self.jaxpr)

    def run(self, compiled: Callable[..., Any], *values: Any) -> np.ndarray:
        """Call what was compiled from the jaxpr."""
        with _wide(), _wide_in_all_threads() if self.calls_the_host else contextlib.nullcontext():
            return np.asarray(compiled(*values), np.float64)

    def __call__(self, *vectors: np.ndarray) -> np.ndarray:
        """Evaluate once."""
        if self.setting.traced and len(vectors) == 1:  # the program of many evaluations is needed anyway
            nowhere = np.zeros(1, np.int32)
            return self.along(vectors[0], vectors[0][None], nowhere, nowhere, nowhere, np.zeros(1))[0]
        if self.setting.traced:
            return self.run(self._compiled, *vectors)
        with self.setting.context():
            return np.asarray(self.call(*map(self.setting.vector, vectors)), np.float64)

    def along(
        self,
        x: np.ndarray,
        lines: np.ndarray,
        which: np.ndarray,
        start: np.ndarray,
        stop: np.ndarray,
        t: np.ndarray,
    ) -> np.ndarray:
        """Evaluate at x + t * lines[which], the line cut to [start, stop); a row for each entry."""
        count, size = len(t), self.size_at(x)
        out = np.empty((count, size))

        def moved(row: int) -> np.ndarray:
            point, part = x.copy(), slice(start[row], stop[row])
            point[part] += t[row] * lines[which[row], part]
            return point

        if not self.setting.traced:
            for row in range(count):
                out[row] = self(moved(row))
            return out
        rows = int(np.clip(_BUFFER // max(size, len(x), 1), 2, _ROWS))

        def run(first: int) -> None:
            last = min(first + rows, count)
            points = np.zeros((rows, len(x)))  # always as many, so that one program does
            points[: last - first] = [moved(row) for row in range(first, last)]
            out[first:last] = self.run(self._sweep, x, points, np.int32(last - first))[: last - first]

        firsts = range(0, count, rows)
        # Callbacks that run at the same time can wait for each other for ever on a machine with few cores.
        if len(firsts) < 3 or self.calls_the_host:
            for first in firsts:
                run(first)
        else:  # a compiled program of this size keeps one core busy
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(run, firsts))
        return out

    def size_at(self, x: np.ndarray) -> int:
        """Return the length of what comes out."""
        if self.setting.traced:
            return int(self.jaxpr.out_avals[0].shape[0])
        return len(self(x))

    @functools.cached_property
    def _sweep(self) -> Callable[..., Any]:
        def sweep(x: Any, points: Any, count: Any) -> Any:
            def one(row: Any, out: Any) -> Any:
                point = lax.dynamic_index_in_dim(points, row, keepdims=False, allow_negative_indices=False)
                value = self.beside(x, point, self.intended)
                return lax.dynamic_update_index_in_dim(out, value, row, 0, allow_negative_indices=False)

            return lax.fori_loop(0, count, one, jnp.zeros((len(points), self.size_at(x)), np.float64))

        return self._jit(sweep, self.jaxpr.out_avals[0].size)

    def noise(self, *vectors: np.ndarray) -> np.ndarray:
        """Return the round-off of each output, measured by disturbing every rounded operation."""
        if self.setting.traced:
            exact = self(*vectors)
            much, little = (self._moved(exact, size, vectors) for size in (_AMPLIFIED, 1.0))
            # Where a thousand roundings do not do much more than one, the function is chaotic: no digit is known.
            with np.errstate(invalid="ignore"):
                chaotic = (little > 16 * much / _AMPLIFIED) & (little > 64 * self.setting.epsilon * abs(exact))
            return np.where(chaotic, np.inf, np.maximum(much / _AMPLIFIED, little))
        # Fourth differences at close points: what is smooth cancels (Moré and Wild, Estimating computational
        # noise).
        line = vectors[0] * np.random.default_rng(0).uniform(-1, 1, vectors[0].shape)
        noise = self.setting.epsilon * abs(self(*vectors))
        for spacing in (2.0**-20, 2.0**-30, 2.0**-40):
            row = [self(vectors[0] + k * spacing * line, *vectors[1:]) for k in range(7)]
            with np.errstate(invalid="ignore"):
                moved = np.max(abs(np.diff(row, 4, axis=0)), axis=0) / 8
            noise = np.maximum(noise, np.where(np.isfinite(moved), moved, 0.0))
        return noise

    def _moved(self, exact: np.ndarray, size: float, vectors: tuple[np.ndarray, ...]) -> np.ndarray:
        """Return how far each output moves at most when every rounded operation is disturbed by ``size`` units."""
        usual = 1.0 + _random_signs() * min(size * _EPSILON, _MOST)
        tries = [self.run(self._disturbed, *rows, size, *vectors) for rows in zip(_random_signs(), usual, strict=True)]
        with np.errstate(invalid="ignore"):
            moved = np.max([abs(values - exact) for values in tries], axis=0)
        return np.where(np.isfinite(moved), moved, 0.0)

    @functools.cached_property
    def _disturbed(self) -> Callable[..., Any]:
        def disturbed(signs: Any, usual: Any, size: Any, *vectors: Any) -> Any:
            return evaluate(self.jaxpr, vectors, _disturbance(signs, usual, size))[0]

        return self._jit(disturbed, self.jaxpr.out_avals[0].size)


def joined(programs: Iterable[Program]) -> Program:
    """Return one program for what several traced ones give, one after the other: it takes less to compile."""
    programs = tuple(programs)

    def call(*vectors: Any) -> Any:
        return lax.concatenate([program.plain(*vectors) for program in programs], 0)

    return Program(call, programs[0].sizes, SETTINGS[0])


_AMPLIFIED = 2.0**10  # disturbances are this much larger than round-off, to stand out from it
_SIGNS = 2**14  # in a row
_MOST = 2.0**-6  # of itself that a disturbance changes a number by
_EPSILON = float(np.finfo(np.float64).eps)


@functools.cache
def _random_signs() -> np.ndarray:
    """Return a row of random signs for each time that a computation is disturbed."""
    return np.random.default_rng(0).choice([-1.0, 1.0], (6, _SIGNS))


def _disturbance(signs: Any, usual: Any, size: Any) -> Callable[[jax.Array, float], jax.Array]:
    """Return a function that changes each element by plus or minus ``size`` units.

    Each time it is called the signs begin at another place. The factors for float64 are ``usual``.
    """
    places = itertools.count(1)

    def disturb(value: jax.Array, unit: float) -> jax.Array:
        is_usual = unit == _EPSILON
        row = usual if is_usual else signs
        if 2 * value.size > _SIGNS:
            row = jnp.tile(row, value.size // _SIGNS + 2)
        start = next(places) * 0x9E3779B1 % (len(row) - value.size)
        factor = lax.slice(row, (start,), (start + value.size,)).reshape(value.shape)
        if not is_usual:
            factor = 1.0 + factor * jnp.minimum(size * unit, _MOST)
        return value * factor.astype(value.dtype)

    return disturb


def derive(mode: str, call: Callable[[Any], Any], x: Any, weights: Any) -> tuple[Any, Any]:
    """Return a derivative of ``call`` at ``x`` and the value that comes with it, through the rules under
    test.

    ``weights`` is a cotangent for "rev" and a tangent for "fwd" (``jax.jvp``) and "lin" (``jax.linearize``).
    """
    if mode == "rev":
        value, pull = jax.vjp(call, x)
        return pull(weights)[0], value
    if mode == "fwd":
        value, image = jax.jvp(call, (x,), (weights,))
        return image, value
    value, push = jax.linearize(call, x)
    return push(weights), value


class Subject:
    """One function from R^n to R^m in one setting, with its derivative programs made when first asked for."""

    def __init__(
        self,
        call: Callable[[Any], Any],
        sample: np.ndarray,
        setting: Setting,
        unit: float | None = None,
        intended: frozenset[str] = frozenset(),
    ) -> None:
        self.setting, self.n, self.call, self.sample = setting, len(sample), call, sample
        self.unit = unit
        """The rounding unit of the narrowest float natively; None where the function has no trace."""
        self.intended = intended
        self.function = Program(call, (self.n,), setting, intended=intended)
        self.m = self.function.size_at(sample)
        self._derivatives: dict[str, Program] = {}

    def weights_size(self, mode: str) -> int:
        """Return the length of a cotangent or tangent."""
        return self.m if mode == "rev" else self.n

    def derivative(self, mode: str) -> Program:
        """Return the program (x, weights) -> derivative, through the rules under test.

        Raises:
            UnavailableMode: the function has no derivative in this mode.
            RuleRaised: a rule raises.
        """
        if mode not in self._derivatives:
            size = self.weights_size(mode)
            try:
                program = Program(lambda x, w: derive(mode, self.call, x, w)[0], (self.n, size), self.setting)
                program(self.sample, np.zeros(size))  # some refusals come only now
            except Exception as error:
                if has_no_derivative(error):
                    raise UnavailableMode(first_line(error)) from error
                raise RuleRaised(first_line(error)) from error
            self._derivatives[mode] = program
        return self._derivatives[mode]

    def unavailable(self, modes: tuple[str, ...]) -> dict[str, str]:
        """Return the modes among ``modes`` that have no derivative, each with JAX's reason."""
        reasons = {}
        for mode in modes:
            try:
                self.derivative(mode)
            except UnavailableMode as error:
                reasons[mode] = str(error)
        return reasons

    @functools.cached_property
    def plain_gradient(self) -> Program | None:
        """The gradient by JAX's own rules alone; None where they do not reach."""
        return self.gradient_with(self.intended)

    def gradient_with(self, rules: frozenset[str]) -> Program | None:
        """Return the gradient by JAX's own rules and those named; None where they do not reach."""
        if not self.setting.traced:
            return None
        try:
            return Program(
                lambda x, w: derive("rev", lambda moved: self.function.beside(x, moved, rules), x, w)[0],
                (self.n, self.m),
                SETTINGS[0],
            )
        except Exception:  # whatever JAX cannot differentiate: no second opinion, and none is needed
            return None

    @functools.cached_property
    def rules(self) -> Counter[str]:
        """How often each custom rule or stopped gradient stands in the function, by its name."""
        return rules_in(self.function.jaxpr) if self.setting.traced else Counter()

    @functools.cached_property
    def has_rules(self) -> bool:
        """Whether the function carries any custom rule or stopped gradient."""
        return not self.setting.traced or has_rules(self.function.jaxpr)

    @functools.cached_property
    def is_plain(self) -> bool:
        """Whether it consists of JAX's own operations alone."""
        return self.setting.traced and is_plain(self.function.jaxpr)

    @functools.cached_property
    def asks_for_zeros(self) -> bool:
        """Whether a rule asks which of its arguments are held constant, and may answer otherwise for each."""
        return self.setting.traced and asks_for_zeros(self.function.jaxpr)

    @functools.cached_property
    def draws_by_rejection(self) -> bool:
        """Whether the function draws variates that float64 programs draw in another way."""
        return self.setting.traced and draws_by_rejection(self.function.jaxpr)

    @functools.cached_property
    def iterates_under_a_rule(self) -> bool:
        """Whether a custom rule stands for a loop, whose iteration may converge at some points only."""
        return self.setting.traced and iterates_under_a_rule(self.function.jaxpr)

    @functools.cached_property
    def loops_on_values(self) -> bool:
        """Whether a while_loop inside decides by a float when to end."""
        return not self.setting.traced or has_float_condition(self.function.jaxpr)

    def weighted(self, weights: np.ndarray, at: np.ndarray, centre: np.ndarray) -> Program:
        """Return the program x -> sum of weights * (f(x) - centre), as a vector of one number, for x next to ``at``."""
        used = np.flatnonzero(weights)

        def call(x: Any) -> Any:
            value = self.function.beside(at, x, self.intended) if self.setting.traced else self.call(x)
            return ((value - centre)[used] * weights[used]).sum()[None]

        return Program(call, (self.n,), SETTINGS[0] if self.setting.traced else self.setting)

    def derived(self, mode: str, weights: np.ndarray) -> Subject:
        """Return the first derivative as a function of (x, weights), to be verified in its turn."""
        return Subject(
            lambda z: derive(mode, self.call, z[: self.n], z[self.n :])[0],
            np.concatenate([self.sample, weights]),
            self.setting,
            self.unit,
            self.intended,
        )


def _coarsest_unit(flat: FlatFunction) -> float | None:
    """Return the rounding unit of the narrowest float in a function; None if it has no trace."""
    try:
        jaxpr = Program(flat.native, (len(flat.point),), SETTINGS[1]).jaxpr
    except Exception:  # the user's code cannot be traced
        return None
    return max([flat.coarsest_leaf, *rounding_units_in(jaxpr)])

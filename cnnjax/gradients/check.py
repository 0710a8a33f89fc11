"""``check_grads``: every derivative that a function's rules give, compared with what it should be."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cnnjax._errors import ArgumentTypeError, ArgumentValueError, GradientError, complaint, describe
from cnnjax.gradients.judge import Judge
from cnnjax.gradients.laws import laws
from cnnjax.gradients.leaves import FlatFunction, Leaf, flatten_function
from cnnjax.gradients.programs import RuleRaised, Subject, choose_subject
from cnnjax.gradients.referee import Referee, Stretch, lines_through, magnitudes
from cnnjax.gradients.report import Check, GradientReport

__all__ = ["check_grads"]

MODES = ("fwd", "rev", "lin")


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 1,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: Any = None,
    rtol: Any = None,
    eps: float | None = None,
    *,
    seed: int = 0,
) -> GradientReport:
    """Verify every derivative that JAX gives for ``f`` at ``args`` against finite differences with an error bar.

    For a direction v and a cotangent y the claims ``jvp(v)`` and ``<vjp(y), v>`` are compared with the numerical
    ``(f(x + t v) - f(x - t v)) / 2t``, extrapolated to t = 0 in float64 whatever the dtype of ``f``. A claim is
    wrong when it differs by several times the estimated error of the difference: there is no tolerance to choose.

    Args:
        f: the function; it may take and return any pytrees. Integer, boolean, key and non-array leaves are held
            fixed or left out.
        args: the tuple of its arguments.
        order: verify derivatives up to this order; each is compared with differences of the one before.
        modes: the kinds of differentiation to verify: "fwd" (``jax.jvp``), "rev" (``jax.vjp``), "lin"
            (``jax.linearize``). A mode that ``f`` does not have, as forward mode of a ``custom_vjp``, is reported.
        atol, rtol: accepted for code written for ``jax.test_util.check_grads``. They only widen what the error bar
            allows: a difference of at most ``atol + rtol * |derivative|`` an element passes too.
        eps: accepted for the same reason and not used: the steps follow from the function.
        seed: of the random directions, cotangents and the nearby point.

    Returns:
        The report of everything that was checked; ``print`` it.

    Raises:
        GradientError: a derivative is wrong, is not finite where the function is, or none of the modes exists. It is
            an AssertionError, and its ``report`` is the same object.
        ArgumentTypeError, ArgumentValueError: an argument of this function cannot work.

    >>> import jax, jax.numpy as jnp
    >>> check_grads(lambda p: jnp.tanh(p["w"] @ p["x"]), ({"w": jnp.ones((2, 3)), "x": jnp.arange(3.0)},)).ok
    True
    >>> square = jax.custom_vjp(lambda x: x**2)
    >>> square.defvjp(lambda x: (x**2, x), lambda x, y: (x * y,))  # forgot the 2
    >>> check_grads(square, (jnp.array([1.0, 3.0]),))
    Traceback (most recent call last):
    cnnjax._errors.GradientError: The gradient of <lambda> DISAGREES...

    Source: Richardson extrapolation with error control after Ridders, Advances in Engineering Software 4 (1982);
    docs/gradients.md derives the rest.
    """
    arguments, modes, slack = _validated(f, args, order, modes, atol, rtol)
    flat = flatten_function(f, arguments)
    with warnings.catch_warnings():  # what the function warns of, it has said in the call above
        warnings.simplefilter("ignore")
        verification = _Verification(flat, order, modes, slack, seed)
    report = GradientReport(
        function=getattr(f, "__qualname__", type(f).__name__),
        checks=tuple(verification.checks),
        skipped=flat.skipped + tuple(verification.skipped),
        precision=verification.precision,
        evaluations=verification.evaluations,
        seed=seed,
    )
    if not report.ok:
        raise GradientError(str(report), report)
    return report


def _validated(
    f: Any, args: Any, order: Any, modes: Any, atol: Any, rtol: Any
) -> tuple[tuple[Any, ...], tuple[str, ...], tuple[float, float]]:
    def wrong(kind: type[Exception], argument: str, value: Any, expected: str, fix: str) -> Exception:
        return kind(complaint("check_grads", argument, got=describe(value), expected=expected, fix=fix))

    if not callable(f):
        raise wrong(ArgumentTypeError, "f", f, "a function", "pass the function itself, not its value")
    if not isinstance(args, (tuple, list)):
        raise wrong(
            ArgumentTypeError, "args", args, "the tuple of the arguments of f", "write (x,) for one argument"
        )
    if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order < 1:
        raise wrong(ArgumentValueError, "order", order, "an integer of at least 1", "use order=1")
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if not modes or not set(modes) <= set(MODES):
        raise wrong(ArgumentValueError, "modes", modes, f"some of {MODES}", 'use modes=("fwd", "rev")')
    slack = []
    for name, value in (("atol", atol), ("rtol", rtol)):
        number = max(value.values(), default=0.0) if isinstance(value, dict) else value or 0.0
        if not isinstance(number, (int, float, np.number)) or not number >= 0:
            raise wrong(ArgumentValueError, name, value, "a number of at least 0", f"leave {name} out")
        slack.append(float(number))
    return tuple(args), modes, (slack[0], slack[1])


class _Verification:
    """One run of ``check_grads``: what it checked, what it could not, and how much work it was."""

    def __init__(
        self, flat: FlatFunction, order: int, modes: tuple[str, ...], slack: tuple[float, float], seed: int
    ) -> None:
        self.modes, self.slack, self.seed = modes, slack, seed
        self.checks: list[Check] = []
        self.skipped: list[tuple[str, str]] = []
        self.precision, self.evaluations = "no dtype", 0
        if not sum(leaf.size for leaf in flat.inputs) or not sum(leaf.size for leaf in flat.outputs):
            self.skipped.append(("everything", "nothing goes in or comes out that has a derivative"))
            return
        try:
            subject, unavailable, reasons = choose_subject(flat, modes)
        except RuleRaised as error:
            self.checks.append(_failure("the rule runs", 1, str(error)))
            return
        self.precision = subject.setting.name
        self.skipped += [("float64 evaluation", reason) for reason in reasons]
        self.flat = flat
        self._verify(subject, flat.inputs, flat.outputs, flat.point, 1, order, unavailable)

    def _verify(
        self,
        subject: Subject,
        inputs: tuple[Leaf, ...],
        outputs: tuple[Leaf, ...],
        x: np.ndarray,
        level: int,
        order: int,
        unavailable: dict[str, str],
    ) -> None:
        """Verify the derivatives of one function, and then, up to ``order``, the derivatives of those."""
        modes = [mode for mode in self.modes if mode not in unavailable]
        self.skipped += [(f'mode "{mode}", order {level}', reason) for mode, reason in unavailable.items()]
        if not modes:
            self.checks.append(_failure("some mode exists", level, "; ".join(unavailable.values())))
            return
        rng = np.random.default_rng([self.seed, level])
        points = self._points(subject, inputs, x, rng)
        for name, point in points:
            referee = Referee(subject.function, point, lines_through(point, inputs, rng))
            stretches = _stretches(inputs, rng, elements=2 if name == "given" else 0)
            for mode in modes:
                weights = rng.normal(size=subject.m) / referee.output_scale
                judge = Judge(subject, referee, mode, weights, inputs, outputs, self.slack)
                self.checks.append(judge.check(stretches, name, level))
            self.evaluations += referee.evaluations
        if level == 1:
            near = [point for name, point in points if name == "nearby"]
            for found in laws(self.flat, subject, modes, [x, *near], rng):
                if isinstance(found, Check):
                    self.checks.append(found)
                else:
                    self.skipped.append(found)
        if level < order:
            for mode in modes:
                self._verify_derived(subject, mode, inputs, outputs, x, level, order, rng)

    def _verify_derived(
        self,
        subject: Subject,
        mode: str,
        inputs: tuple[Leaf, ...],
        outputs: tuple[Leaf, ...],
        x: np.ndarray,
        level: int,
        order: int,
        rng: np.random.Generator,
    ) -> None:
        along, kind = (outputs, "cotangent") if mode == "rev" else (inputs, "tangent")
        weights = rng.normal(size=subject.weights_size(mode))
        extra = tuple(Leaf(f"{kind} of {a.name}", a.shape, a.dtype, a.start + subject.n) for a in along)
        try:
            derived = subject.derived(mode, weights)
            unavailable = derived.unavailable(self.modes)
        except RuleRaised as error:
            self.checks.append(_failure("the rule runs", level + 1, str(error)))
            return
        after = inputs if mode == "rev" else outputs
        self._verify(
            derived, inputs + extra, after, np.concatenate([x, weights]), level + 1, order, unavailable
        )

    def _points(
        self, subject: Subject, inputs: tuple[Leaf, ...], x: np.ndarray, rng: np.random.Generator
    ) -> list[tuple[str, np.ndarray]]:
        """Return the given point, a random one nearby, and the given one with its sign flipped."""
        finite = np.isfinite(subject.function(x))
        points = [("given", x)]
        shift = magnitudes(x, inputs) * rng.uniform(0.5, 1.0, x.shape) * rng.choice([-1.0, 1.0], x.shape)
        for leaf in inputs:
            _keep_symmetry(leaf, x, shift)
        for exponent in (-4, -8, -16):
            near = x + 2.0**exponent * shift
            if (np.isfinite(subject.function(near)) == finite).all():
                points.append(("nearby", near))
                break
        if subject.loops_on_values:
            self.skipped.append(
                ("the sign-flipped point", "a while_loop whose end depends on floats may not end there")
            )
        elif np.isfinite(subject.function(-x)).any():
            points.append(("sign-flipped", -x))
        else:
            self.skipped.append(("the sign-flipped point", "it is outside the domain"))
        return points


def _keep_symmetry(leaf: Leaf, x: np.ndarray, shift: np.ndarray) -> None:
    """Make the shift of a symmetric matrix symmetric: a function may mean such matrices only."""
    if leaf.complex or len(leaf.shape) < 2 or leaf.shape[-1] != leaf.shape[-2]:
        return
    part = slice(leaf.start, leaf.stop)
    matrix, moves = x[part].reshape(leaf.shape), shift[part].reshape(leaf.shape)
    if (matrix == matrix.swapaxes(-1, -2)).all():
        shift[part] = ((moves + moves.swapaxes(-1, -2)) / 2).reshape(-1)


def _stretches(inputs: tuple[Leaf, ...], rng: np.random.Generator, elements: int) -> list[Stretch]:
    """Return every leaf along both lines, and a few single elements of each."""
    found = []
    for leaf in inputs:
        if leaf.size:
            found += [Stretch(line, leaf.start, leaf.stop) for line in (0, 1)]
            chosen = rng.choice(leaf.stop - leaf.start, min(elements, leaf.stop - leaf.start), replace=False)
            found += [Stretch(0, leaf.start + int(i), leaf.start + int(i) + 1) for i in chosen]
    return found


def _failure(name: str, order: int, note: str) -> Check:
    return Check(name, "given", order, 0, np.inf, note=note)

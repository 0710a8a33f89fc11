"""``check_grads``: every derivative that a function's rules give, compared with what it should be."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from cnnjax._core.messages import describe, type_error, value_error
from cnnjax.errors import GradientError
from cnnjax.gradients.intended import rule_of
from cnnjax.gradients.leaves import flatten_function
from cnnjax.gradients.report import GradientReport
from cnnjax.gradients.verification import Request, Verification

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
    exhaustive: bool = False,
    intended: Sequence[Callable[..., Any]] = (),
) -> GradientReport:
    """Verify every derivative that JAX gives for ``f`` at ``args`` against finite differences with an error bar.

    For a direction v and a cotangent y the claims ``jvp(v)`` and ``<vjp(y), v>`` are compared with the numerical
    ``(f(x + t v) - f(x - t v)) / 2t``, extrapolated to t = 0 in float64 whatever the dtype of ``f``. A claim is wrong
    when it differs by several times the estimated error of the difference: there is no tolerance to choose.

    Args:
        f: the function; it may take and return any pytrees. Integer, boolean, key and non-array leaves are
            held fixed or left out.
        args: the tuple of its arguments.
        order: verify derivatives up to this order; each is compared with differences of the one before.
        modes: the kinds of differentiation to verify: "fwd" (``jax.jvp``), "rev" (``jax.vjp``), "lin"
            (``jax.linearize``). A mode that ``f`` does not have, as forward mode of a ``custom_vjp``, is
            reported.
        atol, rtol: accepted for code written for ``jax.test_util.check_grads``. They only widen what the error bar
            allows: a difference of at most ``atol + rtol * |derivative|`` an element passes too.
        eps: accepted for the same reason and not used: the steps follow from the function.
        seed: of the random directions, cotangents and the nearby point.
        exhaustive: also compare every single element of the gradient with a difference of its own; otherwise
            whole leaves, a few elements of each, and every element that JAX's own rules find suspicious.
        intended: rules that are meant to differ from the derivative of their function: ``jax.lax.stop_gradient``,
            and ``jax.custom_jvp`` and ``jax.custom_vjp`` functions such as a straight-through estimator, a reversed
            or a clipped gradient. What they say is taken as given, everything around them is verified, and the
            report names them. A rule that is not linear in the cotangent is taken as for small cotangents.

    Returns:
        The report of everything that was checked; ``print`` it.

    Raises:
        GradientError: a derivative is wrong, is not finite where the function is, or none of the modes
            exists. It is an AssertionError, and its ``report`` is the same object.
        ArgumentTypeError, ArgumentValueError: an argument of this function cannot work.

    >>> import jax, jax.numpy as jnp
    >>> check_grads(lambda p: jnp.tanh(p["w"] @ p["x"]), ({"w": jnp.ones((2, 3)), "x": jnp.arange(3.0)},)).ok
    True
    >>> def through(x):  # rounds, and hands the gradient through
    ...     return x + jax.lax.stop_gradient(jnp.round(x) - x)
    >>> check_grads(lambda x: jnp.sin(through(x)), (jnp.array([0.3, 1.8]),), intended=[jax.lax.stop_gradient]).ok
    True
    >>> square = jax.custom_vjp(lambda x: x**2)
    >>> square.defvjp(lambda x: (x**2, x), lambda x, y: (x * y,))  # forgot the 2
    >>> check_grads(square, (jnp.array([1.0, 3.0]),))
    Traceback (most recent call last):
    cnnjax.errors.GradientError: The gradient of <lambda> DISAGREES...

    Source: Richardson extrapolation with error control after Ridders, Advances in Engineering Software 4
    (1982); docs/gradients.md derives the rest.
    """
    arguments, modes, slack = _validated(f, args, order, modes, atol, rtol, seed)
    names = _names_of(intended)
    report = _verified(f, arguments, Request(order, modes, slack, seed, exhaustive, names))
    if not report.ok:
        raise GradientError(str(report), report)
    return report


def _verified(f: Callable[..., Any], arguments: tuple[Any, ...], request: Request) -> GradientReport:
    """Return the report; all traces are left behind here, so that the traceback of an error keeps none alive."""
    flat = flatten_function(f, arguments)
    with warnings.catch_warnings():  # what the function warns of, it has said in the call above
        warnings.simplefilter("ignore")
        verification = Verification(flat, request)
    return GradientReport(
        function=getattr(f, "__qualname__", type(f).__name__),
        checks=tuple(verification.checks),
        skipped=tuple(verification.skipped),
        precision=verification.precision,
        evaluations=verification.evaluations,
        seed=request.seed,
        diagnosis=verification.diagnosis,
        taylor=verification.taylor,
        intended=verification.intended,
    )


def _names_of(intended: Any) -> frozenset[str]:
    names = set()
    for function in intended if isinstance(intended, Iterable) else (intended,):
        name = rule_of(function)
        if name is None:
            expected = "jax.lax.stop_gradient, jax.custom_jvp and jax.custom_vjp functions"
            fix = "name the function that carries the rule, not one that calls it"
            raise type_error("check_grads", "intended", got=describe(function), expected=expected, fix=fix)
        names.add(name)
    return frozenset(names)


def _validated(
    f: Any, args: Any, order: Any, modes: Any, atol: Any, rtol: Any, seed: Any
) -> tuple[tuple[Any, ...], tuple[str, ...], tuple[float, float]]:
    def wrong(error: Callable[..., Exception], argument: str, value: Any, expected: str, fix: str) -> Exception:
        return error("check_grads", argument, got=describe(value), expected=expected, fix=fix)

    if not callable(f):
        raise wrong(type_error, "f", f, "a function", "pass the function itself, not its value")
    if not isinstance(args, (tuple, list)):
        raise wrong(type_error, "args", args, "the tuple of the arguments of f", "write (x,) for one argument")
    if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order < 1:
        raise wrong(value_error, "order", order, "an integer of at least 1", "use order=1")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise wrong(value_error, "seed", seed, "an integer of at least 0", "use seed=0")
    modes = tuple(modes) if isinstance(modes, Iterable) and not isinstance(modes, str) else (modes,)
    if not modes or not set(modes) <= set(MODES):
        raise wrong(value_error, "modes", modes, f"some of {MODES}", 'use modes=("fwd", "rev")')
    slack = []
    for name, value in (("atol", atol), ("rtol", rtol)):
        number = max(value.values(), default=0.0) if isinstance(value, dict) else value or 0.0
        if not isinstance(number, (int, float, np.number)) or not number >= 0:
            raise wrong(value_error, name, value, "a number of at least 0", f"leave {name} out")
        slack.append(float(number))
    return tuple(args), modes, (slack[0], slack[1])

"""``check_grads``: compare every derivative that JAX computes for a function with finite differences."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import jax
import numpy as np
from jax.core import Tracer

from cnnjax._core.messages import describe, type_error, value_error
from cnnjax.errors import GradientError
from cnnjax.gradients.differentiation import MODES, Mode
from cnnjax.gradients.flat_function import flatten_function
from cnnjax.gradients.intended import rule_name_of
from cnnjax.gradients.report import GradientReport
from cnnjax.gradients.verification import Request, verify

__all__ = ["check_grads"]


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
    seconds: float | None = 60.0,
) -> GradientReport:
    """Verify every derivative that JAX computes for ``f`` at ``args`` against finite differences with an error bar.

    For a direction v and a cotangent y, ``jvp(v)`` and ``<vjp(y), v>`` are compared with the finite difference
    ``(f(x + t v) - f(x - t v)) / 2t``, extrapolated to t = 0 in float64 whatever the dtype of ``f``. A derivative is
    wrong when it differs by several times the estimated error of the finite difference; there is no tolerance to set.

    Args:
        f: the function; it may take and return any pytrees. Integer, boolean, key and non-array leaves are held fixed
            or left out, and so are Python floats within an object such as an Equinox module (a dropout rate).
        args: the tuple of its arguments.
        order: verify derivatives up to this order; each is compared with finite differences of the one before.
        modes: the modes of differentiation to verify: "fwd" (``jax.jvp``), "rev" (``jax.vjp``), "lin"
            (``jax.linearize``). A mode that ``f`` does not have, as forward mode of a ``custom_vjp``, is reported.
        atol, rtol: accepted for code written for ``jax.test_util.check_grads``. They only widen what the error bar
            allows: a difference of at most ``atol + rtol * |derivative|`` per element passes too.
        eps: accepted for the same reason and ignored: the steps follow from the function.
        seed: of the random directions, cotangents and the nearby point.
        exhaustive: also compare every single element of the gradient with a finite difference of its own; otherwise
            whole arrays, a few elements of each, and every element that JAX's own rules find suspicious.
        intended: rules that are meant to differ from the derivative of their function: ``jax.lax.stop_gradient``, and
            ``jax.custom_jvp`` and ``jax.custom_vjp`` functions such as a straight-through estimator, a reversed or a
            clipped gradient. They are taken as given, everything around them is verified, and the report names them. A
            rule that is not linear in the cotangent is linearized at a zero cotangent.
        seconds: the time to spend, after which nothing further is started; None for no limit. The most telling checks
            come first, and the report names what was left out. Where one array after the other takes too long,
            arrays are moved together first. What is necessary, above all compiling the derivatives, is done anyway.

    Returns:
        The report of everything that was checked; ``print`` it.

    Raises:
        GradientError: a derivative is wrong, is not finite where the function is, none of the modes exists, or there is
            nothing to verify: no floating-point argument or result, or no finite result. It is an AssertionError, and
            its ``report`` is the same object that is returned otherwise.
        ArgumentTypeError, ArgumentValueError: an argument of this function is invalid.

    >>> import jax, jax.numpy as jnp
    >>> check_grads(lambda p: jnp.tanh(p["w"] @ p["x"]), ({"w": jnp.ones((2, 3)), "x": jnp.arange(3.0)},)).ok
    True
    >>> def straight_through(x):  # rounds; its gradient is that of the identity
    ...     return x + jax.lax.stop_gradient(jnp.round(x) - x)
    >>> x = jnp.array([0.3, 1.8])
    >>> check_grads(lambda x: jnp.sin(straight_through(x)), (x,), intended=[jax.lax.stop_gradient]).ok
    True
    >>> square = jax.custom_vjp(lambda x: x**2)
    >>> square.defvjp(lambda x: (x**2, x), lambda x, y: (x * y,))  # forgot the 2
    >>> check_grads(square, (jnp.array([1.0, 3.0]),))
    Traceback (most recent call last):
    cnnjax.errors.GradientError: The gradient of <lambda> DISAGREES...

    Source: Richardson extrapolation with error control after Ridders, Advances in Engineering Software 4
    (1982); docs/guides/gradients.md derives the rest.
    """
    __tracebackhide__ = True  # pytest shows the report, not the source of the checker
    if not callable(f):
        raise _wrong(type_error, "f", f, "a function", "pass the function itself, not its value")
    if not isinstance(args, (tuple, list)):
        raise _wrong(type_error, "args", args, "the tuple of the arguments of f", "write (x,) for one argument")
    _require_values(args)
    if eps is not None:
        _validated_tolerance(eps, "eps")
    if not isinstance(exhaustive, (bool, np.bool_)):
        raise _wrong(type_error, "exhaustive", exhaustive, "True or False", "use exhaustive=True")
    request = Request(
        order=_validated_count(order, "order", at_least=1),
        modes=_validated_modes(modes),
        tolerances=(_validated_tolerance(atol, "atol"), _validated_tolerance(rtol, "rtol")),
        seed=_validated_count(seed, "seed", at_least=0),
        exhaustive=bool(exhaustive),
        intended=_names_of(intended),
        seconds=_validated_seconds(seconds),
    )
    report = _verified(f, tuple(args), request)
    if not report.ok:
        raise GradientError(str(report), report)
    return report


def _verified(f: Callable[..., Any], args: tuple[Any, ...], request: Request) -> GradientReport:
    """Return the report; all traces are left behind here, so that the traceback of an error keeps none alive."""
    flat = flatten_function(f, args)
    with warnings.catch_warnings():  # flatten_function has called it once, so its warnings have been shown
        warnings.simplefilter("ignore")
        return verify(getattr(f, "__qualname__", type(f).__name__), flat, request)


def _require_values(args: Sequence[Any]) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(args):
        if isinstance(leaf, Tracer):
            got, fix = "a tracer", "call check_grads outside of jax.jit, jax.grad and jax.vmap"
        elif isinstance(leaf, jax.ShapeDtypeStruct):
            got, fix = "a shape without numbers", "pass an array of that shape"
        else:
            continue
        argument = "args" + jax.tree_util.keystr(path)
        raise type_error("check_grads", argument, got=got, expected="an array with values", fix=fix)


def _names_of(intended: Any) -> frozenset[str]:
    names = set()
    for function in intended if isinstance(intended, Iterable) else (intended,):
        name = rule_name_of(function)
        if name is None:
            expected = "jax.lax.stop_gradient, jax.custom_jvp and jax.custom_vjp functions"
            fix = "name the function that carries the rule, not one that calls it"
            raise type_error("check_grads", "intended", got=describe(function), expected=expected, fix=fix)
        names.add(name)
    return frozenset(names)


def _wrong(error: Callable[..., Exception], argument: str, value: Any, expected: str, fix: str) -> Exception:
    return error("check_grads", argument, got=describe(value), expected=expected, fix=fix)


def _validated_count(value: Any, argument: str, at_least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        expected = f"an integer of at least {at_least}"
        raise _wrong(value_error, argument, value, expected, f"use {argument}={at_least}")
    return int(value)


def _validated_modes(modes: Any) -> tuple[Mode, ...]:
    listed = tuple(modes) if isinstance(modes, Iterable) and not isinstance(modes, str) else (modes,)
    if not listed or not set(listed) <= set(MODES):
        raise _wrong(value_error, "modes", listed, f"some of {MODES}", 'use modes=("fwd", "rev")')
    return cast("tuple[Mode, ...]", listed)


def _validated_tolerance(value: Any, argument: str) -> float:
    number = max(value.values(), default=0.0) if isinstance(value, dict) else value or 0.0
    if not isinstance(number, (int, float, np.number)) or not number >= 0:
        raise _wrong(value_error, argument, value, "a number of at least 0", f"leave {argument} out")
    return float(number)


def _validated_seconds(value: Any) -> float:
    if value is None:
        return math.inf
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)) or not value > 0:
        raise _wrong(value_error, "seconds", value, "a positive number, or None", "use seconds=None for no limit")
    return float(value)

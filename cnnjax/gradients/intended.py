"""Rules that are meant to differ from the derivative of their function, as the caller declares them.

A straight-through estimator, a reversed gradient or a stopped one is not the derivative of any function that finite
differences could be taken of. Everything around it is: near the point x0, with L the linear map that a rule stands for,

    stop_gradient(e(x))   is evaluated as   e(x0)
    rule(e(x))            is evaluated as   rule(e(x0)) + L (e(x) - e(x0))

which is a function again, and its finite differences verify all other rules. A rule that is not linear in the cotangent
(it clips) is linearized at a zero cotangent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax._core.jaxprs import WRAPPERS, subjaxprs
from cnnjax.gradients.float64 import evaluate, evaluate_equation, widen
from cnnjax.gradients.interpreter import cond, interpret, scan
from cnnjax.gradients.jaxprs import STOP_GRADIENT, rule_name, rule_names

__all__ = ["evaluate_linearized", "rule_name_of"]

Pair = tuple[Any, Any]
"""A value at the base point x0 and the one at x."""


def rule_name_of(function: Any) -> str | None:
    """Return the name of a function's rule in a jaxpr; None for what is no custom_jvp, custom_vjp or stop_gradient."""
    if function is lax.stop_gradient:
        return STOP_GRADIENT
    code = getattr(getattr(function, "__wrapped__", None), "__code__", None)
    if not isinstance(function, (jax.custom_jvp, jax.custom_vjp)) or code is None:
        return None
    return f"{function.__wrapped__.__name__} at {code.co_filename}:{code.co_firstlineno}"


def evaluate_linearized(jaxpr: Any, base: Sequence[Any], args: Sequence[Any], intended: frozenset[str]) -> list[Any]:
    """Evaluate a jaxpr in float64 at ``args``, every intended rule replaced by its linearization at ``base``."""
    return [value for _, value in _evaluate(jaxpr, list(zip(base, args, strict=True)), intended)]


def _evaluate(jaxpr: Any, args: Sequence[Pair], intended: frozenset[str]) -> list[Pair]:
    def twice(value: Any) -> Pair:
        return (widen(value),) * 2

    def rule(eqn: Any, values: list[Pair]) -> list[Pair]:
        return _equation(eqn, values, intended)

    return interpret(
        jaxpr, [(widen(base), widen(value)) for base, value in args], rule, twice, lambda atom: twice(atom.val)
    )


def _equation(eqn: Any, values: list[Pair], intended: frozenset[str]) -> list[Pair]:
    name = eqn.primitive.name
    base, moved = (list(column) for column in zip(*values, strict=True)) if values else ([], [])
    if name == STOP_GRADIENT and STOP_GRADIENT in intended:
        return [(value, value) for value in base]
    if rule_name(eqn) in intended:
        return _linearized(eqn, base, moved)
    if not intended & set().union(*map(rule_names, subjaxprs(eqn))):
        return list(zip(evaluate_equation(eqn, base), evaluate_equation(eqn, moved), strict=True))

    def inner(jaxpr: Any, args: Sequence[Pair]) -> list[Pair]:
        return _evaluate(jaxpr, args, intended)

    if name in WRAPPERS:
        return inner(eqn.params[WRAPPERS[name]], values)
    if name == "scan":
        return scan(eqn.params, values, inner)
    if name == "cond":
        return cond(eqn.params, base[0], values[1:], inner)
    raise NotImplementedError(f"an intended rule inside {name}")


def _linearized(eqn: Any, base: list[Any], moved: list[Any]) -> list[Pair]:
    """Return the value of a rule's function at the base, and that plus the rule's tangent for the difference."""
    avals = [atom.aval for atom in eqn.invars]
    moving = [i for i, aval in enumerate(avals) if jnp.issubdtype(aval.dtype, jnp.inexact)]

    def tangent(values: list[Any], differences: list[Any]) -> Any:
        def call(inputs: list[Any]) -> Any:
            filled = list(values)
            for i, value in zip(moving, inputs, strict=True):
                filled[i] = value
            return eqn.primitive.bind(*filled, **eqn.primitive.get_bind_params(eqn.params))

        start = [values[i] for i in moving]
        if eqn.primitive.name == "custom_jvp_call":
            return jax.jvp(call, (start,), (differences,))[1]
        out, pull = jax.vjp(call, start)
        zeros = jax.tree.map(jnp.zeros_like, out)
        transposed = jax.linear_transpose(lambda y: jax.jvp(pull, (zeros,), (y,))[1], out)
        return transposed((differences,))[0]

    blanks = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
    jaxpr = jax.make_jaxpr(tangent)(blanks, [blanks[i] for i in moving])
    tangents = iter(evaluate(jaxpr, [*base, *(moved[i] - base[i] for i in moving)]))
    return [
        (value, value + next(tangents)) if jnp.issubdtype(np.result_type(value), jnp.inexact) else (value, value)
        for value in evaluate_equation(eqn, base)
    ]

"""Rules that are meant to differ from the derivative of their function, as the caller declares them.

A straight-through estimator, a reversed gradient or a stopped one has no function whose differences it could be
compared with. Everything around it has: with s the stopped value and L the linear map that a rule stands for,

    stop_gradient(e(x))   is taken as   e(x0)
    rule(e(x))            is taken as   rule(e(x0)) + L (e(x) - e(x0))

next to the point x0. That is a function again, and its differences judge all other rules. A rule that is not linear
in the cotangent (it clips) is taken as what it is for small cotangents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.gradients.promote import WRAPPERS, equation, evaluate, parts, strong, subjaxprs, unpack_scan, widen

__all__ = ["STOPPED", "evaluate_beside", "rule_of", "rules_in"]

STOPPED = "stop_gradient"


def rule_of(function: Any) -> str | None:
    """Return the name that a rule has in a jaxpr: of ``lax.stop_gradient``, a custom_jvp or a custom_vjp function."""
    if function is lax.stop_gradient:
        return STOPPED
    code = getattr(getattr(function, "__wrapped__", None), "__code__", None)
    if not isinstance(function, (jax.custom_jvp, jax.custom_vjp)) or code is None:
        return None
    return f"{function.__wrapped__.__name__} at {code.co_filename}:{code.co_firstlineno}"


def _name(eqn: Any) -> str | None:
    if eqn.primitive.name == STOPPED:
        return STOPPED
    if eqn.primitive.name in ("custom_jvp_call", "custom_vjp_call"):
        return parts(eqn.params["call_jaxpr"])[0].debug_info.func_src_info
    return None


def rules_in(jaxpr: Any) -> Counter[str]:
    """Return how often each rule stands in a jaxpr, however deep."""
    found: Counter[str] = Counter()
    for eqn in parts(jaxpr)[0].eqns:
        if name := _name(eqn):
            found[name] += 1
        for inner in subjaxprs(eqn):
            found += rules_in(inner)
    return found


Both = tuple[Any, Any]
"""A value at the base point and the one beside it."""


def evaluate_beside(jaxpr: Any, base: Sequence[Any], args: Sequence[Any], intended: frozenset[str]) -> list[Any]:
    """Evaluate a jaxpr in float64 at ``args``, every intended rule replaced by its tangent at ``base``."""
    return [moved for _, moved in _evaluate(jaxpr, list(zip(base, args, strict=True)), intended)]


def _evaluate(jaxpr: Any, args: Sequence[Both], intended: frozenset[str]) -> list[Both]:
    jaxpr, consts = parts(jaxpr)
    known: dict[Any, Both] = {v: (c, c) for v, c in zip(jaxpr.constvars, map(widen, consts), strict=False)}
    known.update({v: (widen(a), widen(b)) for v, (a, b) in zip(jaxpr.invars, args, strict=True)})

    def read(atom: Any) -> Both:
        return (widen(atom.val),) * 2 if hasattr(atom, "val") else known[atom]

    for eqn in jaxpr.eqns:
        if eqn.outvars or not eqn.effects:
            known.update(zip(eqn.outvars, _equation(eqn, [read(atom) for atom in eqn.invars], intended), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _equation(eqn: Any, values: list[Both], intended: frozenset[str]) -> list[Both]:
    name = eqn.primitive.name
    base, moved = (list(column) for column in zip(*values, strict=True)) if values else ([], [])
    if name == STOPPED and STOPPED in intended:
        return [(value, value) for value in base]
    if _name(eqn) in intended:
        return _tangent(eqn, base, moved)
    if not intended & set().union(*map(rules_in, subjaxprs(eqn))):
        return list(zip(equation(eqn, base), equation(eqn, moved), strict=True))
    if name in WRAPPERS:
        return _evaluate(eqn.params[WRAPPERS[name]], values, intended)
    if name == "scan":
        return _scan(eqn.params, values, intended)
    if name == "cond":
        branches = [
            lambda *operands, jaxpr=jaxpr: _flat(_evaluate(jaxpr, _pairs(operands), intended))
            for jaxpr in eqn.params["branches"]
        ]
        return _pairs(lax.switch(base[0], branches, *_flat(values[1:])))
    raise NotImplementedError(f"an intended rule inside {name}")


def _flat(pairs: Sequence[Both]) -> list[Any]:
    return strong([value for pair in pairs for value in pair])


def _pairs(values: Sequence[Any]) -> list[Both]:
    return list(zip(values[::2], values[1::2], strict=True))


def _scan(params: dict[str, Any], values: list[Both], intended: frozenset[str]) -> list[Both]:
    consts, carry, xs = unpack_scan(params, values)

    def body(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        out = _evaluate(params["jaxpr"], [*consts, *_pairs(carry), *_pairs(x)], intended)
        split = len(carry) // 2
        return _flat(out[:split]), _flat(out[split:])

    ends = (params["length"], params["reverse"], params["unroll"])
    carried, ys = lax.scan(body, _flat(carry), _flat(xs), *ends)
    return [*_pairs(carried), *_pairs(ys)]


def _tangent(eqn: Any, base: list[Any], moved: list[Any]) -> list[Both]:
    """Return the value of a rule's function at the base, and that plus what the rule says of the way to go."""
    avals = [atom.aval for atom in eqn.invars]
    moving = [i for i, aval in enumerate(avals) if jnp.issubdtype(aval.dtype, jnp.inexact)]

    def tangent(values: list[Any], steps: list[Any]) -> Any:
        def call(inputs: list[Any]) -> Any:
            filled = list(values)
            for i, value in zip(moving, inputs, strict=True):
                filled[i] = value
            return eqn.primitive.bind(*filled, **eqn.primitive.get_bind_params(eqn.params))

        start = [values[i] for i in moving]
        if eqn.primitive.name == "custom_jvp_call":
            return jax.jvp(call, (start,), (steps,))[1]
        out, pull = jax.vjp(call, start)
        nothing = jax.tree.map(jnp.zeros_like, out)
        back = jax.linear_transpose(lambda y: jax.jvp(pull, (nothing,), (y,))[1], out)
        return back((steps,))[0]

    blanks = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
    jaxpr = jax.make_jaxpr(tangent)(blanks, [blanks[i] for i in moving])
    steps = evaluate(jaxpr, [*base, *(moved[i] - base[i] for i in moving)])
    values = equation(eqn, base)
    with_float = iter(steps)
    return [(v, v + next(with_float)) if jnp.issubdtype(np.result_type(v), jnp.inexact) else (v, v) for v in values]

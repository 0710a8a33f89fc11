"""Evaluate a jaxpr equation by equation, by whatever rule is given for one equation.

The three interpreters of this package differ in that rule: `float64` widens every float, `intended` carries a
value and its linearization side by side, and `elements` separates what one argument affects from what it does not.
A value is any pytree of arrays, so that scans and conditionals carry pairs as well as arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax._core.jaxprs import is_literal, open_jaxpr, unpack_scan

__all__ = ["Evaluate", "cond", "interpret", "run_equations", "scan", "strong"]

Evaluate = Callable[[Any, Sequence[Any]], list[Any]]
"""Evaluates a jaxpr on values."""


def run_equations(
    eqns: Iterable[Any],
    environment: dict[Any, Any],
    rule: Callable[[Any, list[Any]], Sequence[Any]],
    constant: Callable[[Any], Any],
) -> Callable[[Any], Any]:
    """Evaluate equations in order and put what they give into ``environment``; return what reads a variable there.

    Args:
        eqns: the equations.
        environment: the value of every variable so far.
        rule: takes an equation and the values of its operands and returns those of its results.
        constant: the value of a literal.
    """

    def read(atom: Any) -> Any:
        return constant(atom) if is_literal(atom) else environment[atom]

    for eqn in eqns:
        if not eqn.outvars and eqn.effects:  # printing; it would run at every step of every difference
            continue
        environment.update(zip(eqn.outvars, rule(eqn, [read(atom) for atom in eqn.invars]), strict=True))
    return read


def interpret(
    jaxpr: Any,
    args: Sequence[Any],
    rule: Callable[[Any, list[Any]], Sequence[Any]],
    lift: Callable[[Any], Any],
    literal: Callable[[Any], Any],
) -> list[Any]:
    """Evaluate a jaxpr on values; ``lift`` makes a value of a constant array, ``literal`` of a literal."""
    jaxpr, consts = open_jaxpr(jaxpr)
    environment = dict(zip(jaxpr.constvars, map(lift, consts), strict=False))
    environment.update(zip(jaxpr.invars, args, strict=True))
    read = run_equations(jaxpr.eqns, environment, rule, literal)
    return [read(atom) for atom in jaxpr.outvars]


def strong(values: Any) -> Any:
    """Drop weak types, so that what enters a loop has the type of what the loop's body returns."""

    def convert(v: Any) -> Any:
        return lax.convert_element_type(v, v.dtype) if jnp.issubdtype(v.dtype, jnp.number) else v

    return jax.tree.map(convert, values)


def scan(params: dict[str, Any], values: list[Any], evaluate: Evaluate) -> list[Any]:
    """Run a scan whose body is evaluated by ``evaluate``."""
    consts, carry, xs = unpack_scan(params, values)
    n_carry = len(carry)

    def body(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        out = evaluate(params["jaxpr"], [*consts, *carry, *x])
        return strong(out[:n_carry]), out[n_carry:]

    carry, ys = lax.scan(body, strong(carry), xs, params["length"], params["reverse"], params["unroll"])
    return [*carry, *ys]


def cond(params: dict[str, Any], index: Any, operands: Sequence[Any], evaluate: Evaluate) -> list[Any]:
    """Run the branch number ``index`` of a conditional."""

    def branch(jaxpr: Any) -> Callable[..., list[Any]]:
        return lambda *operands: strong(evaluate(jaxpr, operands))

    return lax.switch(index, [branch(jaxpr) for jaxpr in params["branches"]], *operands)

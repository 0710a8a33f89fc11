"""What a jaxpr contains: one walk over its equations, those of its sub-jaxprs included, and what the walk can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive, primitives

from cnnjax._core.jaxprs import WRAPPERS, open_jaxpr, subjaxprs
from cnnjax.gradients.convolution_as_product import is_faster_as_product
from cnnjax.gradients.leaves import float64_dtype

__all__ = [
    "STOP_GRADIENT",
    "calls_the_host",
    "computes_in_float64",
    "ends_when_converged",
    "equations",
    "has_custom_rules",
    "has_float_loop_condition",
    "has_loop_under_custom_rule",
    "has_loop_until_converged",
    "has_symbolic_zeros",
    "may_iterate",
    "rounding_units",
    "rule_name",
    "rule_names",
    "sampler_rules",
    "samples_gamma",
    "uses_only_builtin_rules",
]

STOP_GRADIENT = "stop_gradient"

_CALLBACKS = frozenset({"pure_callback", "io_callback"})
_CUSTOM_RULES = frozenset({"custom_jvp_call", "custom_vjp_call", "custom_vmap_call", "linear_call", STOP_GRADIENT})
_RANDOM = frozenset({"random_bits", "threefry2x32", "rng_bit_generator", "rng_uniform"})
_LOOPS = frozenset({"while", "scan"})
_BUILTIN = frozenset(p.name for p in vars(primitives).values() if isinstance(p, Primitive)) - _CALLBACKS | {"split"}


def equations(jaxpr: Any) -> Iterator[Any]:
    """Yield every equation of a jaxpr and of its sub-jaxprs, depth first."""
    for eqn in open_jaxpr(jaxpr)[0].eqns:
        yield eqn
        for inner in subjaxprs(eqn):
            yield from equations(inner)


def _primitives(jaxpr: Any) -> set[str]:
    return {eqn.primitive.name for eqn in equations(jaxpr)}


def rounding_units(jaxpr: Any) -> set[float]:
    """Return the machine epsilon of every floating dtype that a jaxpr rounds to."""
    units: set[float] = set()
    for eqn in equations(jaxpr):
        dtypes = (getattr(var.aval, "dtype", None) for var in eqn.outvars)
        units |= {float(jnp.finfo(d).eps) for d in dtypes if d is not None and jnp.issubdtype(d, jnp.inexact)}
        if eqn.primitive.name == "reduce_precision":
            units.add(2.0 ** -eqn.params["mantissa_bits"])
    return units


def rule_name(eqn: Any) -> str | None:
    """Return the name of a custom derivative rule, as ``f at file.py:12``, or "stop_gradient"; None for the others."""
    if eqn.primitive.name == STOP_GRADIENT:
        return STOP_GRADIENT
    if eqn.primitive.name in ("custom_jvp_call", "custom_vjp_call"):
        return open_jaxpr(eqn.params["call_jaxpr"])[0].debug_info.func_src_info
    return None


def rule_names(jaxpr: Any) -> Counter[str]:
    """Return how often each custom derivative rule and ``stop_gradient`` occur in a jaxpr."""
    return Counter(name for eqn in equations(jaxpr) if (name := rule_name(eqn)))


def sampler_rules(jaxpr: Any) -> frozenset[str]:
    """Return the names of the custom rules over a rejection sampler: a loop that draws random numbers until one fits.

    With the key held, what comes out has another derivative than the quantile, which such a rule is meant to give.
    """
    return frozenset(
        name
        for eqn in equations(jaxpr)
        if (name := rule_name(eqn))
        for inner in subjaxprs(eqn)
        if "while" in (found := _primitives(inner)) and not _RANDOM.isdisjoint(found)
    )


def has_custom_rules(jaxpr: Any) -> bool:
    """Whether a jaxpr contains a custom derivative or batching rule or a stopped gradient."""
    return bool(_CUSTOM_RULES & _primitives(jaxpr))


def uses_only_builtin_rules(jaxpr: Any) -> bool:
    """Whether a jaxpr consists of JAX's own primitives and contains no custom rule."""
    return all(name in _BUILTIN and name not in _CUSTOM_RULES for name in _primitives(jaxpr))


def has_symbolic_zeros(jaxpr: Any) -> bool:
    """Whether a custom rule is told which of its arguments are held constant (``symbolic_zeros=True``)."""
    return any(eqn.params.get("symbolic_zeros") for eqn in equations(jaxpr))


def has_loop_under_custom_rule(jaxpr: Any) -> bool:
    """Whether a custom rule replaces the derivative of a loop, as that of a root or a fixed point does."""
    return any(
        eqn.primitive.name in _CUSTOM_RULES and _LOOPS & _primitives(inner)
        for eqn in equations(jaxpr)
        for inner in subjaxprs(eqn)
    )


def may_iterate(jaxpr: Any) -> bool:
    """Whether a jaxpr has a loop, or a primitive of another library that may hide one, as the solvers of lineax do."""
    return not _primitives(jaxpr).isdisjoint(_LOOPS) or not _primitives(jaxpr) <= _BUILTIN | _CUSTOM_RULES | {*WRAPPERS}


def has_float_loop_condition(jaxpr: Any) -> bool:
    """Whether the condition of some ``while_loop`` compares floats."""
    return any(
        jnp.issubdtype(atom.aval.dtype, jnp.inexact)
        for eqn in equations(jaxpr)
        if eqn.primitive.name == "while"
        for inner in open_jaxpr(eqn.params["cond_jaxpr"])[0].eqns
        for atom in inner.invars
    )


def has_loop_until_converged(jaxpr: Any) -> bool:
    """Whether some ``while_loop`` ends when it has converged, and not by a count."""
    return any(
        eqn.primitive.name == "while" and ends_when_converged(eqn.params["cond_jaxpr"]) for eqn in equations(jaxpr)
    )


def ends_when_converged(condition: Any) -> bool:
    """Whether the condition of a ``while_loop`` reads floats, or booleans, which are compared floats."""
    condition = open_jaxpr(condition)[0]
    return any(
        not jnp.issubdtype(atom.aval.dtype, jnp.integer)
        for atom in condition.invars
        if any(atom is used for inner in condition.eqns for used in inner.invars) or atom in condition.outvars
    )


def calls_the_host(jaxpr: Any) -> bool:
    """Whether a jaxpr calls back into Python."""
    return bool(_CALLBACKS & _primitives(jaxpr))


def samples_gamma(jaxpr: Any) -> bool:
    """Whether a jaxpr draws gamma variates, whose derivative is that of the quantile."""
    return "random_gamma" in _primitives(jaxpr)


def computes_in_float64(jaxpr: Any) -> bool:
    """Whether running a jaxpr as it stands gives what evaluating it in float64 would give, and as soon."""
    return all(map(_computes_in_float64, equations(jaxpr)))


def _computes_in_float64(eqn: Any) -> bool:
    dtypes = [getattr(atom.aval, "dtype", np.dtype(bool)) for atom in (*eqn.invars, *eqn.outvars)]
    narrow = any(jnp.issubdtype(dtype, jnp.inexact) and dtype != float64_dtype(dtype) for dtype in dtypes)
    replaced = eqn.primitive.name in ("reduce_precision", "random_gamma") or (eqn.effects and not eqn.outvars)
    return not (narrow or replaced or is_faster_as_product(eqn))

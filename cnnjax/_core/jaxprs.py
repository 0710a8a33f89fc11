"""What every walk over a jaxpr needs: its equations' sub-jaxprs, and which primitives only wrap one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax

__all__ = ["WRAPPERS", "is_literal", "open_jaxpr", "subjaxprs", "unpack_scan"]

WRAPPERS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vmap_call": "call",
    "linear_call": "callee",
}
"""The primitives that only wrap a jaxpr, and the parameter that holds it."""


def open_jaxpr(jaxpr: Any) -> tuple[Any, Sequence[Any]]:
    """Return the open jaxpr and its constants; jax before 0.12 keeps the two in separate objects."""
    return getattr(jaxpr, "jaxpr", jaxpr), getattr(jaxpr, "consts", ())


def is_literal(atom: Any) -> bool:
    """Whether an operand of an equation is a constant rather than a variable."""
    return hasattr(atom, "val")


def subjaxprs(eqn: Any) -> list[Any]:
    """Return the jaxprs among the parameters of an equation."""
    values = jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda v: hasattr(v, "eqns"))
    return [value for value in values if hasattr(value, "eqns")]


def unpack_scan(params: Mapping[str, Any], values: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the constants, the carry and the sequences among the inputs of a scan."""
    if "ft_in" in params:  # jax 0.12
        consts, carry, xs = map(list, params["ft_in"].update(values).unpack())
        return consts, carry, xs
    first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
    return values[:first], values[first:last], values[last:]

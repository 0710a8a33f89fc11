"""Evaluate a traced function again: in float64 throughout, and without its custom derivative rules.

A jaxpr is a list of equations, so a computation that was traced in float32 (constants, literals, casts and all) can be
evaluated with every float widened. A custom rule stands in a jaxpr as one equation that carries the function it belongs
to: evaluating that function in its place gives the same value and leaves the derivative to JAX's own rules. The same
walk can disturb each rounded operation by a random relative amount, which measures the round-off of a whole computation
(Parker, Monte Carlo arithmetic, 1997).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive, primitives

from cnnjax.gradients.leaves import wide_dtype

__all__ = [
    "WRAPPERS",
    "Rounding",
    "asks_for_zeros",
    "calls_the_host",
    "computes_in_float64",
    "draws_by_rejection",
    "equation",
    "evaluate",
    "has_float_condition",
    "has_rules",
    "is_plain",
    "iterates_under_a_rule",
    "moved_part",
    "parts",
    "rounding_units_in",
    "strong",
    "subjaxprs",
    "unpack_scan",
    "widen",
]

# The equations that only wrap a jaxpr, and the parameter that holds it.
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
_EPSILON = float(np.finfo(np.float64).eps)
_IDENTITIES = frozenset({"stop_gradient", "reduce_precision"})
# Their meaning is tied to the bits of a dtype, so they keep the one they were traced with.
_BITWISE = frozenset({"bitcast_convert_type", "nextafter", "pure_callback", "io_callback", "ffi_call"})
_RULES = frozenset({"custom_jvp_call", "custom_vjp_call", "custom_vmap_call", "linear_call", "stop_gradient"})
_OWN = frozenset(p.name for p in vars(primitives).values() if isinstance(p, Primitive)) - {
    "pure_callback",
    "io_callback",
}
# Operations that round nothing.
_EXACT = frozenset(
    {
        "neg",
        "abs",
        "sign",
        "max",
        "min",
        "clamp",
        "select_n",
        "floor",
        "ceil",
        "round",
        "iota",
        "copy",
        "copy_p",
    }
    | {
        "reshape",
        "squeeze",
        "expand_dims",
        "transpose",
        "broadcast_in_dim",
        "slice",
        "dynamic_slice",
        "concatenate",
    }
    | {"dynamic_update_slice", "pad", "rev", "split", "gather", "scatter", "convert_element_type", "pvary"}
    | {"real", "imag", "complex", "conj", "reduce_max", "reduce_min", "reduce_window_max", "sort", "top_k"}
    | {"cummax", "cummin", "select_and_scatter_add", "select_and_gather_add", "optimization_barrier"}
)

# Operations that add up many terms: their round-off is in proportion to the terms, so it is the inputs that
# are disturbed.
_ACCUMULATING = frozenset(
    {
        "dot_general",
        "conv_general_dilated",
        "reduce_sum",
        "cumsum",
        "reduce_window_sum",
        "scatter-add",
        "fft",
        "lu",
    }
    | {
        "cholesky",
        "qr",
        "geqrf",
        "householder_product",
        "eigh",
        "eig",
        "svd",
        "schur",
        "triangular_solve",
        "reduce",
    }
    | {"tridiagonal_solve", "scatter_add"}
)

Rounding = Callable[[jax.Array, float], jax.Array]
"""What to do with the result of a rounded operation: takes the value and its machine epsilon."""


def parts(jaxpr: Any) -> tuple[Any, Sequence[Any]]:
    """Return the open jaxpr and its constants; jax before 0.12 keeps the two in separate objects."""
    return getattr(jaxpr, "jaxpr", jaxpr), getattr(jaxpr, "consts", ())


def subjaxprs(eqn: Any) -> list[Any]:
    """Return the jaxprs among the parameters of an equation."""
    values = jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda v: hasattr(v, "eqns"))
    return [value for value in values if hasattr(value, "eqns")]


def primitives_in(jaxpr: Any) -> set[str]:
    """Return the names of all primitives that a jaxpr uses, however deep."""
    names: set[str] = set()
    for eqn in parts(jaxpr)[0].eqns:
        names.add(eqn.primitive.name)
        for inner in subjaxprs(eqn):
            names |= primitives_in(inner)
    return names


def rounding_units_in(jaxpr: Any) -> set[float]:
    """Return the machine epsilons of all floats that a jaxpr rounds to, however deep."""
    units: set[float] = set()
    for eqn in parts(jaxpr)[0].eqns:
        found = (getattr(var.aval, "dtype", None) for var in eqn.outvars)
        units |= {float(jnp.finfo(d).eps) for d in found if d is not None and jnp.issubdtype(d, jnp.inexact)}
        if eqn.primitive.name == "reduce_precision":
            units.add(2.0 ** -eqn.params["mantissa_bits"])
        for inner in subjaxprs(eqn):
            units |= rounding_units_in(inner)
    return units


def iterates_under_a_rule(jaxpr: Any) -> bool:
    """Whether a custom rule stands for a loop, as the implicit derivative of a root or a fixed point does."""
    for eqn in parts(jaxpr)[0].eqns:
        for inner in subjaxprs(eqn):
            looped = eqn.primitive.name in _RULES and {"while", "scan"} & primitives_in(inner)
            if looped or iterates_under_a_rule(inner):
                return True
    return False


def is_plain(jaxpr: Any) -> bool:
    """Whether a jaxpr consists of JAX's own primitives and carries no rule that somebody wrote."""
    return all(name in _OWN and name not in _RULES for name in primitives_in(jaxpr))


def has_rules(jaxpr: Any) -> bool:
    """Whether a jaxpr carries a custom derivative or batching rule or a stopped gradient."""
    return bool(_RULES & primitives_in(jaxpr))


def asks_for_zeros(jaxpr: Any) -> bool:
    """Whether a custom rule asks which of its arguments are held constant."""
    return any(
        eqn.params.get("symbolic_zeros") or any(map(asks_for_zeros, subjaxprs(eqn))) for eqn in parts(jaxpr)[0].eqns
    )


def calls_the_host(jaxpr: Any) -> bool:
    """Whether a jaxpr calls back into Python."""
    return bool({"pure_callback", "io_callback"} & primitives_in(jaxpr))


def computes_in_float64(jaxpr: Any) -> bool:
    """Whether a jaxpr gives as it stands what evaluating it in float64 would give."""
    for eqn in parts(jaxpr)[0].eqns:
        dtypes = [getattr(atom.aval, "dtype", np.dtype(bool)) for atom in (*eqn.invars, *eqn.outvars)]
        narrow = any(jnp.issubdtype(dtype, jnp.inexact) and dtype != wide_dtype(dtype) for dtype in dtypes)
        otherwise = eqn.primitive.name in ("reduce_precision", "random_gamma") or (eqn.effects and not eqn.outvars)
        if narrow or otherwise or not all(map(computes_in_float64, subjaxprs(eqn))):
            return False
    return True


def draws_by_rejection(jaxpr: Any) -> bool:
    """Whether a jaxpr draws gamma variates, whose derivative is that of their distribution."""
    return "random_gamma" in primitives_in(jaxpr)


def has_float_condition(jaxpr: Any) -> bool:
    """Whether the end of some while_loop depends on a comparison of floats."""
    for eqn in parts(jaxpr)[0].eqns:
        if eqn.primitive.name == "while":
            inside = parts(eqn.params["cond_jaxpr"])[0].eqns
            atoms = [atom for inner in inside for atom in inner.invars]
            if any(jnp.issubdtype(atom.aval.dtype, jnp.inexact) for atom in atoms):
                return True
        if any(has_float_condition(inner) for inner in subjaxprs(eqn)):
            return True
    return False


def widen(value: Any) -> Any:
    """Return a float of any width in float64, a complex number in complex128, anything else as it is."""
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        value = np.asarray(value)
        dtype = value.dtype
    if isinstance(value, np.ndarray) or jnp.issubdtype(dtype, jnp.inexact):
        return jnp.asarray(value, wide_dtype(dtype))
    return value


def evaluate(jaxpr: Any, args: Sequence[Any], rounding: Rounding | None = None) -> list[Any]:
    """Evaluate a jaxpr with every float widened to float64 and every custom rule left out.

    With ``rounding``, the result of every rounded operation passes through it.
    """
    jaxpr, consts = parts(jaxpr)
    known: dict[Any, Any] = {}

    def read(atom: Any) -> Any:
        if not hasattr(atom, "val"):
            return known[atom]
        value = widen(atom.val)
        return rounding(value, unit) if rounding and (unit := _literal_epsilon(atom)) else value

    known.update(zip(jaxpr.constvars, map(widen, consts), strict=False))
    known.update(zip(jaxpr.invars, map(widen, args), strict=True))
    for eqn in jaxpr.eqns:
        if not eqn.outvars and eqn.effects:  # printing; it would run at every step of every difference
            continue
        known.update(zip(eqn.outvars, equation(eqn, [read(atom) for atom in eqn.invars], rounding), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def moved_part(jaxpr: Any, x: Any, start: int, stop: int) -> Callable[[Any], Any]:
    """Evaluate a jaxpr at the vector ``x``, and return what evaluates it with ``[start, stop)`` of that replaced.

    What does not depend on this part is not evaluated again.
    """
    jaxpr, consts = parts(jaxpr)
    (vector,) = jaxpr.invars
    known = {vector: widen(x), **dict(zip(jaxpr.constvars, map(widen, consts), strict=False))}
    moving, rest = {vector}, []

    def read(values: dict[Any, Any], eqn: Any) -> list[Any]:
        return [widen(atom.val) if hasattr(atom, "val") else values[atom] for atom in eqn.invars]

    def cut(eqn: Any) -> tuple[int, int] | None:
        """Return the part of the vector that a slice takes."""
        simple = eqn.primitive.name == "slice" and eqn.invars[0] is vector and eqn.params["strides"] is None
        return (eqn.params["start_indices"][0], eqn.params["limit_indices"][0]) if simple else None

    for eqn in jaxpr.eqns:
        taken = cut(eqn)
        elsewhere = taken is not None and (taken[1] <= start or stop <= taken[0])
        if elsewhere or moving.isdisjoint(atom for atom in eqn.invars if not hasattr(atom, "val")):
            known.update(zip(eqn.outvars, equation(eqn, read(known, eqn)), strict=True))
        else:
            moving.update(eqn.outvars)
            rest.append(eqn)

    def evaluate_rest(part: Any) -> Any:
        values = {**known, vector: lax.dynamic_update_slice_in_dim(known[vector], part, start, 0)}
        for eqn in rest:
            taken = cut(eqn)
            if taken is not None and start <= taken[0] and taken[1] <= stop:
                values[eqn.outvars[0]] = part[taken[0] - start : taken[1] - start]
            else:
                values.update(zip(eqn.outvars, equation(eqn, read(values, eqn)), strict=True))
        return values[jaxpr.outvars[0]]

    return evaluate_rest


def _literal_epsilon(literal: Any) -> float:
    """Return the error unit of a Python number that was rounded to a narrow dtype, 0 if exact."""
    if not jnp.issubdtype(literal.aval.dtype, jnp.floating) or literal.aval.dtype == np.float64:
        return 0.0
    value = float(np.asarray(literal.val, np.float64))
    short = not np.isfinite(value) or (np.frexp(value)[0] * 2**11).is_integer()
    return 0.0 if short else float(jnp.finfo(literal.aval.dtype).eps)


def equation(eqn: Any, values: list[Any], rounding: Rounding | None = None) -> Sequence[Any]:
    """Evaluate one equation on widened values."""
    name, params = eqn.primitive.name, eqn.params
    if name in WRAPPERS:
        return evaluate(params[WRAPPERS[name]], values, rounding)
    if name in _IDENTITIES:
        return values
    if name in _STRUCTURED:
        return _STRUCTURED[name](params, values, rounding)
    if rounding and name in _ACCUMULATING:
        values = [rounding(v, _EPSILON) if jnp.issubdtype(v.dtype, jnp.inexact) else v for v in values]
    if name in _BITWISE or (subjaxprs(eqn) and not name.startswith("scatter")):
        results, unit = _as_traced(eqn, values), _traced_epsilon(eqn)
    else:
        results, unit = _first_order(eqn, values), _EPSILON
    if rounding is None or name in _EXACT:
        return results
    return [rounding(r, unit) if jnp.issubdtype(r.dtype, jnp.inexact) else r for r in results]


def _first_order(eqn: Any, values: list[Any]) -> list[Any]:
    """Bind a primitive again, with its dtype parameters widened."""
    params = dict(eqn.params)
    if eqn.primitive.name.startswith("scatter"):  # its update function was traced for one dtype: let JAX make a new one
        scatter = getattr(lax, eqn.primitive.name.replace("-", "_"))
        kept = ("dimension_numbers", "indices_are_sorted", "unique_indices", "mode")
        return [scatter(*values, **{key: params[key] for key in kept})]
    for key, value in params.items():
        if key.endswith("dtype") or key == "preferred_element_type":
            params[key] = wide_dtype(value) if value is not None else None
        elif key == "precision" and not isinstance(value, (tuple, lax.Precision, type(None))):
            params[key] = None  # an algorithm for a narrower dtype
    results = eqn.primitive.bind(*values, **params)
    return list(results) if eqn.primitive.multiple_results else [results]


def _as_traced(eqn: Any, values: list[Any]) -> list[Any]:
    """Bind a primitive in the dtypes it was traced with, and widen what comes out."""
    narrow = [
        lax.convert_element_type(value, atom.aval.dtype) if jnp.issubdtype(value.dtype, jnp.inexact) else value
        for value, atom in zip(values, eqn.invars, strict=True)
    ]
    results = eqn.primitive.bind(*narrow, **eqn.params)
    return [widen(result) for result in (results if eqn.primitive.multiple_results else [results])]


def _traced_epsilon(eqn: Any) -> float:
    """Return the machine epsilon of the narrowest float that goes in or comes out, 0 where there is none."""
    dtypes = [atom.aval.dtype for atom in (*eqn.invars, *eqn.outvars)]
    return max((float(jnp.finfo(dtype).eps) for dtype in dtypes if jnp.issubdtype(dtype, jnp.inexact)), default=0.0)


def strong(values: Sequence[Any]) -> list[Any]:
    """Drop weak types, so that what enters a loop has the type of what the loop's body returns."""
    return [lax.convert_element_type(v, v.dtype) if jnp.issubdtype(v.dtype, jnp.number) else v for v in values]


def unpack_scan(params: dict[str, Any], values: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the constants, the carry and the sequences among the inputs of a scan."""
    if "ft_in" in params:  # jax 0.12
        consts, carry, xs = map(list, params["ft_in"].update(values).unpack())
        return consts, carry, xs
    first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
    return values[:first], values[first:last], values[last:]


def _scan(params: dict[str, Any], values: list[Any], rounding: Rounding | None) -> list[Any]:
    consts, carry, xs = unpack_scan(params, values)
    n_carry = len(carry)

    def body(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        out = evaluate(params["jaxpr"], [*consts, *carry, *x], rounding)
        return strong(out[:n_carry]), out[n_carry:]

    carry, ys = lax.scan(body, strong(carry), xs, params["length"], params["reverse"], params["unroll"])
    return [*carry, *ys]


def _while(params: dict[str, Any], values: list[Any], rounding: Rounding | None) -> list[Any]:
    n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
    for_cond, for_body, carry = values[:n_cond], values[n_cond : n_cond + n_body], values[n_cond + n_body :]

    def goes_on(carry: list[Any]) -> Any:
        return evaluate(params["cond_jaxpr"], [*for_cond, *carry])[0]

    def body(carry: list[Any]) -> list[Any]:
        after, going = strong(evaluate(params["body_jaxpr"], [*for_body, *carry], rounding)), goes_on(carry)
        if not going.ndim:
            return after
        return [  # a batched loop: samples that have ended stay as they are
            jnp.where(lax.broadcast_in_dim(going, new.shape, range(going.ndim)), new, old)
            for new, old in zip(after, carry, strict=True)
        ]

    return lax.while_loop(lambda carry: jnp.any(goes_on(carry)), body, strong(carry))


def _cond(params: dict[str, Any], values: list[Any], rounding: Rounding | None) -> list[Any]:
    def branch(jaxpr: Any) -> Callable[..., list[Any]]:
        return lambda *operands: strong(evaluate(jaxpr, operands, rounding))

    return lax.switch(values[0], [branch(jaxpr) for jaxpr in params["branches"]], *values[1:])


def _shard_map(params: dict[str, Any], values: list[Any], rounding: Rounding | None) -> list[Any]:
    options = {key: params[key] for key in ("mesh", "in_specs", "out_specs", "check_vma")}
    axes = params["newly_manual_axes"]
    inside = jax.shard_map(lambda *args: tuple(evaluate(params["jaxpr"], args, rounding)), axis_names=axes, **options)
    return list(inside(*values))


def _linear_solve(params: dict[str, Any], values: list[Any], rounding: Rounding | None) -> list[Any]:
    lengths = params["const_lengths"]
    start = lengths.matvec + lengths.vecmat
    rest = values[sum(lengths) :]
    return evaluate(params["jaxprs"].solve, [*values[start : start + lengths.solve], *rest], rounding)


@jax.custom_jvp
def _gamma_quantile(a: Any, u: Any) -> Any:
    """Return the logarithm of the number below which a gamma variate of shape ``a`` lies with probability ``u``."""
    small = (jnp.log(u) + lax.lgamma(a + 1)) / a  # of the first term of the series, exact where the result is tiny
    ends = jnp.full_like(a, -40.0), jnp.log(a + 40 * jnp.sqrt(a) + 50)

    def improve(_: Any, state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        """Take a step of Newton's method, or halve the interval where that leads out of it."""
        low, high, z = state
        excess = lax.igamma(a, jnp.exp(z)) - u
        low, high = jnp.where(excess > 0, low, z), jnp.where(excess > 0, z, high)
        density = jnp.exp(a * z - jnp.exp(z) - lax.lgamma(a))  # of the logarithm
        guess = z - excess / density
        return low, high, jnp.where((low <= guess) & (guess <= high), guess, (low + high) / 2)

    z = lax.fori_loop(0, 24, improve, (*ends, (ends[0] + ends[1]) / 2))[2]
    return jnp.where(a > 0, jnp.where(small < -35, small, z), jnp.nan)


@_gamma_quantile.defjvp
def _(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    z = _gamma_quantile(*primals)
    slope: Any = lax.random_gamma_grad  # pyright reads a signature with a dtype, which it does not have
    return z, tangents[0] * slope(primals[0], jnp.exp(z)) * jnp.exp(-z)


def _gamma_variates(params: dict[str, Any], values: list[Any], rounding: Rounding | None) -> list[Any]:
    """Draw gamma variates by inverting their distribution, all with the quantile that the key gives.

    With the key held, a sampler that rejects has another derivative than the quantile. JAX's rule is the one of the
    quantile (implicit reparametrisation: Figurnov, Mohamed and Mnih, 2018), so that is what has to be differenced.
    """
    key, a = values
    draw = jax.random.uniform
    for _ in key.shape:
        draw = jax.vmap(draw)
    u = draw(key)
    u = lax.convert_element_type(0.05 + 0.9 * u, a.dtype).reshape(key.shape + (1,) * (a.ndim - key.ndim))
    z = _gamma_quantile(a, jnp.broadcast_to(u, a.shape))
    return [z if params["log_space"] else jnp.exp(z)]


_STRUCTURED = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "custom_linear_solve": _linear_solve,
    "shard_map": _shard_map,
    "random_gamma": _gamma_variates,
}

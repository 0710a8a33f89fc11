"""Evaluate a traced function again: in float64 throughout, and without its custom derivative rules.

A jaxpr is a list of equations, so a computation that was traced in float32 (constants, literals, casts and all) can be
evaluated with every float widened. A custom rule is one equation that carries the function it belongs to: evaluating
that function in its place gives the same value and leaves the derivative to JAX's own rules. The same evaluation can
perturb the result of each rounded operation by a random relative amount, which measures the round-off of a whole
computation (Parker, Monte Carlo arithmetic, 1997).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax._core.jaxprs import WRAPPERS, subjaxprs
from cnnjax.gradients.convolution_as_product import convolve, is_faster_as_product
from cnnjax.gradients.gamma import gamma_variates
from cnnjax.gradients.interpreter import Evaluate, cond, interpret, scan, strong
from cnnjax.gradients.jaxprs import STOP_GRADIENT, ends_when_converged
from cnnjax.gradients.leaves import float64_dtype

__all__ = ["Rounding", "evaluate", "evaluate_equation", "widen"]

Rounding = Callable[[jax.Array, float], jax.Array]
"""What to do with the result of a rounded operation: takes the value and its machine epsilon."""

_EPSILON = float(np.finfo(np.float64).eps)
_IDENTITIES = frozenset({STOP_GRADIENT, "reduce_precision"})

# These depend on the bits of a dtype, so they keep the one they were traced with.
_BITWISE = frozenset({"bitcast_convert_type", "nextafter", "pure_callback", "io_callback", "ffi_call"})

# fmt: off
# Operations that round nothing.
_EXACT = frozenset({
    "neg", "abs", "sign", "max", "min", "clamp", "select_n", "floor", "ceil", "round", "iota", "copy", "copy_p",
    "reshape", "squeeze", "expand_dims", "transpose", "broadcast_in_dim", "slice", "dynamic_slice", "concatenate",
    "pad", "rev", "dynamic_update_slice", "split", "gather", "scatter", "convert_element_type", "pvary", "real", "imag",
    "complex", "conj", "reduce_max", "reduce_min", "reduce_window_max", "sort", "top_k", "cummax",
    "cummin", "optimization_barrier", "select_and_scatter_add", "select_and_gather_add",
})

# Operations that add up many terms: their round-off is in proportion to the terms, so their inputs are perturbed.
_ACCUMULATING = frozenset({
    "dot_general", "conv_general_dilated", "reduce_sum", "cumsum", "reduce_window_sum", "scatter-add", "scatter_add",
    "fft", "lu", "cholesky", "qr", "geqrf", "householder_product", "eigh", "eig", "svd", "schur", "triangular_solve",
    "tridiagonal_solve", "reduce",
})
# fmt: on


def widen(value: Any) -> Any:
    """Return a float of any width in float64, a complex number in complex128, anything else as it is."""
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        value = np.asarray(value)
        dtype = value.dtype
    if isinstance(value, np.ndarray) or jnp.issubdtype(dtype, jnp.inexact):
        return jnp.asarray(value, float64_dtype(dtype))
    return value


def evaluate(
    jaxpr: Any, args: Sequence[Any], rounding: Rounding | None = None, further: jax.Array | float | None = None
) -> list[Any]:
    """Evaluate a jaxpr with every float widened to float64 and every custom rule left out.

    With ``rounding``, the result of every rounded operation passes through it. With ``further``, an iteration that has
    stopped because it is close enough takes that many times as many steps more.
    """

    def literal(atom: Any) -> Any:
        value = widen(atom.val)
        return rounding(value, unit) if rounding and (unit := _literal_epsilon(atom)) else value

    def rule(eqn: Any, values: list[Any]) -> Sequence[Any]:
        return evaluate_equation(eqn, values, rounding, further)

    return interpret(jaxpr, list(map(widen, args)), rule, widen, literal)


def _literal_epsilon(literal: Any) -> float:
    """Return the error unit of a Python number that was rounded to a narrow dtype, 0 if exact."""
    if not jnp.issubdtype(literal.aval.dtype, jnp.floating) or literal.aval.dtype == np.float64:
        return 0.0
    value = float(np.asarray(literal.val, np.float64))
    short = not np.isfinite(value) or (np.frexp(value)[0] * 2**11).is_integer()
    return 0.0 if short else float(jnp.finfo(literal.aval.dtype).eps)


def evaluate_equation(
    eqn: Any, values: list[Any], rounding: Rounding | None = None, further: jax.Array | float | None = None
) -> Sequence[Any]:
    """Evaluate one equation on widened values."""
    name, params = eqn.primitive.name, eqn.params

    def inner(jaxpr: Any, args: Sequence[Any]) -> list[Any]:
        return evaluate(jaxpr, args, rounding, further)

    if name in WRAPPERS:
        return inner(params[WRAPPERS[name]], values)
    if name in _IDENTITIES:
        return values
    if name == "cond":
        return cond(params, values[0], values[1:], inner)
    if name == "while":
        # Iterations inside of an iteration stay as they are: more steps of both would take the product of their times.
        return _while(params, values, lambda jaxpr, args: evaluate(jaxpr, args, rounding), further)
    if name in _STRUCTURED:
        return _STRUCTURED[name](params, values, inner)
    if rounding and name in _ACCUMULATING:
        values = [rounding(v, _EPSILON) if jnp.issubdtype(v.dtype, jnp.inexact) else v for v in values]
    if name in _BITWISE or (subjaxprs(eqn) and not name.startswith("scatter")):
        results, unit = _bind_as_traced(eqn, values), _traced_epsilon(eqn)
    else:
        results, unit = _bind_widened(eqn, values), _EPSILON
    if rounding is None or name in _EXACT:
        return results
    return [rounding(r, unit) if jnp.issubdtype(r.dtype, jnp.inexact) else r for r in results]


def _bind_widened(eqn: Any, values: list[Any]) -> list[Any]:
    """Bind a primitive again, with its dtype parameters widened."""
    params = dict(eqn.params)
    if is_faster_as_product(eqn):
        x, kernel = values
        return [convolve(x, kernel, params)]
    if eqn.primitive.name.startswith("scatter"):  # its update function was traced for one dtype: let JAX make a new one
        scatter = getattr(lax, eqn.primitive.name.replace("-", "_"))
        kept = ("dimension_numbers", "indices_are_sorted", "unique_indices", "mode")
        return [scatter(*values, **{key: params[key] for key in kept})]
    for key, value in params.items():
        if key.endswith("dtype") or key == "preferred_element_type":
            params[key] = float64_dtype(value) if value is not None else None
        elif key == "precision" and not isinstance(value, (tuple, lax.Precision, type(None))):
            params[key] = None  # an algorithm for a narrower dtype
    results = eqn.primitive.bind(*values, **params)
    return list(results) if eqn.primitive.multiple_results else [results]


def _bind_as_traced(eqn: Any, values: list[Any]) -> list[Any]:
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


def _while(params: dict[str, Any], values: list[Any], inner: Evaluate, further: jax.Array | float | None) -> list[Any]:
    n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
    for_cond, for_body, carry = values[:n_cond], values[n_cond : n_cond + n_body], values[n_cond + n_body :]

    def goes_on(carry: list[Any]) -> Any:
        return evaluate(params["cond_jaxpr"], [*for_cond, *carry])[0]  # never perturbed: as many steps every time

    def step(carry: list[Any]) -> list[Any]:
        return strong(inner(params["body_jaxpr"], [*for_body, *carry]))

    def body(carry: list[Any]) -> list[Any]:
        after, going = step(carry), goes_on(carry)
        if not going.ndim:
            return after
        return [  # a batched loop: samples that have ended stay as they are
            jnp.where(lax.broadcast_in_dim(going, new.shape, range(going.ndim)), new, old)
            for new, old in zip(after, carry, strict=True)
        ]

    if further is None or not ends_when_converged(params["cond_jaxpr"]):
        return lax.while_loop(lambda carry: jnp.any(goes_on(carry)), body, strong(carry))
    count, carry = lax.while_loop(
        lambda state: jnp.any(goes_on(state[1])), lambda state: (state[0] + 1, body(state[1])), (0, strong(carry))
    )
    more = lax.ceil(jnp.multiply(further, count)).astype(int)
    return lax.fori_loop(0, more, lambda _, carry: step(carry), carry)


def _shard_map(params: dict[str, Any], values: list[Any], inner: Evaluate) -> list[Any]:
    options = {key: params[key] for key in ("mesh", "in_specs", "out_specs", "check_vma")}
    axes = params["newly_manual_axes"]
    mapped = jax.shard_map(lambda *args: tuple(inner(params["jaxpr"], args)), axis_names=axes, **options)
    return list(mapped(*values))


def _linear_solve(params: dict[str, Any], values: list[Any], inner: Evaluate) -> list[Any]:
    lengths = params["const_lengths"]
    start = lengths.matvec + lengths.vecmat
    rest = values[sum(lengths) :]
    return inner(params["jaxprs"].solve, [*values[start : start + lengths.solve], *rest])


_STRUCTURED: dict[str, Callable[[dict[str, Any], list[Any], Evaluate], list[Any]]] = {
    "scan": scan,
    "custom_linear_solve": _linear_solve,
    "shard_map": _shard_map,
    "random_gamma": lambda params, values, _: gamma_variates(params, values),
}

"""A function of pytrees as a function from one real vector to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import primitives

from cnnjax.gradients.leaves import Leaf, numeric_leaves
from cnnjax.gradients.user_code import call_with_retry

__all__ = ["FlatFunction", "flatten_function", "pack_on_host", "unpack_on_host"]


@dataclass(frozen=True)
class FlatFunction:
    """A function of one real vector, and what its inputs and outputs are called."""

    call: Callable[[Sequence[Any]], list[Any]]
    """From the arrays of the differentiable inputs to those of the differentiable outputs."""
    inputs: tuple[Leaf, ...]
    outputs: tuple[Leaf, ...]
    point: np.ndarray
    value: np.ndarray
    """What the function gave at the point, in its own dtype."""
    skipped: tuple[tuple[str, str], ...]
    """Leaves that have no derivative, each with the reason."""

    @property
    def coarsest_leaf(self) -> float:
        """The rounding unit of the narrowest array that goes in or comes out."""
        return max(float(jnp.finfo(leaf.dtype).eps) for leaf in self.inputs + self.outputs)

    def in_own_dtype(self, vector: Any) -> jax.Array:
        """Evaluate with every leaf in the dtype it came in."""
        return self.join(self.split(vector, widen=False), widen=False)

    def in_float64(self, vector: Any) -> jax.Array:
        """Evaluate with every leaf in float64 or complex128."""
        return self.join(self.split(vector, widen=True), widen=True)

    def split(self, vector: Any, widen: bool) -> list[jax.Array]:
        """Cut a vector into the arrays it stands for."""
        return _unpack(vector, self.inputs, widen)

    def join(self, arrays: Sequence[Any], widen: bool) -> jax.Array:
        """Evaluate on arrays and pack what comes out into a vector."""
        return self.pack(self.call(arrays), widen)

    def pack(self, arrays: Any, widen: bool = False) -> jax.Array:
        """Pack arrays into one vector, in float64 if ``widen``, else in JAX's widest enabled float."""
        return _pack(jax.tree.leaves(arrays), np.float64 if widen else jax.dtypes.canonicalize_dtype(np.float64))


def flatten_function(f: Callable[..., Any], args: tuple[Any, ...]) -> FlatFunction:
    """View ``f(*args)`` as a function from the vector of its inexact inputs to the vector of its inexact outputs.

    Integer, boolean, PRNG-key and non-array leaves keep the values they came with; outputs of those kinds are left out.
    Both are listed in ``skipped``, and so are arrays with no elements.
    """
    values, tree = jax.tree.flatten(args)
    values = [_as_jax_reads_it(value) for value in values]
    inputs, where, other_inputs = numeric_leaves("args", args)

    def run(arrays: Sequence[Any]) -> Any:
        filled = list(values)
        for position, array in zip(where, arrays, strict=True):
            filled[position] = array
        return f(*jax.tree.unflatten(tree, filled))

    def run_on_copies() -> Any:  # a function may donate the memory of its arguments
        given = [values[i] for i in where]
        return run([v if isinstance(v, (float, complex)) else jax.device_put(v, may_alias=False) for v in given])

    point = pack_on_host([values[i] for i in where])
    value = call_with_retry(run_on_copies)
    outputs, kept, other_outputs = numeric_leaves("output", value)
    results = jax.tree.leaves(value)

    def call(arrays: Sequence[Any]) -> list[Any]:
        found = jax.tree.leaves(run(arrays))
        return [found[position] for position in kept]

    skipped = [(name, "not a floating or complex array") for name in other_inputs + other_outputs]
    skipped += [(leaf.name, "no elements") for leaf in inputs + outputs if leaf.size == 0]
    numbers = pack_on_host([results[i] for i in kept])
    return FlatFunction(call, tuple(inputs), tuple(outputs), point, numbers, tuple(skipped))


def _as_jax_reads_it(value: Any) -> Any:
    """NumPy's integers in the dtype that JAX gives them now, so that they keep it where 64-bit types are enabled."""
    if isinstance(value, (np.ndarray, np.integer)) and np.issubdtype(value.dtype, np.integer):
        return value.astype(jax.dtypes.canonicalize_dtype(value.dtype), copy=False)
    return value


def _pack(values: Sequence[Any], dtype: Any) -> jax.Array:
    """Concatenate arrays into one real vector, real parts before imaginary parts."""
    pieces: list[jax.Array] = []
    for value in values:
        array = jnp.asarray(value)
        parts = (lax.real(array), lax.imag(array)) if jnp.iscomplexobj(array) else (array,)
        pieces += [lax.convert_element_type(part, dtype).reshape(-1) for part in parts]
    return lax.concatenate(pieces, 0) if pieces else jnp.zeros((0,), dtype)


def _unpack(vector: Any, leaves: Sequence[Leaf], widen: bool) -> list[jax.Array]:
    """Cut a vector into the arrays it was packed from; the inverse of ``_pack``.

    In one operation, whose transpose puts a gradient together in one: that of a slice makes a vector for each leaf.
    """
    arrays = []
    for piece, leaf in zip(lax.split(vector, [leaf.stop - leaf.start for leaf in leaves]), leaves, strict=True):
        dtype = leaf.dtype_in(widen)
        if leaf.complex:
            real, imag = (piece[i * leaf.size : (i + 1) * leaf.size] for i in (0, 1))
            piece = lax.complex(real, imag)
        shaped = lax.convert_element_type(piece, dtype).reshape(leaf.shape)
        # The public function does not make a weak type.
        weak = {"new_dtype": dtype, "weak_type": True, "sharding": None}
        arrays.append(primitives.convert_element_type_p.bind(shaped, **weak) if leaf.weak else shaped)
    return arrays


def unpack_on_host(vector: np.ndarray, leaves: Sequence[Leaf]) -> list[Any]:
    """Cut a vector into float64 arrays and Python numbers on the host, where nothing has to be compiled for it."""
    arrays: list[Any] = []
    for leaf in leaves:
        values = vector[leaf.start : leaf.stop]
        if leaf.complex:
            both: Any = np.empty(leaf.size, np.complex128)
            both.real, both.imag = values[: leaf.size], values[leaf.size :]
            values = both
        arrays.append(values[0].item() if leaf.weak else values.reshape(leaf.shape))
    return arrays


def pack_on_host(arrays: Sequence[Any]) -> np.ndarray:
    """Pack arrays into a float64 vector on the host."""
    values: list[Any] = [np.asarray(array) for array in arrays]
    parts = [part for a in values for part in ((a.real, a.imag) if np.iscomplexobj(a) else (a,))]
    return np.concatenate([np.asarray(p, np.float64).reshape(-1) for p in parts]) if parts else np.zeros(0)

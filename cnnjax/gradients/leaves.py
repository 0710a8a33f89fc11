"""A function of pytrees as a function from one real vector to another, every element with its name."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import primitives

__all__ = [
    "FlatFunction",
    "Leaf",
    "as_the_user_runs_it",
    "find_leaf",
    "flatten_function",
    "has_no_derivative",
    "largest",
    "representable",
    "wide_dtype",
]


# What JAX says when a function has no derivative in a mode, as opposed to a rule that is broken.
_NO_DERIVATIVE = (
    "can't apply forward-mode",
    "Reverse-mode differentiation does not work for lax.while_loop",
    "Linearization failed to produce known values",
    "Differentiation rule for",
    "Transpose rule (for reverse-mode differentiation)",
    "gradients are only implemented if",
    "do not support JVP",
    "can't be differentiated",
    "cannot be differentiated",
    "not differentiable",
    "not supported for",
)


def wide_dtype(dtype: Any) -> Any:
    """Return float64 for a floating dtype, complex128 for a complex one, any other unchanged."""
    if jnp.issubdtype(dtype, jnp.floating):
        return np.dtype(np.float64)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return np.dtype(np.complex128)
    return dtype


@dataclass(frozen=True)
class Leaf:
    """One differentiable array and the part ``[start, stop)`` of the vector that holds its numbers.

    A complex array takes two stretches of equal length, all real parts and then all imaginary parts.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Any
    start: int
    weak: bool = False
    """Whether it is a Python number, whose dtype yields to that of what it meets."""

    @property
    def complex(self) -> bool:
        """Whether the array holds complex numbers."""
        return bool(jnp.issubdtype(self.dtype, jnp.complexfloating))

    @property
    def size(self) -> int:
        """The count of array elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def stop(self) -> int:
        """The position in the vector after the last number of this array."""
        return self.start + self.size * (2 if self.complex else 1)

    def dtype_in(self, wide: bool) -> Any:
        """Return the dtype in which the function receives the array: a 64-bit one if wide, else its own."""
        return wide_dtype(self.dtype) if wide else jax.dtypes.canonicalize_dtype(self.dtype)

    def index(self, position: int) -> tuple[int, ...]:
        """Return the array index of the number at ``position`` of the vector."""
        return tuple(int(i) for i in np.unravel_index((position - self.start) % self.size, self.shape))

    def element(self, position: int) -> str:
        """Name the number at ``position`` of the vector, as in ``args[1]['c3']['w'][2, 0, 3, 7]``."""
        index = f"[{', '.join(map(str, self.index(position)))}]" if self.shape else ""
        part = ("." + ("real", "imag")[(position - self.start) // self.size]) if self.complex else ""
        return f"{self.name}{index}{part}"


def find_leaf(leaves: Sequence[Leaf], position: int) -> Leaf:
    """Return the leaf that owns ``position`` of the vector."""
    return next(leaf for leaf in leaves if leaf.start <= position < leaf.stop)


def representable(vector: np.ndarray, leaves: Sequence[Leaf]) -> np.ndarray:
    """Return a vector rounded to what the arrays can hold in their own dtypes."""
    out = vector.copy()
    for leaf in leaves:
        dtype = jnp.finfo(leaf.dtype).dtype  # of the parts, for a complex array
        out[leaf.start : leaf.stop] = vector[leaf.start : leaf.stop].astype(dtype).astype(np.float64)
    return out


def largest(values: np.ndarray, leaves: Sequence[Leaf]) -> np.ndarray:
    """Return for each number the largest finite magnitude in its leaf."""
    out = np.zeros(len(values))
    for leaf in leaves:
        part = abs(values[leaf.start : leaf.stop])
        out[leaf.start : leaf.stop] = np.max(part[np.isfinite(part)], initial=0.0)
    return out


def _is_differentiable(value: Any) -> bool:
    if isinstance(value, (float, complex)):
        return True
    dtype = getattr(value, "dtype", None)
    return dtype is not None and bool(jnp.issubdtype(dtype, jnp.inexact))


def _leaves(root: str, tree: Any) -> tuple[list[Leaf], list[int], list[str]]:
    """Return the differentiable leaves, their positions among all leaves, and the names of the others."""
    leaves: list[Leaf] = []
    where: list[int] = []
    others: list[str] = []
    start = 0
    for position, (path, value) in enumerate(jax.tree_util.tree_leaves_with_path(tree)):
        name = root + jax.tree_util.keystr(path)
        if not _is_differentiable(value):
            others.append(f"{name} ({getattr(value, 'dtype', type(value).__name__)})")
            continue
        dtype = getattr(value, "dtype", np.result_type(type(value)))
        leaf = Leaf(name, tuple(np.shape(value)), np.dtype(dtype), start, type(value) in (float, complex))
        leaves.append(leaf)
        where.append(position)
        start = leaf.stop
    return leaves, where, others


def _pack(values: Sequence[Any], dtype: Any) -> jax.Array:
    """Concatenate arrays into one real vector, real parts before imaginary parts."""
    pieces: list[jax.Array] = []
    for value in values:
        array = jnp.asarray(value)
        parts = (lax.real(array), lax.imag(array)) if jnp.iscomplexobj(array) else (array,)
        pieces += [lax.convert_element_type(part, dtype).reshape(-1) for part in parts]
    return lax.concatenate(pieces, 0) if pieces else jnp.zeros((0,), dtype)


def _unpack(vector: Any, leaves: Sequence[Leaf], widen: bool) -> list[jax.Array]:
    """Cut a vector into the arrays it was packed from; the inverse of ``_pack``."""
    arrays = []
    for leaf in leaves:
        piece = lax.slice(vector, (leaf.start,), (leaf.stop,))
        dtype = leaf.dtype_in(widen)
        if leaf.complex:
            real, imag = (piece[i * leaf.size : (i + 1) * leaf.size] for i in (0, 1))
            piece = lax.complex(real, imag)
        shaped = lax.convert_element_type(piece, dtype).reshape(leaf.shape)
        # The public function does not make a weak type.
        weak = {"new_dtype": dtype, "weak_type": True, "sharding": None}
        arrays.append(primitives.convert_element_type_p.bind(shaped, **weak) if leaf.weak else shaped)
    return arrays


def _arrays(vector: np.ndarray, leaves: Sequence[Leaf]) -> list[Any]:
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


def _numbers(arrays: Sequence[Any]) -> np.ndarray:
    """Pack arrays into a float64 vector on the host."""
    values: list[Any] = [np.asarray(array) for array in arrays]
    parts = [part for a in values for part in ((a.real, a.imag) if np.iscomplexobj(a) else (a,))]
    return np.concatenate([np.asarray(p, np.float64).reshape(-1) for p in parts]) if parts else np.zeros(0)


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

    @property
    def coarsest_leaf(self) -> float:
        """The rounding unit of the narrowest array that goes in or comes out."""
        return max(float(jnp.finfo(leaf.dtype).eps) for leaf in self.inputs + self.outputs)

    def native(self, vector: Any) -> jax.Array:
        """Evaluate with every leaf in the dtype it came in."""
        return self.join(self.split(vector, widen=False), widen=False)

    def wide(self, vector: Any) -> jax.Array:
        """Evaluate with every leaf in float64 or complex128."""
        return self.join(self.split(vector, widen=True), widen=True)

    def split(self, vector: Any, widen: bool) -> list[jax.Array]:
        """Cut a vector into the arrays it stands for."""
        return _unpack(vector, self.inputs, widen)

    def join(self, arrays: Sequence[Any], widen: bool) -> jax.Array:
        """Evaluate on arrays and pack what comes out into a vector."""
        return self.pack(self.call(arrays), widen)

    def derive_eagerly(
        self, mode: str, vector: np.ndarray, weights: np.ndarray, widen: bool, between: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a derivative and the value that comes with it, every operation run by itself as Python meets it.

        ``weights`` is a cotangent for "rev" and a tangent for "fwd" and "lin". For "rev" and "lin", which go through
        the function first and differentiate it then, the function is evaluated at ``between`` in between.
        """

        def arrays_at(vector: np.ndarray) -> list[Any]:
            return [
                part if leaf.weak else jax.device_put(part.astype(leaf.dtype_in(widen)))
                for part, leaf in zip(_arrays(vector, self.inputs), self.inputs, strict=True)
            ]

        def like(models: Sequence[Any], leaves: Sequence[Leaf]) -> list[np.ndarray]:
            parts = _arrays(weights, [replace(leaf, weak=False) for leaf in leaves])
            return [part.astype(jnp.result_type(model)) for part, model in zip(parts, models, strict=True)]

        arrays = arrays_at(vector)
        if mode == "fwd":
            value, found = jax.jvp(self.call, (arrays,), (like(arrays, self.inputs),))
            return _numbers(found), _numbers(value)
        prepare = jax.vjp if mode == "rev" else jax.linearize
        value, derive = prepare(self.call, arrays)
        if between is not None:
            prepare(self.call, arrays_at(between))
        if mode == "lin":
            return _numbers(derive(like(arrays, self.inputs))), _numbers(value)
        # A cotangent of real and imaginary parts is the conjugate of JAX's complex cotangent.
        found = derive([c.conj() if np.iscomplexobj(c) else c for c in like(value, self.outputs)])[0]
        return _numbers([np.asarray(a).conj() if jnp.iscomplexobj(a) else a for a in found]), _numbers(value)

    def pack(self, arrays: Any, widen: bool = False) -> jax.Array:
        """Pack arrays into one vector of JAX's widest enabled float."""
        return _pack(jax.tree.leaves(arrays), np.float64 if widen else jax.dtypes.canonicalize_dtype(np.float64))


def as_the_user_runs_it(call: Callable[[], Any]) -> Any:
    """Call what runs the user's code in its own dtype, a second time after an exception.

    JAX remembers the dtype of NumPy integers in a closure for as long as a trace in float64 lives (seen in 0.10.2), and
    such code cannot run meanwhile. Traces of an earlier verification are garbage, but may not have been collected.
    """
    try:
        return call()
    except Exception as error:
        if has_no_derivative(error):
            raise
        gc.collect()
    return call()


def has_no_derivative(error: BaseException) -> bool:
    """Whether JAX itself says that a function has no derivative in a mode, as opposed to a rule that is broken."""
    return any(text in str(error) for text in _NO_DERIVATIVE)


def flatten_function(f: Callable[..., Any], args: tuple[Any, ...]) -> FlatFunction:
    """View ``f(*args)`` as a function from the vector of its inexact inputs to the vector of its inexact
    outputs.

    Integer, boolean, PRNG-key and non-array leaves keep the values they came with; outputs of those kinds are
    left out. Both are listed in ``skipped``, and so are arrays with no elements.
    """
    values, tree = jax.tree.flatten(args)
    inputs, where, other_inputs = _leaves("args", args)

    def run(arrays: Sequence[Any]) -> Any:
        filled = list(values)
        for position, array in zip(where, arrays, strict=True):
            filled[position] = array
        return f(*jax.tree.unflatten(tree, filled))

    point = _numbers([values[i] for i in where])
    # Copies, because a function may give the memory of its arguments away.
    value = as_the_user_runs_it(
        lambda: run(
            [
                v if isinstance(v, (float, complex)) else jax.device_put(v, may_alias=False)
                for v in (values[i] for i in where)
            ]
        )
    )
    outputs, kept, other_outputs = _leaves("output", value)
    results = jax.tree.leaves(value)

    def call(arrays: Sequence[Any]) -> list[Any]:
        found = jax.tree.leaves(run(arrays))
        return [found[position] for position in kept]

    skipped = [(name, "not a floating or complex array") for name in other_inputs + other_outputs]
    skipped += [(leaf.name, "no elements") for leaf in inputs + outputs if leaf.size == 0]
    numbers = _numbers([results[i] for i in kept])
    return FlatFunction(call, tuple(inputs), tuple(outputs), point, numbers, tuple(skipped))

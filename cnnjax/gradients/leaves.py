"""The arrays among the arguments and results of a function, and where their numbers stand in one real vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["Leaf", "find_leaf", "float64_dtype", "largest", "numeric_leaves", "representable"]


def float64_dtype(dtype: Any) -> Any:
    """Return float64 for a floating dtype, complex128 for a complex one, any other unchanged."""
    if jnp.issubdtype(dtype, jnp.floating):
        return np.dtype(np.float64)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return np.dtype(np.complex128)
    return dtype


@dataclass(frozen=True)
class Leaf:
    """One differentiable array and the part ``[start, stop)`` of the vector that holds its numbers.

    A complex array takes two parts of equal length, all real numbers and then all imaginary ones.
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
        return float64_dtype(self.dtype) if wide else jax.dtypes.canonicalize_dtype(self.dtype)

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


def _is_setting(tree: Any, path: Sequence[Any]) -> bool:
    """Whether a Python number is an attribute of an object, as the rate of a dropout layer is, and not a parameter."""
    for key in path:
        if isinstance(key, jax.tree_util.GetAttrKey):
            if not isinstance(tree, tuple):
                return True
            tree = getattr(tree, key.name)
        elif isinstance(key, jax.tree_util.SequenceKey):
            tree = tree[key.idx]
        elif isinstance(key, jax.tree_util.DictKey):
            tree = tree[key.key]
        else:
            return False
    return False


def numeric_leaves(root: str, tree: Any) -> tuple[list[Leaf], list[int], list[str]]:
    """Return the differentiable leaves, their positions among all leaves, and the names of the others.

    A Python number that is an attribute of an object in the tree counts among the others.
    """
    leaves: list[Leaf] = []
    where: list[int] = []
    others: list[str] = []
    start = 0
    for position, (path, value) in enumerate(jax.tree_util.tree_leaves_with_path(tree)):
        name = root + jax.tree_util.keystr(path)
        if not _is_differentiable(value) or (isinstance(value, float) and _is_setting(tree, path)):
            others.append(f"{name} ({getattr(value, 'dtype', type(value).__name__)})")
            continue
        dtype = getattr(value, "dtype", np.result_type(type(value)))
        leaf = Leaf(name, tuple(np.shape(value)), np.dtype(dtype), start, type(value) in (float, complex))
        leaves.append(leaf)
        where.append(position)
        start = leaf.stop
    return leaves, where, others

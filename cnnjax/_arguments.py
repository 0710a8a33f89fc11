"""Arrays as they come from the caller: the one place where public functions check them, before any tracing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax._errors import ArgumentTypeError, ArgumentValueError, complaint, describe

__all__ = ["array", "check_bias", "check_rank", "check_same_dtype", "image"]


def array(call: str, argument: str, value: Any) -> jax.Array:
    """Return `value` as a JAX array of a floating or complex dtype, or raise ArgumentTypeError."""
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        fix = f"pass jnp.asarray({argument})" if isinstance(value, (list, tuple, float, int)) else "pass an array"
        raise ArgumentTypeError(
            complaint(call, argument, got=describe(value), expected="a JAX or NumPy array", fix=fix)
        )
    # Other libraries' arrays may convert without a word, and their gradients would be lost on the way.
    if not (isinstance(value, (jax.Array, np.ndarray, np.generic)) or hasattr(value, "__jax_array__")):
        raise ArgumentTypeError(
            complaint(
                call,
                argument,
                got=f"an object of type {type(value).__module__}.{type(value).__name__}",
                expected="a JAX or NumPy array",
                fix=f"convert it first, for example with jnp.from_dlpack({argument})",
            )
        )
    result = jnp.asarray(value)
    if not jnp.issubdtype(result.dtype, jnp.inexact):
        raise ArgumentTypeError(
            complaint(
                call,
                argument,
                got=describe(value),
                expected="a floating or complex dtype",
                fix=f"pass {argument}.astype(jnp.float32), scaled as you want it",
            )
        )
    return result


def check_rank(call: str, argument: str, value: jax.Array, axes: Sequence[str]) -> None:
    """Raise ArgumentValueError unless `value` has one axis for each name in `axes`."""
    if value.ndim != len(axes):
        raise ArgumentValueError(
            complaint(
                call,
                argument,
                got=describe(value),
                expected=f"{len(axes)} {'axis' if len(axes) == 1 else 'axes'} ({', '.join(axes)})",
                fix="reshape it to these axes",
            )
        )


def image(call: str, argument: str, value: Any, axes: Sequence[str]) -> tuple[jax.Array, bool]:
    """Return an image (*axes) or a batch of them (N, *axes), always with the batch axis, and whether it had it."""
    result = array(call, argument, value)
    if result.ndim == len(axes):
        return result[None], False
    if result.ndim == len(axes) + 1:
        return result, True
    names = ", ".join(axes)
    raise ArgumentValueError(
        complaint(
            call,
            argument,
            got=describe(value),
            expected=f"axes (N, {names}) or ({names})",
            fix=f"for maps without the last axis pass {argument}[..., None]"
            if result.ndim < len(axes)
            else "fold further batch axes into N, or use jax.vmap",
        )
    )


def check_same_dtype(call: str, **arrays: jax.Array | None) -> None:
    """Raise ArgumentTypeError unless all the given arrays have one dtype."""
    dtypes = {name: value.dtype for name, value in arrays.items() if value is not None}
    first, *others = dtypes
    for name in others:
        if dtypes[name] != dtypes[first]:
            raise ArgumentTypeError(
                complaint(
                    call,
                    name,
                    got=f"of dtype {dtypes[name]}",
                    expected=f"{dtypes[first]}, the dtype of {first}",
                    fix=f"cast one of them, for example {name}.astype({first}.dtype)",
                )
            )


def check_bias(call: str, b: jax.Array, shape: tuple[int, ...], axes: str) -> None:
    """Raise ArgumentValueError unless the bias has exactly `shape`: it is never broadcast."""
    if b.shape != shape:
        raise ArgumentValueError(
            complaint(
                call,
                "b",
                got=describe(b),
                expected=f"shape {shape}, {axes}",
                fix=f"pass a bias of shape {shape}" if np.size(b) != np.prod(shape) else f"pass b.reshape({shape})",
            )
        )

"""Checks of the arrays passed to public functions, before any tracing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax._core.messages import describe, type_error, value_error
from cnnjax._core.shapes import check_not_empty
from cnnjax.errors import ArgumentTypeError

__all__ = [
    "as_array",
    "as_images",
    "as_optional_array",
    "check_bias",
    "check_is_array",
    "check_rank",
    "check_real",
    "check_same_dtype",
    "dtype_or_none",
]


def check_is_array(caller: str, argument: str, value: Any, *, expected: str = "a JAX or NumPy array") -> None:
    """Raise ArgumentTypeError unless `value` is an array that JAX accepts without losing its gradient."""
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        fix = f"pass jnp.asarray({argument})" if isinstance(value, (list, tuple, float, int)) else "pass an array"
        raise type_error(caller, argument, got=describe(value), expected=expected, fix=fix)
    # Arrays of other libraries may convert silently, and the gradient would be lost on the way.
    if not (isinstance(value, (jax.Array, np.ndarray, np.generic)) or hasattr(value, "__jax_array__")):
        raise type_error(
            caller,
            argument,
            got=f"an object of type {type(value).__module__}.{type(value).__name__}",
            expected=expected,
            fix=f"convert it first, for example with jnp.from_dlpack({argument})",
        )


def as_array(caller: str, argument: str, value: Any, *, integers: bool = False) -> jax.Array:
    """Return `value` as a JAX array of a floating or complex dtype, or raise ArgumentTypeError.

    With `integers`, an integer dtype will do as well.
    """
    check_is_array(caller, argument, value)
    result = jnp.asarray(value)
    if not jnp.issubdtype(result.dtype, jnp.number if integers else jnp.inexact):
        expected = "a floating or complex dtype" + (", or integers throughout" if integers else "")
        raise _not_floating(caller, argument, value, expected)
    return result


def as_optional_array(caller: str, argument: str, value: Any, *, integers: bool = False) -> jax.Array | None:
    """Return None for None, else `as_array(caller, argument, value, integers=integers)`."""
    return None if value is None else as_array(caller, argument, value, integers=integers)


def _not_floating(caller: str, argument: str, value: Any, expected: str) -> ArgumentTypeError:
    fix = f"pass {argument}.astype(jnp.float32), scaled as you want it"
    return type_error(caller, argument, got=describe(value), expected=expected, fix=fix)


def check_rank(caller: str, argument: str, value: jax.Array, axes: Sequence[str]) -> None:
    """Raise ArgumentValueError unless `value` has one axis for each name in `axes`."""
    if value.ndim != len(axes):
        raise value_error(
            caller,
            argument,
            got=describe(value),
            expected=f"{len(axes)} {'axis' if len(axes) == 1 else 'axes'} ({', '.join(axes)})",
            fix="reshape it to these axes",
        )


def as_images(
    caller: str, argument: str, value: Any, axes: Sequence[str], *, integers: bool = False
) -> tuple[jax.Array, bool]:
    """Return one image (*axes) or a batch (N, *axes) as a batch, and whether it was one."""
    result = as_array(caller, argument, value, integers=integers)
    if result.ndim in (len(axes), len(axes) + 1):
        check_not_empty(caller, argument, result.shape[-len(axes) :], describe(value))
        batched = result.ndim > len(axes)
        return (result if batched else result[None]), batched
    names = ", ".join(axes)
    raise value_error(
        caller,
        argument,
        got=describe(value),
        expected=f"axes (N, {names}) or ({names})",
        fix=f"for maps without the last axis pass {argument}[..., None]"
        if result.ndim < len(axes)
        else "fold further batch axes into N, or use jax.vmap",
    )


def check_real(caller: str, argument: str, value: jax.Array, *, expected: str = "a real dtype", fix: str) -> None:
    """Raise ArgumentTypeError if `value` is complex."""
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise type_error(caller, argument, got=describe(value), expected=expected, fix=fix)


def check_same_dtype(caller: str, **arrays: jax.Array | None) -> None:
    """Raise ArgumentTypeError unless all the given arrays have one dtype."""
    given = {name: value for name, value in arrays.items() if value is not None}
    dtypes = {name: value.dtype for name, value in given.items()}
    of_integers = [name for name in given if jnp.issubdtype(dtypes[name], jnp.integer)]
    if 0 < len(of_integers) < len(given):
        raise _not_floating(caller, of_integers[0], given[of_integers[0]], "a floating or complex dtype, as the others")
    first, *others = dtypes
    for name in others:
        if dtypes[name] != dtypes[first]:
            raise type_error(
                caller,
                name,
                got=f"of dtype {dtypes[name]}",
                expected=f"{dtypes[first]}, the dtype of {first}",
                fix=f"cast one of them, for example {name}.astype({first}.dtype)",
            )


def check_bias(caller: str, b: jax.Array, shape: tuple[int, ...], axes: str) -> None:
    """Raise ArgumentValueError unless the bias has exactly `shape`; it is never broadcast."""
    if b.shape != shape:
        raise value_error(
            caller,
            "b",
            got=describe(b),
            expected=f"shape {shape}, {axes}",
            fix=f"pass a bias of shape {shape}" if np.size(b) != np.prod(shape) else f"pass b.reshape({shape})",
        )


def dtype_or_none(value: Any) -> jnp.dtype | None:
    """Return the dtype that `value` names, or None if it names none."""
    try:
        return jnp.dtype(value)
    except TypeError:
        return None

"""The operator's speed for any JAX program on a CPU, without changing it.

While drop_in is on, the convolutions of programs that are compiled for a CPU (`lax.conv_general_dilated`, which flax,
equinox, haiku and keras call, and its gradients) are computed by the method that `cnnjax.explain` names, and max pools
(`lax.reduce_window` with `lax.max`) and their gradients by shifted images. Differentiation, vmap and all other
transformations stay JAX's own; so do all programs for GPU and TPU, and every call that the operator does not serve or
that JAX computes faster. `report` says what became of each.

>>> import cnnjax
>>> cnnjax.drop_in.enable()
>>> cnnjax.drop_in.is_enabled()
True
>>> cnnjax.drop_in.disable()
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import jax
from jax import lax

from cnnjax.drop_in.lowering import install, switch
from cnnjax.drop_in.record import Call, Report, Row, report

__all__ = [
    "Call",
    "Report",
    "Row",
    "conv_general_dilated",
    "disable",
    "enable",
    "enabled",
    "is_enabled",
    "report",
]


def enable() -> None:
    """Take over the convolutions and max pools of programs that are compiled from here on, in all threads.

    Functions that have been compiled before are compiled anew when they are called again.

    Raises:
        JaxVersionError: if this release of JAX keeps its lowering rules elsewhere. Nothing is changed then.

    Example:
        >>> import cnnjax
        >>> cnnjax.drop_in.enable()
        >>> cnnjax.drop_in.disable()
    """
    install()
    switch.set_global(True)


def disable() -> None:
    """Leave convolutions and max pools to JAX again: undo `enable`.

    Example:
        >>> import cnnjax
        >>> cnnjax.drop_in.disable()
        >>> cnnjax.drop_in.is_enabled()
        False
    """
    switch.set_global(False)


@contextlib.contextmanager
def enabled() -> Generator[None]:
    """Take over the convolutions and max pools of programs that this thread calls or compiles within a `with` block.

    Example:
        >>> import cnnjax
        >>> with cnnjax.drop_in.enabled():
        ...     print(cnnjax.drop_in.is_enabled())
        True
    """
    install()
    with switch(True):
        yield


def is_enabled() -> bool:
    """Whether drop_in is on for a program that this thread compiles now.

    Example:
        >>> import cnnjax
        >>> cnnjax.drop_in.is_enabled()
        False
    """
    return bool(switch.value)


def conv_general_dilated(lhs: jax.Array, rhs: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
    """Convolve as `jax.lax.conv_general_dilated`, whose arguments these are, with drop_in on for this call.

    The gradient, which JAX compiles later, is taken over if drop_in is on then: under `jax.jit`, put the whole function
    into `enabled`, or call `enable`.

    Args:
        lhs, rhs, args, kwargs: the arguments of `jax.lax.conv_general_dilated`.

    Returns:
        What `jax.lax.conv_general_dilated` returns, to rounding.

    Raises:
        TypeError, ValueError: as `jax.lax.conv_general_dilated`.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> x, w = jnp.ones((1, 1, 4, 4)), jnp.ones((2, 1, 3, 3))
        >>> cnnjax.drop_in.conv_general_dilated(x, w, (1, 1), "SAME").shape
        (1, 2, 4, 4)
    """
    with enabled():
        return lax.conv_general_dilated(lhs, rhs, *args, **kwargs)

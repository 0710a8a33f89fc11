"""The rules under test as their user runs them: op by op in Python, in the function's own dtype."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.gradients.differentiation import Mode
from cnnjax.gradients.flat_function import FlatFunction, pack_on_host, unpack_on_host
from cnnjax.gradients.leaves import Leaf
from cnnjax.gradients.user_code import call_with_retry

__all__ = ["EagerRun", "differentiate_eagerly", "run_eagerly", "same_bits"]


@dataclass(frozen=True)
class EagerRun:
    """What a rule gave in the function's own dtype, without jit."""

    points: tuple[np.ndarray, ...]
    derivatives: tuple[np.ndarray, ...]
    """One for each point."""
    value: np.ndarray
    """The value that came with the derivative at the first point."""
    seconds: float
    """How long the first run took, each operation compiled."""
    different: tuple[np.ndarray, ...] = ()
    """The derivative followed by the value at the first point, run again, if that gave other numbers."""

    @property
    def first(self) -> np.ndarray:
        """The derivative followed by the value at the first point."""
        return np.concatenate([self.derivatives[0], self.value])


def same_bits(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return where two arrays are equal, or both NaN."""
    return (a == b) | (np.isnan(a) & np.isnan(b))


def run_eagerly(
    flat: FlatFunction, mode: Mode, points: Sequence[np.ndarray], probe: np.ndarray
) -> EagerRun | Exception:
    """Run a rule as its user would; what it raises at the first point is returned, other such points are left out.

    It has to come before anything is traced in float64, for the reason that `call_with_retry` gives.
    """

    def run(x: np.ndarray, between: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        return differentiate_eagerly(flat, mode, x, probe, widen=False, between=between)

    try:
        start = time.perf_counter()
        first, value = call_with_retry(lambda: run(points[0]))
        seconds = time.perf_counter() - start
        found = {0: first}
        for i, point in enumerate(points[1:], 1):
            with contextlib.suppress(Exception):  # outside the domain, which the function may check when it is called
                found[i] = run(point)[0]
        usable = [points[i] for i in found]
        once = EagerRun(tuple(usable), tuple(found.values()), value, seconds)
        repeats = (np.concatenate(run(points[0], between)) for between in (None, usable[-1]))
        different = tuple(again for again in repeats if not same_bits(once.first, again).all())
    except Exception as error:  # the user's code: whatever it raises
        return error
    return replace(once, different=different)


def differentiate_eagerly(
    flat: FlatFunction,
    mode: Mode,
    x: np.ndarray,
    probe: np.ndarray,
    widen: bool,
    between: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return a derivative and the value that comes with it, every operation run by itself.

    Args:
        flat: the function.
        mode: how to differentiate it.
        x: (n,) the point.
        probe: a cotangent for "rev", a tangent for "fwd" and "lin".
        widen: whether to run in float64 instead of the function's own dtype.
        between: (n,) for "rev" and "lin", whose forward pass ends before the derivative is taken: another point, for
            which a forward pass is run in between.
    """

    def arrays_at(vector: np.ndarray) -> list[Any]:
        return [
            part if leaf.weak else jax.device_put(part.astype(leaf.dtype_in(widen)))
            for part, leaf in zip(unpack_on_host(vector, flat.inputs), flat.inputs, strict=True)
        ]

    def like(models: Sequence[Any], leaves: Sequence[Leaf]) -> list[np.ndarray]:
        parts = unpack_on_host(probe, [replace(leaf, weak=False) for leaf in leaves])
        return [part.astype(jnp.result_type(model)) for part, model in zip(parts, models, strict=True)]

    def conjugate(arrays: Sequence[Any]) -> list[Any]:  # on the host; see differentiation.conjugate
        return [np.conj(a) if np.iscomplexobj(a) else a for a in map(np.asarray, arrays)]

    arrays = arrays_at(x)
    if mode == "fwd":
        value, tangent = jax.jvp(flat.call, (arrays,), (like(arrays, flat.inputs),))
        return pack_on_host(tangent), pack_on_host(value)
    forward: Callable[..., Any] = jax.vjp if mode == "rev" else jax.linearize
    value, backward = forward(flat.call, arrays)
    if between is not None:
        forward(flat.call, arrays_at(between))
    if mode == "lin":
        return pack_on_host(backward(like(arrays, flat.inputs))), pack_on_host(value)
    cotangent = backward(conjugate(like(value, flat.outputs)))[0]
    return pack_on_host(conjugate(cotangent)), pack_on_host(value)

"""The rules in the function's own dtype: they must be finite, and lose no more digits than the function does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.gradients.checked_mode import Case, CheckedMode
from cnnjax.gradients.differentiation import Mode, differentiate
from cnnjax.gradients.jaxprs import samples_gamma
from cnnjax.gradients.leaves import Leaf, find_leaf, representable
from cnnjax.gradients.report import NOT_FINITE, Check, Mismatch
from cnnjax.gradients.user_code import first_line

__all__ = ["check_higher_order_in_own_dtype", "check_in_own_dtype"]

_LOSS = 2.0**-14  # relative to float64; a float32 rule that goes through half precision loses 2^-11
_NOT_FINITE = 8  # elements that are named
_SINGLE = float(np.finfo(np.float32).eps)


def check_in_own_dtype(tested: CheckedMode, cases: Sequence[Case], usable: bool) -> Iterator[Check | tuple[str, str]]:
    """Check the rule's runs in the function's own dtype.

    Args:
        tested: the rule.
        cases: its derivative in the function's own dtype, and in float64, at each point.
        usable: whether the function is finite in its own dtype.
    """
    name, function = f"own dtype ({tested.mode})", tested.function
    if not usable:
        yield name, "the function is not finite in its own dtype"
        return
    found, exact, _ = cases[0]
    if check := _not_finite(name, found, exact, tested.result_leaves, 1):
        yield check
        return
    if function.unit is None or function.has_float_loop_condition or function.contains(samples_gamma):
        return
    # Next to a kink the two precisions may be on different sides of it, but not at two points.
    unit = max(function.unit, _LOSS / 32)
    checks = (tested.check("own dtype", [case], unit) for case in cases)
    first = next(checks)
    yield first if first.ok else min((first, *checks), key=lambda check: check.worst)
    yield from _lost(name, found, exact, tested.result_leaves)


def check_higher_order_in_own_dtype(
    mode: Mode,
    derivative: Callable[[Any], Any],
    at: tuple[np.ndarray, np.ndarray],
    exact: np.ndarray,
    unit: float,
    leaves: Sequence[Leaf],
    order: int,
) -> Iterator[Check | tuple[str, str]]:
    """Check that the derivative of a derivative is finite in the function's own dtype, and say if no digit is left.

    Args:
        mode: how to differentiate it.
        derivative: the derivative of the order before as a function of one vector, in the function's own dtype.
        at: the point and the cotangent or tangent.
        exact: the result in float64.
        unit: the rounding unit of the function's own dtype.
        leaves: what the result consists of.
        order: of the result.
    """
    name = f"own dtype ({mode})"

    def run(x: Any, probe: Any) -> Any:
        return differentiate(mode, derivative, x, probe)

    if unit <= _SINGLE:  # a compiler computes in a wider dtype than 16 bits, but not in a wider one than float32
        run = jax.jit(run)
    try:
        found, value = (np.asarray(a, np.float64) for a in run(*map(jnp.asarray, at)))
    except Exception as error:  # the user's code: whatever it raises
        yield f"{name}, order {order}", first_line(error)
        return
    if not np.isfinite(value).all():
        yield f"{name}, order {order}", "the derivative of the order before is not finite in its own dtype"
    elif check := _not_finite(name, found, exact, leaves, order):
        yield check
    else:
        yield from _lost(f"{name}, order {order}", found, exact, leaves)


def _not_finite(name: str, found: np.ndarray, exact: np.ndarray, leaves: Sequence[Leaf], order: int) -> Check | None:
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~np.isfinite(found) & ~np.isinf(representable(exact, leaves)))
    if not len(bad):
        return None
    mismatches = tuple(
        Mismatch(f"{_element(leaves, i)} in the function's own dtype", float(found[i]), float(exact[i]), 0.0)
        for i in bad[:_NOT_FINITE].tolist()
    )
    return Check(name, "given", order, len(found), np.inf, mismatches, note=NOT_FINITE)


def _element(leaves: Sequence[Leaf], position: int) -> str:
    return find_leaf(leaves, position).element(position)


def _lost(name: str, found: np.ndarray, exact: np.ndarray, leaves: Sequence[Leaf]) -> Iterator[tuple[str, str]]:
    """Name the arrays whose derivative has no correct digit in the function's own dtype."""
    for leaf in leaves:
        part = slice(leaf.start, leaf.stop)
        size, error = abs(exact[part]), abs(found[part] - exact[part])
        if leaf.size and np.isfinite(size).all() and 0 < size.max() < 2 * error.max():
            at = leaf.start + int(error.argmax())
            numbers = f"computed {found[at]:.3g}, in float64 {exact[at]:.3g}"
            yield name, f"round-off exceeds the derivative, {leaf.element(at)}: {numbers}"

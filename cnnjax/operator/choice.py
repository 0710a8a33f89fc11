"""Which method computes a direction of a call: a rule on static shapes and the platform, and no measurement.

The same call gives the same program every time. On GPU and TPU it is XLA's convolution, which is the vendor's. On a
CPU the rule below was read off measurements (docs/operator.md); the methods that transform (Winograd, FFT), whose error
is larger than that of a sum of products, are never chosen.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from cnnjax._windows import accumulation_dtype
from cnnjax.operator.calls import Call
from cnnjax.operator.methods import BY_NAME
from cnnjax.operator.methods.matmul import is_pointwise, is_whole

__all__ = ["choose", "compute"]


def choose(direction: str, call: Call, platform: str) -> tuple[str, str]:
    """Return the name of the method for a direction ("forward", "input_gradient", "weight_gradient"), and why."""
    # What was asked for has been checked; but under vmap a batch of weights becomes groups, which it may not serve.
    if call.method != "auto" and BY_NAME[call.method].refuses(call) is None:
        return call.method, "asked for"
    if platform != "cpu":
        return "lax", "on GPU and TPU XLA calls the vendor's convolution"
    if call.groups == call.c_in and call.groups > 1:
        return "depthwise", "one group for each map: XLA's CPU convolution is tens of times slower"
    if call.groups > 1:
        return "block_diagonal", "several groups: XLA's CPU convolution is tens to hundreds of times slower"
    if is_pointwise(call) or is_whole(call):
        return "matmul", "it is a single matrix product"
    if _is_thin(call):
        if call.c_in == 1:
            return ("shift" if direction == "forward" else "toeplitz"), "one input map: other products are too thin"
        if direction == "input_gradient":
            return "toeplitz", "few input maps: other products are too thin"
    return "lax", "an ordinary convolution"


def _is_thin(call: Call) -> bool:
    """Whether a two-dimensional image has too few maps to fill a machine's multipliers."""
    return call.c_in <= 8 and len(call.geometry.kernel) == 2 and call.unit_stride and call.unit_dilation


def compute(direction: str, a: jax.Array, b: jax.Array, call: Call, dtype: Any, platform: str) -> jax.Array:
    """Compute one direction by the method of the call, in the dtype in which sums are kept; cast the result."""
    method = BY_NAME[choose(direction, call, platform)[0]]
    work = max(a.dtype, b.dtype, jnp.dtype(dtype), key=lambda candidate: candidate.itemsize)
    work = work if method.native else accumulation_dtype(work)
    return method.direction(direction)(a.astype(work), b.astype(work), call).astype(dtype)

"""Which method computes a direction of a call: a rule on static shapes, dtype and platform, and no measurement.

The same call gives the same program every time. On GPU and TPU it is XLA's convolution, which is the vendor's. On a
CPU the rule below was read off measurements (docs/operator.md); the methods that transform (Winograd, FFT), whose error
is larger than that of a sum of products, are never chosen. On "any cpu", a program that is exported or spread over
several devices, it is what every machine has and the partitioner understands.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax

from cnnjax.operator.methods import BY_NAME
from cnnjax.operator.methods.matmul import is_pointwise, is_tiled, is_whole
from cnnjax.operator.methods.shift import saves_padding
from cnnjax.operator.spec import ConvSpec, Direction, widest
from cnnjax.operator.unfused import unfused

__all__ = ["choose", "compute"]


def choose(direction: Direction, spec: ConvSpec, platform: str) -> tuple[str, str]:
    """Return the name of the method for a direction ("forward", "input_gradient", "weight_gradient"), and why."""
    here = platform == "cpu"
    # What was asked for has been checked; but under vmap a batch of weights becomes groups, which it may not serve, and
    # an exported program takes nothing along that only this machine has.
    if spec.method != "auto" and BY_NAME[spec.method].refuses(spec) is None and (here or spec.method != "onednn"):
        return spec.method, "asked for"
    if platform not in ("cpu", "any cpu"):
        return "lax", "on GPU and TPU XLA calls the vendor's convolution"
    of_weights = direction == "weight_gradient"
    # The weight gradient of a 1 x 1 kernel sums over all positions: in parts it is twice as fast as in one product.
    if spec.groups == 1 and (is_whole(spec) or (is_pointwise(spec) and not of_weights)):
        return "matmul", "it is a single matrix product"
    if spec.groups == 1 and direction == "input_gradient" and is_tiled(spec):
        return "matmul", "no pixel is read twice: it is a single matrix product"
    if not of_weights and spec.c_in == 1 and _is_plane(spec):
        return ("shift" if direction == "forward" else "toeplitz"), "one input map: other products are too thin"
    if not of_weights and here and BY_NAME["onednn"].refuses(spec) is None:
        return "onednn", "the library's kernel, as PyTorch has it"
    if spec.groups == spec.c_in and spec.groups > 1:
        return "depthwise", "one group for each map: XLA's CPU convolution is tens of times slower"
    if of_weights and here and saves_padding(spec):
        return "shift", "small images: a product a tap leaves out the padding"
    if of_weights and here:
        return "gathered", "products of patches that stay in the cache, gathered in runs of memory"
    if spec.groups > 1:
        return "block_diagonal", "several groups: XLA's CPU convolution is tens to hundreds of times slower"
    if of_weights:
        return "im2col", "products of patches that stay in the cache"
    if direction == "input_gradient" and spec.c_in <= 8:
        if _is_plane(spec):
            return "toeplitz", "few input maps: other products are too thin"
        if BY_NAME["space_to_depth"].refuses(spec) is None:
            return "space_to_depth", "few input maps and a stride: other products are too thin"
    return "lax", "an ordinary convolution"


def _is_plane(spec: ConvSpec) -> bool:
    """Whether it is a two-dimensional image, read without stride and dilation."""
    return len(spec.geometry.kernel) == 2 and spec.unit_stride and spec.unit_dilation


def compute(direction: Direction, a: jax.Array, b: jax.Array, spec: ConvSpec, dtype: Any, platform: str) -> jax.Array:
    """Compute one direction by the method of the call, in the dtype in which sums are kept; cast the result."""
    # The dtype of the arrays counts: a program may be run again in a wider one, as `check_grads` does.
    spec = replace(spec, dtype=widest(a.dtype, b.dtype, dtype))
    method = BY_NAME[choose(direction, spec, platform)[0]]
    work = spec.dtype if method.native else spec.accumulation
    of_call = lambda a, b: method.direction(direction)(a, b, spec)  # noqa: E731
    a, b = a.astype(work), b.astype(work)
    apart = platform == "cpu" and direction in method.loops
    return (unfused(of_call, a, b) if apart else of_call(a, b)).astype(dtype)

"""The rule behind method="auto": static shapes, dtype and platform decide which method computes a direction.

Nothing is measured here, so the same convolution always compiles to the same program. On GPU and TPU it is XLA's
convolution, which calls the vendor's library. On CPUs the rule follows the measurements in docs/guides/operator.md. The
transform methods (Winograd, FFT), whose rounding error is larger than that of a sum of products, are never chosen.
An exported or partitioned program ("any cpu") uses only methods that run on every machine and that XLA can partition;
one that JAX may write to disk ("stored cpu") does without oneDNN, whose call XLA cannot write.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from cnnjax._core.windows import MANY_TAPS
from cnnjax.operator._jax import may_be_stored
from cnnjax.operator.containment import contained
from cnnjax.operator.methods import BY_NAME
from cnnjax.operator.methods.matmul import is_pointwise, is_tiled, is_whole
from cnnjax.operator.methods.onednn import sums_over_images
from cnnjax.operator.methods.shift import saves_padding
from cnnjax.operator.spec import ConvSpec, Direction, MethodName, Platform, is_cpu, is_this_cpu, widest
from cnnjax.operator.unfused import unfused

__all__ = ["REQUESTED", "Choice", "choose", "compute", "default_platform"]

# Up to these numbers, elementwise sums and bands of the kernel beat oneDNN for one input map.
_FEW_OUTPUTS, _FEW_ROWS = 4, 16
# Up to this number of positions, or of input maps in the input gradient, a product of patches beats oneDNN; where the
# patches are larger than the cotangent, there are to be no more numbers in them than this.
_FEW_POSITIONS, _FEWEST_INPUTS, _FEW_PATCHES = 64, 4, 2**22
# From this number of weights on, oneDNN spends more time on reordering them than on few positions.
_MANY_WEIGHTS = 2**18
# More weights of a sequence's map than these, or rows of fewer pixels, are faster as products of patches.
_FEW_WEIGHTS, _SHORT_ROW = 32, 4
# Numbers in the patches of one row, from which on they take too much memory.
_MANY_PATCHES_OF_ROW = 2**21
# From this width on, the weight gradient of one map to one is faster row by row.
_WIDE_ROW = 1024
# Up to this number of multiplications, a product of tiles beats oneDNN.
_FEW_PRODUCTS_OF_TILES = 2**25
# Up to these numbers of positions and multiplications, XLA's convolution beats oneDNN for several groups of many maps.
_FEW_POSITIONS_OF_GROUPS, _FEW_PRODUCTS_OF_GROUPS = 8, 2**24
# Up to this number of multiplications along a sequence of at least so many maps, XLA's convolution, and for the input
# gradient a product of patches, beat oneDNN.
_FEW_PRODUCTS_OF_SEQUENCE, _MANY_INPUTS = 2**24, 64
# From these numbers of multiplications on, native products of bfloat16 beat float32's in one product, and of tiles.
_MANY_PRODUCTS, _MANY_PRODUCTS_OF_TILES = 2**24, 2**26
# Up to these numbers of multiplications and taps, a product of patches beats a call of oneDNN.
_TINY, _FEW_TAPS = 2**19, 9

REQUESTED = "asked for"
"""The reason for a method that the caller, or a measurement, named."""


class Choice(NamedTuple):
    """The method that computes a direction, and the reason in a few words.

    Attributes:
        method: a name in `cnnjax.METHODS`.
        reason: why it was chosen.
    """

    method: MethodName
    reason: str


def choose(direction: Direction, spec: ConvSpec, platform: Platform) -> Choice:
    """Choose the method for a direction on a platform."""
    here, may_call_onednn = is_this_cpu(platform), platform == "cpu"
    # A method named by the caller has been checked. But vmap turns a batch of weights into groups, which the method may
    # not serve, and a program that is exported or stored must not call oneDNN.
    served = spec.method != "auto" and BY_NAME[spec.method].refuses(spec) is None
    if served and (may_call_onednn or spec.method != "onednn"):
        return Choice(spec.method, REQUESTED)
    if not is_cpu(platform):
        return Choice("lax", "on GPU and TPU XLA calls the vendor's convolution")
    if not spec.is_static:
        return Choice("lax", "other methods need sizes that are integers")
    of_weights = direction == "weight_gradient"
    if may_call_onednn and _gains_by_bfloat16(direction, spec):
        return Choice("onednn", "oneDNN's kernel multiplies bfloat16 as the processor does")
    # The weight gradient of a 1 x 1 kernel sums over all positions: in parts it is twice as fast as in one product.
    if spec.groups == 1 and (is_whole(spec) or (is_pointwise(spec) and not of_weights)):
        return Choice("matmul", "it is a single matrix product")
    few_tiles = direction == "forward" and spec.num_products <= _FEW_PRODUCTS_OF_TILES
    if spec.groups == 1 and is_tiled(spec) and (few_tiles or direction == "input_gradient"):
        return Choice("matmul", "no pixel is read twice: it is a single matrix product")
    if not jnp.issubdtype(spec.dtype, jnp.inexact):
        return _choose_for_integers(spec)
    if not of_weights and spec.c_in == 1:
        thin = _of_one_map(direction, spec)
        if thin is not None:
            return Choice(thin, "one input map: other products are too thin")
    small = None if of_weights else _why_small(direction, spec)
    if small is not None:
        return Choice("im2col", small)
    few_inputs = spec.groups == 1 and spec.c_in <= _FEWEST_INPUTS and _is_plain(spec)
    if direction == "input_gradient" and few_inputs:
        if spec.num_taps > MANY_TAPS and _has_band(spec):
            return Choice("toeplitz", "few input maps: other products are too thin")
        if spec.num_taps <= MANY_TAPS or spec.c_in == 1:
            return Choice("lax", "few input maps, and patches that would take too much memory")
    if direction == "forward" and _has_few_positions_of_groups(spec):
        return Choice("lax", "few positions: other methods would spend their time on reordering the weights")
    if not of_weights and _is_short_sequence(spec):
        fastest: MethodName = "lax" if direction == "forward" else "im2col"
        return Choice(fastest, "a short sequence: calling a library costs more than it saves")
    if may_call_onednn and BY_NAME["onednn"].refuses(spec) is None:
        if not of_weights:
            return Choice("onednn", "oneDNN's kernel, the one that PyTorch uses")
        if sums_over_images(spec):
            return Choice("onednn", "one map to one: the cotangents of all images are one kernel of oneDNN's")
    if spec.groups == spec.c_in and spec.groups > 1 and not (of_weights and _has_many_weights(spec)):
        return Choice("depthwise", "one group for each map: XLA's CPU convolution is tens of times slower")
    if of_weights and _is_one_wide_map(spec):
        return Choice("depthwise", "one wide map to one: row by row it needs no patches")
    if of_weights and here and saves_padding(spec):
        return Choice("shift", "small images: one product for each tap skips the padding")
    if of_weights and here:
        return Choice("gathered", "products of patches that stay in the cache, gathered in contiguous runs")
    if spec.groups > 1:
        return Choice("block_diagonal", "several groups: XLA's CPU convolution is tens to hundreds of times slower")
    if of_weights:
        return Choice("im2col", "products of patches that stay in the cache")
    if direction == "input_gradient" and spec.c_in <= 8:
        if _is_plain(spec) and _has_band(spec):
            return Choice("toeplitz", "few input maps: other products are too thin")
        if BY_NAME["space_to_depth"].refuses(spec) is None:
            return Choice("space_to_depth", "few input maps and a stride: other products are too thin")
    return Choice("lax", "an ordinary convolution")


def _choose_for_integers(spec: ConvSpec) -> Choice:
    if spec.groups == spec.c_in and spec.groups > 1:
        return Choice("depthwise", "one group for each map: XLA's CPU convolution is hundreds of times slower")
    if spec.groups > 1 or spec.c_in == 1:
        return Choice("lax", "an ordinary convolution of integers")
    return Choice("im2col", "integers: XLA's CPU convolution is several times slower than a product of patches")


def default_platform() -> Platform:
    """The platform of a program that is lowered now for JAX's default backend."""
    backend = jax.default_backend()
    if backend == "cpu" and may_be_stored():
        return "stored cpu"
    return cast(Platform, {"gpu": "cuda"}.get(backend, backend))


def _why_small(direction: Direction, spec: ConvSpec) -> str | None:
    """Why one product with the patches is faster than any kernel for convolutions, or None if it is not."""
    positions = spec.n * math.prod(spec.geometry.output)
    patches = positions * spec.num_taps * spec.c_in
    if spec.groups > 1 or spec.num_taps > MANY_TAPS:
        return None
    if spec.num_products <= _TINY and spec.num_taps <= _FEW_TAPS:
        return "so few products that calling a library costs more than it saves"
    large = math.prod(spec.w_shape) >= _MANY_WEIGHTS or spec.num_taps <= _FEW_TAPS
    if positions <= _FEW_POSITIONS and large:
        return "few positions: oneDNN would spend its time on reordering the weights"
    fit = spec.num_taps * spec.c_in <= spec.c_out or patches <= _FEW_PATCHES
    if direction == "input_gradient" and spec.c_in <= _FEWEST_INPUTS and spec.unit_stride and fit:
        return "few input maps: other products are too thin"
    return None


def _gains_by_bfloat16(direction: Direction, spec: ConvSpec) -> bool:
    """Whether there is so much to multiply that native products in 16 bits win over any method in float32."""
    onednn = BY_NAME["onednn"]
    if not onednn.native(direction, spec) or onednn.refuses(spec) is not None:
        return False
    least = _MANY_PRODUCTS if is_pointwise(spec) else _MANY_PRODUCTS_OF_TILES
    return spec.num_products >= least and spec.c_in > _FEWEST_INPUTS and not is_whole(spec)


def _has_few_positions_of_groups(spec: ConvSpec) -> bool:
    """Whether several groups of many maps meet so few positions that XLA's convolution is the fastest."""
    few = spec.n * math.prod(spec.geometry.output) <= _FEW_POSITIONS_OF_GROUPS
    many_maps = spec.groups > 1 and spec.maps_in_group >= _MANY_INPUTS
    return few and many_maps and spec.num_products <= _FEW_PRODUCTS_OF_GROUPS


def _is_short_sequence(spec: ConvSpec) -> bool:
    """Whether many maps along one axis take so few multiplications that a call of a library does not pay."""
    one = len(spec.geometry.kernel) == spec.groups == 1 and spec.unit_stride
    return one and spec.c_in >= _MANY_INPUTS and spec.num_products <= _FEW_PRODUCTS_OF_SEQUENCE


def _has_many_weights(spec: ConvSpec) -> bool:
    """Whether a depthwise weight gradient is faster by patches than row by row: many taps, or rows of few pixels.

    Not if the patches of a single row would take much memory.
    """
    if len(spec.geometry.kernel) == 1:
        return spec.num_taps > _FEW_WEIGHTS
    in_row = math.prod(spec.geometry.output[1:])
    if in_row * spec.num_taps * spec.c_in > _MANY_PATCHES_OF_ROW:
        return False
    return spec.num_taps > MANY_TAPS or in_row < _SHORT_ROW


def _is_one_wide_map(spec: ConvSpec) -> bool:
    """Whether one map, with long rows, becomes one map."""
    two_axes = len(spec.geometry.kernel) == 2 and spec.num_taps <= MANY_TAPS
    return two_axes and spec.c_in == spec.c_out == 1 and spec.geometry.output[-1] >= _WIDE_ROW


def _of_one_map(direction: Direction, spec: ConvSpec) -> MethodName | None:
    """The method for one input map, where one is faster than those for many."""
    if spec.c_out <= (_FEW_OUTPUTS if direction == "forward" else 1):
        return "depthwise"
    if not _is_plain(spec):
        return None
    if direction == "forward":
        return "shift" if spec.num_taps <= MANY_TAPS else None
    return "toeplitz" if _has_band(spec) else None


def _has_band(spec: ConvSpec) -> bool:
    """Whether the kernel is a band of a matrix, with few rows: each is an operation of the program."""
    return BY_NAME["toeplitz"].refuses(spec) is None and math.prod(spec.geometry.kernel[:-1]) <= _FEW_ROWS


def _is_plain(spec: ConvSpec) -> bool:
    """Whether the convolution has one or two axes, and neither stride nor dilation."""
    return len(spec.geometry.kernel) <= 2 and spec.unit_stride and spec.unit_dilation


def compute(
    direction: Direction, a: jax.Array, b: jax.Array, spec: ConvSpec, dtype: DTypeLike, platform: Platform
) -> jax.Array:
    """Compute a direction by the chosen method, summing in the accumulation dtype, and cast the result to `dtype`."""
    if 0 in a.shape or 0 in b.shape:  # a sum of nothing
        return jnp.zeros(spec.result_shape(direction), dtype)
    # The dtypes of the operands matter, not that of the spec: `check_grads` runs a program again in a wider dtype.
    spec = replace(spec, dtype=widest(a.dtype, b.dtype, dtype))
    method = BY_NAME[choose(direction, spec, platform).method]
    parts = method.parts_of_batch(spec) if direction == "input_gradient" and is_this_cpu(platform) else 1
    if parts > 1:
        part = replace(spec, n=spec.n // parts)
        of_part = lambda y: compute(direction, a, y, part, dtype, platform)  # noqa: E731
        return lax.map(of_part, b.reshape(parts, *part.y_shape)).reshape(spec.x_shape)
    work = spec.dtype if method.native(direction, spec) else spec.accumulation_dtype
    a, b = a.astype(work), b.astype(work)
    if is_cpu(platform) and method.spreads(direction, spec) and jnp.issubdtype(work, jnp.inexact):
        return contained(method, direction, a, b, spec).astype(dtype)
    run = lambda a, b: method.direction(direction)(a, b, spec)  # noqa: E731
    apart = is_this_cpu(platform) and direction in method.elementwise
    return (unfused(run, a, b) if apart else run(a, b)).astype(dtype)

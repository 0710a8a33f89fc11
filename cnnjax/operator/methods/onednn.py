"""oneDNN: the library's own convolution, for the forward pass, the input gradient and depthwise weight gradients.

The input gradient is a convolution of the cotangent with the flipped kernel, its input and output maps swapped. With a
stride, the pixels split into phases, one for each remainder: only some of the taps reach phase a, so each phase is a
convolution without stride, and the phases are interleaved. With few maps, all phases are one convolution instead, with
the stride folded into the maps::

    x[a + s m] = sum over taps t with t d - before = a (mod s) of  w[t] y[m - (t d - before - a) / s]

The weight gradient of one map to one is a convolution of the images, with their cotangents as the kernel. The images
are one more axis, along which this kernel is as long as the batch, so that one call sums over all of them::

    w[t, c] = sum over n, p of  x[n, p + t d, c] * y[n, p, c]

Cost: the multiply-accumulates of the definition. Other weight gradients are those of `gathered`. It serves float32, and
16 bits in float32 or, on processors that multiply bfloat16, as they are; on x86-64 Linux (`operator/_onednn.py` says
where, and why only there), with padding narrower than the kernel.

Source: oneDNN, "Convolution"; the phases are the polyphase decomposition of Vaidyanathan 1993, section 4.3.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax._core.shapes import Geometry
from cnnjax.operator import _onednn
from cnnjax.operator.method import Method, swap_maps
from cnnjax.operator.methods import gathered, space_to_depth
from cnnjax.operator.spec import ConvSpec, Direction

__all__ = ["METHOD", "sums_over_images"]

# With so few maps, a phase does not fill a vector register. A folded kernel without zeros pays up to more of them.
_FEW_MAPS, _MANY_MAPS = 7, 64
# Every phase is a convolution of the program.
_MOST_PHASES = 16
# The library notes an address for every position of a kernel: 4 MiB for the most. Parts with fewer than the least cost
# more in calls than they save.
_MOST_POSITIONS, _LEAST_POSITIONS = 2**17, 2**11


def _refuses(spec: ConvSpec) -> str | None:
    geometry = spec.geometry
    if any(max(pads) >= extent for pads, extent in zip(geometry.pads, geometry.extent, strict=True)):
        return "the padding is as wide as the kernel"
    return _onednn.refuses(geometry, (spec.x_shape, spec.w_shape, spec.y_shape), spec.groups, spec.accumulation_dtype)


def _convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    return _onednn.convolve(x, w, spec.geometry, spec.groups)


def _input_gradient(w: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    geometry = spec.geometry
    if _folds_stride(spec):
        return space_to_depth.input_gradient_by(_input_gradient)(w, y, spec)
    if spec.groups > 1:
        w = swap_maps(w, spec.groups)
    every = itertools.product(*map(range, geometry.stride))
    phases = {remainders: _phase(w, y, spec, remainders) for remainders in every}
    return _interleave(phases, geometry)


def _folds_stride(spec: ConvSpec) -> bool:
    """Whether the stride is folded into the maps, instead of one convolution for each phase."""
    wins = spec.c_in <= _FEW_MAPS or math.prod(spec.geometry.stride) > _MOST_PHASES
    if not _fills_up(spec):
        wins |= spec.c_in <= _MANY_MAPS
    return wins and space_to_depth.METHOD.refuses(spec) is None


def _fills_up(spec: ConvSpec) -> bool:
    """Whether a kernel whose stride is folded is filled up with zeros."""
    return any(k % s for k, s in zip(spec.geometry.kernel, spec.geometry.stride, strict=True))


def _phase(w: jax.Array, y: jax.Array, spec: ConvSpec, remainders: tuple[int, ...]) -> jax.Array:
    """The gradient of every stride-th pixel along each axis, starting at `remainders`."""
    geometry = spec.geometry
    axes = range(len(geometry.kernel))
    pixels = [-(-(n - a) // s) for n, a, s in zip(geometry.size, remainders, geometry.stride, strict=True)]
    nothing = jnp.zeros((spec.n, *pixels, spec.c_in), y.dtype)
    kernel: list[int] = []
    dilation: list[int] = []
    pads: list[tuple[int, int]] = []
    for axis in axes:
        stride, step, start = geometry.stride[axis], geometry.dilation[axis], geometry.pads[axis][0] + remainders[axis]
        taps = [t for t in range(geometry.kernel[axis]) if (t * step - start) % stride == 0]
        if not taps or not pixels[axis]:
            return nothing
        common = math.gcd(step, stride)
        w = lax.slice_in_dim(w, taps[0], taps[-1] + 1, stride // common, axis=axis)
        nearest, farthest = ((t * step - start) // stride for t in (taps[0], taps[-1]))
        kernel.append(len(taps))
        dilation.append(step // common)
        pads.append((farthest, pixels[axis] - nearest - geometry.output[axis]))
    # Positions that no pixel of this phase needs are cut off; pixels beyond the edge become padding.
    y = lax.pad(y, jnp.zeros((), y.dtype), [(0, 0, 0), *((min(a, 0), min(b, 0), 0) for a, b in pads), (0, 0, 0)])
    if 0 in y.shape:
        return nothing
    outside = tuple((max(a, 0), max(b, 0)) for a, b in pads)
    phase = Geometry(y.shape[1:-1], tuple(kernel), (1,) * len(kernel), tuple(dilation), outside)
    return _onednn.convolve(y, lax.rev(w, tuple(axes)), phase, spec.groups, swapped=spec.groups == 1)


def _interleave(phases: dict[tuple[int, ...], jax.Array], geometry: Geometry) -> jax.Array:
    """Interleave the pixels of all phases, (N, *size, C_in)."""
    for axis in reversed(range(len(geometry.stride))):
        stride, size = geometry.stride[axis], geometry.size[axis]
        pixels = -(-size // stride)
        merged: dict[tuple[int, ...], jax.Array] = {}
        for outer in dict.fromkeys(remainders[:axis] for remainders in phases):
            parts = [_pad_end(phases[(*outer, a)], pixels, 1 + axis) for a in range(stride)]
            whole = jnp.stack(parts, axis=2 + axis) if stride > 1 else parts[0]
            shape = (*parts[0].shape[: 1 + axis], pixels * stride, *parts[0].shape[2 + axis :])
            merged[outer] = lax.slice_in_dim(whole.reshape(shape), 0, size, axis=1 + axis)
        phases = merged
    return phases[()]


def _pad_end(a: jax.Array, length: int, axis: int) -> jax.Array:
    """Pad the end of one axis with zeros, up to `length`."""
    return jnp.pad(a, [(0, length - a.shape[i] if i == axis else 0) for i in range(a.ndim)])


def sums_over_images(spec: ConvSpec) -> bool:
    """Whether the weight gradient is a call of the library, or one for each part of the batch."""
    one_to_one = 1 < spec.groups == spec.c_in == spec.c_out
    if not one_to_one or not spec.unit_stride or len(spec.geometry.kernel) > 2:
        return False
    if any(max(pads) >= positions for pads, positions in zip(spec.geometry.pads, spec.geometry.output, strict=True)):
        return False  # the padding is as wide as this kernel
    parts = _calls(spec)
    in_part = spec.n // parts * math.prod(spec.geometry.output)
    return in_part <= _MOST_POSITIONS and (parts == 1 or in_part >= _LEAST_POSITIONS)


def _calls(spec: ConvSpec) -> int:
    """The number of calls, each for an equal part of the batch, so that none has too many positions."""
    most = max(1, _MOST_POSITIONS // math.prod(spec.geometry.output))
    return next(parts for parts in range(1, spec.n + 1) if spec.n % parts == 0 and spec.n // parts <= most)


def _weight_gradient(x: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    if not sums_over_images(spec):
        return gathered.weight_gradient(x, y, spec)
    parts = _calls(spec)
    if parts == 1:
        return _sum_over_images(x, y, spec)
    part = replace(spec, n=spec.n // parts)

    def add(total: jax.Array, images: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return total + _sum_over_images(*images, part), None

    operands = x.reshape(parts, *part.x_shape), y.reshape(parts, *part.y_shape)
    return lax.scan(add, jnp.zeros(spec.w_shape, x.dtype), operands)[0]


def _sum_over_images(x: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    geometry = spec.geometry
    size, kernel, pads = (spec.n, *geometry.size), (spec.n, *geometry.output), ((0, 0), *geometry.pads)
    images = Geometry(size, kernel, (1, *geometry.dilation), (1,) * len(size), pads)
    return _onednn.convolve(x[None], y[..., None, :], images, spec.groups).reshape(spec.w_shape)


def _spreads(direction: Direction, spec: ConvSpec) -> tuple[int, ...]:
    # The weights are also multiplied by the zeros around the cotangent, and the cotangent by those that fill up a
    # kernel whose stride is folded.
    if direction == "input_gradient":
        return (0, 1) if _folds_stride(spec) and _fills_up(spec) else (0,)
    return ()


def _is_native(direction: Direction, spec: ConvSpec) -> bool:
    # Of several groups with more than a map each, the library has no kernel for bfloat16 made for the processor.
    one_or_each = spec.groups == 1 or spec.groups == spec.c_in == spec.c_out
    in_sixteen_bits = direction != "weight_gradient" and spec.dtype == jnp.bfloat16
    return in_sixteen_bits and one_or_each and _onednn.multiplies_bfloat16()


METHOD = Method("onednn", _convolve, _input_gradient, _weight_gradient, _refuses, native=_is_native, spreads=_spreads)

"""Groups as a few ordinary convolutions: neighbouring groups form one block with block-diagonal weights::

    w_block[t, c, o] = w[t, c mod (C_in / g), o]   if c and o belong to the same group, else 0

The weight gradient takes the patches of all blocks in one batched product, as `im2col` does, and keeps the diagonal.
(Eight of XLA's own weight gradients side by side in one program crash jaxlib 0.10.2.)

A block takes as many groups as make about 32 input maps, 16 for the weight gradient: wide enough for the vector units,
narrow enough that multiplying zeros costs less than it saves.

Cost: (groups in a block) times the multiply-accumulates of the definition. It serves more than one group.

Source: a grouped convolution is a dense one with a block-diagonal connection table; the slowness of XLA's own that this
avoids is described in jax issues 13800 and 26266.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp

from cnnjax.operator.method import Method, transposed_in_x
from cnnjax.operator.methods import im2col, xla
from cnnjax.operator.spec import ConvSpec, Direction

__all__ = ["METHOD", "spreads", "weight_gradient_of_patches"]

_MAPS_IN_BLOCK = 32
_MAPS_IN_BLOCK_OF_PATCHES = 16


def _refuses(spec: ConvSpec) -> str | None:
    return None if spec.groups > 1 else "there is only one group"


def _groups_in_block(spec: ConvSpec, maps: int) -> int:
    """The largest divisor of the number of groups whose groups have at most `maps` input maps together."""
    fitting = (n for n in range(1, spec.groups + 1) if spec.groups % n == 0 and n * spec.maps_in_group <= maps)
    return max(fitting, default=1)


def _convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    together = _groups_in_block(spec, _MAPS_IN_BLOCK)
    blocks = spec.groups // together
    c_in, c_out = spec.c_in // blocks, spec.c_out // blocks
    of_block = replace(spec, c_in=c_in, c_out=c_out, groups=1)

    per_group = w.reshape(*spec.geometry.kernel, 1, spec.maps_in_group, blocks, together, c_out // together)
    same = jnp.eye(together, dtype=bool).reshape((1,) * len(spec.geometry.kernel) + (together, 1, 1, together, 1))
    dense = jnp.where(same, per_group, jnp.zeros_like(per_group)).reshape(*spec.geometry.kernel, c_in, blocks, c_out)
    results = [xla.METHOD.forward(x[..., b * c_in : (b + 1) * c_in], dense[..., b, :], of_block) for b in range(blocks)]
    return jnp.concatenate(results, axis=-1)


def _weight_gradient(x: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    return weight_gradient_of_patches(x, y, spec, im2col.concatenated_patches)


def weight_gradient_of_patches(x: jax.Array, y: jax.Array, spec: ConvSpec, patches: im2col.Patches) -> jax.Array:
    """The weight gradient by products of patches, extracted by the function `patches`."""
    together = _groups_in_block(spec, _MAPS_IN_BLOCK_OF_PATCHES)
    blocks = spec.groups // together
    pairs = im2col.products_of_patches(x, y, spec, blocks, patches)
    pairs = pairs.reshape(blocks, spec.num_taps, together, spec.maps_in_group, together, -1)
    of_same_group = jnp.diagonal(pairs, axis1=2, axis2=4)  # (blocks, taps, C_in / g, C_out / g, together)
    return of_same_group.transpose(1, 2, 0, 4, 3).reshape(spec.w_shape)


def spreads(direction: Direction, spec: ConvSpec) -> tuple[int, ...]:
    """The data of a block's other groups; and what XLA's own input gradient spreads."""
    return {"forward": (0,), "input_gradient": (0, 1), "weight_gradient": ()}[direction]


METHOD = Method(
    "block_diagonal",
    _convolve,
    transposed_in_x(_convolve),
    _weight_gradient,
    _refuses,
    spreads=spreads,
    slow_in_branch=True,
)

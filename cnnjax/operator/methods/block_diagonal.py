"""Groups as a few ordinary convolutions: neighbouring groups in one block, with block-diagonal weights.

    w_block[t, c, o] = w[t, c mod (C_in / g), o]  where c and o are of the same group, else 0

A block takes as many groups as make about 32 input maps: wide enough for the machine's multipliers, narrow enough that
the zeros cost less than they save.

Cost: (groups in a block) times the multiply-accumulates of the definition, by XLA's convolution. It serves calls with
more than one group.

Source: the observation that a grouped convolution is a dense one with a block-diagonal table; for the slowness that it
goes around, jax issues 13800 and 26266.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp

from cnnjax.operator.calls import Call, Method, transposed_in_w, transposed_in_x
from cnnjax.operator.methods import xla

__all__ = ["METHOD"]

_MAPS_IN_BLOCK = 32


def _refuses(call: Call) -> str | None:
    return None if call.groups > 1 else "there is only one group"


def _groups_in_block(call: Call) -> int:
    """The most groups, out of the divisors of all of them, that have at most 32 input maps together."""
    fitting = (
        n for n in range(1, call.groups + 1) if call.groups % n == 0 and n * call.maps_in_group <= _MAPS_IN_BLOCK
    )
    return max(fitting, default=1)


def _convolve(x: jax.Array, w: jax.Array, call: Call) -> jax.Array:
    together = _groups_in_block(call)
    blocks = call.groups // together
    c_in, c_out = call.c_in // blocks, call.c_out // blocks
    of_block = replace(call, c_in=c_in, c_out=c_out, groups=1)

    per_group = w.reshape(*call.geometry.kernel, 1, call.maps_in_group, blocks, together, c_out // together)
    same = jnp.eye(together, dtype=w.dtype).reshape((1,) * len(call.geometry.kernel) + (together, 1, 1, together, 1))
    dense = (per_group * same).reshape(*call.geometry.kernel, c_in, blocks, c_out)
    results = [xla.METHOD.forward(x[..., b * c_in : (b + 1) * c_in], dense[..., b, :], of_block) for b in range(blocks)]
    return jnp.concatenate(results, axis=-1)


METHOD = Method("block_diagonal", _convolve, transposed_in_x(_convolve), transposed_in_w(_convolve), _refuses)

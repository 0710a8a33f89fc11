"""By the convolution theorem: a product of Fourier transforms instead of a sum over the taps.

    y = F^-1( F(x) * conj(F(w)) ),   summed over the input maps;   the conjugate, because the kernel is not flipped

Cost: three transforms of the padded image and one multiply-accumulate for each frequency, input map and output map,
whatever the size of the kernel; the error grows with the logarithm of the size. With a stride it computes what it then
throws away. It serves ungrouped real calls.

Source: Mathieu, Henaff and LeCun 2014, "Fast training of convolutional networks through FFTs".
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cnnjax._windows import pad_zeros
from cnnjax.operator.calls import Call, Method, transposed_in_w, transposed_in_x

__all__ = ["METHOD"]


def _refuses(call: Call) -> str | None:
    return None if call.groups == 1 else "it is for one group"


def _convolve(x: jax.Array, w: jax.Array, call: Call) -> jax.Array:
    geometry = call.geometry
    axes = tuple(range(len(geometry.size)))
    dilated = jnp.zeros((*geometry.extent, call.c_in, call.c_out), w.dtype)
    dilated = dilated.at[tuple(slice(None, None, d) for d in geometry.dilation)].set(w)
    # Flipped, so that the product of transforms is a correlation; the first full overlap is then at extent - 1.
    flipped = jnp.flip(dilated, axes)
    size = geometry.padded
    forward, back = (jnp.fft.fftn, jnp.fft.ifftn) if jnp.iscomplexobj(x) else (jnp.fft.rfftn, jnp.fft.irfftn)
    of_x = forward(pad_zeros(x, geometry), size, [a + 1 for a in axes])
    of_w = forward(flipped, size, axes)
    product = jnp.einsum("n...c,...co->n...o", of_x, of_w, precision=call.precision)
    # Circular over the padded image: what wraps around stays before the first full overlap.
    y = back(product, size, [a + 1 for a in axes]).astype(x.dtype)
    inside = [slice(e - 1, None, s) for e, s in zip(geometry.extent, geometry.stride, strict=True)]
    return y[(slice(None), *inside)]


METHOD = Method("fft", _convolve, transposed_in_x(_convolve), transposed_in_w(_convolve), _refuses)

"""The definition of a convolution, written out: a sum over the taps of the kernel and over the input maps::

    y[n, p, o] = sum over taps t, sum over input maps c of  x[n, p * stride + t * dilation, c] * w[t, c, o]

This answers "how do the maps of one layer connect to those of the next?": every output map o reads every input map c of
its group through a two-dimensional slice w[:, :, c, o] of its own, and the results are added. It is a
cross-correlation: the kernel is not flipped.

Cost: one multiply-accumulate for each position, tap, input map and output map. The traced program holds one product for
each tap and input map, so it is for reading and for small kernels; with more than 256 of them it is a loop over the
taps. It serves every convolution.

Source: Goodfellow, Bengio and Courville 2016, section 9.1, equation 9.6.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cnnjax._core.windows import pad_constant, tap_views
from cnnjax.operator import tap_loop
from cnnjax.operator.method import Method, serves_all, transposed_in_w, transposed_in_x
from cnnjax.operator.spec import ConvSpec

__all__ = ["METHOD", "convolve"]

# Up to this number, every tap of every input map is a product of the program; more of them are the same sum in a loop.
_MANY_PRODUCTS = 256


def convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    """Convolve x (N, *size, C_in) with w (*kernel, C_in / groups, C_out) into (N, *output, C_out)."""
    geometry, groups, maps_in_group = spec.geometry, spec.groups, spec.maps_in_group
    if spec.num_taps * maps_in_group > _MANY_PRODUCTS:
        return tap_loop.forward(x, w, spec)
    w = w.reshape(*geometry.kernel, maps_in_group, groups, spec.c_out // groups)

    y = jnp.zeros((spec.n, *geometry.output, groups, spec.c_out // groups), x.dtype)
    for tap, view in tap_views(pad_constant(x, geometry), geometry):
        pixels = view.reshape(*view.shape[:-1], groups, maps_in_group)
        for c in range(maps_in_group):
            weights = w[*tap, c].reshape((1,) * (y.ndim - 2) + (groups, spec.c_out // groups))
            y = y + pixels[..., c, None] * weights
    return y.reshape(spec.y_shape)


METHOD = Method("definition", convolve, transposed_in_x(convolve), transposed_in_w(convolve), serves_all)

"""Groups as a batch of small products: the patches of each group times the kernels of that group::

    y (g, N P, C_out / g) = patches (g, N P, taps C_in / g) @ w (g, taps C_in / g, C_out / g)

Cost: as the definition, in one batched product for each image, and the memory of the patches of one image. It serves
more than one group.

Source: Krizhevsky, Sutskever and Hinton 2012, section 3.5; Xie et al. 2017, "Aggregated residual transformations".
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax._core.windows import pad_constant, patches
from cnnjax.operator.method import Method, transposed_in_w, transposed_in_x
from cnnjax.operator.spec import ConvSpec

__all__ = ["METHOD"]


def _refuses(spec: ConvSpec) -> str | None:
    return None if spec.groups > 1 else "there is only one group"


def _convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    geometry, groups, maps_in_group = spec.geometry, spec.groups, spec.maps_in_group
    positions = math.prod(geometry.output)
    rows = w.reshape(spec.num_taps * maps_in_group, groups, spec.c_out // groups).transpose(1, 0, 2)

    def one_image(image: jax.Array) -> jax.Array:
        taps = patches(image[None], geometry).reshape(positions, spec.num_taps, groups, maps_in_group)
        of_group = taps.transpose(2, 0, 1, 3).reshape(groups, positions, spec.num_taps * maps_in_group)
        y = jnp.matmul(of_group, rows, precision=spec.precision)
        return y.transpose(1, 0, 2).reshape(*geometry.output, spec.c_out)

    return lax.map(one_image, pad_constant(x, geometry))


METHOD = Method("grouped", _convolve, transposed_in_x(_convolve), transposed_in_w(_convolve), _refuses)

"""Maps that are not all connected: what an unconnected map holds, NaN and infinity included, has no effect.

The weights of unconnected pairs are zero, and zero times a finite number is zero, so the convolution of all maps is
right as long as all numbers are finite. If one is not, the maps of the result are computed one after the other, each
from the maps that it is connected to; the others are replaced by zeros. The weight gradient needs nothing: each weight
reads its own two maps.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from cnnjax.operator import choice
from cnnjax.operator.containment import is_finite
from cnnjax.operator.spec import ConvSpec, Direction, Links, Platform

__all__ = ["compute"]


def compute(
    direction: Direction, a: jax.Array, b: jax.Array, spec: ConvSpec, dtype: DTypeLike, platform: Platform
) -> jax.Array:
    """Compute a direction by the chosen method, reading connected maps only, and cast the result to `dtype`."""
    result = choice.compute(direction, a, b, spec, dtype, platform)
    inexact = jnp.issubdtype(result.dtype, jnp.inexact)
    if spec.links is None or direction == "weight_gradient" or result.size == 0 or not inexact:
        return result
    one_map, read = (_output_map, a) if direction == "forward" else (_input_map, b)

    def map_by_map() -> jax.Array:
        def compute_one(i: jax.Array, maps: jax.Array) -> jax.Array:
            found = one_map(i, a, b, spec, dtype, platform)
            return lax.dynamic_update_index_in_dim(maps, found, i, maps.ndim - 1)

        maps = result.reshape(*result.shape[:-1], spec.groups, -1)
        return lax.fori_loop(0, maps.shape[-1], compute_one, maps).reshape(result.shape)

    return lax.cond(is_finite(read), lambda: result, map_by_map)


def _output_map(
    i: jax.Array, x: jax.Array, w: jax.Array, spec: ConvSpec, dtype: DTypeLike, platform: Platform
) -> jax.Array:
    """Output map i of every group, (N, *output, groups)."""
    of_group = lambda a: a.reshape(*a.shape[:-1], spec.groups, -1)  # noqa: E731
    weights = lax.dynamic_index_in_dim(of_group(w), i, w.ndim, keepdims=False)
    links = lax.dynamic_index_in_dim(of_group(_links(w, spec)), i, 2, keepdims=False)
    read = _only(links.T.reshape(spec.c_in), x)
    return choice.compute("forward", read, weights, replace(spec, c_out=spec.groups), dtype, platform)


def _input_map(
    i: jax.Array, w: jax.Array, y: jax.Array, spec: ConvSpec, dtype: DTypeLike, platform: Platform
) -> jax.Array:
    """Input map i of every group, (N, *size, groups)."""
    weights = lax.dynamic_slice_in_dim(w, i, 1, w.ndim - 2)
    links = lax.dynamic_index_in_dim(_links(w, spec), i, 0, keepdims=False)
    return choice.compute("input_gradient", weights, _only(links, y), replace(spec, c_in=spec.groups), dtype, platform)


def _only(maps: jax.Array, a: jax.Array) -> jax.Array:
    """Set the maps of `a` (..., C) to zero, except for `maps`, a boolean (C,)."""
    return jnp.where(lax.broadcast_in_dim(maps, a.shape, (a.ndim - 1,)), a, jnp.zeros_like(a))


def _links(w: jax.Array, spec: ConvSpec) -> jax.Array:
    """Which maps are connected, a boolean (C_in / groups, C_out)."""
    if not isinstance(spec.links, Links):
        return jnp.any(w != 0, axis=tuple(range(w.ndim - 2)))
    table = spec.links.table
    full = spec.groups, spec.maps_in_group, spec.c_out // spec.groups
    table = np.tile(table, [n // m for n, m in zip(full, table.shape, strict=True)])
    return jnp.asarray(table.swapaxes(0, 1).reshape(spec.maps_in_group, spec.c_out))

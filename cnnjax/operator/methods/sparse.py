"""The convolution as a product with a sparse matrix, whose entries are the weights of the kernel::

    y = M x,   M (positions C_out, pixels C_in),   M[(p, o), (p s + t d, c)] = w[t, c, o]

A dense layer has a weight of its own in every entry of the matrix; a locally connected one in every non-zero entry; a
convolution repeats the same few weights. Written as (row, column, weight) triples it is an explanation: every triple is
one product of the definition.

Cost: as the definition, and three integers for each product of one image. It serves up to 2^22 products per image.

Source: Goodfellow, Bengio and Courville 2016, section 9.1: a doubly block circulant matrix, very sparse.
"""

from __future__ import annotations

import math

import jax
import numpy as np

from cnnjax.operator.method import Method, transposed_in_w, transposed_in_x
from cnnjax.operator.spec import ConvSpec

__all__ = ["METHOD", "triples"]

_MOST_PRODUCTS = 2**22


def _refuses(spec: ConvSpec) -> str | None:
    products = math.prod(spec.geometry.output) * spec.num_taps * spec.maps_in_group * spec.c_out
    return None if products <= _MOST_PRODUCTS else f"its matrix has {products:,} entries, more than {_MOST_PRODUCTS:,}"


def triples(spec: ConvSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The non-zero entries of the matrix: their rows (flat indices into y), columns (into x) and weights (into w)."""
    geometry, in_group, per_group = spec.geometry, spec.maps_in_group, spec.c_out // spec.groups
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    outputs = np.indices(geometry.output).reshape(len(geometry.output), -1)
    maps_out = np.arange(spec.c_out)
    for tap_index, tap in enumerate(geometry.taps):
        pixel = [
            p * s + t * d - before
            for p, s, t, d, (before, _) in zip(
                outputs, geometry.stride, tap, geometry.dilation, geometry.pads, strict=True
            )
        ]
        inside = np.all([(i >= 0) & (i < n) for i, n in zip(pixel, geometry.size, strict=True)], axis=0)
        places = np.flatnonzero(inside)
        pixels = np.ravel_multi_index([i[inside] for i in pixel], geometry.size)
        for c in range(in_group):
            reads = (maps_out // per_group) * in_group + c
            rows.append(np.add.outer(places * spec.c_out, maps_out).ravel())
            columns.append(np.add.outer(pixels * spec.c_in, reads).ravel())
            weights.append(np.tile((tap_index * in_group + c) * spec.c_out + maps_out, len(places)))
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(weights)


def _convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    rows, columns, weights = triples(spec)
    entries = w.ravel()[weights]
    products = x.reshape(spec.n, -1)[:, columns] * entries[None]
    size = math.prod(spec.geometry.output) * spec.c_out
    y = jax.vmap(lambda row: jax.ops.segment_sum(row, rows, num_segments=size))(products)
    return y.reshape(spec.y_shape)


METHOD = Method("sparse", _convolve, transposed_in_x(_convolve), transposed_in_w(_convolve), _refuses)

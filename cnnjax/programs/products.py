"""The primitives that are sums of products: what they multiply, by the parameters of their equations.

A multiply-accumulate is one product of a weight and a value, products with padding included. Products with the zeros
that a transposed convolution inserts between pixels are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnnjax.operator.spec import Links

__all__ = ["PRODUCTS", "Convolution", "MatrixProduct", "convolution", "matrix_product", "num_products"]

Shape = Sequence[int]

PRODUCTS = frozenset(
    {"conv_general_dilated", "dot_general", "cnnjax_forward", "cnnjax_input_gradient", "cnnjax_weight_gradient"}
)
"""The names of the primitives that this module describes."""


@dataclass(frozen=True)
class Convolution:
    """Where a convolution reads.

    Attributes:
        image, weights: which operand is which.
        batch, maps, spatial: the axes of the image.
        out_batch, out_maps, out_spatial: the axes of the result.
        kernel, stride, dilation, spread, before: along each spatial axis; the image is spread out by `spread`.
        c_in, c_out, groups: maps of the image and of the result, and the groups that they form.
        links: the connected maps of each group, if not all are.
        num_weights: the weights that have an effect.
        num_products: multiply-accumulates.
    """

    image: int
    weights: int
    batch: int
    maps: int
    spatial: tuple[int, ...]
    out_batch: int
    out_maps: int
    out_spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    spread: tuple[int, ...]
    before: tuple[int, ...]
    c_in: int
    c_out: int
    groups: int
    links: Links | None
    num_weights: int
    num_products: int

    @property
    def kind(self) -> str:
        """Such as "Conv2D"."""
        return f"Conv{len(self.kernel)}D" + ("Transpose" if max(self.spread, default=1) > 1 else "")


def convolution(name: str, params: Mapping[str, Any], shapes: Sequence[Shape], out: Shape) -> Convolution:
    """Describe a convolution of JAX or of cnnjax."""
    return _of_jax(params, shapes, out) if name == "conv_general_dilated" else _of_cnnjax(name, params)


def _of_jax(params: Mapping[str, Any], shapes: Sequence[Shape], out: Shape) -> Convolution:
    numbers = params["dimension_numbers"]
    lhs, rhs = shapes
    batch, maps, *spatial = numbers.lhs_spec
    to, _, *taps = numbers.rhs_spec
    out_batch, out_maps, *out_spatial = numbers.out_spec
    kernel = tuple(rhs[axis] for axis in taps)
    spread = tuple(params["lhs_dilation"])
    # Each value of an image that is spread out meets each weight once; other positions of the kernel read zeros.
    positions = [lhs[i] if d > 1 else out[o] for i, o, d in zip(spatial, out_spatial, spread, strict=True)]
    return Convolution(
        0,
        1,
        batch,
        maps,
        tuple(spatial),
        out_batch,
        out_maps,
        tuple(out_spatial),
        kernel,
        tuple(params["window_strides"]),
        tuple(params["rhs_dilation"]),
        spread,
        tuple(low for low, _ in params["padding"]),
        lhs[maps],
        rhs[to],
        max(params["feature_group_count"], params["batch_group_count"]),
        None,
        math.prod(rhs),
        out[out_batch] * math.prod(positions) * math.prod(rhs),
    )


def _of_cnnjax(name: str, params: Mapping[str, Any]) -> Convolution:
    spec = params["spec"]
    geometry, axes = spec.geometry, len(spec.geometry.size)
    spatial, last = tuple(range(1, axes + 1)), axes + 1
    ones, kernel, dilation = (1,) * axes, geometry.kernel, geometry.dilation
    out_batch, out_maps, out_spatial = 0, last, spatial
    links = spec.links if isinstance(spec.links, Links) else None
    connected = spec.maps_in_group * spec.c_out
    if links is not None:
        connected = int(links.table.sum()) * connected // links.table.size
    num_weights = spec.num_taps * connected
    before = tuple(low for low, _ in geometry.pads)
    if name == "cnnjax_forward":
        image, weights, stride, spread, c_in, c_out = 0, 1, geometry.stride, ones, spec.c_in, spec.c_out
    elif name == "cnnjax_input_gradient":
        image, weights, stride, spread, c_in, c_out = 1, 0, ones, geometry.stride, spec.c_out, spec.c_in
        extents = ((k - 1) * d for k, d in zip(geometry.kernel, geometry.dilation, strict=True))
        before = tuple(extent - low for extent, low in zip(extents, before, strict=True))
    else:  # its result is the weights
        image, weights, stride, spread, c_in, c_out = 0, 1, geometry.dilation, ones, spec.c_in, spec.c_out
        kernel, dilation = geometry.output, geometry.stride
        out_batch, out_maps, out_spatial = axes, last, tuple(range(axes))
    return Convolution(
        image,
        weights,
        0,
        last,
        spatial,
        out_batch,
        out_maps,
        out_spatial,
        kernel,
        stride,
        dilation,
        spread,
        before,
        c_in,
        c_out,
        spec.groups,
        links,
        num_weights,
        spec.n * math.prod(geometry.output) * num_weights,
    )


@dataclass(frozen=True)
class MatrixProduct:
    """Which axes of two operands are multiplied, and where they are in the result.

    Attributes:
        contracted: the axes of each operand that are summed over.
        placed: for each operand, the axis of the result that each other axis becomes.
        free: for each operand, its axes that the other does not have.
        num_groups: the product of the axes that both operands and the result have.
        num_products: multiply-accumulates.
    """

    contracted: tuple[tuple[int, ...], tuple[int, ...]]
    placed: tuple[dict[int, int], dict[int, int]]
    free: tuple[tuple[int, ...], tuple[int, ...]]
    num_groups: int
    num_products: int


def matrix_product(params: Mapping[str, Any], shapes: Sequence[Shape], out: Shape) -> MatrixProduct:
    """Describe a `dot_general`."""
    contracted, batch = params["dimension_numbers"]
    placed: list[dict[int, int]] = []
    free: list[tuple[int, ...]] = []
    position = len(batch[0])
    for shape, summed, shared in zip(shapes, contracted, batch, strict=True):
        alone = tuple(axis for axis in range(len(shape)) if axis not in (*summed, *shared))
        at = {axis: i for i, axis in enumerate(shared)} | {axis: position + i for i, axis in enumerate(alone)}
        position += len(alone)
        placed.append(at)
        free.append(alone)
    return MatrixProduct(
        (tuple(contracted[0]), tuple(contracted[1])),
        (placed[0], placed[1]),
        (free[0], free[1]),
        math.prod(shapes[0][axis] for axis in batch[0]),
        math.prod(out) * math.prod(shapes[0][axis] for axis in contracted[0]),
    )


def num_products(name: str, params: Mapping[str, Any], shapes: Sequence[Shape], out: Shape) -> int:
    """The multiply-accumulates of one of `PRODUCTS`."""
    if name == "dot_general":
        return matrix_product(params, shapes, out).num_products
    return convolution(name, params, shapes, out).num_products

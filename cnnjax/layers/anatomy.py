"""The anatomy of a network: what one unit sees, and what each input map contributes to each output map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cnnjax._core.arguments import as_array, as_images, check_rank, check_same_dtype
from cnnjax._core.messages import describe, value_error
from cnnjax._core.shapes import Geometry, Padding, check_maps, integers
from cnnjax.connections import ConnectionTable
from cnnjax.conv import depthwise_conv2d
from cnnjax.conv.tables import as_table, dense_weights
from cnnjax.layers.base import Layer, Params, Shape
from cnnjax.layers.convolution import Conv2D
from cnnjax.layers.network import Network
from cnnjax.layers.pooling import AdaptiveAvgPool2D

__all__ = ["Decomposition", "decompose", "partial_responses", "receptive_field"]


def partial_responses(
    x: ArrayLike,
    w: ArrayLike,
    *,
    stride: int | tuple[int, int] = 1,
    padding: Padding = "VALID",
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    connections: ConnectionTable | None = None,
) -> jax.Array:
    """Convolve each input map alone with its own slice of every kernel: the terms that `conv2d` sums::

        p[n, i, j, c, o] = sum_{u, v} x[n, i * stride + u * dilation - top, j * stride + v * dilation - left, c]
                                      * w[u, v, c, o]
        conv2d(x, w, b) = b + sum_c p[..., c, :]

    Args:
        x: the image, (N, H, W, C_in) or (H, W, C_in).
        w: the weights, (k_h, k_w, C_in / groups, C_out).
        stride, padding, dilation, groups: as in `conv2d`.
        connections: which input map feeds which output map, a `ConnectionTable` (C_in, C_out); all by default.

    Returns:
        p, (N, H_out, W_out, C_in, C_out) or (H_out, W_out, C_in, C_out); zero where two maps are not connected.

    Raises:
        TypeError, ValueError: as `conv2d`.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> x, w = jnp.ones((14, 14, 6)), jnp.ones((5, 5, 6, 16))
        >>> p = partial_responses(x, w, connections=cnnjax.connections.LENET5_C3)
        >>> p.shape
        (10, 10, 6, 16)
        >>> print(p[0, 0, :, 0], p[0, 0, :, 0].sum())                  # C3 map 0 reads S2 maps 0, 1 and 2
        [25. 25. 25.  0.  0.  0.] 75.0

    Source: LeCun et al. 1998, section II.B.
    """
    caller = "partial_responses"
    x, batched = as_images(caller, "x", x, ("H", "W", "C_in"))
    w = as_array(caller, "w", w)
    check_rank(caller, "w", w, ("k_h", "k_w", "C_in / groups", "C_out"))
    check_same_dtype(caller, x=x, w=w)
    (groups,) = integers(caller, "groups", groups, 1, least=1)
    check_maps(caller, x.shape if batched else x.shape[1:], w.shape, groups)
    c_in, c_out = x.shape[-1], w.shape[-1]
    dense = dense_weights(w, as_table(caller, connections, c_in, c_out, groups), groups)
    p = depthwise_conv2d(x, dense, stride=stride, padding=padding, dilation=dilation)
    p = p.reshape(*p.shape[:-1], c_in, c_out)
    return p if batched else p[0]


@dataclass(frozen=True, eq=False)
class Decomposition:
    """One convolution of a network, decomposed for one image.

    Attributes:
        inputs: the volume that the layer reads, (H, W, C_in).
        weights: its kernels, (k_h, k_w, C_in, C_out), zero where two maps are not connected.
        table: which input map feeds which output map.
        partial: what each input map contributes to each output map, (H_out, W_out, C_in, C_out).
        bias: one number for each output map, (C_out,); zeros for a layer without bias.
        output: the output maps after the activation function, (H_out, W_out, C_out), as `Network.volumes` returns them.
    """

    inputs: jax.Array
    weights: jax.Array
    table: ConnectionTable
    partial: jax.Array
    bias: jax.Array
    output: jax.Array

    @property
    def total(self) -> jax.Array:
        """The sum over the input maps, (H_out, W_out, C_out), before the bias."""
        return jnp.sum(self.partial, axis=-2)

    @property
    def pre_activation(self) -> jax.Array:
        """The sum plus the bias, (H_out, W_out, C_out), to which the activation function is applied."""
        return self.total + self.bias[None, None]


def decompose(network: Network, params: Mapping[str, Params], image: ArrayLike, layer: str) -> Decomposition:
    """Decompose one convolution of a network for one image: partial responses, their sum, the bias, the activation::

        output = f(bias + sum_c partial[..., c, :])

    Args:
        network: the network, with a `Conv2D` named `layer`.
        params: its parameters.
        image: one image (H, W, C), as `network.apply` takes it.
        layer: the name of the layer.

    Returns:
        The `Decomposition` of the layer.

    Raises:
        ValueError: when the network has no convolution of that name, for a batch, or as `network.apply`.
        TypeError: as `network.apply`.

    Example:
        >>> import cnnjax
        >>> network = cnnjax.models.lenet5()
        >>> c3 = decompose(network, network.init(jax.random.key(0)), jnp.zeros((32, 32, 1)), "c3")
        >>> c3.partial.shape, c3.table.rows[0]
        ((10, 10, 6, 16), (0, 1, 2))
        >>> bool(jnp.allclose(cnnjax.scaled_tanh(c3.pre_activation), c3.output, atol=1e-6))
        True

    Source: LeCun et al. 1998, section II.B.
    """
    caller = "decompose"
    convolution = find_convolution(caller, network, layer)
    if np.ndim(image) != 3:
        raise value_error(
            caller, "image", got=describe(image), expected="one image (H, W, C)", fix="pass one of the batch"
        )
    volumes = network.volumes(params, image)
    inputs = volumes[network.input_names()[layer]]
    weights = convolution.dense_weights(params[layer], inputs.shape)
    return Decomposition(
        inputs=inputs,
        weights=weights,
        table=convolution.table(inputs.shape),
        partial=partial_responses(
            inputs,
            weights,
            stride=convolution.stride,
            padding=convolution.padding,
            dilation=convolution.dilation,
        ),
        bias=params[layer]["b"] if convolution.bias else jnp.zeros_like(weights[0, 0, 0]),
        output=volumes[layer],
    )


def find_convolution(caller: str, network: Network, name: str) -> Conv2D:
    """Return the convolution of that name, or raise an ArgumentValueError that lists the existing ones."""
    found = dict(network.layers).get(name)
    if isinstance(found, Conv2D):
        return found
    names = [name for name, layer in network.layers if isinstance(layer, Conv2D)]
    raise value_error(caller, "layer", got=repr(name), expected=f"one of the convolutions {names}", fix="name one")


def receptive_field(
    network: Network, layer: str, position: tuple[int, int] = (0, 0), on: str = "input"
) -> tuple[slice, slice]:
    """Return the smallest rectangle that contains every pixel of an earlier volume on which one unit depends.

    Going back through a layer with stride s, `before` pixels of padding and a (dilated) kernel of e pixels, rows
    first .. last become::

        first * s - before .. last * s - before + e - 1

    clipped to the volume. With "CIRCULAR", "EDGE" and "REFLECT" padding, rows beyond the edge become those that the
    padding copies. The means and variances of a normalisation do not count.

    Args:
        network: the network.
        layer: the name of the unit's volume, "input" included.
        position: the row and column of the unit in its map; (0, 0) for a layer without height and width.
        on: the name of the earlier volume.

    Returns:
        Rows and columns of the earlier volume, as slices:
        `volumes[on][receptive_field(network, layer, position, on)]` are the pixels. Empty if the unit sees only
        padding, or does not depend on the volume.

    Raises:
        ValueError: for names that the network does not have, an `on` that comes after the layer or has no height and
            width, or a position outside the map.
        TypeError: for a position that is not two integers.

    Example:
        >>> import cnnjax
        >>> network = cnnjax.models.lenet5()
        >>> receptive_field(network, "c3", (0, 0))
        (slice(0, 14, None), slice(0, 14, None))
        >>> receptive_field(network, "c3", (0, 9), on="s2")
        (slice(0, 5, None), slice(9, 14, None))

    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning".
    """
    caller = "receptive_field"
    shapes, layers = network.shapes(), dict(network.layers)
    names = list(shapes)
    _check_name(caller, "layer", layer, names)
    _check_name(caller, "on", on, [name for name in names[: names.index(layer) + 1] if len(shapes[name]) == 3])
    rectangles = {layer: [slice(i, i + 1) for i in _check_position(caller, position, shapes[layer])]}
    for name in reversed(names[names.index(on) + 1 : names.index(layer) + 1]):
        if name not in rectangles:
            continue
        read = _rectangle_read(layers[name], network.input_shapes()[name], rectangles[name])
        for volume in network.reads[name]:
            seen = [_within(pixels, n) for pixels, n in zip(read, shapes[volume][:-1] or (1, 1), strict=True)]
            rectangles[volume] = list(map(_hull, rectangles.get(volume, seen), seen))
    rows, columns = rectangles.get(on, (slice(0, 0), slice(0, 0)))
    return rows, columns


def _rectangle_read(layer: Layer, shape: Shape, rectangle: list[slice]) -> list[slice]:
    """Return the rectangle that a layer with an input of this shape reads for a rectangle of its output."""
    if isinstance(layer, AdaptiveAvgPool2D):
        windows = layer.windows(shape)
        return [
            slice(along[unit.start][0], along[unit.stop - 1][1]) for along, unit in zip(windows, rectangle, strict=True)
        ]
    geometry = layer.geometry(shape)
    if geometry is None:
        return rectangle
    return [_pixels_read(positions, geometry, axis) for axis, positions in enumerate(rectangle)]


def _within(pixels: slice, size: int) -> slice:
    """Return pixels of a volume; all units read the one pixel of a volume that is broadcast."""
    return slice(0, 1) if size == 1 and pixels.start < pixels.stop else pixels


def _hull(one: slice, other: slice) -> slice:
    """Return the smallest range of pixels that contains both."""
    ranges = [pixels for pixels in (one, other) if pixels.start < pixels.stop]
    return slice(min(p.start for p in ranges), max(p.stop for p in ranges)) if ranges else one


def _pixels_read(positions: slice, geometry: Geometry, axis: int) -> slice:
    """Return the range of input pixels, along one axis, that the kernel reads at a range of positions."""
    if positions.start == positions.stop:
        return positions
    pixels = pixels_read(np.arange(positions.start, positions.stop), geometry, axis)
    pixels = pixels[pixels >= 0]
    return slice(int(pixels.min()), int(pixels.max()) + 1) if pixels.size else slice(0, 0)


def pixels_read(positions: np.ndarray, geometry: Geometry, axis: int) -> np.ndarray:
    """Return the input pixel that each tap reads at each position along one axis; -1 for a zero of the padding."""
    size = geometry.size[axis]
    first_taps = positions[:, None] * geometry.stride[axis] - geometry.pads[axis][0]
    pixels = first_taps + np.arange(geometry.kernel[axis]) * geometry.dilation[axis]
    if geometry.boundary == "wrap":
        return pixels % size
    if geometry.boundary == "edge":
        return np.clip(pixels, 0, size - 1)
    if geometry.boundary == "reflect":
        return size - 1 - abs(size - 1 - abs(pixels))
    return np.where((pixels >= 0) & (pixels < size), pixels, -1)


def _check_name(caller: str, argument: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise value_error(
            caller, argument, got=repr(name), expected=f"one of the volumes {list(names)}", fix="name one"
        )


def _check_position(caller: str, position: tuple[int, int], shape: Sequence[int]) -> tuple[int, ...]:
    at = integers(caller, "position", position, 2, least=0)
    size = tuple(shape[:2]) if len(shape) == 3 else (1, 1)
    if not all(i < n for i, n in zip(at, size, strict=True)):
        raise value_error(
            caller,
            "position",
            got=f"{at}",
            expected=f"a row below {size[0]} and a column below {size[1]}",
            fix="use a position on the map",
        )
    return at

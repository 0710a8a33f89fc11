"""Pooling layers, and LeNet-5's trainable sub-sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from cnnjax._core.shapes import Geometry, Padding, integers
from cnnjax.init import Constant, GlorotUniform, Initialiser
from cnnjax.layers.base import (
    Activation,
    Counts,
    Parameterless,
    Params,
    Pixels,
    Shape,
    activation_function,
    check_activation,
    check_is_image,
)
from cnnjax.layers.parameters import check_layer_params
from cnnjax.pooling import avg_pool2d, max_pool2d, pool_geometry, subsample2d

__all__ = ["AdaptiveAvgPool2D", "AvgPool2D", "MaxPool2D", "Subsample2D"]


@dataclass(frozen=True)
class _Pool:
    """A window that slides over each map; `pool` of a subclass computes its values."""

    window: Pixels = 2
    stride: Pixels | None = None
    padding: Padding = "VALID"
    activation: Activation = "identity"
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        """Check what does not depend on the input."""
        integers(type(self).__name__, "window", self.window, 2, least=1)
        check_activation(type(self).__name__, self.activation)

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """Return no parameters."""
        return {}

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the shape of each parameter: there are none."""
        return {}

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Pool (N, H, W, C) to (N, H_out, W_out, C) and apply the activation."""
        check_layer_params(self, params, x, x.shape[-3:])
        return activation_function(self.activation)(self.pool(params, x))

    def pool(self, params: Params, x: jax.Array) -> jax.Array:
        """Pool (N, H, W, C) to (N, H_out, W_out, C), without the activation."""
        raise NotImplementedError

    def output_shape(self, shape: Shape) -> Shape:
        """Return (H_out, W_out, C)."""
        return (*self.geometry(shape).output, shape[-1])

    def counts(self, shape: Shape) -> Counts:
        """Count one connection for each pixel of each window."""
        return Counts(num_connections=math.prod(self.output_shape(shape)) * math.prod(self.geometry(shape).kernel))

    def geometry(self, shape: Shape) -> Geometry:
        """Return where the windows are."""
        caller = type(self).__name__
        check_is_image(caller, shape)
        return pool_geometry(
            caller, shape[:-1], self.window, stride=self.stride, padding=self.padding, ceil_mode=self.ceil_mode
        )


@dataclass(frozen=True)
class MaxPool2D(_Pool):
    """Max-pooling (`cnnjax.max_pool2d`), then an activation function::

        y = f(max of the window)

    Args:
        window: pixels of the window, one integer or (height, width).
        stride: pixels between neighbouring windows; the window by default, so that windows do not overlap.
        padding: as in `cnnjax.max_pool2d`.
        activation: a name in `cnnjax.ACTIVATIONS` or an elementwise function.
        ceil_mode: as in `cnnjax.max_pool2d`.

    Raises:
        ArgumentValueError, ArgumentTypeError: for a setting that does not fit, as `cnnjax.max_pool2d`.

    Example:
        >>> MaxPool2D(2).output_shape((24, 24, 20))
        (12, 12, 20)
    """

    def pool(self, params: Params, x: jax.Array) -> jax.Array:
        """Return the maximum of each window."""
        return max_pool2d(x, self.window, stride=self.stride, padding=self.padding, ceil_mode=self.ceil_mode)


@dataclass(frozen=True)
class AvgPool2D(_Pool):
    """Average pooling (`cnnjax.avg_pool2d`), then an activation function::

        y = f(mean of the window)

    Args:
        window: pixels of the window, one integer or (height, width).
        stride: pixels between neighbouring windows; the window by default, so that windows do not overlap.
        padding: as in `cnnjax.avg_pool2d`.
        activation: a name in `cnnjax.ACTIVATIONS` or an elementwise function.
        ceil_mode: as in `cnnjax.avg_pool2d`.
        count_include_pad: as in `cnnjax.avg_pool2d`.

    Raises:
        ArgumentValueError, ArgumentTypeError: for a setting that does not fit, as `cnnjax.avg_pool2d`.

    Example:
        >>> AvgPool2D(3, stride=2).output_shape((27, 27, 96))
        (13, 13, 96)
    """

    count_include_pad: bool = False

    def pool(self, params: Params, x: jax.Array) -> jax.Array:
        """Return the mean of each window."""
        return avg_pool2d(
            x,
            self.window,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad,
        )


@dataclass(frozen=True)
class AdaptiveAvgPool2D(Parameterless):
    """Average pooling to a given size, with windows that cover the image as equally as they can::

        rows of output row i:   floor(i * H / H_out) to below ceil((i + 1) * H / H_out)

    With `size=1`, the default, it is the mean of each map.

    Args:
        size: the height and width of the output, one integer or a pair.

    Raises:
        ArgumentValueError, ArgumentTypeError: for a size that is not one or two positive integers.

    Example:
        >>> AdaptiveAvgPool2D(2).windows((5, 6, 1))
        (((0, 3), (2, 5)), ((0, 3), (3, 6)))

    Source: the global average pooling of Lin, Chen and Yan 2014, "Network in network", section 3.2; windows as in
    PyTorch.
    """

    size: Pixels = 1

    def __post_init__(self) -> None:
        """Check what does not depend on the input."""
        integers("AdaptiveAvgPool2D", "size", self.size, 2, least=1)

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Pool (N, H, W, C) to (N, *size, C)."""
        shape = x.shape[1:]
        if self._are_equal(shape):
            return avg_pool2d(x, self.geometry(shape).kernel)
        for axis, windows in enumerate(self.windows(shape), 1):
            pixels = (lax.slice_in_dim(x, *window, axis=axis) for window in windows)
            x = jnp.concatenate([jnp.mean(part, axis=axis, keepdims=True) for part in pixels], axis=axis)
        return x

    def windows(self, shape: Shape) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Return the first pixel of each window and the pixel after its last, along each axis."""
        check_is_image("AdaptiveAvgPool2D", shape)
        sizes = integers("AdaptiveAvgPool2D", "size", self.size, 2, least=1)
        return tuple(
            tuple((i * n // size, -(-(i + 1) * n // size)) for i in range(size))
            for n, size in zip(shape[:-1], sizes, strict=True)
        )

    def output_shape(self, shape: Shape) -> Shape:
        """Return (*size, C)."""
        return (*map(len, self.windows(shape)), shape[-1])

    def counts(self, shape: Shape) -> Counts:
        """Count one connection for each pixel of each window."""
        pixels = math.prod(sum(stop - start for start, stop in windows) for windows in self.windows(shape))
        return Counts(num_connections=pixels * shape[-1])

    def geometry(self, shape: Shape) -> Geometry:
        """Return where the windows are if they are equal, else a window that covers the whole image."""
        size, output = shape[:-1], self.output_shape(shape)
        window = tuple(n // count for n, count in zip(size, output, strict=False)) if self._are_equal(shape) else size
        return pool_geometry("AdaptiveAvgPool2D", size, window)

    def _are_equal(self, shape: Shape) -> bool:
        """Whether all windows have the same size, so that they lie side by side."""
        return all(n % count == 0 for n, count in zip(shape[:-1], self.output_shape(shape), strict=False))


@dataclass(frozen=True)
class Subsample2D(_Pool):
    """LeNet-5's trainable sub-sampling (`cnnjax.subsample2d`), then an activation function::

        y = f(w[c] * sum of the window + b[c]),   w (C,),  b (C,)

    Args:
        window: pixels of the window, one integer or (height, width).
        stride: pixels between neighbouring windows; the window by default, so that windows do not overlap.
        padding: as in `cnnjax.subsample2d`.
        activation: a name in `cnnjax.ACTIVATIONS` or an elementwise function.
        ceil_mode: as in `cnnjax.subsample2d`.
        weight_init: initialiser of w.
        bias_init: initialiser of b.

    Raises:
        ArgumentValueError, ArgumentTypeError: for a setting that does not fit, as `cnnjax.subsample2d`.

    Example:
        >>> s2 = Subsample2D()
        >>> s2.counts((28, 28, 6)).num_parameters, s2.counts((28, 28, 6)).num_connections
        (12, 5880)

    Source: LeCun et al. 1998, section II.B.
    """

    weight_init: Initialiser = GlorotUniform()
    bias_init: Initialiser = Constant()

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """Draw w and b; the fan-in is the area of the window."""
        key_w, key_b = jax.random.split(key)
        fan_in = math.prod(self.geometry(shape).kernel)
        shapes = self.parameter_shapes(shape)
        return {
            "w": self.weight_init(key_w, shapes["w"], fan_in, 1, dtype),
            "b": self.bias_init(key_b, shapes["b"], fan_in, 1, dtype),
        }

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the shapes of w and b, (C,)."""
        return {"w": shape[-1:], "b": shape[-1:]}

    def pool(self, params: Params, x: jax.Array) -> jax.Array:
        """Return the weighted sum of each window, plus the bias."""
        return subsample2d(
            x,
            params["w"],
            params["b"],
            self.window,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
        )

    def counts(self, shape: Shape) -> Counts:
        """Count a weight and a bias for each map; a unit reads its window and its bias, and multiplies once."""
        units = math.prod(self.output_shape(shape))
        area = math.prod(self.geometry(shape).kernel)
        return Counts(shape[-1], shape[-1], units * (area + 1), units)

"""Normalisation layers: over the batch, over groups of maps, over all maps of a pixel, over neighbouring maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from cnnjax._core.messages import value_error
from cnnjax._core.shapes import Geometry, integers
from cnnjax._core.windows import accumulation_dtype
from cnnjax.init import Constant, Initialiser
from cnnjax.layers.base import (
    Activation,
    Counts,
    Parameterless,
    Params,
    Shape,
    activation_function,
    check_activation,
)
from cnnjax.layers.parameters import check_layer_params

__all__ = ["BatchNorm", "GroupNorm", "LayerNorm", "LocalResponseNorm"]


@dataclass(frozen=True)
class _Norm:
    """A layer that normalises its input, then scales and shifts each map by a weight and a bias of its own."""

    eps: float = 1e-5
    activation: Activation = "identity"
    weight_init: Initialiser = Constant(1.0)
    bias_init: Initialiser = Constant()

    def __post_init__(self) -> None:
        """Check what does not depend on the input."""
        check_activation(type(self).__name__, self.activation)

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """Draw w and b: ones and zeros by default."""
        key_w, key_b = jax.random.split(key)
        shapes = self.parameter_shapes(shape)
        return {
            "w": self.weight_init(key_w, shapes["w"], 1, 1, dtype),
            "b": self.bias_init(key_b, shapes["b"], 1, 1, dtype),
        }

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the shapes of w and b, (C,)."""
        return {"w": shape[-1:], "b": shape[-1:]}

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the input."""
        return shape

    def counts(self, shape: Shape) -> Counts:
        """Count a weight and a bias for each map; no connections, since a convolution can absorb them."""
        return Counts(shape[-1], shape[-1])

    def geometry(self, shape: Shape) -> Geometry | None:
        """Return None: a unit reads its own pixel."""
        return None


@dataclass(frozen=True)
class BatchNorm(_Norm):
    """Batch normalisation of each map, then an activation function::

        y = f(w[c] * (x - mean[c]) / sqrt(var[c] + eps) + b[c]),   w, b, mean, var (C,)

    `apply` uses the running statistics `mean` and `var`, which are kept in the parameters but not trained.
    `apply_training` uses the mean and the biased variance of the batch over all n = N * H * W pixels, and moves the
    running statistics towards them::

        mean <- (1 - momentum) * mean + momentum * batch mean
        var  <- (1 - momentum) * var  + momentum * batch var * n / (n - 1)

    The statistics are float32 or wider, whatever the dtype of the images.

    Args:
        eps: added to the variance.
        activation: a name in `cnnjax.ACTIVATIONS` or an elementwise function.
        weight_init: initialiser of w, ones by default.
        bias_init: initialiser of b, zeros by default.
        momentum: how far a batch moves the running statistics, as in PyTorch.

    Raises:
        ArgumentValueError, ArgumentTypeError: for an unknown activation, or in training for a single pixel.

    Example:
        >>> norm = BatchNorm(activation="relu")
        >>> params = norm.init(jax.random.key(0), (4, 4, 8), jnp.float32)
        >>> {key: value.shape for key, value in params.items()}
        {'w': (8,), 'b': (8,), 'mean': (8,), 'var': (8,)}

    Source: Ioffe and Szegedy 2015, "Batch normalization", algorithms 1 and 2.
    """

    statistics: ClassVar[tuple[str, ...]] = ("mean", "var")

    momentum: float = 0.1

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """Draw w and b; the running statistics start at mean 0 and variance 1."""
        precise = accumulation_dtype(jnp.dtype(dtype))
        return {
            **super().init(key, shape, dtype),
            "mean": jnp.zeros(shape[-1:], precise),
            "var": jnp.ones(shape[-1:], precise),
        }

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the shapes of w, b, mean and var, (C,)."""
        return dict.fromkeys(("w", "b", "mean", "var"), shape[-1:])

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Normalise (N, *shape) by the running statistics."""
        check_layer_params(self, params, x, x.shape[1:])
        return self._normalise(params, x, params["mean"], params["var"])

    def apply_training(
        self, params: Params, x: jax.Array, key: jax.Array | None, axis_name: str | None
    ) -> tuple[jax.Array, Params]:
        """Normalise (N, *shape) by the statistics of the batch; return the parameters with fresh running statistics."""
        check_layer_params(self, params, x, x.shape[1:])
        n = x.size // x.shape[-1] * (1 if axis_name is None else lax.axis_size(axis_name))
        if n < 2:
            raise value_error(
                "BatchNorm.apply_training",
                "x",
                got=f"of shape {x.shape}, {n} pixels of each map",
                expected="at least 2, for a variance",
                fix="train on more images in a batch",
            )
        precise, axes = x.astype(params["mean"].dtype), tuple(range(x.ndim - 1))
        mean = _mean(precise, axes, axis_name)
        var = _mean((precise - _over_maps(mean, x)) ** 2, axes, axis_name)
        running = {
            key: (1 - self.momentum) * params[key] + self.momentum * lax.stop_gradient(fresh)
            for key, fresh in (("mean", mean), ("var", var * (n / (n - 1))))
        }
        return self._normalise(params, x, mean, var), {**params, **running}

    def _normalise(self, params: Params, x: jax.Array, mean: jax.Array, var: jax.Array) -> jax.Array:
        w, b = params["w"].astype(mean.dtype), params["b"].astype(mean.dtype)
        scale = w * lax.rsqrt(var + self.eps)
        y = x.astype(mean.dtype) * _over_maps(scale, x) + _over_maps(b - mean * scale, x)
        return activation_function(self.activation)(y.astype(x.dtype))


@dataclass(frozen=True)
class GroupNorm(_Norm):
    """Group normalisation, then an activation function: the maps of an image are normalised in groups::

        y = f(w[c] * (x - m) / sqrt(v + eps) + b[c]),   m, v: mean and variance of a group of maps,   w, b (C,)

    Args:
        eps: added to the variance.
        activation: a name in `cnnjax.ACTIVATIONS` or an elementwise function.
        weight_init: initialiser of w, ones by default.
        bias_init: initialiser of b, zeros by default.
        groups: the number of groups of neighbouring maps; a divisor of their number.

    Raises:
        ArgumentValueError, ArgumentTypeError: if the maps do not divide into the groups.

    Example:
        >>> x = jnp.arange(8.0).reshape(1, 1, 2, 4)
        >>> norm = GroupNorm(groups=4, eps=0.0)
        >>> print(norm.apply(norm.init(jax.random.key(0), (1, 2, 4), x.dtype), x)[0, 0])
        [[-1. -1. -1. -1.]
         [ 1.  1.  1.  1.]]

    Source: Wu and He 2018, "Group normalization".
    """

    groups: int = 32

    def __post_init__(self) -> None:
        """Check what does not depend on the input."""
        super().__post_init__()
        integers("GroupNorm", "groups", self.groups, 1, least=1)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the input, whose maps have to divide into the groups."""
        if shape[-1] % self.groups:
            raise value_error(
                "GroupNorm",
                "groups",
                got=f"{self.groups}",
                expected=f"a divisor of the {shape[-1]} maps of the input",
                fix=f"use groups={math.gcd(self.groups, shape[-1])}",
            )
        return shape

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Normalise each group of maps of each image of (N, *shape)."""
        check_layer_params(self, params, x, x.shape[1:])
        self.output_shape(x.shape[1:])
        grouped = x.reshape(*x.shape[:-1], self.groups, x.shape[-1] // self.groups)
        spatial = tuple(range(1, x.ndim - 1))
        normalised = _standardised(grouped, (*spatial, x.ndim), self.eps).reshape(x.shape)
        return activation_function(self.activation)(_scaled(normalised, params))


@dataclass(frozen=True)
class LayerNorm(_Norm):
    """Layer normalisation of every pixel over its maps, then an activation function::

        y = f(w[c] * (x - m) / sqrt(v + eps) + b[c]),   m, v: mean and variance over the maps,   w, b (C,)

    Args:
        eps: added to the variance.
        activation: a name in `cnnjax.ACTIVATIONS` or an elementwise function.
        weight_init: initialiser of w, ones by default.
        bias_init: initialiser of b, zeros by default.

    Raises:
        ArgumentValueError, ArgumentTypeError: for an unknown activation.

    Example:
        >>> norm = LayerNorm()
        >>> x = jnp.array([[1.0, 3.0]])
        >>> print(norm.apply(norm.init(jax.random.key(0), (2,), x.dtype), x).round(3))
        [[-1.  1.]]

    Source: Ba, Kiros and Hinton 2016, "Layer normalization"; over the maps of a pixel as in Liu et al. 2022, "A
    ConvNet for the 2020s".
    """

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Normalise each pixel of (N, *shape)."""
        check_layer_params(self, params, x, x.shape[1:])
        return activation_function(self.activation)(_scaled(_standardised(x, (x.ndim - 1,), self.eps), params))


@dataclass(frozen=True)
class LocalResponseNorm(Parameterless):
    """Local response normalisation: every map is divided by the activity of the maps around it::

        y[..., c] = x[..., c] / (k + alpha * sum_{|d - c| <= size // 2} x[..., d]^2) ^ beta

    PyTorch divides `alpha` by `size`.

    Args:
        size: the number of neighbouring maps in the sum, odd.
        alpha, beta, k: constants; by default those of the paper.

    Raises:
        ArgumentValueError, ArgumentTypeError: for a size that is not odd and positive.

    Example:
        >>> print(LocalResponseNorm(size=3, alpha=1.0, beta=1.0, k=0.0).apply({}, jnp.array([[1.0, 1.0, 2.0]])))
        [[0.5        0.16666667 0.4       ]]

    Source: Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural networks",
    section 3.3.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0

    def __post_init__(self) -> None:
        """Check that the sum has a middle."""
        (size,) = integers("LocalResponseNorm", "size", self.size, 1, least=1)
        if size % 2 == 0:
            raise value_error(
                "LocalResponseNorm",
                "size",
                got=f"{size}",
                expected="an odd number, as many maps before as after",
                fix=f"use size={size + 1}",
            )

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Normalise (N, *shape)."""
        check_layer_params(self, params, x, x.shape[1:])
        half, axis = self.size // 2, x.ndim - 1
        squares = jnp.pad(x**2, [(0, 0)] * axis + [(half, half)])
        activity = sum(lax.slice_in_dim(squares, i, i + x.shape[-1], axis=axis) for i in range(self.size))
        return x / (self.k + self.alpha * activity) ** self.beta


def _mean(x: jax.Array, axes: Sequence[int], axis_name: str | None) -> jax.Array:
    """The mean over axes, and over the devices along an axis of a mesh."""
    mean = jnp.mean(x, axis=axes)
    return mean if axis_name is None else lax.pmean(mean, axis_name)


def _over_maps(values: jax.Array, x: jax.Array) -> jax.Array:
    return values.reshape((1,) * (x.ndim - 1) + values.shape)


def _standardised(x: jax.Array, axes: Sequence[int], eps: float) -> jax.Array:
    """X with mean 0 and variance 1 over some axes, computed in float32 or wider."""
    precise = x.astype(accumulation_dtype(x.dtype))
    deviation = precise - jnp.mean(precise, axis=axes, keepdims=True)
    return (deviation * lax.rsqrt(jnp.mean(deviation**2, axis=axes, keepdims=True) + eps)).astype(x.dtype)


def _scaled(x: jax.Array, params: Params) -> jax.Array:
    return x * _over_maps(params["w"], x) + _over_maps(params["b"], x)

"""Any network of cnnjax built of flax's own layers: one rule for each kind of layer, with the same parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, singledispatch
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

import cnnjax
from benchmarks.networks.network import Model
from cnnjax import layers

__all__ = ["build"]

_ACTIVATIONS: Mapping[Any, Callable[[jax.Array], jax.Array]] = {
    "identity": lambda x: x,
    "relu": nn.relu,
    "relu6": nn.relu6,
    "silu": nn.silu,
    "sigmoid": nn.sigmoid,
    "gelu_exact": partial(nn.gelu, approximate=False),
}
_NAMES = {"b": "bias", "mean": "mean", "var": "var"}


def build(network: cnnjax.Network, params: Mapping[str, Any], statistics: Mapping[str, Any]) -> Model:
    """The network in flax, with these parameters and running statistics."""
    module = FlaxNetwork(network)

    def evaluate(params: Any, state: Any, x: jax.Array) -> jax.Array:
        return module.apply({"params": params, "batch_stats": state}, x, train=False)

    def train(params: Any, state: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        variables = {"params": params, "batch_stats": state}
        outputs, fresh = module.apply(variables, x, train=True, mutable=["batch_stats"])
        return outputs, fresh.get("batch_stats", {})

    kinds = dict(network.layers)
    renamed = {name: {_name(kinds[name], key): value for key, value in own.items()} for name, own in params.items()}
    return Model(renamed, statistics, evaluate, train)


def _name(layer: Any, key: str) -> str:
    """What flax calls a parameter; in alphabetical order, its names have the order of ours."""
    scales = isinstance(layer, (layers.BatchNorm, layers.LayerNorm, layers.LayerScale))
    return _NAMES.get(key) or ("scale" if scales else "kernel")


class FlaxNetwork(nn.Module):
    """The layers of a network, each as flax has it, under its name."""

    network: cnnjax.Network

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        volumes, shapes = {"input": x}, self.network.shapes()
        for name, layer in self.network.layers:
            read = tuple(volumes[volume] for volume in self.network.reads[name])
            x = _in_flax(layer, read if len(read) > 1 else read[0], name, train)
            if x.shape[1:] != shapes[name]:
                raise ValueError(f"{name}: flax gives {x.shape[1:]} instead of {shapes[name]}")
            volumes[name] = _ACTIVATIONS[getattr(layer, "activation", "identity")](x)
        return x


class _LayerScale(nn.Module):
    """A factor for each channel; flax has no layer for it alone."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return x * self.param("scale", nn.initializers.ones, (x.shape[-1],))


@singledispatch
def _in_flax(layer: Any, x: Any, name: str, train: bool) -> jax.Array:
    raise TypeError(f"{name}: there is no rule for {layer}")


@_in_flax.register
def _(layer: layers.Conv2D, x: jax.Array, name: str, train: bool) -> jax.Array:
    geometry = layer.geometry(x.shape[1:])
    conv = nn.Conv(
        layer.maps,
        geometry.kernel,
        strides=geometry.stride,
        padding=geometry.pads,
        kernel_dilation=geometry.dilation,
        feature_group_count=layer.groups,
        use_bias=layer.bias,
        name=name,
    )
    return conv(x)


@_in_flax.register
def _(layer: layers.PixelDense, x: jax.Array, name: str, train: bool) -> jax.Array:
    return nn.Dense(layer.units, use_bias=layer.bias, name=name)(x)


@_in_flax.register
def _(layer: layers.Dense, x: jax.Array, name: str, train: bool) -> jax.Array:
    return nn.Dense(layer.units, use_bias=layer.bias, name=name)(x.reshape(len(x), -1))


@_in_flax.register
def _(layer: layers.BatchNorm, x: jax.Array, name: str, train: bool) -> jax.Array:
    return nn.BatchNorm(not train, momentum=1 - layer.momentum, epsilon=layer.eps, name=name)(x)


@_in_flax.register
def _(layer: layers.LayerNorm, x: jax.Array, name: str, train: bool) -> jax.Array:
    return nn.LayerNorm(epsilon=layer.eps, name=name)(x)


@_in_flax.register
def _(layer: layers.LayerScale, x: jax.Array, name: str, train: bool) -> jax.Array:
    return _LayerScale(name=name)(x)


@_in_flax.register
def _(layer: layers.LocalResponseNorm, x: jax.Array, name: str, train: bool) -> jax.Array:
    activity = lax.reduce_window(x**2, 0.0, lax.add, (1, 1, 1, layer.size), (1, 1, 1, 1), "SAME")
    return x / (layer.k + layer.alpha * activity) ** layer.beta


@_in_flax.register
def _(layer: layers.MaxPool2D, x: jax.Array, name: str, train: bool) -> jax.Array:
    geometry = layer.geometry(x.shape[1:])
    return nn.max_pool(x, geometry.kernel, geometry.stride, geometry.pads)


@_in_flax.register
def _(layer: layers.AvgPool2D, x: jax.Array, name: str, train: bool) -> jax.Array:
    geometry = layer.geometry(x.shape[1:])
    return nn.avg_pool(x, geometry.kernel, geometry.stride, geometry.pads, count_include_pad=layer.count_include_pad)


@_in_flax.register
def _(layer: layers.AdaptiveAvgPool2D, x: jax.Array, name: str, train: bool) -> jax.Array:
    if layer.size == 1:
        return x.mean((1, 2), keepdims=True)
    window = layer.geometry(x.shape[1:]).kernel
    return nn.avg_pool(x, window, window)


@_in_flax.register
def _(layer: layers.Flatten, x: jax.Array, name: str, train: bool) -> jax.Array:
    return x.reshape(len(x), -1)


@_in_flax.register
def _(layer: layers.SelectMaps, x: jax.Array, name: str, train: bool) -> jax.Array:
    return x[..., layer.first : layer.stop]


@_in_flax.register
def _(layer: layers.ChannelShuffle, x: jax.Array, name: str, train: bool) -> jax.Array:
    return x.reshape(*x.shape[:-1], layer.groups, -1).swapaxes(-1, -2).reshape(x.shape)


@_in_flax.register
def _(layer: layers.Add, x: tuple[jax.Array, ...], name: str, train: bool) -> jax.Array:
    return sum(x[1:], start=x[0])


@_in_flax.register
def _(layer: layers.Multiply, x: tuple[jax.Array, ...], name: str, train: bool) -> jax.Array:
    return x[0] * x[1]


@_in_flax.register
def _(layer: layers.Concatenate, x: tuple[jax.Array, ...], name: str, train: bool) -> jax.Array:
    return jnp.concatenate(x, axis=-1)

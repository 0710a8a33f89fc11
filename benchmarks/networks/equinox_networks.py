"""The networks in equinox, channels first, for one input each and vectorized over the batch by `jax.vmap`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from equinox import nn

from benchmarks.networks.network import Model

__all__ = ["build"]

Keys = Iterator[jax.Array]


class WaveNetLayer(eqx.Module):
    """A gated causal convolution with its residual and its skip connection."""

    gates: nn.Conv1d
    skip: nn.Conv1d
    residual: nn.Conv1d

    def __init__(self, channels: int, skip_channels: int, dilation: int, keys: Keys) -> None:
        self.gates = nn.Conv1d(channels, 2 * channels, 2, padding=((dilation, 0),), dilation=dilation, key=next(keys))
        self.skip = nn.Conv1d(channels, skip_channels, 1, key=next(keys))
        self.residual = nn.Conv1d(channels, channels, 1, key=next(keys))

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        values, gate = jnp.split(self.gates(x), 2)
        values = jnp.tanh(values) * jax.nn.sigmoid(gate)
        return x + self.residual(values), self.skip(values)


class WaveNet(eqx.Module):
    """van den Oord et al. 2016: ten gated causal convolutions with kernels of 2, dilated by 1 to 512."""

    first: nn.Conv1d
    layers: list[WaveNetLayer]
    last: list[nn.Conv1d]

    def __init__(self, keys: Keys, channels: int = 64, skip_channels: int = 128, layers: int = 10) -> None:
        self.first = nn.Conv1d(1, channels, 2, padding=((1, 0),), key=next(keys))
        self.layers = [WaveNetLayer(channels, skip_channels, 2**layer, keys) for layer in range(layers)]
        self.last = [nn.Conv1d(skip_channels, out, 1, key=next(keys)) for out in (skip_channels, 256)]

    def __call__(self, x: jax.Array, state: nn.State) -> tuple[jax.Array, nn.State]:
        x, skips = self.first(x), []
        for layer in self.layers:
            x, skip = layer(x)
            skips.append(skip)
        x = jax.nn.relu(sum(skips))
        return self.last[1](jax.nn.relu(self.last[0](x))), state


class Convolutions(eqx.Module):
    """Two 3 x 3 convolutions with rectifiers."""

    both: list[nn.Conv2d]

    def __init__(self, inputs: int, outputs: int, keys: Keys) -> None:
        self.both = [nn.Conv2d(n, outputs, 3, padding=1, key=next(keys)) for n in (inputs, outputs)]

    def __call__(self, x: jax.Array) -> jax.Array:
        for convolution in self.both:
            x = jax.nn.relu(convolution(x))
        return x


class UNet(eqx.Module):
    """Ronneberger et al. 2015, with padded convolutions and half the channels: four levels above the bottom."""

    down: list[Convolutions]
    bottom: Convolutions
    enlarge: list[nn.ConvTranspose2d]
    up: list[Convolutions]
    last: nn.Conv2d

    def __init__(self, keys: Keys, channels: int = 32, levels: int = 4, classes: int = 2) -> None:
        widths = [channels * 2**level for level in range(levels)]
        self.down = [Convolutions(n, m, keys) for n, m in zip([3, *widths[:-1]], widths, strict=True)]
        self.bottom = Convolutions(widths[-1], 2 * widths[-1], keys)
        self.enlarge = [nn.ConvTranspose2d(2 * n, n, 2, stride=2, key=next(keys)) for n in widths]
        self.up = [Convolutions(2 * n, n, keys) for n in widths]
        self.last = nn.Conv2d(channels, classes, 1, key=next(keys))

    def __call__(self, x: jax.Array, state: nn.State) -> tuple[jax.Array, nn.State]:
        pool, skips = nn.MaxPool2d(2, 2), []
        for convolutions in self.down:
            skips.append(convolutions(x))
            x = pool(skips[-1])
        x = self.bottom(x)
        for enlarge, convolutions, skip in zip(self.enlarge[::-1], self.up[::-1], skips[::-1], strict=True):
            x = convolutions(jnp.concatenate([skip, enlarge(x)]))
        return self.last(x), state


class NormalizedConvolution(eqx.Module):
    """A convolution without bias and batch normalization."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm

    def __init__(self, inputs: int, outputs: int, kernel: int, keys: Keys, stride: int = 1) -> None:
        self.convolution = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=kernel // 2, use_bias=False, key=next(keys)
        )
        self.norm = nn.BatchNorm(outputs, "batch", momentum=0.9, mode="batch")

    def __call__(self, x: jax.Array, state: nn.State) -> tuple[jax.Array, nn.State]:
        return self.norm(self.convolution(x), state)


class Block(eqx.Module):
    """A residual block of two 3 x 3 convolutions."""

    first: NormalizedConvolution
    second: NormalizedConvolution
    projection: NormalizedConvolution | None

    def __init__(self, inputs: int, outputs: int, stride: int, keys: Keys) -> None:
        self.first = NormalizedConvolution(inputs, outputs, 3, keys, stride)
        self.second = NormalizedConvolution(outputs, outputs, 3, keys)
        self.projection = None if inputs == outputs else NormalizedConvolution(inputs, outputs, 1, keys, stride)

    def __call__(self, x: jax.Array, state: nn.State) -> tuple[jax.Array, nn.State]:
        y, state = self.first(x, state)
        y, state = self.second(jax.nn.relu(y), state)
        if self.projection is not None:
            x, state = self.projection(x, state)
        return jax.nn.relu(x + y), state


class ResNet(eqx.Module):
    """He et al. 2016."""

    first: NormalizedConvolution
    blocks: list[Block]
    last: nn.Linear

    def __init__(self, keys: Keys, blocks: Sequence[int] = (2, 2, 2, 2), classes: int = 1000) -> None:
        self.first = NormalizedConvolution(3, 64, 7, keys, stride=2)
        self.blocks, inputs = [], 64
        for stage, count in enumerate(blocks):
            for block in range(count):
                outputs = 64 * 2**stage
                self.blocks.append(Block(inputs, outputs, 2 if stage and not block else 1, keys))
                inputs = outputs
        self.last = nn.Linear(inputs, classes, key=next(keys))

    def __call__(self, x: jax.Array, state: nn.State) -> tuple[jax.Array, nn.State]:
        x, state = self.first(x, state)
        x = nn.MaxPool2d(3, 2, padding=1)(jax.nn.relu(x))
        for block in self.blocks:
            x, state = block(x, state)
        return self.last(x.mean((1, 2))), state


_MODULES: dict[str, Callable[[Keys], Any]] = {"WaveNet": WaveNet, "U-Net": UNet, "ResNet-18": ResNet}


def build(name: str, shape: tuple[int, ...], seed: int) -> Model:
    """The network of that name for inputs of a shape (N, ..., C), with random weights as equinox initializes them."""
    module, state = nn.make_with_state(_MODULES[name])(iter(jax.random.split(jax.random.key(seed), 100)))
    params, training = eqx.partition(module, eqx.is_inexact_array)
    evaluation = nn.inference_mode(training)

    def evaluate(params: Any, state: nn.State, x: jax.Array) -> jax.Array:
        return _vectorized(eqx.combine(params, evaluation))(x, state)[0]

    def train(params: Any, state: nn.State, x: jax.Array) -> tuple[jax.Array, nn.State]:
        return _vectorized(eqx.combine(params, training))(x, state)

    return Model(params, state, evaluate, train, channels_first=True)


_vectorized = partial(jax.vmap, in_axes=(0, None), out_axes=(0, None), axis_name="batch")

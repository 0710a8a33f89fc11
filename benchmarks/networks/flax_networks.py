"""The networks in flax.linen, channels last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from benchmarks.networks.network import Model

__all__ = ["build"]


class LeNet5(nn.Module):
    """LeCun et al. 1998, with all connections, average pooling and softmax."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for channels in (6, 16):
            x = nn.tanh(nn.Conv(channels, (5, 5), padding="VALID")(x))
            x = nn.avg_pool(x, (2, 2), (2, 2))
        x = x.reshape(len(x), -1)
        for units in (120, 84):
            x = nn.tanh(nn.Dense(units)(x))
        return nn.Dense(10)(x)


class DQN(nn.Module):
    """The network for Atari games of Mnih et al. 2015: 84 x 84 pixels of four frames to the value of each action."""

    actions: int = 18

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for channels, kernel, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
            x = nn.relu(nn.Conv(channels, (kernel, kernel), stride, padding="VALID")(x))
        x = nn.relu(nn.Dense(512)(x.reshape(len(x), -1)))
        return nn.Dense(self.actions)(x)


class WaveNet(nn.Module):
    """van den Oord et al. 2016: ten gated causal convolutions with kernels of 2, dilated by 1 to 512."""

    channels: int = 64
    skip_channels: int = 128
    layers: int = 10

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = nn.Conv(self.channels, (2,), padding="CAUSAL")(x)
        skips: Any = 0
        for layer in range(self.layers):
            gates = nn.Conv(2 * self.channels, (2,), kernel_dilation=2**layer, padding="CAUSAL")(x)
            values, gate = jnp.split(gates, 2, axis=-1)
            values = nn.tanh(values) * nn.sigmoid(gate)
            skips += nn.Conv(self.skip_channels, (1,))(values)
            x += nn.Conv(self.channels, (1,))(values)
        x = nn.relu(nn.Conv(self.skip_channels, (1,))(nn.relu(skips)))
        return nn.Conv(256, (1,))(x)


class UNet(nn.Module):
    """Ronneberger et al. 2015, with padded convolutions and half the channels: four levels above the bottom."""

    channels: int = 32
    levels: int = 4
    classes: int = 2

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        skips = []
        for level in range(self.levels):
            x = self._convolve(x, self.channels * 2**level)
            skips.append(x)
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = self._convolve(x, self.channels * 2**self.levels)
        for level in reversed(range(self.levels)):
            x = nn.ConvTranspose(self.channels * 2**level, (2, 2), (2, 2))(x)
            x = self._convolve(jnp.concatenate([skips[level], x], axis=-1), self.channels * 2**level)
        return nn.Conv(self.classes, (1, 1))(x)

    def _convolve(self, x: jax.Array, channels: int) -> jax.Array:
        for _ in range(2):
            x = nn.relu(nn.Conv(channels, (3, 3))(x))
        return x


class ResNet(nn.Module):
    """He et al. 2016, with the stride of a bottleneck block in its 3 x 3 convolution."""

    blocks: Sequence[int]
    bottleneck: bool
    classes: int = 1000

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        x = nn.Conv(64, (7, 7), 2, padding=3, use_bias=False)(x)
        x = nn.relu(norm()(x))
        x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        for stage, count in enumerate(self.blocks):
            for block in range(count):
                x = self._block(x, 64 * 2**stage, 2 if stage and not block else 1, norm)
        return nn.Dense(self.classes)(x.mean((1, 2)))

    def _block(self, x: jax.Array, channels: int, stride: int, norm: Callable[..., Any]) -> jax.Array:
        conv = partial(nn.Conv, use_bias=False)
        if self.bottleneck:
            y = nn.relu(norm()(conv(channels, (1, 1))(x)))
            y = nn.relu(norm()(conv(channels, (3, 3), stride, padding=1)(y)))
            y = norm()(conv(4 * channels, (1, 1))(y))
        else:
            y = nn.relu(norm()(conv(channels, (3, 3), stride, padding=1)(x)))
            y = norm()(conv(channels, (3, 3), padding=1)(y))
        if x.shape != y.shape:
            x = norm()(conv(y.shape[-1], (1, 1), stride)(x))
        return nn.relu(x + y)


class MobileNetV2(nn.Module):
    """Sandler et al. 2018: inverted residual blocks with depthwise convolutions."""

    blocks: Sequence[tuple[int, int, int, int]] = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    """For each stage: expansion, channels, number of blocks, stride of the first."""
    classes: int = 1000

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv = partial(nn.Conv, use_bias=False)
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        x = nn.relu6(norm()(conv(32, (3, 3), 2, padding=1)(x)))
        for expansion, channels, count, first_stride in self.blocks:
            for block in range(count):
                y, wide = x, expansion * x.shape[-1]
                if expansion > 1:
                    y = nn.relu6(norm()(conv(wide, (1, 1))(y)))
                stride = 1 if block else first_stride
                y = nn.relu6(norm()(conv(wide, (3, 3), stride, padding=1, feature_group_count=wide)(y)))
                y = norm()(conv(channels, (1, 1))(y))
                x = x + y if x.shape == y.shape else y
        x = nn.relu6(norm()(conv(1280, (1, 1))(x)))
        return nn.Dense(self.classes)(x.mean((1, 2)))


class ConvNeXt(nn.Module):
    """Liu et al. 2022, without stochastic depth."""

    blocks: Sequence[int] = (3, 3, 9, 3)
    channels: Sequence[int] = (96, 192, 384, 768)
    classes: int = 1000

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        norm = partial(nn.LayerNorm, epsilon=1e-6)
        x = norm()(nn.Conv(self.channels[0], (4, 4), 4, padding="VALID")(x))
        for stage, (count, channels) in enumerate(zip(self.blocks, self.channels, strict=True)):
            if stage:
                x = nn.Conv(channels, (2, 2), 2, padding="VALID")(norm()(x))
            for block in range(count):
                y = norm()(nn.Conv(channels, (7, 7), padding=3, feature_group_count=channels)(x))
                y = nn.Dense(channels)(nn.gelu(nn.Dense(4 * channels)(y), approximate=False))
                scale = self.param(f"scale_{stage}_{block}", nn.initializers.constant(1e-6), (channels,))
                x += scale * y
        return nn.Dense(self.classes)(norm()(x.mean((1, 2))))


_MODULES: dict[str, Callable[[], nn.Module]] = {
    "LeNet-5": LeNet5,
    "DQN": DQN,
    "WaveNet": WaveNet,
    "U-Net": UNet,
    "ResNet-18": partial(ResNet, (2, 2, 2, 2), bottleneck=False),
    "ResNet-50": partial(ResNet, (3, 4, 6, 3), bottleneck=True),
    "MobileNetV2": MobileNetV2,
    "ConvNeXt-Tiny": ConvNeXt,
}


def build(name: str, shape: tuple[int, ...], seed: int) -> Model:
    """The network of that name for inputs of a shape (N, ..., C), with random weights as flax initializes them."""
    module = _MODULES[name]()
    variables = jax.jit(partial(module.init, train=False))(jax.random.key(seed), jnp.zeros(shape))
    state, params = dict(variables), variables["params"]
    del state["params"]

    def evaluate(params: Any, state: Any, x: jax.Array) -> jax.Array:
        return module.apply({"params": params, **state}, x, train=False)

    def train(params: Any, state: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        return module.apply({"params": params, **state}, x, train=True, mutable=list(state))

    return Model(params, state, evaluate, train)

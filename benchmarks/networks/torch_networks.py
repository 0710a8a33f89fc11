"""The networks in PyTorch, with channels-last tensors where the network is two-dimensional."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # its usual name

__all__ = ["build", "programs"]

Tensor = torch.Tensor


class WaveNetLayer(nn.Module):
    """A gated causal convolution with its residual and its skip connection."""

    def __init__(self, channels: int, skip_channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.gates = nn.Conv1d(channels, 2 * channels, 2, dilation=dilation)
        self.skip = nn.Conv1d(channels, skip_channels, 1)
        self.residual = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        values, gate = self.gates(F.pad(x, (self.dilation, 0))).chunk(2, 1)
        values = torch.tanh(values) * torch.sigmoid(gate)
        return x + self.residual(values), self.skip(values)


class WaveNet(nn.Module):
    """van den Oord et al. 2016: ten gated causal convolutions with kernels of 2, dilated by 1 to 512."""

    def __init__(self, channels: int = 64, skip_channels: int = 128, layers: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, channels, 2)
        self.layers = nn.ModuleList(WaveNetLayer(channels, skip_channels, 2**layer) for layer in range(layers))
        self.last = nn.Sequential(
            *(nn.ReLU(), nn.Conv1d(skip_channels, skip_channels, 1), nn.ReLU(), nn.Conv1d(skip_channels, 256, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        x, skips = self.first(F.pad(x, (1, 0))), []
        for layer in self.layers:
            x, skip = layer(x)
            skips.append(skip)
        return self.last(sum(skips))


class UNet(nn.Module):
    """Ronneberger et al. 2015, with padded convolutions and half the channels: four levels above the bottom."""

    def __init__(self, channels: int = 32, levels: int = 4, classes: int = 2) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(levels)]

        def convolutions(inputs: int, outputs: int) -> nn.Module:
            first, second = (nn.Conv2d(n, outputs, 3, padding=1) for n in (inputs, outputs))
            return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())

        self.down = nn.ModuleList(convolutions(n, m) for n, m in zip([3, *widths[:-1]], widths, strict=True))
        self.bottom = convolutions(widths[-1], 2 * widths[-1])
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(2 * n, n, 2, stride=2) for n in reversed(widths))
        self.up = nn.ModuleList(convolutions(2 * n, n) for n in reversed(widths))
        self.last = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for convolutions in self.down:
            skips.append(convolutions(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.bottom(x)
        for enlarge, convolutions, skip in zip(self.enlarge, self.up, reversed(skips), strict=True):
            x = convolutions(torch.cat([skip, enlarge(x)], 1))
        return self.last(x)


def _normalized(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, **settings: Any) -> list[nn.Module]:
    """A convolution, without bias unless given, and batch normalization."""
    settings = {"padding": kernel // 2, "bias": False} | settings
    return [nn.Conv2d(inputs, outputs, kernel, stride, **settings), nn.BatchNorm2d(outputs)]


class Residual(nn.Module):
    """A path of layers beside a direct or projected one, and a rectifier, if any, behind their sum."""

    def __init__(self, path: list[nn.Module], projection: list[nn.Module], rectified: bool = True) -> None:
        super().__init__()
        self.path, self.projection, self.rectified = nn.Sequential(*path), nn.Sequential(*projection), rectified

    def forward(self, x: Tensor) -> Tensor:
        x = self.projection(x) + self.path(x)
        return F.relu(x) if self.rectified else x


def _resnet(blocks: tuple[int, ...], *, bottleneck: bool, as_keras: bool = False) -> nn.Module:
    """He et al. 2016, with the stride of a bottleneck block in its 3 x 3 convolution.

    That of keras.applications has it in the first convolution, and a bias in each.
    """
    conv = partial(_normalized, bias=as_keras)
    layers = [*conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
    inputs = 64
    for stage, count in enumerate(blocks):
        n = 64 * 2**stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            if bottleneck:
                outputs, strides = 4 * n, (stride, 1) if as_keras else (1, stride)
                path = [*conv(inputs, n, 1, strides[0]), nn.ReLU(), *conv(n, n, 3, strides[1]), nn.ReLU()]
                path += conv(n, outputs)
            else:
                outputs = n
                path = [*conv(inputs, n, 3, stride), nn.ReLU(), *conv(n, n, 3)]
            projection = conv(inputs, outputs, 1, stride) if inputs != outputs else []
            layers.append(Residual(path, projection))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))


def _mobilenet() -> nn.Module:
    """Sandler et al. 2018: inverted residual blocks with depthwise convolutions."""
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    layers = [*_normalized(3, 32, 3, 2), nn.ReLU6()]
    inputs = 32
    for expansion, outputs, count, first_stride in stages:
        for block in range(count):
            stride, wide = 1 if block else first_stride, expansion * inputs
            path = [*_normalized(inputs, wide), nn.ReLU6()] if expansion > 1 else []
            path += [*_normalized(wide, wide, 3, stride, groups=wide), nn.ReLU6(), *_normalized(wide, outputs)]
            layers += [Residual(path, [], rectified=False)] if inputs == outputs and stride == 1 else path
            inputs = outputs
    layers += [*_normalized(inputs, 1280), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(1280, 1000))


class LayerNorm2d(nn.LayerNorm):
    """Layer normalization over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution and two dense layers at each position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.dense = nn.Sequential(
            nn.LayerNorm(channels, eps=1e-6),
            *(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)),
        )
        self.scale = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        y = self.scale * self.dense(self.depthwise(x).permute(0, 2, 3, 1))
        return x + y.permute(0, 3, 1, 2)


def _convnext() -> nn.Module:
    """Liu et al. 2022, without stochastic depth."""
    stages = ((3, 96), (3, 192), (9, 384), (3, 768))
    layers: list[nn.Module] = [nn.Conv2d(3, 96, 4, 4), LayerNorm2d(96, eps=1e-6)]
    inputs = 96
    for count, channels in stages:
        if channels != inputs:
            layers += [LayerNorm2d(inputs, eps=1e-6), nn.Conv2d(inputs, channels, 2, 2)]
        layers += [ConvNeXtBlock(channels) for _ in range(count)]
        inputs = channels
    layers += [nn.AdaptiveAvgPool2d(1), LayerNorm2d(inputs, eps=1e-6), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(inputs, 1000))


def _lenet5() -> nn.Module:
    """LeCun et al. 1998, with all connections, average pooling and softmax."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)),
    )


def _dqn() -> nn.Module:
    """The network for Atari games of Mnih et al. 2015: 84 x 84 pixels of four frames to the value of each action."""
    return nn.Sequential(
        *(nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 18)),
    )


_MODULES: dict[str, Callable[..., nn.Module]] = {
    "LeNet-5": _lenet5,
    "DQN": _dqn,
    "WaveNet": WaveNet,
    "U-Net": UNet,
    "ResNet-18": partial(_resnet, (2, 2, 2, 2), bottleneck=False),
    "ResNet-50": partial(_resnet, (3, 4, 6, 3), bottleneck=True),
    "MobileNetV2": _mobilenet,
    "ConvNeXt-Tiny": _convnext,
}


def build(name: str, library: str, seed: int) -> nn.Module:
    """The network of that name as `library` defines it, with random weights and channels last."""
    torch.manual_seed(seed)
    as_keras = {"as_keras": True} if (name, library) == ("ResNet-50", "keras") else {}
    module = _MODULES[name](**as_keras)
    one_dimensional = any(isinstance(layer, nn.Conv1d) for layer in module.modules())
    return module if one_dimensional else module.to(memory_format=torch.channels_last)


def programs(
    module: nn.Module, x: np.ndarray, targets: np.ndarray, *, rate: float, momentum: float, compiled: bool = False
) -> dict[str, Callable[[], Any]]:
    """{"inference", "training"}: the outputs in evaluation mode, and a training step, for inputs (N, ..., C)."""
    inputs = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))
    if x.ndim == 4:
        inputs = inputs.to(memory_format=torch.channels_last)
    wanted = torch.from_numpy(targets)
    wanted = wanted if wanted.is_floating_point() else wanted.long()
    optimizer = torch.optim.SGD(module.parameters(), rate, momentum=momentum)
    call: Callable[..., Tensor] = torch.compile(module) if compiled else module

    def inference() -> Tensor:
        module.eval()
        with torch.inference_mode():
            return call(inputs)

    def training() -> Tensor:
        module.train()
        optimizer.zero_grad()
        outputs = call(inputs)
        loss = F.huber_loss(outputs, wanted) if wanted.is_floating_point() else F.cross_entropy(outputs, wanted)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return {"inference": inference, "training": training}

"""The networks that are measured, by name, and what a library provides of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LIBRARIES", "NETWORKS", "Model", "Network"]

LIBRARIES = ("flax", "equinox", "keras")
"""The libraries on JAX. Networks of the same name in PyTorch are measured beside them."""


@dataclass(frozen=True)
class Network:
    """The libraries that a network is measured in, its batch, the size of an input without batch, and its outputs.

    `quick` is the batch and the extent of an input for a check of the values alone. A network with `regression` is
    trained by the Huber loss, as the DQN is, the others by the cross-entropy of a class for each output position.
    """

    libraries: tuple[str, ...]
    batch: int
    size: tuple[int, ...]
    outputs: int
    quick: tuple[int, int]
    regression: bool = False

    def shape(self, *, quick: bool = False) -> tuple[int, ...]:
        """The shape of a batch of inputs, channels last: (N, *size, C)."""
        if not quick:
            return (self.batch, *self.size)
        batch, extent = self.quick
        return (batch, *((extent,) * (len(self.size) - 1)), self.size[-1])


NETWORKS = {
    "LeNet-5": Network(("flax",), 64, (32, 32, 1), 10, (2, 32)),
    "DQN": Network(("flax",), 32, (84, 84, 4), 18, (2, 84), regression=True),
    "WaveNet": Network(("flax", "equinox"), 2, (4096, 1), 256, (2, 64)),
    "U-Net": Network(("flax", "equinox"), 4, (128, 128, 3), 2, (1, 16)),
    "ResNet-18": Network(("flax", "equinox"), 8, (224, 224, 3), 1000, (4, 64)),
    "ResNet-50": Network(("flax", "keras"), 4, (224, 224, 3), 1000, (4, 64)),
    "MobileNetV2": Network(("flax", "keras"), 8, (224, 224, 3), 1000, (4, 64)),
    "ConvNeXt-Tiny": Network(("flax",), 4, (224, 224, 3), 1000, (1, 32)),
}
"""{name: network}. The time series of the WaveNet and the sides of the images are what `size` starts with."""


@dataclass(frozen=True)
class Model:
    """A network of a library on JAX: pure functions of its parameters and its state, which are pytrees.

    `evaluate(params, state, x)` computes the outputs in evaluation mode, `train(params, state, x)` those in training
    mode and the new state (the running statistics of batch normalization). The outputs of a model with channels first
    are (N, outputs, ...), otherwise (N, ..., outputs).
    """

    params: Any
    state: Any
    evaluate: Callable[[Any, Any, Any], Any]
    train: Callable[[Any, Any, Any], tuple[Any, Any]]
    channels_first: bool = False

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """A batch of inputs (N, ..., C) in the layout of the model."""
        return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if self.channels_first else x

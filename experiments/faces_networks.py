"""The three networks of MTCNN as layers of cnnjax, and their published weights."""

from __future__ import annotations

import importlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax import Input, Network, interop
from cnnjax.layers import Conv2D, Dense, MaxPool2D, Params, PReLU

SIZES = {"pnet": 12, "rnet": 24, "onet": 48}
WHEEL = "facenet_pytorch-2.6.0-py3-none-any.whl"


def picture(height: int, width: int) -> Input:
    """An input with grey levels scaled to -1 .. 1, as MTCNN's weights expect: (level - 127.5) / 128."""
    return Input((height, width, 3), background=-127.5 / 128, foreground=127.5 / 128)


def p_net(height: int = 12, width: int = 12) -> Network:
    """The proposal network: for each window of 12 x 12 pixels, is it a face, and where does it begin and end?

    On 12 x 12 pixels its last layers are dense. They are written as 1 x 1 convolutions, so the same weights also apply
    to a larger picture: one pass then gives the answer for every window, at every second pixel.
    """
    return Network(
        "P-Net",
        picture(height, width),
        [
            ("conv1", Conv2D(10, 3)),
            ("prelu1", PReLU()),
            ("pool1", MaxPool2D(2, ceil_mode=True)),
            ("conv2", Conv2D(16, 3)),
            ("prelu2", PReLU()),
            ("conv3", Conv2D(32, 3)),
            ("prelu3", PReLU()),
            ("conv4_1", Conv2D(2, 1)),
            ("conv4_2", Conv2D(4, 1), "prelu3"),
        ],
    )


def r_net() -> Network:
    """The refinement network, for one window of 24 x 24 pixels."""
    return Network(
        "R-Net",
        picture(24, 24),
        [
            ("conv1", Conv2D(28, 3)),
            ("prelu1", PReLU()),
            ("pool1", MaxPool2D(3, stride=2, ceil_mode=True)),
            ("conv2", Conv2D(48, 3)),
            ("prelu2", PReLU()),
            ("pool2", MaxPool2D(3, stride=2, ceil_mode=True)),
            ("conv3", Conv2D(64, 2)),
            ("prelu3", PReLU()),
            ("dense4", Dense(128)),
            ("prelu4", PReLU()),
            ("dense5_1", Dense(2)),
            ("dense5_2", Dense(4), "prelu4"),
        ],
    )


def o_net() -> Network:
    """The output network, for one window of 48 x 48 pixels; it also finds eyes, nose and the corners of the mouth."""
    return Network(
        "O-Net",
        picture(48, 48),
        [
            ("conv1", Conv2D(32, 3)),
            ("prelu1", PReLU()),
            ("pool1", MaxPool2D(3, stride=2, ceil_mode=True)),
            ("conv2", Conv2D(64, 3)),
            ("prelu2", PReLU()),
            ("pool2", MaxPool2D(3, stride=2, ceil_mode=True)),
            ("conv3", Conv2D(64, 3)),
            ("prelu3", PReLU()),
            ("pool3", MaxPool2D(2, ceil_mode=True)),
            ("conv4", Conv2D(128, 2)),
            ("prelu4", PReLU()),
            ("dense5", Dense(256)),
            ("prelu5", PReLU()),
            ("dense6_1", Dense(2)),
            ("dense6_2", Dense(4), "prelu5"),
            ("dense6_3", Dense(10), "prelu5"),
        ],
    )


Weights = dict[str, dict[str, Params]]
"""The parameters of "pnet", "rnet" and "onet"."""


def read_weights(source: Path) -> Weights:
    """The parameters of the three networks from the facenet-pytorch wheel, or a folder with its three .pt files."""
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError as error:
        raise SystemExit("The weights are files of PyTorch; reading them needs it: pip install torch") from error
    weights: Weights = {}
    for name, network in (("pnet", p_net()), ("rnet", r_net()), ("onet", o_net())):
        tensors = torch.load(io.BytesIO(_read(source, f"{name}.pt")), weights_only=True)
        weights[name] = from_facenet(network, {key: value.numpy() for key, value in tensors.items()})
    return weights


def _read(source: Path, name: str) -> bytes:
    try:
        if source.is_dir():
            return (source / name).read_bytes()
        with zipfile.ZipFile(source) as wheel:
            return wheel.read(f"facenet_pytorch/data/{name}")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise SystemExit(
            f"--weights: {source} has no {name}. Fetch it by: pip download --no-deps facenet-pytorch==2.6.0, and pass "
            f"--weights {WHEEL}"
        ) from error


def from_facenet(network: Network, arrays: Mapping[str, np.ndarray]) -> dict[str, Params]:
    """The parameters of a network from those of facenet-pytorch.

    Its dense layers read maps in the order (width, height, maps), because the weights were first those of Caffe;
    `interop.from_torch` expects PyTorch's own order (maps, height, width).
    """
    arrays, shapes = dict(arrays), network.input_shapes()
    for name, layer in network.layers:
        if isinstance(layer, Dense) and len(shapes[name]) == 3:
            height, width, maps = shapes[name]
            w = arrays[f"{name}.weight"].reshape(layer.units, width, height, maps)
            arrays[f"{name}.weight"] = w.transpose(0, 3, 2, 1).reshape(layer.units, -1)
    return interop.from_torch(network, arrays)

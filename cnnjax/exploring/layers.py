"""Networks in the form in which an exploring page reads and computes them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cnnjax._core.messages import describe, value_error
from cnnjax._core.shapes import Geometry
from cnnjax.activations import ACTIVATIONS
from cnnjax.layers import (
    RBF,
    Activation,
    AdaptiveAvgPool2D,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Layer,
    MaxPool2D,
    Network,
    Params,
    Shape,
    StochasticDepth,
    Subsample2D,
)
from cnnjax.layers.anatomy import pixels_read
from cnnjax.pooling import pool_geometry

__all__ = ["COMPUTED_ACTIVATIONS", "MAX_MACS", "MAX_PARAMETERS", "check_explorable", "describe_layers", "encode"]

COMPUTED_ACTIVATIONS = tuple(name for name in ACTIVATIONS if name != "gelu_exact")
"""The activation functions that the page computes: all but the one that needs the error function."""
MAX_PARAMETERS = 1_000_000
"""Parameters of the largest network that a page holds: 5 MB of text."""
MAX_MACS = 20_000_000
"""Multiply-accumulates of the largest network that a page computes: a fraction of a second in a browser."""


def check_explorable(caller: str, network: Network) -> None:
    """Raise ArgumentValueError unless a page can compute the network."""
    counts = [layer.counts(network.input_shapes()[name]) for name, layer in network.layers]
    for what, number, most in (
        ("parameters", sum(each.num_parameters for each in counts), MAX_PARAMETERS),
        ("multiply-accumulates", sum(each.num_macs for each in counts), MAX_MACS),
    ):
        if number > most:
            raise value_error(
                caller,
                "network",
                got=f"{network.name} with {number:,} {what}",
                expected=f"at most {most:,}, which a browser computes while the mouse moves",
                fix="explore its first layers, or give it a smaller input",
            )
    if network.branches:
        name, reads = network.branches[0]
        raise value_error(
            caller,
            f"network.layers[{name!r}]",
            got=f"reading {' and '.join(reads)}",
            expected="layers that each read the volume before them",
            fix="explore a part of the network without branches",
        )
    for name, layer in network.layers:
        if type(layer) not in _DESCRIPTIONS or _activation(layer) not in COMPUTED_ACTIVATIONS:
            raise value_error(
                caller,
                f"network.layers[{name!r}]",
                got=f"{type(layer).__name__} with activation {describe(_activation(layer))}",
                expected=f"one of {', '.join(kind.__name__ for kind in _DESCRIPTIONS)}, with one of the activations "
                f"{', '.join(COMPUTED_ACTIVATIONS)}",
                fix="use one of these in its place",
            )


def _activation(layer: Layer) -> Any:
    return layer.function if isinstance(layer, Activation) else getattr(layer, "activation", "identity")


def describe_layers(network: Network, params: Mapping[str, Params]) -> list[dict[str, Any]]:
    """Return the layers of a network with their parameters, as values for JSON."""
    shapes = network.input_shapes()
    return [
        {
            "name": name,
            "type": type(layer).__name__,
            "activation": _activation(layer),
            **_DESCRIPTIONS[type(layer)](layer, params.get(name, {}), shapes[name]),
        }
        for name, layer in network.layers
    ]


def encode(values: Any, dtype: str = "<f4") -> str:
    """Return the bytes of an array in base64."""
    return base64.b64encode(np.asarray(values, dtype).tobytes()).decode()


def _convolution(layer: Conv2D, params: Params, shape: Shape) -> dict[str, Any]:
    """`slices` holds a kernel slice for each link: those of the first output map, of the second, and so on."""
    table = layer.table(shape)
    slices = np.transpose(np.asarray(layer.dense_weights(params, shape)), (3, 2, 0, 1))[table.matrix.T]
    return {
        "kind": "conv",
        "reads": table.rows,
        "slices": encode(slices),
        **_bias(layer, params),
        **_windows(layer.geometry(shape)),
    }


def _sub_sampling(layer: Subsample2D, params: Params, shape: Shape) -> dict[str, Any]:
    weights = {name: encode(params[name]) for name in ("w", "b")}
    return {"kind": "pool", "takes": "sum", **weights, **_windows(layer.geometry(shape))}


def _maximum(layer: MaxPool2D, params: Params, shape: Shape) -> dict[str, Any]:
    return {"kind": "pool", "takes": "max", **_windows(layer.geometry(shape))}


def _mean(layer: AvgPool2D, params: Params, shape: Shape) -> dict[str, Any]:
    """`counted` is how many pixels each window divides by, along each axis."""
    geometry = layer.geometry(shape)
    pads = geometry.pads  # which repeat pixels of the image, or hold zeros
    if geometry.boundary == "zero" and layer.count_include_pad:
        pads = pool_geometry("AvgPool2D", geometry.size, layer.window, stride=layer.stride, padding=layer.padding).pads
    elif geometry.boundary == "zero":
        pads = ((0, 0), (0, 0))
    counted = [_pixels_within(geometry, axis, pads[axis]) for axis in (0, 1)]
    return {"kind": "pool", "takes": "mean", "counted": counted, **_windows(geometry)}


def _mean_of_parts(layer: AdaptiveAvgPool2D, params: Params, shape: Shape) -> dict[str, Any]:
    """The windows differ in size, so the missing taps of smaller ones are marked as zeros of a padding would be."""
    windows = layer.windows(shape)
    kernel = [max(stop - start for start, stop in axis) for axis in windows]
    rows, columns = (
        [[start + i if start + i < stop else -1 for i in range(size)] for start, stop in axis]
        for axis, size in zip(windows, kernel, strict=True)
    )
    counted = [[stop - start for start, stop in axis] for axis in windows]
    steps = {"stride": (1, 1), "dilation": (1, 1)}
    return {
        "kind": "pool",
        "takes": "mean",
        "counted": counted,
        "kernel": kernel,
        "rows": rows,
        "columns": columns,
        **steps,
    }


def _scale(layer: BatchNorm, params: Params, shape: Shape) -> dict[str, Any]:
    return {"kind": "scale", "eps": layer.eps, **{name: encode(params[name]) for name in ("w", "b", "mean", "var")}}


def _passed_on(layer: Layer, params: Params, shape: Shape) -> dict[str, Any]:
    return {"kind": "scale"}


def _pixels_within(geometry: Geometry, axis: int, pads: tuple[int, int]) -> list[int]:
    """Return how many pixels of each window lie on the image or these pads, along one axis."""
    first = np.arange(geometry.output[axis]) * geometry.stride[axis] - geometry.pads[axis][0]
    pixels = first[:, None] + np.arange(geometry.kernel[axis])
    return ((pixels >= -pads[0]) & (pixels < geometry.size[axis] + pads[1])).sum(axis=1).tolist()


def _dense(layer: Dense, params: Params, shape: Shape) -> dict[str, Any]:
    return {"kind": "dense", "units": layer.units, "w": encode(params["w"]), **_bias(layer, params)}


def _rbf(layer: RBF, params: Params, shape: Shape) -> dict[str, Any]:
    return {"kind": "rbf", "codes": encode(params["w"] if layer.trainable else layer.codes)}


# A subclass may compute something else, so the types are matched exactly.
_DESCRIPTIONS: dict[type[Layer], Callable[[Any, Params, Shape], dict[str, Any]]] = {
    Conv2D: _convolution,
    Subsample2D: _sub_sampling,
    MaxPool2D: _maximum,
    AvgPool2D: _mean,
    AdaptiveAvgPool2D: _mean_of_parts,
    BatchNorm: _scale,
    Activation: _passed_on,
    Dropout: _passed_on,
    StochasticDepth: _passed_on,
    Dense: _dense,
    RBF: _rbf,
}


def _bias(layer: Conv2D | Dense, params: Params) -> dict[str, str]:
    return {"b": encode(params["b"])} if layer.bias else {}


def _windows(geometry: Geometry) -> dict[str, Any]:
    """Return, for each position of a kernel, the rows and columns that its taps read; -1 for a zero of the padding."""
    rows, columns = (pixels_read(np.arange(geometry.output[axis]), geometry, axis).tolist() for axis in (0, 1))
    return {
        "kernel": geometry.kernel,
        "stride": geometry.stride,
        "dilation": geometry.dilation,
        "rows": rows,
        "columns": columns,
    }

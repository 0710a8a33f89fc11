"""How an exploring page shows each volume of a network: its title, a sentence about it, and its arrangement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnnjax.layers import (
    RBF,
    Activation,
    AdaptiveAvgPool2D,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dropout,
    Layer,
    MaxPool2D,
    Network,
    Shape,
    StochasticDepth,
)

__all__ = ["View", "views"]


@dataclass(frozen=True)
class View:
    """How the page shows one volume.

    Attributes:
        name: the name of the volume, "input" or that of a layer.
        title: its heading.
        text: a sentence about it.
        story: what the tour says about it; `text` by default.
        columns: how many maps, or bars of scores, stand in one row.
        grid: (rows, columns) in which a volume without height and width is drawn, None for maps and bars.
        map_names: a caption for each map; their numbers by default.
    """

    name: str
    title: str
    text: str
    story: str | None = None
    columns: int = 1
    grid: tuple[int, int] | None = None
    map_names: tuple[str, ...] | None = None


def views(network: Network) -> tuple[View, ...]:
    """Return the views of a network's volumes, "input" first.

    Args:
        network: the network.

    Returns:
        One `View` for each volume, in the order of `network.shapes()`.

    Example:
        >>> import cnnjax
        >>> for view in views(cnnjax.models.lenet5())[3:5]:
        ...     print(f"{view.title}: {view.text}")
        C3: 16 maps of 10 × 10. Each combines the S2 maps that it reads.
        S4: 16 maps of 5 × 5. Each 2 × 2 block of a C3 map becomes one value.
    """
    shapes, layers, sources = network.shapes(), dict(network.layers), network.input_names()
    last = network.layers[-1][0]
    found = [_picture(network.input.shape)]
    for name, shape in list(shapes.items())[1:]:
        layer, source = layers[name], sources[name]
        found.append(
            View(
                name,
                title(name),
                f"{_extent(shape)} {_what_it_does(layer, source, shapes[source], shape, final=name == last)}",
                **_arrangement(shape, bars=name == last),
            )
        )
    return tuple(found)


def title(name: str) -> str:
    """Return the heading of a volume: "C3" for "c3", "Hidden" for "hidden".

    >>> title("c3"), title("hidden")
    ('C3', 'Hidden')
    """
    return name.upper() if len(name) < 3 else name[0].upper() + name[1:]


MOST_BARS = 20


def _arrangement(shape: Shape, *, bars: bool) -> dict[str, Any]:
    units = math.prod(shape)
    if math.prod(shape[:-1]) > 1:  # maps; small ones stand closer together
        return {"columns": shape[-1] if shape[-1] <= 8 else 8 if min(shape[:-1]) >= 8 and shape[-1] <= 32 else 16}
    if bars and units <= MOST_BARS:
        return {"columns": min(units, 10)}
    columns = min(units, 30 if units <= 300 else 50)
    return {"grid": (-(-units // columns), columns)}


def _picture(shape: Shape) -> View:
    height, width, maps = shape
    if maps == 1:
        return View("input", "Picture", f"{height} × {width} numbers.", map_names=("picture",))
    names = ("red", "green", "blue") if maps == 3 else None
    which = ": red, green and blue" if names else ""
    text = f"{maps} maps of {height} × {width}{which}."
    return View("input", "Picture", text, columns=min(maps, 8), map_names=names)


def _extent(shape: Shape) -> str:
    *size, maps = shape
    if math.prod(size) > 1:
        return f"{maps} map{'s' if maps > 1 else ''} of {_times(size)}."
    return f"{maps} value{'s' if maps > 1 else ''}."


def _what_it_does(layer: Layer, source: str, shape: Shape, output: Shape, *, final: bool) -> str:
    """Return a sentence about a layer that reads a volume of a shape."""
    reads = "the picture" if source == "input" else title(source)
    match layer:
        case Conv2D():
            return _convolution(layer, reads, shape, output)
        case RBF():
            return f"How far {reads} is from the code of each class. The smallest distance wins."
        case MaxPool2D() | AvgPool2D():
            taken = "the largest value" if isinstance(layer, MaxPool2D) else "the mean"
            return f"Each is {taken} of {_times(layer.geometry(shape).kernel)} values of {_map_of(reads)}."
        case AdaptiveAvgPool2D():
            part = "a whole" if math.prod(output[:-1]) == 1 else "a part of a"
            return f"Each is the mean of {part} {_map_of(reads).partition(' ')[2]}."
        case BatchNorm():
            return f"Each is {_one_of(reads, shape)}, scaled and shifted: batch normalisation by running statistics."
        case Activation():
            return f"Each is {_one_of(reads, shape)} after the activation function."
        case Dropout() | StochasticDepth():
            return f"Each is {_one_of(reads, shape)} as it is: units are dropped in training only."
        case _ if layer.geometry(shape) is None or math.prod(output[:-1]) == 1:
            return f"Each reads all of {reads}." + (" The largest score wins." if final else "")
        case _:
            kernel = _times(getattr(layer.geometry(shape), "kernel", ()))
            return f"Each {kernel} block of {_map_of(reads)} becomes one value."


def _convolution(layer: Conv2D, reads: str, shape: Shape, output: Shape) -> str:
    kernel = _times(layer.geometry(shape).kernel)
    if math.prod(output[:-1]) == 1:
        return f"Each reads all of {reads}."
    if set(layer.table(shape).fan_in) == {1}:
        own = reads if shape[-1] == 1 else f"one {reads} map"
        return f"Each slides its own {kernel} kernel over {own}."
    maps = "maps of the picture" if reads == "the picture" else f"{reads} maps"
    return f"Each combines the {maps} that it reads."


def _one_of(reads: str, shape: Shape) -> str:
    return _map_of(reads) if math.prod(shape[:-1]) > 1 else f"a {reads} value"


def _map_of(reads: str) -> str:
    return "a map of the picture" if reads == "the picture" else f"a {reads} map"


def _times(size: Sequence[int]) -> str:
    return " × ".join(map(str, size))

"""The exploring page: one HTML file that computes a network in the browser and shows how each value comes about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from cnnjax import activations
from cnnjax._core.messages import describe, type_error, value_error
from cnnjax.exploring.layers import check_explorable, describe_layers, encode
from cnnjax.exploring.views import View, views
from cnnjax.layers import Network, Params

__all__ = ["Page", "Picture", "Place", "Variant", "Words", "explore"]

_PARTS = Path(__file__).with_name("parts")
MAX_PICTURES = 32


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that the page offers: uint8 grey levels or colours (h, w, C), or a prepared image (H, W, C).

    Attributes:
        image: the picture.
        name: what it shows.
        label: the number of its class, if that is known.
    """

    image: np.ndarray
    name: str
    label: int | None = None


@dataclass(frozen=True)
class Variant:
    """One of the networks among which the reader of a page chooses. They have the same volumes.

    Attributes:
        network: the network.
        params: its parameters.
        name: an identifier.
        title: the text of its button.
        sentence: what it is, shown when it is chosen.
    """

    network: Network
    params: Mapping[str, Params]
    name: str = "network"
    title: str = ""
    sentence: str = ""


@dataclass(frozen=True)
class Place:
    """A value: the map of a layer, and a row and a column in it, counted from 0."""

    layer: str
    map: int
    row: int
    column: int


@dataclass(frozen=True)
class Words:
    """Sentences of the page. `{first}` and `{second}` are the two best classes, `{value}` and `{other}` their scores.

    Attributes:
        choose_picture: the heading of the pictures.
        pictures: what the pictures are, for screen readers.
        variants: the question above the buttons of the variants.
        answer: which class wins.
        runner_up: by how much.
        unit: the name of an output unit.
        code: the name of the code of a class, for RBF units.
    """

    choose_picture: str = "Choose a picture"
    pictures: str = "Pictures"
    variants: str = ""
    answer: str = "The network says <strong>{first}</strong>."
    runner_up: str = "Its score is {value}; next is {second}, at {other}."
    unit: str = "the output for {class}"
    code: str = "code of {class}"


@dataclass(frozen=True)
class Page:
    """The contents of an exploring page; `html` joins them with its program.

    Attributes:
        title: the heading of the page.
        introduction: the paragraph below it, HTML.
        variants: the networks, one or more with the same volumes.
        pictures: the pictures.
        classes: the names of the classes.
        views: how each volume is shown; those of `views(network)` by default.
        start: the value that is shown first.
        value_range: the magnitude of the lightest colour, for all volumes; by default the largest of each volume.
        first_picture: the picture that is shown first.
        drawing: whether one can draw a picture, placed as the digits of MNIST are.
        words: the sentences of the page.
        note: where the weights come from, for the foot of the page.
    """

    title: str
    introduction: str
    variants: tuple[Variant, ...]
    pictures: tuple[Picture, ...]
    classes: tuple[str, ...]
    views: tuple[View, ...]
    start: Place | None = None
    value_range: float | None = None
    first_picture: int = 0
    drawing: bool = False
    words: Words = Words()
    note: str = ""

    def html(self) -> str:
        """Return the page as one HTML document that needs neither a server nor network access."""
        network = self.variants[0].network
        content = {
            "title": self.title,
            "introduction": self.introduction,
            "input": vars(network.input),
            "scaledTanh": {"amplitude": activations.AMPLITUDE, "slope": activations.SLOPE},
            "smallestWins": network.smallest_wins,
            "variants": [
                {
                    "name": each.name,
                    "title": each.title,
                    "sentence": each.sentence,
                    "layers": describe_layers(each.network, each.params),
                }
                for each in self.variants
            ],
            "pictures": [_describe_picture(each) for each in self.pictures],
            "classes": self.classes,
            "views": [vars(view) for view in self.views],
            "start": None if self.start is None else vars(self.start),
            "range": self.value_range,
            "firstPicture": self.first_picture,
            "drawing": self.drawing,
            "words": vars(self.words),
            "note": self.note,
        }
        # A "</" in the data would end the script that holds them.
        parts = {"{/* data */}": json.dumps(content, ensure_ascii=False).replace("</", "<\\/")}
        parts |= {f"/* {path.name} */": path.read_text(encoding="utf-8") for path in _PARTS.iterdir()}
        page = parts["/* page.html */"].replace("/* title */", escape(self.title))
        for place, part in parts.items():
            page = page.replace(place, part)
        return page


def explore(
    network: Network,
    params: Mapping[str, Params],
    images: ArrayLike,
    path: str | PathLike[str],
    *,
    labels: Sequence[int] | ArrayLike | None = None,
    classes: Sequence[str] | None = None,
) -> Path:
    """Write an interactive page about a network: point at any value to see how it is computed, from the pixels on.

    The page is one HTML file that any browser opens; it needs neither a server nor network access. It computes the
    network itself, in float64, and shows every volume of the chosen picture; for the chosen value it shows the maps
    that are read, the kernel slices, each map's partial response, their sum, the bias, the activation function and the
    receptive field::

        value = f(b[o] + sum_c sum_{u, v} w[u, v, c, o] * x[i + u, j + v, c])

    Args:
        network: a network whose layers read each the volume before: `Conv2D`, pools, `Dense`, `RBF`, `BatchNorm`,
            `Dropout`, `StochasticDepth` and `Activation`, with named activations; of at most 1,000,000 parameters and
            20,000,000 multiply-accumulates (LeNet-5: 60,000 and 328,096).
        params: its parameters.
        images: the pictures that the page offers, 1 to 32 of them: uint8 (N, h, w) or (N, h, w, C), or prepared
            (N, H, W, C).
        path: the file to write, in an existing folder; a file of that name is replaced.
        labels: the class of each image, (N,), so that the page says whether the network is right.
        classes: the names of the classes; their numbers by default.

    Returns:
        The path of the file.

    Raises:
        ArgumentValueError: for a network that is too large or has other layers, params of another network, images that
            do not fit it, labels or classes of another number, or a folder that does not exist.
        ArgumentTypeError: for anything but a `Network`, or images that are not an array.

    Example:
        >>> import jax, numpy as np, tempfile, cnnjax
        >>> network = cnnjax.models.four_to_six()
        >>> images = np.zeros((1, 28, 28), np.uint8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = explore(network, network.init(jax.random.key(0)), images, f"{folder}/page.html")
        ...     page.name, page.stat().st_size < 1_000_000
        ('page.html', True)

    Source: partial responses as in LeCun et al. 1998, section II.B.
    """
    caller = "explore"
    if not isinstance(network, Network):
        fix = "pass for example cnnjax.models.lenet5()"
        raise type_error(caller, "network", got=describe(network), expected="a cnnjax Network", fix=fix)
    check_explorable(caller, network)
    network.check_params(params, caller)
    pictures = _pictures(caller, network, images)
    names = _class_names(caller, network, classes)
    numbers = _labels(caller, labels, len(pictures), len(names))
    target = Path(path)
    if not target.parent.is_dir():
        got, expected = f"in {str(target.parent)!r}", "a file in an existing folder"
        raise value_error(caller, "path", got=got, expected=expected, fix="create the folder first")
    page = Page(
        title=f"How the values of {network.name} are computed",
        introduction=_introduction(network),
        variants=(Variant(network, params),),
        pictures=tuple(
            Picture(image, f"picture {i}" if number is None else names[number], number)
            for i, (image, number) in enumerate(zip(pictures, numbers, strict=True))
        ),
        classes=names,
        views=views(network),
        words=Words(runner_up="Its distance is {value}; next is {second}, at {other}.")
        if network.smallest_wins
        else Words(),
    )
    target.write_text(page.html(), encoding="utf-8")
    return target


def _describe_picture(picture: Picture) -> dict[str, Any]:
    height, width, maps = picture.image.shape
    size = {"height": height, "width": width, "maps": maps}
    pixels = {"pixels": encode(picture.image, "u1")} if picture.image.dtype == np.uint8 else {}
    values = {} if pixels else {"values": encode(picture.image)}
    return {"name": picture.name, "label": picture.label, **size, **pixels, **values}


def _introduction(network: Network) -> str:
    counts = [layer.counts(network.input_shapes()[name]) for name, layer in network.layers]
    parameters = sum(each.num_parameters for each in counts)
    connections = sum(each.num_connections for each in counts)
    return (
        f"{escape(network.name)} turns a picture into small images, called <dfn>feature maps</dfn> or channels, and "
        f"those into others, through {len(network.layers)} layers with {parameters:,} parameters and {connections:,} "
        "connections. Every number on this page is computed in your browser. Choose any of them to see how it is "
        "computed."
    )


def _pictures(caller: str, network: Network, images: Any) -> list[np.ndarray]:
    """Return the images one by one, (h, w, C) of uint8 or (H, W, C) of float32."""
    if getattr(images, "dtype", None) == np.uint8:
        network.input.prepare(images)
        array = np.asarray(images)
        array = array[..., None] if array.ndim == 3 else array
    else:
        shape = getattr(images, "shape", None)
        if shape is None or len(shape) != 4 or tuple(shape[1:]) != network.input.shape:
            expected = f"uint8 (N, h, w), or prepared (N, {', '.join(map(str, network.input.shape))})"
            fix = "pass a batch of images as an array"
            raise (value_error if shape else type_error)(
                caller, "images", got=describe(images), expected=expected, fix=fix
            )
        array = np.asarray(images, np.float32)
    if not 1 <= len(array) <= MAX_PICTURES:
        expected = f"1 to {MAX_PICTURES} images"
        raise value_error(caller, "images", got=describe(images), expected=expected, fix="pass some of them")
    return list(array)


def _class_names(caller: str, network: Network, classes: Sequence[str] | None) -> tuple[str, ...]:
    count = network.shapes()[network.layers[-1][0]][-1]
    names = tuple(map(str, range(count) if classes is None else classes))
    if len(names) != count:
        expected = f"{count} names, one for each output of the network"
        raise value_error(caller, "classes", got=f"{len(names)} names", expected=expected, fix="name every class")
    return names


def _labels(caller: str, labels: Any, images: int, classes: int) -> Sequence[int | None]:
    if labels is None:
        return [None] * images
    numbers = [int(label) for label in np.asarray(labels).ravel()]
    if len(numbers) != images or not all(0 <= number < classes for number in numbers):
        expected = f"{images} numbers from 0 to {classes - 1}, the class of each image"
        raise value_error(caller, "labels", got=describe(labels), expected=expected, fix="pass one label per image")
    return numbers

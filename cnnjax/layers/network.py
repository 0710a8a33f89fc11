"""A network: what it takes, and the named layers that it applies in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from cnnjax._core.arguments import array
from cnnjax._core.messages import describe, type_error, value_error
from cnnjax._core.shapes import integers
from cnnjax.layers.base import Layer, Params, Shape

__all__ = ["Input", "Network"]


@dataclass(frozen=True)
class Input:
    """What a network takes: images of `shape` (H, W, C) whose grey levels 0 and 1 are `background` and `foreground`.

    >>> Input((32, 32, 1), background=-0.1, foreground=1.175).prepare(np.zeros((2, 28, 28), np.uint8)).shape
    (2, 32, 32, 1)
    """

    shape: Shape
    background: float = 0.0
    foreground: float = 1.0

    def __post_init__(self) -> None:
        """Keep the shape as three plain integers."""
        if not isinstance(self.shape, (tuple, list)):
            raise type_error(
                "Input", "shape", got=describe(self.shape), expected="a tuple (H, W, C)", fix="write Input((32, 32, 1))"
            )
        object.__setattr__(self, "shape", integers("Input", "shape", tuple(self.shape), 3, least=1))

    def prepare(self, images: ArrayLike, dtype: DTypeLike = jnp.float32) -> jax.Array:
        """Turn uint8 images (N, h, w) or (N, h, w, C) into (N, *shape): centred on background, 0..255 scaled.

        Raises ArgumentTypeError for a dtype other than uint8, ArgumentValueError for images larger than `shape`.
        """
        pixels = images if hasattr(images, "dtype") else None
        if pixels is None or pixels.dtype != np.uint8:  # type: ignore[union-attr]
            raise type_error(
                "Input.prepare",
                "images",
                got=describe(images),
                expected="uint8 grey levels",
                fix="images that are scaled already go to network.apply as they are",
            )
        pixels = jnp.asarray(pixels)
        pixels = pixels[..., None] if pixels.ndim == 3 else pixels
        height, width, maps = self.shape
        if pixels.ndim != 4 or pixels.shape[-1] != maps or pixels.shape[1] > height or pixels.shape[2] > width:
            raise value_error(
                "Input.prepare",
                "images",
                got=describe(images),
                expected=f"(N, h, w) or (N, h, w, {maps}), at most {height} x {width} pixels",
                fix="crop or resize them first",
            )
        rows, columns = height - pixels.shape[1], width - pixels.shape[2]
        margins = ((0, 0), (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0))
        grey = jnp.pad(pixels, margins).astype(dtype) / 255
        return grey * (self.foreground - self.background) + self.background


@dataclass(frozen=True)
class Network:
    """A sequence of named layers. Everything about it follows from them; parameters are a plain pytree.

    `layers` are (name, layer) pairs, or a dict. `init` gives `{name: {"w": ..., "b": ...}}` for the layers that have
    parameters; `apply` is a pure function of (params, images).

    >>> from cnnjax.layers import Conv2D, Dense, MaxPool2D
    >>> network = Network("tiny", Input((12, 12, 1)), {"c1": Conv2D(4, 5), "s1": MaxPool2D(2), "out": Dense(10)})
    >>> params = network.init(jax.random.key(0))
    >>> network.apply(params, jnp.zeros((3, 12, 12, 1))).shape
    (3, 10)
    >>> network.shapes()
    {'input': (12, 12, 1), 'c1': (8, 8, 4), 's1': (4, 4, 4), 'out': (10,)}

    Raises ArgumentValueError or ArgumentTypeError when a layer does not fit what comes before it.
    """

    name: str
    input: Input
    layers: tuple[tuple[str, Layer], ...]

    def __post_init__(self) -> None:
        """Keep the layers as pairs, and see that each fits the one before it."""
        given: Iterable[Any] = self.layers.items() if isinstance(self.layers, Mapping) else self.layers
        pairs = tuple((str(name), layer) for name, layer in given)
        names = [name for name, _ in pairs]
        if not pairs or len(set(names)) < len(names) or "input" in names:
            raise value_error(
                "Network",
                "layers",
                got=f"named {names}",
                expected='at least one layer, each with a name of its own other than "input"',
                fix="rename the layers",
            )
        for name, layer in pairs:
            if not isinstance(layer, Layer) or isinstance(layer, type):
                raise type_error(
                    "Network", name, got=describe(layer), expected="a layer", fix="use a value such as Conv2D(6, 5)"
                )
        object.__setattr__(self, "layers", pairs)
        self.shapes()

    def shapes(self) -> dict[str, Shape]:
        """The shape of every volume for one image, from "input" to the last layer."""
        shapes = {"input": self.input.shape}
        shape = self.input.shape
        for name, layer in self.layers:
            shapes[name] = shape = layer.output_shape(shape)
        return shapes

    def input_shapes(self) -> dict[str, Shape]:
        """For each layer, the shape of what it reads."""
        return dict(zip((name for name, _ in self.layers), self.shapes().values(), strict=False))

    def init(self, key: jax.Array, dtype: DTypeLike = jnp.float32) -> dict[str, Params]:
        """Draw the parameters from a key of `jax.random.key`."""
        shapes = self.input_shapes()
        keys = jax.random.split(key, len(self.layers))
        drawn = {name: layer.init(k, shapes[name], dtype) for k, (name, layer) in zip(keys, self.layers, strict=True)}
        return {name: params for name, params in drawn.items() if params}

    def apply(self, params: Mapping[str, Params], images: ArrayLike) -> jax.Array:
        """Return the last volume for images (N, H, W, C) or one image (H, W, C): scores, logits or distances.

        `volumes` returns all of them. Raises ArgumentValueError for images of another shape or parameters that lack a
        layer, ArgumentTypeError for integer images or a dtype that is not that of the parameters.
        """
        return self.volumes(params, images)[self.layers[-1][0]]

    def volumes(self, params: Mapping[str, Params], images: ArrayLike) -> dict[str, jax.Array]:
        """Return every volume on the way, by name, from "input" to the last layer. Axes and errors as in `apply`."""
        x, batched = self._checked(params, images)
        volumes = {"input": x}
        for name, layer in self.layers:
            volumes[name] = x = layer.apply(params.get(name, {}), x)
        return volumes if batched else {name: volume[0] for name, volume in volumes.items()}

    def classify(self, params: Mapping[str, Params], images: ArrayLike) -> jax.Array:
        """Return the winning class of each image."""
        return self.winners(self.apply(params, images))

    def winners(self, scores: jax.Array) -> jax.Array:
        """Return the winning class of each row of scores: the smallest if `smallest_wins`, else the largest."""
        wins = jnp.argmin if self.smallest_wins else jnp.argmax
        return wins(scores, axis=-1)

    @property
    def smallest_wins(self) -> bool:
        """Whether the smallest output names the class, as after RBF units, and not the largest."""
        return getattr(self.layers[-1][1], "smallest_wins", False)

    def _checked(self, params: Mapping[str, Params], images: Any) -> tuple[jax.Array, bool]:
        caller = f"{self.name}.apply"
        if getattr(images, "dtype", None) == np.uint8:
            fix = "pass network.input.prepare(images), which scales and centres them"
            raise type_error(caller, "images", got=describe(images), expected="a floating dtype", fix=fix)
        x = array(caller, "images", images)
        batched = x.ndim == len(self.input.shape) + 1
        if x.shape[-len(self.input.shape) :] != self.input.shape or not (batched or x.shape == self.input.shape):
            raise value_error(
                caller,
                "images",
                got=describe(images),
                expected=f"(N, {', '.join(map(str, self.input.shape))}) or {self.input.shape}",
                fix="uint8 images go through network.input.prepare(images) first",
            )
        shapes = self.input_shapes()
        for name, layer in self.layers:
            if name not in params and layer.counts(shapes[name]).num_parameters:
                raise value_error(
                    caller,
                    "params",
                    got=f"with keys {sorted(params)}",
                    expected=f"the parameters of {name!r} among them",
                    fix="draw them with network.init(jax.random.key(0))",
                )
            for key, value in params.get(name, {}).items():
                if value.dtype != x.dtype:
                    raise type_error(
                        caller,
                        "images",
                        got=f"of dtype {x.dtype}",
                        expected=f"{value.dtype}, the dtype of params[{name!r}][{key!r}]",
                        fix="cast the images, or draw the parameters with network.init(key, dtype)",
                    )
        return (x if batched else x[None]), batched

"""A network: its input, and the named layers that it applies in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from cnnjax._core.arguments import as_array
from cnnjax._core.messages import describe, type_error, value_error
from cnnjax._core.shapes import integers
from cnnjax.layers.base import Layer, Params, Shape
from cnnjax.layers.parameters import NamedLayer, check_network_params, name_layers

__all__ = ["Input", "Network"]


@dataclass(frozen=True)
class Input:
    """The input of a network: images (H, W, C), with their grey levels scaled to a range.

    Args:
        shape: the axes (H, W, C) of one image.
        background: the value of grey level 0.
        foreground: the value of grey level 255.

    Raises:
        ArgumentTypeError, ArgumentValueError: for a shape that is not three positive integers.

    Example:
        >>> Input((32, 32, 1), background=-0.1, foreground=1.175).prepare(np.zeros((2, 28, 28), np.uint8)).shape
        (2, 32, 32, 1)
    """

    shape: Shape
    background: float = 0.0
    foreground: float = 1.0

    def __post_init__(self) -> None:
        """Convert the shape to a tuple of three integers."""
        if not isinstance(self.shape, (tuple, list)):
            raise type_error(
                "Input", "shape", got=describe(self.shape), expected="a tuple (H, W, C)", fix="write Input((32, 32, 1))"
            )
        object.__setattr__(self, "shape", integers("Input", "shape", tuple(self.shape), 3, least=1))

    def prepare(self, images: ArrayLike, dtype: DTypeLike = jnp.float32) -> jax.Array:
        """Scale uint8 images and pad them with background to the shape of the input, centred::

            x = background + (foreground - background) * images / 255

        Args:
            images: uint8 (N, h, w) or (N, h, w, C), at most as large as `shape`.
            dtype: of the result.

        Returns:
            x, (N, H, W, C).

        Raises:
            ArgumentTypeError: for a dtype other than uint8.
            ArgumentValueError: for images larger than `shape`.
        """
        if getattr(images, "dtype", None) != np.uint8:
            raise type_error(
                "Input.prepare",
                "images",
                got=describe(images),
                expected="uint8 grey levels",
                fix="images that are scaled already go to network.apply as they are",
            )
        pixels = jnp.asarray(images)
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
    """A sequence of named layers; its parameters are a plain pytree.

    `init` draws `{name: {"w": ..., "b": ...}}` for the layers that have parameters; `apply` is a pure function of
    (params, images). The output of each layer for one image is a volume, an activation tensor (H, W, C) or (n,).

    Args:
        name: the name of the network.
        input: its input.
        layers: (name, layer) pairs, or a dict.

    Raises:
        ArgumentValueError, ArgumentTypeError: when a layer does not fit what comes before it.

    Example:
        >>> from cnnjax.layers import Conv2D, Dense, MaxPool2D
        >>> network = Network("tiny", Input((12, 12, 1)), {"c1": Conv2D(4, 5), "s1": MaxPool2D(2), "out": Dense(10)})
        >>> params = network.init(jax.random.key(0))
        >>> network.apply(params, jnp.zeros((3, 12, 12, 1))).shape
        (3, 10)
        >>> network.shapes()
        {'input': (12, 12, 1), 'c1': (8, 8, 4), 's1': (4, 4, 4), 'out': (10,)}
    """

    name: str
    input: Input
    layers: tuple[tuple[str, Layer], ...]

    if TYPE_CHECKING:  # more types may be passed than are stored

        def __init__(
            self, name: str, input: Input, layers: Mapping[str, Layer] | Iterable[tuple[str, Layer]]
        ) -> None: ...

    def __post_init__(self) -> None:
        """Convert the layers to pairs, and check that each fits the one before it."""
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
        """Return the shape of every volume for one image, from "input" to the last layer."""
        shapes = {"input": self.input.shape}
        shape = self.input.shape
        for name, layer in self.layers:
            shapes[name] = shape = layer.output_shape(shape)
        return shapes

    def input_names(self) -> dict[str, str]:
        """Return, for each layer, the name of the volume that it reads."""
        names = [name for name, _ in self.layers]
        return dict(zip(names, ["input", *names[:-1]], strict=True))

    def input_shapes(self) -> dict[str, Shape]:
        """Return, for each layer, the shape of the volume that it reads."""
        shapes = self.shapes()
        return {layer: shapes[read] for layer, read in self.input_names().items()}

    def init(self, key: jax.Array, dtype: DTypeLike = jnp.float32) -> dict[str, Params]:
        """Draw the parameters.

        Args:
            key: a key of `jax.random.key`.
            dtype: of the parameters.

        Returns:
            `{name: {"w": ..., "b": ...}}`, without the layers that have no parameters.
        """
        shapes = self.input_shapes()
        keys = jax.random.split(key, len(self.layers))
        drawn = {name: layer.init(k, shapes[name], dtype) for k, (name, layer) in zip(keys, self.layers, strict=True)}
        return {name: params for name, params in drawn.items() if params}

    def apply(self, params: Mapping[str, Params], images: ArrayLike) -> jax.Array:
        """Return the output of the last layer: scores, logits or distances.

        Args:
            params: the parameters, as `init` returns them.
            images: prepared images (N, H, W, C), or one image (H, W, C).

        Returns:
            (N, classes), or (classes,) for one image. `volumes` returns the outputs of all layers.

        Raises:
            ArgumentValueError, ArgumentTypeError: for images of another shape, integer images, a dtype that is not that
                of the parameters, or parameters that are not the network's, as `check_params`.
        """
        return self.volumes(params, images)[self.layers[-1][0]]

    def volumes(self, params: Mapping[str, Params], images: ArrayLike) -> dict[str, jax.Array]:
        """Return every volume by name, from "input" to the last layer; axes and errors as in `apply`."""
        x, batched = self.check_inputs(params, images)
        volumes = {"input": x}
        for name, layer in self.layers:
            with jax.named_scope(name):
                volumes[name] = x = layer.apply(params.get(name, {}), x)
        return volumes if batched else {name: volume[0] for name, volume in volumes.items()}

    def classify(self, params: Mapping[str, Params], images: ArrayLike) -> jax.Array:
        """Return the class of each image, (N,); axes and errors as in `apply`."""
        return self.winners(self.apply(params, images))

    def winners(self, scores: jax.Array) -> jax.Array:
        """Return the class of each row of scores (N, classes): argmin if `smallest_wins`, else argmax."""
        return jnp.argmin(scores, axis=-1) if self.smallest_wins else jnp.argmax(scores, axis=-1)

    @property
    def smallest_wins(self) -> bool:
        """Whether the smallest output names the class, as for RBF units, instead of the largest."""
        return getattr(self.layers[-1][1], "smallest_wins", False)

    def check_params(self, params: Mapping[str, Params], caller: str | None = None) -> None:
        """Raise unless these are parameters of the network: every one that `init` draws, by name and shape, no other.

        All methods that take parameters check them. The error names the parameter, and says so if it looks like one of
        another library, by its name or the order of its axes.

        Args:
            params: what to check.
            caller: the function that the error names; `apply` by default.

        Raises:
            ArgumentValueError: for a missing, misnamed or additional layer or parameter, or one of another shape.
            ArgumentTypeError: for a layer that is not a dict, or a parameter that is not an array.

        Example:
            >>> from cnnjax.layers import Dense
            >>> network = Network("tiny", Input((2, 2, 1)), {"out": Dense(3)})
            >>> network.check_params({"out": {"w": np.zeros((3, 4)), "b": np.zeros(3)}})
            Traceback (most recent call last):
                ...
            cnnjax.errors.ArgumentValueError: tiny.apply: `params['out']['w']` is an array of shape (3, 4) and dtype
            float64, which looks like (units, values of the input), the layout of PyTorch; expected shape (4, 3), for
            this Dense on an input of shape (2, 2, 1). Fix: pass params['out']['w'].T.
        """
        check_network_params(caller or f"{self.name}.apply", self._named_layers, params)

    @cached_property
    def _named_layers(self) -> tuple[NamedLayer, ...]:
        return name_layers(self.layers, self.input_shapes())

    def check_inputs(self, params: Mapping[str, Params], images: Any) -> tuple[jax.Array, bool]:
        """Check the arguments of `apply`; return the images with a batch axis, and whether they had one."""
        caller = f"{self.name}.apply"
        if getattr(images, "dtype", None) == np.uint8:
            fix = "pass network.input.prepare(images), which scales and centres them"
            raise type_error(caller, "images", got=describe(images), expected="a floating dtype", fix=fix)
        x = as_array(caller, "images", images)
        batched = x.ndim == len(self.input.shape) + 1
        if x.shape[-len(self.input.shape) :] != self.input.shape or not (batched or x.shape == self.input.shape):
            raise value_error(
                caller,
                "images",
                got=describe(images),
                expected=f"(N, {', '.join(map(str, self.input.shape))}) or {self.input.shape}",
                fix="uint8 images go through network.input.prepare(images) first",
            )
        self.check_params(params)
        dtypes = {f"params[{n!r}][{key!r}]": value.dtype for n, own in params.items() for key, value in own.items()}
        others = {path: dtype for path, dtype in dtypes.items() if dtype != x.dtype}
        if others:
            path, dtype = next(iter(others.items()))
            if len(others) < len(dtypes):
                expected = f"{x.dtype}, the dtype of the images and of the other parameters"
                raise type_error(caller, path, got=f"of dtype {dtype}", expected=expected, fix="cast it")
            raise type_error(
                caller,
                "images",
                got=f"of dtype {x.dtype}",
                expected=f"{dtype}, the dtype of {path}",
                fix="cast the images, or draw the parameters with network.init(key, dtype)",
            )
        return (x if batched else x[None]), batched

"""Layers and networks as data: small frozen values from which init, apply, shapes and counts all follow.

A layer knows nothing of its neighbours. Its input shape, without the batch axis, is handed to it: (H, W, C) or (n,).
Its parameters are a dict of arrays, `{"w": ..., "b": ...}`, empty where it has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from cnnjax import connections as tables
from cnnjax._arguments import array
from cnnjax._errors import ArgumentTypeError, ArgumentValueError, complaint, describe
from cnnjax._shapes import Geometry, Padding, check_maps, geometry, integers
from cnnjax.activations import ACTIVATIONS
from cnnjax.connections import ConnectionTable
from cnnjax.conv import conv2d
from cnnjax.init import Constant, GlorotUniform, Initialiser
from cnnjax.operator import Tuned, check_method
from cnnjax.pooling import avg_pool2d, max_pool2d, pool_geometry, subsample2d

__all__ = [
    "RBF",
    "AvgPool2D",
    "Conv2D",
    "Counts",
    "Dense",
    "Input",
    "Layer",
    "MaxPool2D",
    "Network",
    "Subsample2D",
]

Shape = tuple[int, ...]
Params = dict[str, jax.Array]
Pixels = int | tuple[int, int]


@dataclass(frozen=True)
class Counts:
    """What a layer consists of, for one image.

    A connection is one input of one unit, its bias included, as LeCun et al. 1998 count; a multiply-accumulate is one
    product of a weight with a value.
    """

    weights: int = 0
    biases: int = 0
    connections: int = 0
    multiply_accumulates: int = 0

    @property
    def parameters(self) -> int:
        """Trainable parameters: weights + biases."""
        return self.weights + self.biases


@runtime_checkable
class Layer(Protocol):
    """What a network asks of a layer. `shape` is that of one input, without the batch axis."""

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """Draw the parameters."""
        ...

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Map a batch (N, *shape) to (N, *output_shape(shape))."""
        ...

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of the result for one image."""
        ...

    def counts(self, shape: Shape) -> Counts:
        """Weights, biases, connections and multiply-accumulates."""
        ...

    def geometry(self, shape: Shape) -> Geometry | None:
        """Where one unit reads; None for an input without height and width."""
        ...


@dataclass(frozen=True)
class Conv2D:
    """Convolution of every map by the rule of `cnnjax.conv2d`, then a squashing function.

        y = f(conv2d(x, w, b)),   w (k_h, k_w, C_in / groups, maps),  b (maps,)

    `kernel`, `stride` and `dilation` are in pixels, one integer or (height, width). `connections` is a ConnectionTable
    (C_in, maps); weights of unconnected pairs are stored, start at zero, stay there, and count neither as parameters
    nor as connections. `activation` is a name in `cnnjax.ACTIVATIONS` or an elementwise function. `method` is that of
    `conv2d`.

    Raises ArgumentValueError or ArgumentTypeError, as `conv2d` does, when a setting does not fit.

    >>> from cnnjax.connections import LENET5_C3
    >>> c3 = Conv2D(16, 5, connections=LENET5_C3)
    >>> c3.output_shape((14, 14, 6)), c3.counts((14, 14, 6)).parameters
    ((10, 10, 16), 1516)
    """

    maps: int
    kernel: Pixels
    stride: Pixels = 1
    padding: Padding = "VALID"
    dilation: Pixels = 1
    groups: int = 1
    connections: ConnectionTable | None = None
    bias: bool = True
    activation: str | Callable[[jax.Array], jax.Array] = "identity"
    weight_init: Initialiser = GlorotUniform()
    bias_init: Initialiser = Constant()
    method: str | Tuned = "auto"

    def __post_init__(self) -> None:
        """Check what does not depend on the input."""
        check_method("Conv2D", self.method)
        integers("Conv2D", "maps", self.maps, 1, least=1)
        integers("Conv2D", "kernel", self.kernel, 2, least=1)
        integers("Conv2D", "groups", self.groups, 1, least=1)
        _check_activation("Conv2D", self.activation)
        if self.connections is not None and not isinstance(self.connections, ConnectionTable):
            raise ArgumentTypeError(
                complaint(
                    "Conv2D",
                    "connections",
                    got=describe(self.connections),
                    expected="a ConnectionTable or None",
                    fix="wrap a boolean (C_in, maps) array in cnnjax.ConnectionTable",
                )
            )
        if self.connections is not None and self.groups != 1:
            raise ArgumentValueError(
                complaint(
                    "Conv2D",
                    "connections",
                    got=f"given together with groups={self.groups}",
                    expected="one of the two",
                    fix="use connections.grouped(C_in, maps, groups) for groups in a table",
                )
            )

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """Draw w and b; fan-ins are those of the connection table."""
        key_w, key_b = jax.random.split(key)
        taps = math.prod(self.geometry(shape).kernel)
        table = self.table(shape)
        fan_in = taps * np.maximum(table.fan_in, 1)
        fan_out = taps * self.maps // self.groups
        w_shape = (*self.geometry(shape).kernel, shape[-1] // self.groups, self.maps)
        w = self.weight_init(key_w, w_shape, fan_in, fan_out, dtype)
        if self.connections is not None:
            w = jnp.where(jnp.broadcast_to(table.matrix, w_shape), w, jnp.zeros_like(w))
        params = {"w": w}
        if self.bias:
            params["b"] = self.bias_init(key_b, (self.maps,), fan_in, fan_out, dtype)
        return params

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Convolve and squash (N, H, W, C_in) into (N, H_out, W_out, maps)."""
        settings: dict[str, Any] = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        settings |= {"groups": self.groups, "connections": self.connections, "method": self.method}
        y = conv2d(x, params["w"], params.get("b"), **settings)
        return _function(self.activation)(y)

    def output_shape(self, shape: Shape) -> Shape:
        """(H_out, W_out, maps)."""
        return (*self.geometry(shape).output, self.maps)

    def counts(self, shape: Shape) -> Counts:
        """One weight for each tap and link, one bias for each map, all of them used at every position."""
        reading, table = self.geometry(shape), self.table(shape)
        positions = math.prod(reading.output)
        weights = table.weights(reading.kernel)
        biases = self.maps if self.bias else 0
        return Counts(weights, biases, (weights + biases) * positions, weights * positions)

    def table(self, shape: Shape) -> ConnectionTable:
        """Which of the maps of the input feeds which map of the output."""
        if self.connections is not None:
            return self.connections
        return tables.grouped(shape[-1], self.maps, self.groups)

    def geometry(self, shape: Shape) -> Geometry:
        """Where the kernel reads."""
        _check_is_image("Conv2D", shape)
        kernel = integers("Conv2D", "kernel", self.kernel, 2, least=1)
        check_maps("Conv2D", shape, (*kernel, max(shape[-1] // self.groups, 1), self.maps), self.groups)
        if self.connections is not None and self.connections.matrix.shape != (shape[-1], self.maps):
            raise ArgumentValueError(
                complaint(
                    "Conv2D",
                    "connections",
                    got=f"a table of shape {self.connections.matrix.shape}",
                    expected=f"(C_in, maps) = {(shape[-1], self.maps)}",
                    fix="use a table made for these numbers of maps",
                )
            )
        settings: dict[str, Any] = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        return geometry("Conv2D", shape[:-1], kernel, **settings)


class _Pool:
    """What the pools without parameters share; a subclass says how to pool."""

    window: Pixels
    stride: Pixels | None
    padding: Padding
    activation: str | Callable[[jax.Array], jax.Array]

    def __post_init__(self) -> None:
        integers(type(self).__name__, "window", self.window, 2, least=1)
        _check_activation(type(self).__name__, self.activation)

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """Nothing to draw."""
        return {}

    def output_shape(self, shape: Shape) -> Shape:
        """(H_out, W_out, C)."""
        return (*self.geometry(shape).output, shape[-1])

    def counts(self, shape: Shape) -> Counts:
        """One connection for each pixel of each window."""
        return Counts(connections=math.prod(self.output_shape(shape)) * math.prod(self.geometry(shape).kernel))

    def geometry(self, shape: Shape) -> Geometry:
        """Where the windows stand."""
        call = type(self).__name__
        _check_is_image(call, shape)
        return pool_geometry(call, shape[:-1], self.window, stride=self.stride, padding=self.padding)


@dataclass(frozen=True)
class MaxPool2D(_Pool):
    """The largest value of each window (`cnnjax.max_pool2d`), then a squashing function.

    >>> MaxPool2D(2).output_shape((24, 24, 20))
    (12, 12, 20)
    """

    window: Pixels = 2
    stride: Pixels | None = None
    padding: Padding = "VALID"
    activation: str | Callable[[jax.Array], jax.Array] = "identity"

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Pool and squash (N, H, W, C)."""
        return _function(self.activation)(max_pool2d(x, self.window, stride=self.stride, padding=self.padding))


@dataclass(frozen=True)
class AvgPool2D(_Pool):
    """The mean of each window (`cnnjax.avg_pool2d`), then a squashing function.

    >>> AvgPool2D(3, stride=2).output_shape((27, 27, 96))
    (13, 13, 96)
    """

    window: Pixels = 2
    stride: Pixels | None = None
    padding: Padding = "VALID"
    activation: str | Callable[[jax.Array], jax.Array] = "identity"

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Pool and squash (N, H, W, C)."""
        return _function(self.activation)(avg_pool2d(x, self.window, stride=self.stride, padding=self.padding))


@dataclass(frozen=True)
class Subsample2D(_Pool):
    """LeNet-5's sub-sampling (`cnnjax.subsample2d`): sum of the window times a weight plus a bias a map, squashed.

        y = f(w[c] * sum of window + b[c]),   w (C,),  b (C,)

    >>> s2 = Subsample2D()
    >>> s2.counts((28, 28, 6)).parameters, s2.counts((28, 28, 6)).connections
    (12, 5880)

    Source: LeCun et al. 1998, section II.B.
    """

    window: Pixels = 2
    stride: Pixels | None = None
    padding: Padding = "VALID"
    activation: str | Callable[[jax.Array], jax.Array] = "identity"
    weight_init: Initialiser = GlorotUniform()
    bias_init: Initialiser = Constant()

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """Draw w and b; the fan-in is the area of the window."""
        key_w, key_b = jax.random.split(key)
        fan_in = math.prod(self.geometry(shape).kernel)
        maps = shape[-1:]
        return {
            "w": self.weight_init(key_w, maps, fan_in, 1, dtype),
            "b": self.bias_init(key_b, maps, fan_in, 1, dtype),
        }

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Sub-sample and squash (N, H, W, C)."""
        settings: dict[str, Any] = {"window": self.window, "stride": self.stride, "padding": self.padding}
        return _function(self.activation)(subsample2d(x, params["w"], params["b"], **settings))

    def counts(self, shape: Shape) -> Counts:
        """A weight and a bias for each map; a unit has its window and its bias, and multiplies once."""
        units = math.prod(self.output_shape(shape))
        area = math.prod(self.geometry(shape).kernel)
        return Counts(shape[-1], shape[-1], units * (area + 1), units)


@dataclass(frozen=True)
class Dense:
    """Every unit reads every value of the input, of whatever shape; then a squashing function.

        y[n, o] = f(b[o] + sum_i x[n, i] * w[i, o]),   w (values of the input, units),  b (units,)

    On a volume (H, W, C) it is the convolution whose kernel is the whole input, its weights flattened in that order.

    >>> Dense(84).counts((1, 1, 120)).parameters
    10164
    """

    units: int
    bias: bool = True
    activation: str | Callable[[jax.Array], jax.Array] = "identity"
    weight_init: Initialiser = GlorotUniform()
    bias_init: Initialiser = Constant()

    def __post_init__(self) -> None:
        """Check what does not depend on the input."""
        integers("Dense", "units", self.units, 1, least=1)
        _check_activation("Dense", self.activation)

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """Draw w and b."""
        key_w, key_b = jax.random.split(key)
        fan_in = math.prod(shape)
        params = {"w": self.weight_init(key_w, (fan_in, self.units), fan_in, self.units, dtype)}
        if self.bias:
            params["b"] = self.bias_init(key_b, (self.units,), fan_in, self.units, dtype)
        return params

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Map (N, *shape) to (N, units)."""
        y = x.reshape(x.shape[0], math.prod(x.shape[1:])) @ params["w"]
        return _function(self.activation)(y + params["b"][None] if self.bias else y)

    def output_shape(self, shape: Shape) -> Shape:
        """(units,)."""
        return (self.units,)

    def counts(self, shape: Shape) -> Counts:
        """One weight for each input and unit, one bias for each unit, each used once."""
        weights, biases = math.prod(shape) * self.units, self.units if self.bias else 0
        return Counts(weights, biases, weights + biases, weights)

    def geometry(self, shape: Shape) -> Geometry | None:
        """The whole input."""
        return _whole_input(shape)


@dataclass(frozen=True)
class RBF:
    """Euclidean radial basis function units: the squared distance of the input to the code of each class.

        y[n, i] = sum_j (x[n, j] - code[i, j])^2          the smallest wins

    `codes` are (classes, values of the input) numbers. They are fixed, unless `trainable`, when they are the starting
    value of the parameter "w" (classes, values of the input).

    >>> RBF(((1, -1), (-1, 1))).apply({}, jnp.zeros((1, 2))).tolist()
    [[2.0, 2.0]]

    Source: LeCun et al. 1998, section II.B, equation 7.
    """

    codes: tuple[tuple[float, ...], ...] = field(repr=False)
    trainable: bool = False

    def __post_init__(self) -> None:
        """Keep the codes as plain numbers, so that layers compare by value."""
        codes = np.asarray(self.codes, float)
        if codes.ndim != 2 or 0 in codes.shape:
            raise ArgumentValueError(
                complaint(
                    "RBF",
                    "codes",
                    got=f"of shape {codes.shape}",
                    expected="(classes, values of the input)",
                    fix="pass one row of numbers for each class",
                )
            )
        object.__setattr__(self, "codes", tuple(map(tuple, codes.tolist())))

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """The codes where they are trainable, nothing where they are fixed."""
        self.output_shape(shape)
        return {"w": jnp.asarray(self.codes, dtype)} if self.trainable else {}

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Map (N, *shape) to the squared distances (N, classes)."""
        codes = params["w"] if self.trainable else jnp.asarray(self.codes, x.dtype)
        difference = x.reshape(x.shape[0], 1, math.prod(x.shape[1:])) - codes[None]
        return jnp.sum(difference**2, axis=-1)

    def output_shape(self, shape: Shape) -> Shape:
        """(classes,)."""
        if math.prod(shape) != len(self.codes[0]):
            raise ArgumentValueError(
                complaint(
                    "RBF",
                    "codes",
                    got=f"{len(self.codes)} codes of {len(self.codes[0])} values",
                    expected=f"{math.prod(shape)} values, one for each of the input",
                    fix="make the layer before as wide as the codes",
                )
            )
        return (len(self.codes),)

    def counts(self, shape: Shape) -> Counts:
        """A connection for each value of each code; they count as weights only where they are trained."""
        size = math.prod(shape) * math.prod(self.output_shape(shape))
        return Counts(size if self.trainable else 0, 0, size, size)

    def geometry(self, shape: Shape) -> Geometry | None:
        """The whole input."""
        return _whole_input(shape)


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
            raise ArgumentTypeError(
                complaint(
                    "Input",
                    "shape",
                    got=describe(self.shape),
                    expected="a tuple (H, W, C)",
                    fix="write Input((32, 32, 1))",
                )
            )
        object.__setattr__(self, "shape", integers("Input", "shape", tuple(self.shape), 3, least=1))

    def prepare(self, images: ArrayLike, dtype: DTypeLike = jnp.float32) -> jax.Array:
        """Turn uint8 images (N, h, w) or (N, h, w, C) into (N, *shape): centred on background, 0..255 scaled.

        Raises ArgumentTypeError for a dtype other than uint8, ArgumentValueError for images larger than `shape`.
        """
        pixels = images if hasattr(images, "dtype") else None
        if pixels is None or pixels.dtype != np.uint8:  # type: ignore[union-attr]
            raise ArgumentTypeError(
                complaint(
                    "Input.prepare",
                    "images",
                    got=describe(images),
                    expected="uint8 grey levels",
                    fix="images that are scaled already go to network.apply as they are",
                )
            )
        pixels = jnp.asarray(pixels)
        pixels = pixels[..., None] if pixels.ndim == 3 else pixels
        height, width, maps = self.shape
        if pixels.ndim != 4 or pixels.shape[-1] != maps or pixels.shape[1] > height or pixels.shape[2] > width:
            raise ArgumentValueError(
                complaint(
                    "Input.prepare",
                    "images",
                    got=describe(images),
                    expected=f"(N, h, w) or (N, h, w, {maps}), at most {height} x {width} pixels",
                    fix="crop or resize them first",
                )
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
            raise ArgumentValueError(
                complaint(
                    "Network",
                    "layers",
                    got=f"named {names}",
                    expected='at least one layer, each with a name of its own other than "input"',
                    fix="rename the layers",
                )
            )
        for name, layer in pairs:
            if not isinstance(layer, Layer) or isinstance(layer, type):
                raise ArgumentTypeError(
                    complaint(
                        "Network",
                        name,
                        got=describe(layer),
                        expected="a layer",
                        fix="use a value such as Conv2D(6, 5)",
                    )
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
        """Return the winning class of each row of scores: the smallest after RBF units, else the largest."""
        wins = jnp.argmin if isinstance(self.layers[-1][1], RBF) else jnp.argmax
        return wins(scores, axis=-1)

    def _checked(self, params: Mapping[str, Params], images: Any) -> tuple[jax.Array, bool]:
        call = f"{self.name}.apply"
        if getattr(images, "dtype", None) == np.uint8:
            fix = "pass network.input.prepare(images), which scales and centres them"
            raise ArgumentTypeError(
                complaint(call, "images", got=describe(images), expected="a floating dtype", fix=fix)
            )
        x = array(call, "images", images)
        batched = x.ndim == len(self.input.shape) + 1
        if x.shape[-len(self.input.shape) :] != self.input.shape or not (batched or x.shape == self.input.shape):
            raise ArgumentValueError(
                complaint(
                    call,
                    "images",
                    got=describe(images),
                    expected=f"(N, {', '.join(map(str, self.input.shape))}) or {self.input.shape}",
                    fix="uint8 images go through network.input.prepare(images) first",
                )
            )
        shapes = self.input_shapes()
        for name, layer in self.layers:
            if name not in params and layer.counts(shapes[name]).parameters:
                raise ArgumentValueError(
                    complaint(
                        call,
                        "params",
                        got=f"with keys {sorted(params)}",
                        expected=f"the parameters of {name!r} among them",
                        fix="draw them with network.init(jax.random.key(0))",
                    )
                )
            for key, value in params.get(name, {}).items():
                if value.dtype != x.dtype:
                    raise ArgumentTypeError(
                        complaint(
                            call,
                            "images",
                            got=f"of dtype {x.dtype}",
                            expected=f"{value.dtype}, the dtype of params[{name!r}][{key!r}]",
                            fix="cast the images, or draw the parameters with network.init(key, dtype)",
                        )
                    )
        return (x if batched else x[None]), batched


def _function(activation: str | Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    return ACTIVATIONS[activation] if isinstance(activation, str) else activation


def _check_activation(call: str, activation: Any) -> None:
    if callable(activation) or (isinstance(activation, str) and activation in ACTIVATIONS):
        return
    error = ArgumentValueError if isinstance(activation, str) else ArgumentTypeError
    expected = f"one of {', '.join(ACTIVATIONS)}, or an elementwise function"
    raise error(
        complaint(call, "activation", got=describe(activation), expected=expected, fix='use "identity" for none')
    )


def _check_is_image(call: str, shape: Shape) -> None:
    if len(shape) != 3:
        raise ArgumentValueError(
            complaint(
                call,
                "shape",
                got=f"{shape}",
                expected="the axes (H, W, C) of a volume of maps",
                fix="put this layer before the dense ones",
            )
        )


def _whole_input(shape: Shape) -> Geometry | None:
    return geometry("Dense", shape[:-1], shape[:-1]) if len(shape) == 3 else None

"""A network: its input, and the named layers that it applies in order, each to one earlier volume or several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from cnnjax._core.arguments import as_array
from cnnjax._core.messages import describe, type_error, value_error
from cnnjax.layers.base import Layer, Params, Shape
from cnnjax.layers.input import Input
from cnnjax.layers.parameters import NamedLayer, check_network_params, name_layers, statistics_of

__all__ = ["Network"]

Entry: TypeAlias = tuple[str, Layer] | tuple[str, Layer, str | Sequence[str]]
"""A layer of a network, its name, and, unless that is the volume before it, the volume or volumes that it reads."""

T = TypeVar("T")


@dataclass(frozen=True)
class Network:
    """Named layers, each of which reads an earlier volume or several; its parameters are a plain pytree.

    `init` draws `{name: {"w": ..., "b": ...}}` for the layers that have parameters; `apply` is a pure function of
    (params, images). The output of each layer for one image is a volume, an activation tensor (H, W, C) or (n,). A
    layer reads the volume before it, unless its entry names others.

    Args:
        name: the name of the network.
        input: its input.
        layers: (name, layer) pairs, or a dict. An entry (name, layer, volume) reads that volume, and
            (name, layer, (volume, ...)) reads several, if its layer combines them, as `Add` and `Concatenate` do.
        branches: for each layer that reads other volumes than the one before it, its name and theirs. Filled from the
            entries of `layers`.

    Raises:
        ArgumentValueError, ArgumentTypeError: when a layer does not fit what it reads.

    Example:
        >>> from cnnjax.layers import Add, Conv2D, Dense, MaxPool2D
        >>> network = Network("tiny", Input((12, 12, 1)), {"c1": Conv2D(4, 5), "s1": MaxPool2D(2), "out": Dense(10)})
        >>> params = network.init(jax.random.key(0))
        >>> network.apply(params, jnp.zeros((3, 12, 12, 1))).shape
        (3, 10)
        >>> network.shapes()
        {'input': (12, 12, 1), 'c1': (8, 8, 4), 's1': (4, 4, 4), 'out': (10,)}
        >>> layers = ("c1", Conv2D(4, 5)), ("c2", Conv2D(4, 3, padding="SAME")), ("add", Add(), ("c2", "c1"))
        >>> Network("residual", Input((12, 12, 1)), layers).input_names()
        {'c1': 'input', 'c2': 'c1', 'add': ('c2', 'c1')}
    """

    name: str
    input: Input
    layers: tuple[tuple[str, Layer], ...]
    branches: tuple[tuple[str, tuple[str, ...]], ...] = ()

    if TYPE_CHECKING:  # more types may be passed than are stored

        def __init__(
            self,
            name: str,
            input: Input,
            layers: Mapping[str, Layer] | Iterable[Entry],
            branches: Iterable[tuple[str, tuple[str, ...]]] = (),
        ) -> None: ...

    def __post_init__(self) -> None:
        """Separate the layers from the names of what they read, and check that each fits."""
        given: Iterable[Any] = self.layers.items() if isinstance(self.layers, Mapping) else self.layers
        pairs: list[tuple[str, Layer]] = []
        branches = dict(self.branches)
        for name, layer, *reads in given:
            pairs.append((str(name), layer))
            if reads:
                branches[str(name)] = (reads[0],) if isinstance(reads[0], str) else tuple(reads[0])
        object.__setattr__(self, "layers", tuple(pairs))
        _check_layers(self.layers, branches)
        others = ((name, branches[name]) for name, before in _before(pairs) if branches.get(name, before) != before)
        object.__setattr__(self, "branches", tuple(others))
        self.shapes()

    def shapes(self) -> dict[str, Shape]:
        """Return the shape of every volume for one image, from "input" to the last layer."""
        shapes = {"input": self.input.shape}
        for name, layer in self.layers:
            shapes[name] = layer.output_shape(self._read_by(name, shapes))
        return shapes

    def input_names(self) -> dict[str, Any]:
        """Return, for each layer, the name of the volume that it reads; a tuple of names if it combines several."""
        names = {name: name for name in ("input", *(name for name, _ in self.layers))}
        return {name: self._read_by(name, names) for name, _ in self.layers}

    def input_shapes(self) -> dict[str, Any]:
        """Return, for each layer, the shape of the volume that it reads; a tuple of shapes if it combines several."""
        shapes = self.shapes()
        return {name: self._read_by(name, shapes) for name, _ in self.layers}

    @cached_property
    def reads(self) -> dict[str, tuple[str, ...]]:
        """The names of all volumes that each layer reads, a tuple for every layer."""
        return {**dict(_before(self.layers)), **dict(self.branches)}

    def _read_by(self, name: str, volumes: Mapping[str, T]) -> Any:
        """Return what a layer reads, a tuple if it combines several volumes."""
        read = tuple(volumes[volume] for volume in self.reads[name])
        return read if self._combines[name] else read[0]

    @cached_property
    def _combines(self) -> dict[str, bool]:
        return {name: getattr(layer, "combines", False) for name, layer in self.layers}

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
                volumes[name] = layer.apply(params.get(name, {}), self._read_by(name, volumes))
        return volumes if batched else {name: volume[0] for name, volume in volumes.items()}

    def apply_training(
        self,
        params: Mapping[str, Params],
        images: ArrayLike,
        key: jax.Array | None = None,
        *,
        axis_name: str | None = None,
    ) -> tuple[jax.Array, dict[str, Params]]:
        """Return the output as in training, and the parameters with fresh running statistics.

        Batch normalisation uses the statistics of the batch, and dropout draws. For a network with neither, the output
        is that of `apply`, and the parameters are those given. The output does not depend on running statistics, so
        their gradient is zero.

        Args:
            params, images: as in `apply`.
            key: a key of `jax.random.key`; needed if the network draws random numbers.
            axis_name: the axis of a mesh along which the batch is shared, within `jax.shard_map`; statistics are then
                those of the whole batch.

        Returns:
            The output, (N, classes) or (classes,), and `{name: {"w": ..., "b": ..., "mean": ..., "var": ...}}`.

        Raises:
            ArgumentValueError, ArgumentTypeError: as `apply`, and without a key for a network that draws.

        Example:
            >>> from cnnjax.layers import BatchNorm, Dense
            >>> network = Network("tiny", Input((2, 2, 1)), {"n": BatchNorm(), "out": Dense(3)})
            >>> params = network.init(jax.random.key(0))
            >>> scores, fresh = network.apply_training(params, jnp.arange(8.0).reshape(2, 2, 2, 1))
            >>> print(params["n"]["mean"], fresh["n"]["mean"])
            [0.] [0.35]
        """
        x, batched = self.check_inputs(params, images)
        if self.draws and key is None:
            caller, expected = f"{self.name}.apply_training", "a key, for the layers that draw random numbers"
            raise value_error(caller, "key", got="None", expected=expected, fix="pass jax.random.key(0)")
        volumes, fresh = {"input": x}, dict(params)
        for i, (name, layer) in enumerate(self.layers):
            own, read = params.get(name, {}), self._read_by(name, volumes)
            with jax.named_scope(name):
                if not hasattr(layer, "apply_training"):
                    volumes[name] = layer.apply(own, read)
                    continue
                own_key = None if key is None else jax.random.fold_in(key, i)
                volumes[name], own = layer.apply_training(own, read, own_key, axis_name)  # pyright: ignore
            if own:
                fresh[name] = own
        y = volumes[self.layers[-1][0]]
        return (y if batched else y[0]), fresh

    @property
    def draws(self) -> bool:
        """Whether the network draws random numbers in training, and so needs a key."""
        return any(getattr(layer, "draws", False) for _, layer in self.layers)

    def trainable(self, params: Mapping[str, Params]) -> dict[str, dict[str, bool]]:
        """Return, for each parameter, whether it is trained: all but running statistics.

        Example:
            >>> from cnnjax.layers import BatchNorm
            >>> network = Network("tiny", Input((2, 2, 1)), {"n": BatchNorm()})
            >>> network.trainable(network.init(jax.random.key(0)))
            {'n': {'w': True, 'b': True, 'mean': False, 'var': False}}
        """
        layers = dict(self.layers)
        return {name: {key: key not in statistics_of(layers[name]) for key in own} for name, own in params.items()}

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
        trained = self.trainable(params)
        dtypes = {
            f"params[{name!r}][{key!r}]": value.dtype
            for name, own in params.items()
            for key, value in own.items()
            if trained[name][key]
        }
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


def _before(layers: Sequence[tuple[str, Layer]]) -> list[tuple[str, tuple[str, ...]]]:
    """Return each layer's name and that of the volume before it."""
    names = [name for name, _ in layers]
    return [(name, (before,)) for name, before in zip(names, ["input", *names[:-1]], strict=True)]


def _check_layers(layers: Sequence[tuple[str, Any]], branches: Mapping[str, Sequence[str]]) -> None:
    """Raise unless each layer has a name of its own and reads volumes that come before it."""
    names = [name for name, _ in layers]
    if not layers or len(set(names)) < len(names) or "input" in names:
        raise value_error(
            "Network",
            "layers",
            got=f"named {names}",
            expected='at least one layer, each with a name of its own other than "input"',
            fix="rename the layers",
        )
    if unknown := [name for name in branches if name not in names]:
        expected = f"names of layers among {names}"
        raise value_error("Network", "branches", got=f"{unknown}", expected=expected, fix="pass the entries again")
    for i, (name, layer) in enumerate(layers):
        if not isinstance(layer, Layer) or isinstance(layer, type):
            raise type_error(
                "Network", name, got=describe(layer), expected="a layer", fix="use a value such as Conv2D(6, 5)"
            )
        before = ["input", *names[:i]]
        reads = branches.get(name, before[-1:])
        if unknown := [volume for volume in reads if volume not in before]:
            expected = f"volumes before it, {before}"
            raise value_error("Network", name, got=f"reading {unknown}", expected=expected, fix="name one of them")
        combines = getattr(layer, "combines", False)
        if combines != (len(reads) > 1):
            kind = type(layer).__name__
            expected = f"several volumes for {kind}" if combines else f"one volume for {kind}"
            fix = (
                f"write ({name!r}, {kind}(...), ({before[0]!r}, {before[-1]!r}))" if combines else "combine them first"
            )
            raise value_error("Network", name, got=f"reading {list(reads)}", expected=expected, fix=fix)

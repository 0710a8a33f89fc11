"""Parameters from PyTorch and back: the names of torchvision and timm, and their layouts."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from cnnjax._core.messages import describe, type_error, value_error
from cnnjax.errors import MissingExtraError
from cnnjax.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    GroupNorm,
    Layer,
    LayerNorm,
    LayerScale,
    Network,
    Params,
    PixelDense,
    PReLU,
)

__all__ = ["from_torch", "to_torch"]

_NAMES = {"w": "weight", "b": "bias", "mean": "running_mean", "var": "running_var"}
_COUNTER = "num_batches_tracked"
_SUPPORTED = (BatchNorm, Conv2D, Dense, GroupNorm, LayerNorm, LayerScale, PReLU)


class _Entry(NamedTuple):
    """A parameter of a network, its name in PyTorch, and its layout there.

    Attributes:
        layer, key: where it is in the parameters.
        torch_name: its name in a state dict.
        torch_shape: its shape in a state dict.
        unflattened: the shape in PyTorch with all axes, before the maps and pixels of a dense layer's input are joined.
        order: the axes of `unflattened` in our order.
        shape: its shape in our parameters.
    """

    layer: str
    key: str
    torch_name: str
    torch_shape: tuple[int, ...]
    unflattened: tuple[int, ...]
    order: tuple[int, ...]
    shape: tuple[int, ...]


def from_torch(network: Network, state_dict: Mapping[str, Any] | str | os.PathLike[str]) -> dict[str, Params]:
    """Return the parameters of a network from those of the same network in PyTorch.

    A layer `layer1.0.conv1` takes its w from `layer1.0.conv1.weight` and its b from `.bias`; a batch normalisation its
    mean and var from `.running_mean` and `.running_var`. Layouts change as follows::

        convolution              (C_out, C_in / groups, k_h, k_w)  ->  (k_h, k_w, C_in / groups, C_out)
        dense                    (units, n)                        ->  (n, units)
        dense after maps         (units, C * H * W)                ->  (H * W * C, units)
        layer scale              (C, 1, 1)                         ->  (C,)

    The networks of `cnnjax.models` have the names of torchvision, `mobilenetv1_100` those of timm.

    Args:
        network: a network whose layers have the names of the modules in PyTorch.
        state_dict: names to arrays (NumPy, PyTorch, JAX), as `module.state_dict()` returns them, or the path of a
            `.safetensors` file. The counters `num_batches_tracked` are ignored.

    Returns:
        `{layer: {"w": ..., "b": ...}}`, in the dtype of the arrays.

    Raises:
        ArgumentValueError: for a missing or additional name, or an array of another shape.
        ArgumentTypeError: for anything but a mapping or a path, or a layer that PyTorch does not have.
        MissingExtraError: for a file, without the safetensors library.

    Example:
        >>> from cnnjax.layers import Dense, Input
        >>> network = Network("tiny", Input((2, 2, 3)), {"fc": Dense(5)})
        >>> params = from_torch(network, {"fc.weight": np.zeros((5, 12)), "fc.bias": np.zeros(5)})
        >>> params["fc"]["w"].shape
        (12, 5)

    Source: the layouts of PyTorch's `nn.Conv2d` and `nn.Linear`.
    """
    caller = "from_torch"
    given = _read_file(state_dict) if isinstance(state_dict, (str, os.PathLike)) else state_dict
    if not isinstance(given, Mapping):
        fix = "pass module.state_dict(), or the path of a .safetensors file"
        raise type_error(caller, "state_dict", got=describe(given), expected="a mapping of names to arrays", fix=fix)
    entries = _entries(caller, network)
    wanted = {entry.torch_name for entry in entries}
    found = [name for name in given if name.rpartition(".")[2] != _COUNTER]
    missing, left_over = wanted.difference(found), [name for name in found if name not in wanted]
    if missing or left_over:
        without = [entry.torch_name for entry in entries if entry.torch_name in missing]
        got = [f"without {_list(without)}"] * bool(without)
        got += [f"with {_list(left_over)}, which {network.name} does not have"] * bool(left_over)
        raise value_error(
            caller,
            "state_dict",
            got=" and ".join(got),
            expected=f"the {len(wanted)} names of {network.name}",
            fix="load the weights of the same architecture, or rename the layers of the network",
        )
    params: dict[str, Params] = {}
    for entry in entries:
        array = _as_numpy(given[entry.torch_name])
        if array.shape != entry.torch_shape:
            raise value_error(
                caller,
                f"state_dict[{entry.torch_name!r}]",
                got=f"an array of shape {array.shape}",
                expected=f"shape {entry.torch_shape}, for params[{entry.layer!r}][{entry.key!r}]",
                fix="build the network for these weights, for example with their number of classes",
            )
        ours = array.reshape(entry.unflattened).transpose(entry.order).reshape(entry.shape)
        params.setdefault(entry.layer, {})[entry.key] = jnp.asarray(ours)
    return params


def to_torch(network: Network, params: Mapping[str, Params]) -> dict[str, np.ndarray]:
    """Return the parameters of a network under the names and in the layouts of PyTorch: the inverse of `from_torch`.

    Args:
        network: a network whose layers have the names of the modules in PyTorch.
        params: its parameters.

    Returns:
        Names to arrays. `safetensors.numpy.save_file` writes them to a file, and a module in PyTorch takes them by
        `module.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})`.

    Raises:
        ArgumentValueError, ArgumentTypeError: for parameters that are not the network's, or a layer that PyTorch does
            not have.

    Example:
        >>> import jax
        >>> from cnnjax.layers import Conv2D, Input
        >>> network = Network("tiny", Input((8, 8, 3)), {"features.0": Conv2D(4, 5)})
        >>> arrays = to_torch(network, network.init(jax.random.key(0)))
        >>> {name: array.shape for name, array in arrays.items()}
        {'features.0.weight': (4, 3, 5, 5), 'features.0.bias': (4,)}

    Source: as `from_torch`.
    """
    network.check_params(params, "to_torch")
    arrays: dict[str, np.ndarray] = {}
    for entry in _entries("to_torch", network):
        permuted = np.asarray(params[entry.layer][entry.key]).reshape([entry.unflattened[axis] for axis in entry.order])
        array = permuted.transpose(np.argsort(entry.order)).reshape(entry.torch_shape)
        arrays[entry.torch_name] = np.ascontiguousarray(array)
    return arrays


def _entries(caller: str, network: Network) -> list[_Entry]:
    """Return every parameter of a network, with its name and layout in PyTorch."""
    entries: list[_Entry] = []
    shapes = network.input_shapes()
    for name, layer in network.layers:
        keys: dict[str, tuple[int, ...]] = getattr(layer, "parameter_shapes", lambda shape: {})(shapes[name])
        if keys and not isinstance(layer, _SUPPORTED):
            kinds = ", ".join(kind.__name__ for kind in _SUPPORTED)
            fix = "translate the parameters of this layer by hand"
            raise type_error(caller, name, got=describe(layer), expected=f"one of {kinds}", fix=fix)
        for key, shape in keys.items():
            unflattened, order = _layout(layer, key, shape, shapes[name])
            flat = isinstance(layer, Dense) and key == "w"
            torch_shape = (unflattened[0], math.prod(unflattened[1:])) if flat else unflattened
            torch_name = name if isinstance(layer, LayerScale) else f"{name}.{_NAMES[key]}"
            entries.append(_Entry(name, key, torch_name, torch_shape, unflattened, order, shape))
    return entries


def _layout(
    layer: Layer, key: str, shape: tuple[int, ...], read: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape in PyTorch, before maps and pixels are joined, and the order of its axes that is ours."""
    if isinstance(layer, LayerScale):
        return (*shape, 1, 1), (1, 2, 0)
    if key != "w" or not isinstance(layer, (Conv2D, Dense)):
        return shape, tuple(range(len(shape)))
    if isinstance(layer, Conv2D):
        height, width, c_in, c_out = shape
        return (c_out, c_in, height, width), (2, 3, 1, 0)
    if len(read) == 3 and not isinstance(layer, PixelDense):
        height, width, maps = read
        return (shape[1], maps, height, width), (2, 3, 1, 0)
    return shape[::-1], (1, 0)


def _as_numpy(array: Any) -> np.ndarray:
    """Return an array of any library; tensors of PyTorch are moved to the CPU, those in bfloat16 widened."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        array = array.float() if str(array.dtype) == "torch.bfloat16" else array
    return np.asarray(array)


def _read_file(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    try:
        safetensors = importlib.import_module("safetensors.numpy")
    except ImportError as error:
        raise MissingExtraError("from_torch needs the safetensors library: pip install 'cnnjax[interop]'") from error
    return safetensors.load_file(os.fspath(path))


def _list(names: list[str]) -> str:
    """Return names as text, at most the first five."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

"""Devices as a grid with two named axes: "data" shares out the images of a batch, "model" the maps of a layer.

Everything else is XLA's: the step is the program of one device, the arrays say how they are spread, and the compiler
puts in what has to be exchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from cnnjax._core.messages import describe, type_error, value_error

__all__ = ["AXES", "batch", "everywhere", "make_mesh", "over_batch", "shardings", "whole"]

AXES = ("data", "model")
"""The axes of a mesh: images along "data", maps along "model"."""


def make_mesh(axes: str | Mapping[str, int], devices: Sequence[Any] | None = None) -> Mesh:
    """Arrange devices as a grid: "data=8", "data=4,model=2", or the same as a dict. An axis left out has one device.

    Args:
        axes: how many devices each of the axes "data" and "model" has.
        devices: which, as in `jax.devices()`; the first of all, those of other processes among them, if None.

    Raises:
        ArgumentValueError: for other axes, counts below 1, or more devices than there are.
        ArgumentTypeError: for something else than a str or a mapping.

    >>> make_mesh("data=1").shape["model"]
    1
    """
    caller = "make_mesh"
    expected = 'axes "data" and "model" with how many devices each has'
    fix = 'write "data=8" or "data=4,model=2"'
    if isinstance(axes, str):
        pairs = [part.partition("=")[::2] for part in axes.split(",")]
        counts = {name.strip(): int(count) if count.strip().isdecimal() else 0 for name, count in pairs}
        repeated = len(pairs) > len(counts)
    elif isinstance(axes, Mapping):
        counts, repeated = dict(axes), False
    else:
        raise type_error(caller, "axes", got=describe(axes), expected=expected, fix=fix)
    if repeated or not set(counts) <= set(AXES) or not all(isinstance(n, int) and n > 0 for n in counts.values()):
        raise value_error(caller, "axes", got=describe(axes), expected=expected, fix=fix)
    shape = tuple(counts.get(name, 1) for name in AXES)
    there = jax.devices() if devices is None else list(devices)
    needed = int(np.prod(shape))
    if needed > len(there):
        raise value_error(
            caller,
            "axes",
            got=f"{describe(axes)}, which takes {needed} devices",
            expected=f"at most the {len(there)} that are here",
            fix="use a smaller mesh; a CPU counts as 8 with XLA_FLAGS=--xla_force_host_platform_device_count=8",
        )
    return Mesh(np.array(there[:needed]).reshape(shape), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def shardings(tree: Any, mesh: Mesh) -> Any:
    """How parameters, gradients and the optimizer's state are spread: by maps along "model", whole along "data".

    The last axis of every array of cnnjax's layers counts maps or units; where "model" does not divide it, the array is
    whole on every device.

    >>> spread = shardings({"w": np.zeros((5, 5, 1, 6)), "step": np.zeros(())}, make_mesh("data=1"))
    >>> tuple(spread["w"].spec), tuple(spread["step"].spec)
    ((None, None, None, 'model'), ())
    """

    def of(leaf: Any) -> NamedSharding:
        shape = np.shape(leaf)
        if not shape or shape[-1] % mesh.shape["model"]:
            return everywhere(mesh)
        return NamedSharding(mesh, PartitionSpec(*[None] * (len(shape) - 1), "model"))

    return jax.tree.map(of, tree)


def everywhere(mesh: Mesh) -> NamedSharding:
    """Whole on every device.

    >>> tuple(everywhere(make_mesh("data=1")).spec)
    ()
    """
    return NamedSharding(mesh, PartitionSpec())


def batch(mesh: Mesh, rows: np.ndarray, *arrays: np.ndarray) -> list[jax.Array]:
    """The given rows of each array, spread along "data"; a process copies those of its own devices alone.

    >>> batch(make_mesh("data=1"), np.array([2, 0]), np.array([5, 6, 7]))[0].tolist()
    [7, 5]
    """
    spread = NamedSharding(mesh, PartitionSpec("data"))

    def part(array: np.ndarray) -> Callable[[Any], np.ndarray]:
        return lambda index: array[rows[index[0]]]

    return [jax.make_array_from_callback((len(rows), *a.shape[1:]), spread, part(a)) for a in arrays]


def over_batch(function: Callable[[Any, jax.Array], jax.Array], mesh: Mesh) -> Callable[[Any, jax.Array], jax.Array]:
    """A function of (params, images) in which each device along "data" computes its own images, from whole parameters.

    The compiler could share out the images by itself, but where an operation walks through a batch, as the weight
    gradient of a convolution does on a CPU, it would give all images to all devices. Along "model" it does share out.

    >>> network = over_batch(lambda w, x: x @ w, make_mesh("data=1"))
    >>> jax.jit(network)(np.ones((2, 3), np.float32), np.ones((4, 2), np.float32)).shape
    (4, 3)
    """
    own = set(AXES) if mesh.shape["model"] == 1 else {"data"}
    spread, whole = PartitionSpec("data"), PartitionSpec()
    return jax.shard_map(function, mesh=mesh, in_specs=(whole, spread), out_specs=spread, axis_names=own)


def whole(tree: Any) -> Any:
    """Copy arrays, however they are spread and over however many processes, into NumPy's; every process calls it.

    >>> whole({"w": jax.numpy.ones(2)})["w"]
    array([1., 1.], dtype=float32)
    """

    def of(leaf: jax.Array) -> np.ndarray:
        if not leaf.is_fully_addressable and not leaf.is_fully_replicated:
            mesh = leaf.sharding.mesh  # pyright: ignore[reportAttributeAccessIssue]
            leaf = jax.jit(lambda x: x, out_shardings=everywhere(mesh))(leaf)
        return np.asarray(leaf)

    return jax.tree.map(of, tree)

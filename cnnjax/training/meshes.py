"""Devices as a mesh with two named axes: images are sharded along "data", maps along "model".

The rest is left to XLA: the step is the program of one device, the arrays carry their shardings, and the compiler
inserts the collectives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from cnnjax._core.messages import describe, type_error, value_error

__all__ = [
    "AXES",
    "gather_to_host",
    "make_mesh",
    "replicated",
    "shard_batch",
    "shard_over_batch",
    "shardings",
]

AXES = ("data", "model")
"""The axes of a mesh: images along "data", maps along "model"."""


def make_mesh(axes: str | Mapping[str, int], devices: Sequence[Any] | None = None) -> Mesh:
    """Arrange devices as a mesh with the axes "data" and "model".

    Args:
        axes: the number of devices along each axis, such as "data=8", "data=4,model=2" or the same as a dict; 1 for
            an axis that is left out.
        devices: the devices to use; the first of `jax.devices()`, of all processes, if None.

    Raises:
        ArgumentValueError: for other axes, counts below 1, or more devices than are available.
        ArgumentTypeError: for anything but a str or a mapping.

    Example:
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
    available = jax.devices() if devices is None else list(devices)
    needed = int(np.prod(shape))
    if needed > len(available):
        raise value_error(
            caller,
            "axes",
            got=f"{describe(axes)}, which takes {needed} devices",
            expected=f"at most the {len(available)} that are here",
            fix="use a smaller mesh; a CPU counts as 8 with XLA_FLAGS=--xla_force_host_platform_device_count=8",
        )
    return Mesh(np.array(available[:needed]).reshape(shape), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def shardings(tree: Any, mesh: Mesh) -> Any:
    """Return the shardings of parameters and optimizer state: by maps along "model", replicated along "data".

    The last axis of every array of cnnjax's layers counts maps or units. An array is replicated if the number of
    devices along "model" does not divide that axis.

    Args:
        tree: a pytree of arrays or their shapes.
        mesh: from `make_mesh`.

    Returns:
        A `NamedSharding` for each array.

    Example:
        >>> sharded = shardings({"w": np.zeros((5, 5, 1, 6)), "step": np.zeros(())}, make_mesh("data=1"))
        >>> tuple(sharded["w"].spec), tuple(sharded["step"].spec)
        ((None, None, None, 'model'), ())
    """

    def sharding_of(leaf: Any) -> NamedSharding:
        shape = np.shape(leaf)
        if not shape or shape[-1] % mesh.shape["model"]:
            return replicated(mesh)
        return NamedSharding(mesh, PartitionSpec(*[None] * (len(shape) - 1), "model"))

    return jax.tree.map(sharding_of, tree)


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of an array that is complete on every device.

    Args:
        mesh: from `make_mesh`.

    Example:
        >>> tuple(replicated(make_mesh("data=1")).spec)
        ()
    """
    return NamedSharding(mesh, PartitionSpec())


def shard_batch(mesh: Mesh, rows: np.ndarray, *arrays: np.ndarray) -> list[jax.Array]:
    """Return the given rows of each array, sharded along "data"; a process copies only the rows of its own devices.

    Args:
        mesh: from `make_mesh`.
        rows: integers (batch,), indices into the first axis.
        *arrays: each (samples, ...).

    Returns:
        For each array one of shape (batch, ...).

    Example:
        >>> shard_batch(make_mesh("data=1"), np.array([2, 0]), np.array([5, 6, 7]))[0].tolist()
        [7, 5]
    """
    sharding = NamedSharding(mesh, PartitionSpec("data"))

    def rows_of(array: np.ndarray) -> Callable[[Any], np.ndarray]:
        return lambda index: array[rows[index[0]]]

    return [jax.make_array_from_callback((len(rows), *a.shape[1:]), sharding, rows_of(a)) for a in arrays]


def shard_over_batch(
    function: Callable[[Any, jax.Array, Any], tuple[jax.Array, Any]], mesh: Mesh
) -> Callable[[Any, jax.Array, Any], tuple[jax.Array, Any]]:
    """Return a function of (params, images, key) in which each device along "data" computes its own images.

    The parameters are replicated along "data". The compiler could shard the images by itself, but where an operation
    loops over the batch, as the weight gradient of a convolution does on a CPU, it would gather all images on all
    devices. Along "model" the sharding is left to the compiler.

    Args:
        function: maps (params, images (N, ...), key) to an array (N, ...) and a pytree that is the same on all devices,
            as `Network.apply_training` with `axis_name="data"` does.
        mesh: from `make_mesh`.

    Example:
        >>> network = shard_over_batch(lambda w, x, key: (x @ w, w), make_mesh("data=1"))
        >>> jax.jit(network)(np.ones((2, 3), np.float32), np.ones((4, 2), np.float32), None)[0].shape
        (4, 3)
    """
    manual_axes = set(AXES) if mesh.shape["model"] == 1 else {"data"}
    same, images = PartitionSpec(), PartitionSpec("data")
    return jax.shard_map(
        function, mesh=mesh, in_specs=(same, images, same), out_specs=(images, same), axis_names=manual_axes
    )


def gather_to_host(tree: Any) -> Any:
    """Copy arrays to NumPy, however they are sharded; in a run of several processes, every process has to call it.

    Args:
        tree: a pytree of arrays.

    Returns:
        The same pytree of NumPy arrays.

    Example:
        >>> gather_to_host({"w": jax.numpy.ones(2)})["w"]
        array([1., 1.], dtype=float32)
    """

    def to_host(leaf: jax.Array) -> np.ndarray:
        if not leaf.is_fully_addressable and not leaf.is_fully_replicated:
            assert isinstance(leaf.sharding, NamedSharding)
            mesh = leaf.sharding.mesh
            assert isinstance(mesh, Mesh)
            leaf = jax.jit(lambda x: x, out_shardings=replicated(mesh))(leaf)
        return np.asarray(leaf)

    return jax.tree.map(to_host, tree)

"""What identifies a run: its configuration, and the versions and device that compute it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from cnnjax.layers import Network, Params
from cnnjax.operator.choice import default_platform

__all__ = ["PROGRAM", "as_json", "differences", "run_configuration", "versions"]

PROGRAM = "program of loss, optimizer and augmentation"
"""The entry of a configuration that is compared only if versions and device are equal."""


def run_configuration(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    program: str,
    params: Mapping[str, Params] | None = None,
) -> dict[str, Any]:
    """Return what determines a run: the network, checksums of the data, batch size, seed, checksum of the program.

    Args:
        network: what is trained.
        images: all training images.
        labels: their labels.
        batch_size: images in a batch.
        seed: the seed of the run.
        program: the lowered program of a step. It contains what is not compared otherwise, such as the learning rate.
        params: the parameters that the run starts from, None if it draws them.
    """
    parts: dict[str, Any] = {"input": network.input, **dict(network.layers)}
    if network.branches:
        parts["branches"] = network.branches
    start = {} if params is None else {"params": _checksum(*map(np.asarray, jax.tree.leaves(dict(params))))}
    return {
        **start,
        # Without the addresses of functions, which differ between processes.
        "network": {name: re.sub(r" at 0x[0-9a-f]+", "", repr(part)) for name, part in parts.items()},
        "data": _checksum(images, labels),
        "batch_size": batch_size,
        "seed": seed,
        PROGRAM: hashlib.sha256(program.encode()).hexdigest()[:16],
    }


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return where two nested configurations differ, one line for each difference.

    Example:
        >>> differences({"seed": 0, "of": {"rate": 0.1}}, {"seed": 0, "of": {"rate": 0.2}, "new": True})
        ['new: nothing saved, True now', 'of.rate: 0.1 saved, 0.2 now']
    """
    before, after = _flatten(saved), _flatten(now)
    return [
        f"{name}: {before.get(name, 'nothing')} saved, {after.get(name, 'nothing')} now"
        for name in sorted({*before, *after})
        if before.get(name, "nothing") != after.get(name, "nothing")
    ]


def versions() -> dict[str, str]:
    """Return the versions of the packages that compute a run, the kind of device, and on a CPU the number of cores.

    How XLA and oneDNN split sums depends on the number of cores, so on another number rounding differs. The platform
    says whether oneDNN may be called, which it is not if the compilation cache is in use.
    """
    packages = ("cnnjax", "jax", "jaxlib", "numpy", "optax", "orbax-checkpoint")
    device = jax.devices()[0]
    found = {
        "python": platform.python_version(),
        "device": device.device_kind,
        "platform": default_platform(),
    }
    if device.platform == "cpu":
        found["cores"] = f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}"
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def as_json(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as it is read back from JSON, so a saved one and a given one compare equal."""
    return json.loads(json.dumps(configuration, default=str))


def _flatten(configuration: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in configuration.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat


def _checksum(*arrays: np.ndarray) -> str:
    """Return the SHA-256 sum of arrays with their shapes and dtypes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]

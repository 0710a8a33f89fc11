"""The measurement of a network of one library: a plain dict, for JSON."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

import cnnjax
from benchmarks import timing
from benchmarks.networks.network import NETWORKS, Model
from benchmarks.networks.programs import MOMENTUM, RATE, data, inference, training

__all__ = [
    "MODES",
    "PROGRAMS",
    "difference",
    "differs",
    "first_call",
    "measure",
    "parameters",
    "perturbed",
    "waiting",
]

MODES = ("plain", "drop_in")
"""How a JAX program is compiled: as it is, and with `cnnjax.drop_in` enabled."""
PROGRAMS = ("inference", "training")
FLOOR, FACTOR = 1e-5, 20
"""Results may differ by this much, plus this factor times what perturbed parameters change: each layer rounds."""


def measure(
    name: str, library: str, *, seed: int, quick: bool, torch: bool, compiled: bool, **protocol: float
) -> dict[str, Any]:
    """{contender: {program: {"first_s", "memory", "ms", "fastest", "calls"}}} with "shape", "parameters", "difference".

    "first_s" is the time to trace, lower, compile and run a program for the first time, "memory" the bytes of its
    arguments, results and temporary buffers, as XLA assigned them; both are measured for the two MODES. "difference"
    is that between the outputs, or the gradients, of the two, "sensitivity" that between those of the plain program and
    of the same with parameters perturbed by a rounding error. Nothing is timed if `quick`.
    """
    shape = NETWORKS[name].shape(quick=quick)
    model: Model = importlib.import_module(f"benchmarks.networks.{library}_networks").build(name, shape, seed)
    x, targets = data(NETWORKS[name], model, shape, seed)
    row: dict[str, Any] = {"shape": shape, "parameters": parameters(model.params), "difference": {}, "sensitivity": {}}
    row |= {mode: {} for mode in MODES}
    calls: dict[str, dict[str, timing.Thunk]] = {mode: {} for mode in MODES}
    for which, program in (("inference", inference), ("training", training)):
        arguments, function, compared = program(model, x, targets)
        programs, found = {}, {}
        for mode in MODES:
            programs[mode], row[mode][which], results = first_call(function, arguments, mode)
            calls[mode][which] = waiting(programs[mode], arguments)
            found[mode] = jax.device_get(compared(results))
        row["difference"][which] = float(f"{difference(found['drop_in'], found['plain']):.2g}")
        moved = programs["plain"](perturbed(model.params, seed), *arguments[1:])
        row["sensitivity"][which] = float(f"{difference(compared(moved), found['plain']):.2g}")
    if quick:
        return row
    if torch:
        calls |= _of_torch(name, library, x, targets, seed=seed, compiled=compiled)
    for contender, times in timing.time_alternately(calls, **protocol).items():  # type: ignore[arg-type]
        for which, of in times.items():
            row.setdefault(contender, {}).setdefault(which, {}).update(of)
    return row


def parameters(params: Any) -> int:
    """The number of trainable parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def difference(found: Any, wanted: Any) -> float:
    """The largest relative difference, in the Euclidean norm, between corresponding leaves of two pytrees.

    A norm counts as at least a thousandth of the largest of all: the gradient of a bias before batch normalization is
    zero, so it consists of rounding errors alone.
    """
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    norms = [(np.linalg.norm(np.subtract(a, b, dtype=np.float64)), np.linalg.norm(b)) for a, b in pairs]
    largest = max(norm for _, norm in norms)
    return float(max(apart / max(norm, 1e-3 * largest) for apart, norm in norms))


def differs(row: Mapping[str, Any]) -> bool:
    """Whether results of the two modes differ by more than rounding explains, or are not finite."""
    return any(
        not row["difference"][which] <= FLOOR + FACTOR * row["sensitivity"][which] for which in row["difference"]
    )


def perturbed(params: Any, seed: int) -> Any:
    """Parameters with a relative error of at most the machine epsilon of their type."""
    random = np.random.default_rng(seed)

    def moved(a: jax.Array) -> jax.Array:
        return a * (1 + random.uniform(-1, 1, a.shape) * np.finfo(a.dtype).eps).astype(a.dtype)

    return jax.tree.map(moved, params)


def first_call(function: Any, arguments: tuple[Any, ...], mode: str = "plain") -> tuple[Any, dict[str, Any], Any]:
    """The compiled program, what its first call takes, and its results."""
    jax.clear_caches()  # also of the functions that the library jitted itself
    with cnnjax.drop_in.enabled() if mode == "drop_in" else contextlib.nullcontext():
        start = time.perf_counter()
        compiled = jax.jit(function).lower(*arguments).compile()
        results = jax.block_until_ready(compiled(*arguments))
        seconds = time.perf_counter() - start
    memory: Any = compiled.memory_analysis()
    row = {
        "first_s": round(seconds, 3),
        "memory": sum(getattr(memory, f"{part}_size_in_bytes") for part in ("argument", "temp", "output")),
    }
    return compiled, row, results


def waiting(program: Any, arguments: tuple[Any, ...]) -> timing.Thunk:
    return lambda: jax.block_until_ready(program(*arguments))


def _of_torch(
    name: str, library: str, x: np.ndarray, targets: np.ndarray, *, seed: int, compiled: bool
) -> dict[str, dict[str, timing.Thunk]]:
    """{"torch", and if requested "torch compiled": {program: call}}, the latter where it compiles."""
    from benchmarks.networks import torch_networks

    found: dict[str, dict[str, timing.Thunk]] = {}
    for contender in ("torch", "torch compiled")[: 1 + compiled]:
        module = torch_networks.build(name, library, seed)
        calls = torch_networks.programs(
            module, x, targets, rate=RATE, momentum=MOMENTUM, compiled=contender == "torch compiled"
        )
        try:
            for call in calls.values():
                call()
        except Exception as failure:  # what a compiler cannot compile is no end of the benchmark
            if contender == "torch":
                raise
            print(f"{name}: PyTorch did not compile it: {type(failure).__name__}", flush=True)
            continue
        found[contender] = calls
    return found

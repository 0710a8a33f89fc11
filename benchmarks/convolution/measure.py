"""The measurements on a shape: time, error, compile time, memory, growth. They are plain dicts, for JSON."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from benchmarks import timing
from benchmarks.convolution import exact
from benchmarks.convolution.implementations import PASSES, build, why_unsupported
from benchmarks.convolution.shapes import Shape
from cnnjax.operator.spec import DIRECTIONS

__all__ = ["errors", "growth", "programs", "slope", "times"]


def times(
    shape: Shape, names: Sequence[str], what: Sequence[str] = PASSES, *, dtype: str = "float32", **protocol: float
) -> dict[str, dict[str, dict[str, float]]]:
    """{implementation: {direction: {"ms", "fastest", "calls"}}} of the implementations that support the shape."""
    built = {name: build(name, shape, dtype) for name in names if why_unsupported(name, shape) is None}
    calls = {name: {each: implementation.calls[each] for each in what} for name, implementation in built.items()}
    return timing.time_alternately(calls, **protocol)  # type: ignore[arg-type]


def errors(shape: Shape, names: Sequence[str], dtype: str = "float32") -> dict[str, dict[str, float]]:
    """{implementation: {direction: largest difference from float64 as a fraction of the largest value}}."""
    wanted = exact.directions(shape, *(np.asarray(jax.numpy.asarray(a, dtype)) for a in shape.arrays()))
    found: dict[str, dict[str, float]] = {}
    for name in names:
        if why_unsupported(name, shape) is None:
            implementation = build(name, shape, dtype)
            found[name] = {d: float(f"{exact.error(implementation.result(d), wanted[d]):.2g}") for d in DIRECTIONS}
    return found


def programs(
    shape: Shape, names: Sequence[str], what: Sequence[str] = PASSES
) -> dict[str, dict[str, dict[str, float]]]:
    """{implementation: {direction: {"trace_s", "compile_s", "temporary_mb", "total_mb"}}} for implementations in JAX.

    Temporary memory is that of XLA's buffer assignment; the total adds arguments and results. Memory that a library
    called by XLA allocates itself is in neither.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in names:
        if why_unsupported(name, shape) is not None:
            continue
        of_jax = build(name, shape).programs
        found |= {name: {each: _compiled(*of_jax[each]) for each in what}} if of_jax else {}
    return found


def _compiled(program: Any, arguments: tuple[Any, ...]) -> dict[str, float]:
    start = time.perf_counter()
    lowered = program.lower(*arguments)
    traced = time.perf_counter()
    compiled = lowered.compile()
    done = time.perf_counter()
    memory = compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return {
        "trace_s": round(traced - start, 4),
        "compile_s": round(done - traced, 4),
        "temporary_mb": round(memory.temp_size_in_bytes / 1e6, 3),
        "total_mb": round((memory.temp_size_in_bytes + held) / 1e6, 3),
    }


def growth(shapes: Mapping[int, Shape], names: Sequence[str], **protocol: float) -> dict[str, Any]:
    """{implementation: {direction: {"slope", "ms": {value: ms}}}}: growth of the time along an axis of shapes."""
    rows = {value: times(shape, names, DIRECTIONS, dtype="float32", **protocol) for value, shape in shapes.items()}

    def grown(name: str, direction: str) -> dict[str, Any]:
        ms = {value: row[name][direction]["ms"] for value, row in rows.items()}
        return {"slope": round(slope(ms), 3), "ms": ms}

    return {name: {direction: grown(name, direction) for direction in DIRECTIONS} for name in names}


def slope(points: dict[int, float]) -> float:
    """The slope of a least-squares line through (log key, log value).

    >>> round(slope({1: 3.0, 2: 12.0, 4: 48.0}), 6)
    2.0
    """
    x = [math.log(key) for key in points]
    y = [math.log(value) for value in points.values()]
    return float(np.polyfit(x, y, 1)[0])

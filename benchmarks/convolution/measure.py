"""What is measured of the contenders on a shape: time, error, compile time, memory, growth. Plain dicts, for JSON."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from benchmarks import timing
from benchmarks.convolution import exact
from benchmarks.convolution.contenders import WHAT, build, why_not
from benchmarks.convolution.shapes import Shape
from cnnjax.operator.spec import DIRECTIONS

__all__ = ["errors", "growth", "programs", "slope", "times"]


def times(
    shape: Shape, names: Sequence[str], what: Sequence[str] = WHAT, *, dtype: str = "float32", **protocol: float
) -> dict[str, dict[str, dict[str, float]]]:
    """{contender: {direction: {"ms", "fastest", "calls"}}} of those contenders that serve the shape."""
    built = {name: build(name, shape, dtype) for name in names if why_not(name, shape) is None}
    calls = {name: {each: contender.calls[each] for each in what} for name, contender in built.items()}
    return timing.alternate(calls, **protocol)  # type: ignore[arg-type]


def errors(shape: Shape, names: Sequence[str], dtype: str = "float32") -> dict[str, dict[str, float]]:
    """{contender: {direction: largest difference from float64 as a fraction of the largest value}}."""
    wanted = exact.directions(shape, *(np.asarray(jax.numpy.asarray(a, dtype)) for a in shape.arrays()))
    found: dict[str, dict[str, float]] = {}
    for name in names:
        if why_not(name, shape) is None:
            contender = build(name, shape, dtype)
            found[name] = {d: float(f"{exact.error(contender.result(d), wanted[d]):.2g}") for d in DIRECTIONS}
    return found


def programs(shape: Shape, names: Sequence[str], what: Sequence[str] = WHAT) -> dict[str, dict[str, dict[str, float]]]:
    """{contender: {direction: {"trace_s", "compile_s", "temporary_mb", "total_mb"}}} of those that JAX compiles.

    Temporary is what XLA's buffer assignment sets aside while the program runs; total adds arguments and results. What
    a library that XLA calls allocates for itself is in neither.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in names:
        if why_not(name, shape) is not None:
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
    """{contender: {direction: {"slope", "ms": {value: ms}}}}: how the time grows along an axis of shapes."""
    rows = {value: times(shape, names, DIRECTIONS, **protocol) for value, shape in shapes.items()}

    def grown(name: str, direction: str) -> dict[str, Any]:
        ms = {value: row[name][direction]["ms"] for value, row in rows.items()}
        return {"slope": round(slope(ms), 3), "ms": ms}

    return {name: {direction: grown(name, direction) for direction in DIRECTIONS} for name in names}


def slope(points: dict[int, float]) -> float:
    """The slope of the straight line through (log key, log value), by least squares.

    >>> round(slope({1: 3.0, 2: 12.0, 4: 48.0}), 6)
    2.0
    """
    x = [math.log(key) for key in points]
    y = [math.log(value) for value in points.values()]
    return float(np.polyfit(x, y, 1)[0])

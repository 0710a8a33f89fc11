"""The measurement of one direction of a configuration by both libraries: a plain dict, for JSON."""

from __future__ import annotations

import math
import time
from typing import Any

import jax
import numpy as np

from benchmarks import timing
from benchmarks.configurations import limits
from benchmarks.configurations.configuration import Configuration
from benchmarks.configurations.programs import LIBRARIES, arguments, function, method

__all__ = ["direction", "error", "tolerance"]

AGAIN = 3
"""How often a measurement near its limit is repeated; the best of each library counts."""
NEAR, FAR = 0.95, 2.0
"""The fractions of a limit between which a measurement is repeated: below and above them, noise decides nothing."""


def direction(of: Configuration, which: str, *, timed: bool = True) -> dict[str, Any]:
    """{library: {"first_s", "memory", "program", "run_us"}} of a direction, with its "method", "error", "tolerance".

    "first_s" is the time to trace, lower, compile and run a function that JAX has not seen, "memory" the bytes of the
    arguments, the result and temporary buffers, "program" the characters of its StableHLO, "run_us" the best time of a
    call.
    """
    arrays = arguments(of, which)
    row: dict[str, Any] = {"method": method(of, which)}
    calls: dict[str, timing.Thunk] = {}
    results: dict[str, np.ndarray] = {}
    for library in LIBRARIES:
        try:
            row[library], calls[library], results[library] = _first_call(library, of, which, arrays)
        except Exception as failure:  # recorded, so that one failure does not end the benchmark
            row[library] = {"failure": f"{type(failure).__name__}: {failure}".splitlines()[0][:200]}
    if len(calls) < len(LIBRARIES):
        return row
    row["error"] = float(f"{error(results['cnnjax'], results['lax'], of.terms(which)):.3g}")
    row["tolerance"] = float(f"{tolerance(of.terms(which)):.3g}")
    results.clear()
    if not timed:
        return row
    for _ in range(AGAIN):
        if not NEAR < limits.fraction(row, "first_s") < FAR:
            break
        for library in LIBRARIES:
            again, *_ = _first_call(library, of, which, arrays)
            row[library]["first_s"] = min(row[library]["first_s"], again["first_s"])
    _time(row, calls, blocks=2, seconds=0.04)
    for _ in range(AGAIN):
        if not NEAR < limits.fraction(row, "run_us") < FAR:
            break
        _time(row, calls, blocks=4, seconds=0.1)
    return row


def _first_call(
    library: str, of: Configuration, which: str, arrays: tuple[jax.Array, ...]
) -> tuple[dict[str, Any], timing.Thunk, np.ndarray]:
    jax.clear_caches()  # also of the library's own jitted functions
    start = time.perf_counter()
    lowered = jax.jit(function(library, of, which)).lower(*arrays)
    compiled = lowered.compile()
    result = compiled(*arrays).block_until_ready()
    seconds = time.perf_counter() - start
    memory: Any = compiled.memory_analysis()
    row = {
        "first_s": round(seconds, 4),
        "memory": sum(getattr(memory, f"{part}_size_in_bytes") for part in ("argument", "temp", "output")),
        "program": len(lowered.as_text()),
    }
    return row, lambda: compiled(*arrays).block_until_ready(), np.asarray(result)


def _time(row: dict[str, Any], calls: dict[str, timing.Thunk], *, blocks: int, seconds: float) -> None:
    """Time calls in alternating blocks, and keep the best time of each library so far."""
    found = timing.time_alternately(
        {library: {"call": call} for library, call in calls.items()}, blocks=blocks, seconds=seconds, pause=0.03
    )
    for library, times in found.items():
        best = round(1e3 * times["call"]["fastest"], 2)
        row[library]["run_us"] = min(row[library].get("run_us", math.inf), best)


def error(ours: np.ndarray, lax: np.ndarray, terms: int) -> float:
    """The largest difference, relative to the largest value or, if that is larger, to the root of the number of terms.

    That is how large sums of so many products of normal numbers are; a single one may happen to be close to zero.
    """
    if ours.shape != lax.shape:
        return math.inf
    if not ours.size:
        return 0.0
    return float(np.max(np.abs(ours - lax)) / max(np.max(np.abs(lax)), math.sqrt(terms), 1))


def tolerance(terms: int) -> float:
    """The largest error by which two float32 sums of `terms` products may differ in any order of summation.

    Rounding errors of n additions grow as the root of n.
    """
    return float(4 * np.finfo(np.float32).eps * (1 + math.sqrt(terms)))

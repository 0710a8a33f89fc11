"""Convolution benchmarks: cnnjax ("auto" and every method) against jax.lax, flax, equinox and PyTorch.

    python -m benchmarks.convolution --core                    # auto, lax, torch on 16 shapes: minutes
    python -m benchmarks.convolution --only LeNet VGG --implementations auto shift im2col lax
    python -m benchmarks.convolution --record docs/records/benchmarks-convolution.json \\
        --page docs/results/benchmarks-convolution.md

The last command measures everything, in about half an hour on two cores. An existing record of the same machine and
versions is extended, so --parts and --only can be measured one after the other. Seed 0.
"""

from __future__ import annotations

import argparse
import datetime
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leaves PyTorch its share of a GPU

import jax

import cnnjax
from benchmarks import results, timing
from benchmarks.convolution import loops, measure
from benchmarks.convolution.implementations import LIBRARIES, PASSES, STEP, why_unsupported
from benchmarks.convolution.page import cells, means, page, worst_in_a_loop
from benchmarks.convolution.shapes import CORE_SHAPES, GROWTH_SHAPES, LOOP_SHAPES, SHAPES, Shape
from cnnjax.operator.spec import DIRECTIONS
from cnnjax.operator.tuning import machine

PARTS = ("speed", "loops", "methods", "errors", "programs", "growth")
CORE = ("auto", "lax", "torch")
PACKAGES = ("jax", "jaxlib", "flax", "equinox", "torch", "numpy")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and record."""
    options = _options(arguments)
    if results.report(options, page):
        return
    record = _start(options.record)
    print(f"{record['machine']}; " + ", ".join(f"{k} {v}" for k, v in record["versions"].items()))
    print(f"matrix multiplication at {record['peak_gflops']} GFLOP/s; times in ms: {' / '.join(options.passes)}")
    shapes = [s for s in SHAPES if not options.only or any(part in s.name for part in options.only)]
    shapes = [s for s in shapes if s in CORE_SHAPES or not options.core]
    for part in options.parts:
        for line in _MEASUREMENTS[part](record, shapes, options):  # a line per measured row
            print(line, flush=True)
            results.save(options, record, page)
    for line in means(record["speed"].get("float32", {}), [s.name for s in CORE_SHAPES]):
        print(line)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.convolution", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--core", action="store_true", help="only the speed of auto, lax and torch on the 16 core shapes"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (all)")
    parser.add_argument("--only", nargs="+", default=[], help="shapes whose name contains one of these")
    names = (*LIBRARIES, *(name for name in cnnjax.METHODS if name not in LIBRARIES))
    parser.add_argument("--implementations", nargs="+", choices=names, help="for speed and growth (the libraries)")
    parser.add_argument(
        "--passes", nargs="+", choices=PASSES, default=PASSES, help="directions and the whole step (all)"
    )
    parser.add_argument(
        "--dtypes", nargs="+", choices=("float32", "bfloat16"), help="types (float32, and bfloat16 where native)"
    )
    parser.add_argument("--blocks", type=int, default=3, help="blocks per implementation (3)")
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a block, in seconds (0.1)")
    parser.add_argument("--pause", type=float, default=0.1, help="pause before a block, in seconds (0.1)")
    results.add_options(parser)
    options = parser.parse_args(arguments)
    if options.core:
        options.parts = ("speed",)
    options.implementations = _installed(options.implementations or (CORE if options.core else LIBRARIES))
    options.dtypes = options.dtypes or ("float32", *(("bfloat16",) if _bfloat16_is_native() else ()))
    options.protocol = {"blocks": options.blocks, "seconds": options.seconds, "pause": options.pause}
    return options


def _start(path: Path | None) -> dict[str, Any]:
    """The existing record, or an empty one."""
    fresh: dict[str, Any] = {
        "machine": machine(),
        "versions": {"cnnjax": cnnjax.__version__, **timing.versions(*PACKAGES)},
        "platform": jax.default_backend(),
        "date": f"{datetime.date.today()}",
        "seed": 0,
        "others_percent": 0.0,
        "peak_gflops": round(timing.matrix_peak(), 1),
        "operations": {shape.name: shape.operations for shape in SHAPES},
        **{part: {} for part in PARTS},
    }
    record = results.resume(path, fresh, same=("machine", "versions"))
    return record | {
        "operations": record["operations"] | fresh["operations"],
        "peak_gflops": max(fresh["peak_gflops"], record["peak_gflops"]),
    }


def _installed(names: tuple[str, ...]) -> tuple[str, ...]:
    there = timing.versions("flax", "equinox", "torch")
    return tuple(n for n in names if n.split("-")[0] not in ("flax", "equinox", "torch") or n.split("-")[0] in there)


def _bfloat16_is_native() -> bool:
    """Whether the device multiplies bfloat16 natively, as far as it reports."""
    if jax.default_backend() != "cpu":
        return True
    path = Path("/proc/cpuinfo")
    flags = path.read_text() if path.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


Lines = Iterator[str]


def _speed(record: dict[str, Any], shapes: list[Shape], options: argparse.Namespace) -> Lines:
    before = timing.cpu_seconds()
    for dtype in options.dtypes:
        rows = record["speed"].setdefault(dtype, {})
        for shape in shapes:
            row = measure.times(shape, options.implementations, options.passes, dtype=dtype, **options.protocol)
            rows[shape.name] = row
            yield f"{shape.name:<30}" + "   ".join(f"{name} {cells(of):<34}" for name, of in row.items())
    others = timing.background_load(before)
    record["others_percent"] = max(others, record["others_percent"])
    yield f"other processes used {others} % of the CPU" + (": the times are unreliable" if others > 5 else "")


def _loops(record: dict[str, Any], shapes: list[Shape], options: argparse.Namespace) -> Lines:
    names = [name for name in options.implementations if name in ("auto", "lax")]
    for shape in LOOP_SHAPES:
        record["loops"][shape.name] = row = loops.times(shape, names, **options.protocol)
        words = (f"{n} {' / '.join(format(worst_in_a_loop(d), '.3g') for d in of.values())}" for n, of in row.items())
        yield f"{shape.name:<30}" + "   ".join(words)


def _methods(record: dict[str, Any], shapes: list[Shape], options: argparse.Namespace) -> Lines:
    names = ["auto", *cnnjax.METHODS]
    directions = [what for what in options.passes if what in DIRECTIONS]
    for shape in shapes:
        if not shape.transposed:
            row = measure.times(shape, names, directions, **options.protocol)
            refused = {name: why for name in names if (why := why_unsupported(name, shape)) is not None}
            record["methods"][shape.name] = {"ms": row, "refused": refused}
            yield f"{shape.name:<30}" + "   ".join(f"{name} {cells(of)}" for name, of in row.items())


def _errors(record: dict[str, Any], shapes: list[Shape], options: argparse.Namespace) -> Lines:
    names = [*options.implementations, *(n for n in cnnjax.METHODS if n not in options.implementations)]
    for shape in shapes:
        record["errors"][shape.name] = row = measure.errors(shape, names)
        yield f"{shape.name:<30}" + "   ".join(f"{name} {max(of.values()):.1e}" for name, of in row.items())


def _programs(record: dict[str, Any], shapes: list[Shape], options: argparse.Namespace) -> Lines:
    for shape in shapes:
        record["programs"][shape.name] = row = measure.programs(shape, options.implementations)
        words = (f"{n} {of[STEP]['compile_s']:.2f} s {of[STEP]['temporary_mb']:.1f} MB" for n, of in row.items())
        yield f"{shape.name:<30}" + "   ".join(words)


def _growth(record: dict[str, Any], shapes: list[Shape], options: argparse.Namespace) -> Lines:
    names = [name for name in options.implementations if name in CORE]
    for family, axes in GROWTH_SHAPES.items():
        for axis, along in axes.items():
            found = measure.growth(along, names, **options.protocol)
            record["growth"].setdefault(family, {})[axis] = found
            slopes = (f"{n} {' / '.join(format(g['slope'], '.2f') for g in of.values())}" for n, of in found.items())
            yield f"{family + ', ' + axis:<30}" + "   ".join(slopes)


_MEASUREMENTS: dict[str, Callable[[dict[str, Any], list[Shape], argparse.Namespace], Lines]] = {
    "speed": _speed,
    "loops": _loops,
    "methods": _methods,
    "errors": _errors,
    "programs": _programs,
    "growth": _growth,
}

if __name__ == "__main__":
    main()

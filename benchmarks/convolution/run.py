"""How fast is "auto" against JAX's own convolution and PyTorch's, forward and for both gradients?

    python benchmarks/convolution/run.py                       # the core table: auto, lax, PyTorch where installed
    python benchmarks/convolution/run.py --methods shift im2col --only LeNet --json times.json

Each contender is timed in blocks of its own with a pause before each, and the blocks alternate: the thread pools of two
libraries disturb one another when their calls do. A time is the median over all blocks, in milliseconds, float32.
Run time on two cores: about five minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from shapes import SHAPES, Shape

import cnnjax
from cnnjax._shapes import geometry
from cnnjax.operator import primitives
from cnnjax.operator.calls import DIRECTIONS, Call
from cnnjax.operator.methods import BY_NAME

try:
    import torch
except ImportError:
    torch = None

Timed = Callable[[], Any]


def main() -> None:
    """Measure, print the table, and write the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], help="shapes whose name holds one of these")
    parser.add_argument("--methods", nargs="*", default=[], choices=sorted(BY_NAME), help="also measure these")
    parser.add_argument("--blocks", type=int, default=3, help="blocks for each contender (3)")
    parser.add_argument("--seconds", type=float, default=0.25, help="length of a block (0.25)")
    parser.add_argument("--json", type=Path, help="write the times there")
    options = parser.parse_args()
    shapes = [s for s in SHAPES if not options.only or any(part in s.name for part in options.only)]
    names = ["auto", "lax", *options.methods, *(["torch"] if torch else [])]
    print(f"jax {jax.__version__}, {machine()}" + (f", torch {torch.__version__}" if torch else ""))
    print("ms: " + " / ".join(DIRECTIONS))
    rows = {}
    for shape in shapes:
        rows[shape.name] = measure(shape, names, options.blocks, options.seconds)
        cells = [
            name + " " + " / ".join(f"{times[d]:.2f}" for d in DIRECTIONS) for name, times in rows[shape.name].items()
        ]
        print(f"{shape.name:<28}" + "   ".join(f"{cell:<34}" for cell in cells), flush=True)
    core = [shape.name for shape in shapes if shape.sixteen]
    for rival in names[1:]:
        ratios = {
            direction: [rows[n]["auto"][direction] / rows[n][rival][direction] for n in core if rival in rows[n]]
            for direction in DIRECTIONS
        }
        everything = [ratio for of_direction in ratios.values() for ratio in of_direction]
        if everything:
            print(
                f"auto / {rival}, geometric mean: {geometric_mean(everything):.3f} ("
                + ", ".join(f"{name.replace('_', ' ')} {geometric_mean(r):.3f}" for name, r in ratios.items())
                + f"), slowest {max(everything):.2f}"
            )
    if options.json:
        options.json.write_text(json.dumps({"jax": jax.__version__, "machine": machine(), "ms": rows}, indent=1) + "\n")


def measure(shape: Shape, names: list[str], blocks: int, seconds: float) -> dict[str, dict[str, float]]:
    """The median time (ms) of each contender that serves a shape, in each direction."""
    contenders = {name: found for name in names if (found := contender(shape, name)) is not None}
    samples: dict[str, dict[str, list[float]]] = {name: {d: [] for d in DIRECTIONS} for name in contenders}
    for calls in contenders.values():
        for call in calls.values():
            call()  # compiles
    for _ in range(blocks):
        for name, calls in contenders.items():
            time.sleep(0.05)
            for direction, call in calls.items():
                samples[name][direction] += block(call, seconds)
    return {name: {d: 1e3 * statistics.median(t) for d, t in of.items()} for name, of in samples.items()}


def block(call: Timed, seconds: float) -> list[float]:
    """Times (s) of repeated calls, for as long as `seconds`; at least two. The first warms up and does not count."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
        if times[-1] > 2:
            break
    return times


def contender(shape: Shape, name: str) -> dict[str, Timed] | None:
    """For each direction, a call that computes it and waits for it; None where the method does not serve."""
    reading = geometry("benchmark", shape.size, shape.kernel, stride=shape.stride, padding=shape.padding)
    call = Call(reading, shape.batch, shape.c_in, shape.c_out, shape.groups, method="auto" if name == "torch" else name)
    random = np.random.default_rng(0)
    x, w, y = (random.standard_normal(s, np.float32) for s in (call.x_shape, call.w_shape, call.y_shape))
    if name == "torch":
        return torch_calls(shape, reading.pads[0][0], x, w, y)
    if name != "auto" and BY_NAME[name].refuses(call):
        return None
    x, w, y = map(jnp.asarray, (x, w, y))
    operands = {"forward": (x, w), "input_gradient": (w, y), "weight_gradient": (x, y)}

    def timed(direction: str) -> Timed:
        a, b = operands[direction]
        program = jax.jit(lambda a, b: getattr(primitives, direction)(a, b, call, jnp.float32))
        return lambda: program(a, b).block_until_ready()

    return {direction: timed(direction) for direction in DIRECTIONS}


def torch_calls(shape: Shape, pad: int, x: np.ndarray, w: np.ndarray, y: np.ndarray) -> dict[str, Timed]:
    """PyTorch's convolution and its two gradients, channels first as it prefers."""
    axes = len(shape.size)
    tx, ty = (torch.from_numpy(np.ascontiguousarray(np.moveaxis(a, -1, 1))) for a in (x, y))
    tw = torch.from_numpy(np.ascontiguousarray(np.moveaxis(w, (-1, -2), (0, 1))))
    settings = ([shape.stride] * axes, [pad] * axes, [1] * axes, False, [0] * axes, shape.groups)

    def backward(mask: list[bool]) -> Timed:
        return lambda: torch.ops.aten.convolution_backward(ty, tx, tw, None, *settings, mask)

    return {
        "forward": lambda: torch.ops.aten.convolution(tx, tw, None, *settings),
        "input_gradient": backward([True, False, False]),
        "weight_gradient": backward([False, True, False]),
    }


def geometric_mean(ratios: list[float]) -> float:
    """exp of the mean logarithm."""
    return math.exp(statistics.fmean(map(math.log, ratios)))


def machine() -> str:
    """What the figures were measured on."""
    return f"{jax.devices()[0].device_kind} ({platform.machine()}), {os.cpu_count()} cores, cnnjax {cnnjax.__version__}"


if __name__ == "__main__":
    main()

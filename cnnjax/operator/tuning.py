"""Measure which method is fastest for a convolution on this machine, and store the result in a file."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from cnnjax._core.arguments import dtype_or_none
from cnnjax._core.messages import describe, error_message, type_error, value_error
from cnnjax._core.shapes import Padding
from cnnjax._version import __version__
from cnnjax.conv.settings import ConvSettings
from cnnjax.errors import DataError, DataNotFoundError
from cnnjax.operator import METHODS, check_served, primitives
from cnnjax.operator.choice import choose, default_platform
from cnnjax.operator.methods import BY_NAME
from cnnjax.operator.spec import DIRECTIONS, ConvSpec, Direction, MethodName
from cnnjax.operator.tuned import Measurement, Timed, Tuned

__all__ = ["machine", "tune", "tuned"]

_ONLY_IF_NAMED: tuple[MethodName, ...] = ("definition", "sparse", "winograd2", "winograd4", "fft")
"""Explanations, and methods whose rounding error is larger than that of a sum of products."""
_WORTH_IT = 0.95
"""A method replaces the one that "auto" chooses only if it takes less than this fraction of its time."""
_HOPELESS = 5.0
"""A candidate whose first run takes this many times the fastest first run is not timed any further."""
_BLOCKS = 3
"""The number of blocks of calls for each candidate, in alternation with those of the others."""


def tune(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = "VALID",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    dtype: DTypeLike = "float32",
    methods: Sequence[MethodName] | None = None,
    file: str | os.PathLike[str] | None = None,
    seconds: float = 0.1,
) -> Tuned:
    """Measure which method computes a convolution fastest on this machine, in each direction.

    Every candidate is compiled for each direction and called in three alternating blocks. The smallest median wins, but
    replaces what "auto" chooses only if it takes less than 0.95 of its time. Run it on an idle machine. The result is a
    value to pass as `method`; there is no global state::

        measured = cnnjax.tune(x.shape, w.shape, padding="SAME", file="cnnjax-tuned.json")
        y = cnnjax.conv2d(x, w, padding="SAME", method=measured)    # later: method=cnnjax.tuned("cnnjax-tuned.json")

    Args:
        x_shape: (N, *size, C_in), with one to three spatial axes.
        w_shape: (*kernel, C_in / groups, C_out).
        stride, padding, dilation, groups: as in `conv2d`.
        dtype: of the arrays, floating or complex.
        methods: the candidates. By default all that serve the convolution except "definition" and "sparse", which are
            explanations, and the Winograd methods and "fft", whose rounding error is larger; name them to measure them.
        file: a JSON file to which the measurement is added. It is replaced atomically.
        seconds: the length of a block of calls.

    Returns:
        The measurements that the file held, and this one.

    Raises:
        TypeError, ValueError: as `conv2d`, for shapes and settings that do not fit; also for a dtype that JAX does not
            have, a method that is unknown or does not serve the convolution, or `seconds` that is not positive.
        DataError: if the file is damaged, or was written on another machine or with another version of jax or cnnjax.
            It is left unchanged.

    Example:
        >>> import cnnjax
        >>> measured = cnnjax.tune((4, 16, 16, 8), (1, 1, 8, 8), methods=["lax", "matmul"], seconds=0.001)
        >>> [name for name, ms in sorted(measured.measurements[0].forward.milliseconds)]
        ['lax', 'matmul']

    Source: selecting a kernel by timing it: Whaley and Dongarra 1998, "Automatically tuned linear algebra software";
    Frigo and Johnson 1998, "FFTW: an adaptive software architecture for the FFT", whose "wisdom" is such a file.
    """
    settings = ConvSettings(stride, padding, dilation, groups)
    spec = settings.spec("tune", x_shape, w_shape, _checked_dtype(dtype))
    names = _candidates(spec, methods)
    _check_seconds(seconds)
    before = _read("tune", Path(file)) if file is not None and Path(file).exists() else None
    with jax.ensure_compile_time_eval():  # also where a function is being traced
        timed = [_timed(direction, spec, names, seconds) for direction in DIRECTIONS]
    measured = replace(_here(), measurements=(Measurement(spec, *timed),))
    if file is None:
        return measured
    if before is not None:
        measured = _read("tune", Path(file)) | measured  # keep what another process has added in the meantime
    _write(Path(file), measured)
    return measured


def tuned(file: str | os.PathLike[str]) -> Tuned:
    """Read the measurements in a file that `tune` wrote, to pass them as `method`.

    Args:
        file: the JSON file.

    Returns:
        The measurements.

    Raises:
        DataNotFoundError: if there is no such file.
        DataError: if it is damaged, or was written on another machine or with another version of jax or cnnjax: which
            method is fastest depends on the machine and the compiler.

    Example:
        >>> import tempfile, pathlib, cnnjax
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "cnnjax-tuned.json"
        ...     measured = cnnjax.tune((1, 8, 8, 1), (3, 3, 1, 2), methods=["lax"], file=file, seconds=0.001)
        ...     cnnjax.tuned(file) == measured
        True

    Source: the file is JSON, as docs/guides/operator.md describes.
    """
    return _read("tuned", Path(file))


def machine() -> str:
    """The device that measures; for a CPU its model, and the number of cores that this process may use."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{names[0] if names else platform.processor() or 'CPU'}, {platform.machine()}, {cores} cores"


# --- measuring


def _checked_dtype(dtype: Any) -> jnp.dtype:
    found = dtype_or_none(dtype)
    if found is None or not jnp.issubdtype(found, jnp.inexact) or jax.dtypes.canonicalize_dtype(found) != found:
        raise type_error(
            "tune",
            "dtype",
            got=describe(dtype),
            expected="a floating or complex dtype that JAX has",
            fix='use "float32", or set jax_enable_x64 for 64-bit types',
        )
    return found


def _candidates(spec: ConvSpec, methods: Any) -> tuple[MethodName, ...]:
    """Return the methods to measure, after checking those that were named."""
    called = lambda name: choose("forward", replace(spec, method=name), default_platform()).method == name  # noqa: E731
    if methods is None:
        return tuple(name for name in BY_NAME if name not in _ONLY_IF_NAMED and called(name))
    known = isinstance(methods, (tuple, list)) and methods and all(name in METHODS for name in methods)
    if not known:
        error = value_error if isinstance(methods, (tuple, list)) else type_error
        raise error(
            "tune",
            "methods",
            got=repr(methods),
            expected=f"a list of some of {', '.join(METHODS)}",
            fix="leave it out to measure all that are plausible",
        )
    for name in methods:
        check_served("tune", spec, name)
        if not called(name):
            raise value_error(
                "tune",
                "methods",
                got=f"{name!r}, which a program for {default_platform()!r} does not call",
                expected="methods that are called",
                fix="leave it out, or measure in a process without the persistent compilation cache",
            )
    return tuple(dict.fromkeys(methods))


def _check_seconds(seconds: Any) -> None:
    if not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        error = value_error if isinstance(seconds, (int, float)) else type_error
        raise error("tune", "seconds", got=describe(seconds), expected="a positive number", fix="use seconds=0.1")


def _timed(direction: Direction, spec: ConvSpec, names: Sequence[MethodName], seconds: float) -> Timed:
    """Measure the candidates in one direction."""
    shapes = {
        "forward": (spec.x_shape, spec.w_shape),
        "input_gradient": (spec.w_shape, spec.y_shape),
        "weight_gradient": (spec.x_shape, spec.y_shape),
    }[direction]
    random = np.random.default_rng(0)
    a, b = (jnp.asarray(random.standard_normal(shape), spec.dtype) for shape in shapes)

    def program(method: MethodName) -> Callable[[], object]:
        with_method = replace(spec, method=method)
        run = jax.jit(lambda a, b: getattr(primitives, direction)(a, b, with_method, spec.dtype))
        return lambda: run(a, b).block_until_ready()

    milliseconds = _milliseconds({name: program(name) for name in names}, seconds)
    order = tuple(sorted(milliseconds.items(), key=lambda item: item[1]))
    fastest, least = order[0]
    auto = choose(direction, spec, default_platform()).method
    keep_auto = auto in milliseconds and least > _WORTH_IT * milliseconds[auto]
    return Timed(auto if keep_auto else fastest, order)


def _milliseconds(programs: Mapping[MethodName, Callable[[], object]], seconds: float) -> dict[MethodName, float]:
    """The median time of each program over alternating blocks of calls."""
    samples: dict[MethodName, list[float]] = {name: _block(program, 0.0) for name, program in programs.items()}
    limit = _HOPELESS * min(times[0] for times in samples.values())
    hopeful: list[MethodName] = [name for name, times in samples.items() if times[0] <= limit]
    for _ in range(_BLOCKS):
        for name in hopeful:
            samples[name] += _block(programs[name], seconds)
    return {name: float(f"{1e3 * statistics.median(times):.4g}") for name, times in samples.items()}


def _block(program: Callable[[], object], seconds: float) -> list[float]:
    """Time calls for `seconds`, at least one of them, after one that compiles or warms up."""
    program()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        program()
        times.append(time.perf_counter() - start)
    return times


# --- the file

_VALID_FOR = ("machine", "platform", "jax", "cnnjax")
"""The fields of a file that must agree with this process."""


def _here() -> Tuned:
    """An empty set of measurements on this machine, with these versions."""
    return Tuned(machine(), jax.default_backend(), jax.__version__, __version__, ())


def _write(file: Path, measured: Tuned) -> None:
    """Write a new file next to the old one, then replace that atomically."""
    content = {
        "about": "Written by cnnjax.tune: the fastest method of each convolution on this machine. Delete it freely.",
        **{key: getattr(measured, key) for key in _VALID_FOR},
        "convolutions": [_to_json(one) for one in measured.measurements],
    }
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1)
            stream.write("\n")
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise


def _to_json(one: Measurement) -> dict[str, Any]:
    geometry = one.spec.geometry
    return {
        "x": one.spec.x_shape,
        "w": one.spec.w_shape,
        "stride": geometry.stride,
        "padding": geometry.pads,
        "dilation": geometry.dilation,
        "groups": one.spec.groups,
        "dtype": str(one.spec.dtype),
        **{
            name: {"method": one.direction(name).method, "ms": dict(one.direction(name).milliseconds)}
            for name in DIRECTIONS
        },
    }


def _from_json(entry: Mapping[str, Any]) -> Measurement:
    """Parse an entry of the file; raises one of several exceptions if it is damaged."""
    padding = tuple(map(tuple, entry["padding"]))
    settings = ConvSettings(entry["stride"], padding, entry["dilation"], entry["groups"])
    spec = settings.spec("tuned", tuple(entry["x"]), tuple(entry["w"]), entry["dtype"])
    timed: list[Timed] = []
    for direction in DIRECTIONS:
        method, times = entry[direction]["method"], entry[direction]["ms"]
        positive = all(isinstance(ms, (int, float)) and 0 < ms < math.inf for ms in times.values())
        if method not in times or not positive or any(BY_NAME[name].refuses(spec) for name in times):
            raise ValueError(direction)
        timed.append(Timed(method, tuple(sorted(times.items(), key=lambda item: item[1]))))
    return Measurement(spec, *timed)


def _read(caller: str, file: Path) -> Tuned:
    """Read the measurements in a file, which must be of this machine and these versions."""
    wanted = "a file that cnnjax.tune wrote on this machine, with these versions of jax and cnnjax"
    again = "move the file away or delete it, and measure again with cnnjax.tune(..., file=...)"

    def unusable(problem: str, kind: type[DataError] = DataError, fix: str = again) -> DataError:
        return kind(error_message(caller, "file", got=f"{str(file)!r}, {problem}", expected=wanted, fix=fix))

    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        written_for = {key: content[key] for key in _VALID_FOR}
    except FileNotFoundError as error:
        raise unusable("which does not exist", DataNotFoundError, "write it with cnnjax.tune(..., file=...)") from error
    except OSError as error:
        raise unusable(f"which cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise unusable(f"which is damaged ({type(error).__name__}: {error})") from error
    here = _here()
    for key, value in written_for.items():
        if value != getattr(here, key):
            raise unusable(f"which was measured with {key} {value!r}, not {getattr(here, key)!r}")
    try:
        return replace(here, measurements=tuple(map(_from_json, content["convolutions"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise unusable(f"which is damaged ({type(error).__name__}: {error})") from error

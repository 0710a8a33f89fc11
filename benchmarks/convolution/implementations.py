"""The convolution of a shape by each library, in its own layout and through its own public functions.

Layouts are converted before timing. Each pass of a JAX library is one jitted program, and the call waits for its
results; PyTorch computes the forward pass in inference mode, the gradients by the operator that its autograd calls, and
the whole step through autograd.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

import cnnjax
from benchmarks.convolution.shapes import Shape
from cnnjax.operator import ConvSpec, MethodName
from cnnjax.operator.methods import BY_NAME
from cnnjax.operator.spec import DIRECTIONS

__all__ = ["LIBRARIES", "PASSES", "STEP", "Implementation", "build", "why_unsupported"]

STEP = "step"
PASSES = (*DIRECTIONS, STEP)
"""What is timed: each direction alone, and the step, which is the forward pass and both gradients in one program."""

LIBRARIES = ("auto", "lax", "flax", "equinox", "torch", "torch-last")
_MOST_TERMS = 128
_CONVOLVE = {1: cnnjax.conv1d, 2: cnnjax.conv2d, 3: cnnjax.conv3d}
_LAST = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}


@dataclass(frozen=True)
class Layout:
    """A library's axis order, as permutations of (N, *size, C) and (*kernel, I, O), and whether it flips the kernel."""

    image: tuple[int, ...]
    weights: tuple[int, ...]
    flip: bool = False

    def native(self, what: str, a: np.ndarray) -> np.ndarray:
        """An array in our layout ("w" or an image) in that of the library."""
        if what == "w" and self.flip:
            a = np.flip(a, tuple(range(a.ndim - 2)))
        return np.ascontiguousarray(np.transpose(a, self.weights if what == "w" else self.image))

    def ours(self, what: str, a: np.ndarray) -> np.ndarray:
        """An array of the library in our layout."""
        a = np.transpose(a, np.argsort(self.weights if what == "w" else self.image))
        return np.flip(a, tuple(range(a.ndim - 2))) if what == "w" and self.flip else a


@dataclass(frozen=True)
class Implementation:
    """A function for each of PASSES that computes it and waits; for JAX also the jitted program and its arguments."""

    calls: Mapping[str, Callable[[], Any]]
    layout: Layout
    programs: Mapping[str, tuple[Any, tuple[Any, ...]]]

    def result(self, direction: str) -> np.ndarray:
        """The result of a direction, in our layout."""
        value = self.calls[direction]()
        value = value.float().cpu().numpy() if hasattr(value, "cpu") else np.asarray(value)
        return self.layout.ours("w" if direction == "weight_gradient" else "image", value)


def why_unsupported(name: str, shape: Shape) -> str | None:
    """Why an implementation does not support a shape, or None if it does."""
    method = cast(MethodName, name)
    if name in BY_NAME and name != "lax":
        if shape.transposed:
            return "conv2d_transpose has no methods"
        terms = math.prod(shape.w[:-1])
        if name == "definition" and terms > _MOST_TERMS:
            return f"its program would hold {terms} products"
        return BY_NAME[method].refuses(
            ConvSpec(shape.geometry, shape.batch, shape.c_in, shape.c_out, shape.groups, method)
        )
    if name == "torch-last" and shape.axes == 1:
        return "PyTorch has no channels-last format for one axis"
    return None


def build(name: str, shape: Shape, dtype: str = "float32") -> Implementation:
    """An implementation for a shape: "auto", a method of cnnjax, "lax", "flax", "equinox", "torch" or "torch-last"."""
    if name in ("torch", "torch-last"):
        return _torch(shape, dtype, last=name == "torch-last")
    if name == "equinox":
        return _of_jax(_equinox(shape), _first(shape, oi=True, flip=shape.transposed), shape, dtype)
    library = {"lax": _lax, "flax": _flax}.get(name)
    return _of_jax(library(shape) if library else _cnnjax(shape, name), _last(shape), shape, dtype)


def _last(shape: Shape) -> Layout:
    return Layout(tuple(range(shape.axes + 2)), tuple(range(shape.axes + 2)))


def _first(shape: Shape, *, oi: bool, flip: bool = False) -> Layout:
    """Channels first. With `oi` the weights are (result channels, source channels, *kernel), otherwise swapped."""
    space = tuple(range(shape.axes))
    of_source, of_result = (shape.axes + 1, shape.axes) if shape.transposed else (shape.axes, shape.axes + 1)
    maps = (of_result, of_source) if oi else (of_source, of_result)
    return Layout((0, shape.axes + 1, *(a + 1 for a in space)), (*maps, *space), flip)


# --- JAX: a function (image, weights) -> image for each library


def _of_jax(convolve: Callable[..., Any], layout: Layout, shape: Shape, dtype: str) -> Implementation:
    arrays = zip(("image", "w", "image"), shape.arrays(seed=0), strict=True)
    x, w, y = (jnp.asarray(layout.native(what, a), dtype) for what, a in arrays)

    def step(x: jax.Array, w: jax.Array, y: jax.Array) -> tuple[jax.Array, ...]:
        result, pull = jax.vjp(convolve, x, w)
        return (result, *pull(y))

    programs: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "forward": (jax.jit(convolve), (x, w)),
        "input_gradient": (jax.jit(lambda w, y: jax.linear_transpose(lambda x: convolve(x, w), x)(y)[0]), (w, y)),
        "weight_gradient": (jax.jit(lambda x, y: jax.linear_transpose(lambda w: convolve(x, w), w)(y)[0]), (x, y)),
        STEP: (jax.jit(step), (x, w, y)),
    }

    def call(program: Any, arguments: tuple[Any, ...]) -> Callable[[], Any]:
        return lambda: program(*arguments).block_until_ready()

    def call_step() -> tuple[jax.Array, ...]:
        arrays = programs[STEP][0](x, w, y)
        for array in arrays:
            array.block_until_ready()
        return arrays

    calls = {direction: call(*programs[direction]) for direction in DIRECTIONS}
    return Implementation({**calls, STEP: call_step}, layout, programs)


def _cnnjax(shape: Shape, method: str) -> Callable[..., Any]:
    settings: dict[str, Any] = {"stride": shape.stride, "padding": shape.padding, "groups": shape.groups}
    if shape.transposed:
        settings["output_padding"] = _output_padding(shape)
        return lambda y, w: cnnjax.conv2d_transpose(y, w, **settings)
    return lambda x, w: _CONVOLVE[shape.axes](x, w, **settings, method=cast(MethodName, method))


def _lax(shape: Shape) -> Callable[..., Any]:
    strides, names = (shape.stride,) * shape.axes, _LAST[shape.axes]
    if shape.transposed:
        return lambda y, w: jax.lax.conv_transpose(
            y, w, strides, _pads_of_transpose(shape), dimension_numbers=names, transpose_kernel=True
        )
    return lambda x, w: jax.lax.conv_general_dilated(
        x, w, strides, shape.geometry.pads, dimension_numbers=names, feature_group_count=shape.groups
    )


def _flax(shape: Shape) -> Callable[..., Any]:
    from flax import nnx

    settings: dict[str, Any] = {"use_bias": False, "strides": (shape.stride,) * shape.axes, "rngs": nnx.Rngs(0)}
    if shape.transposed:
        pads = _pads_of_transpose(shape)
        layer: Any = nnx.ConvTranspose(
            shape.c_out, shape.c_in, shape.kernel, padding=pads, transpose_kernel=True, **settings
        )
    else:
        layer = nnx.Conv(
            shape.c_in,
            shape.c_out,
            shape.kernel,
            padding=shape.geometry.pads,
            feature_group_count=shape.groups,
            **settings,
        )
    graph, params = nnx.split(layer)
    return lambda x, w: nnx.merge(graph, jax.tree.map(lambda _: w, params))(x)


def _equinox(shape: Shape) -> Callable[..., Any]:
    import equinox as eqx

    settings: dict[str, Any] = {"stride": shape.stride, "padding": shape.padding, "groups": shape.groups}
    settings |= {"use_bias": False, "key": jax.random.key(0)}
    if shape.transposed:
        extra = _output_padding(shape)
        layer: Any = eqx.nn.ConvTranspose(
            shape.axes, shape.c_out, shape.c_in, shape.kernel, output_padding=extra, **settings
        )
    else:
        layer = eqx.nn.Conv(shape.axes, shape.c_in, shape.c_out, shape.kernel, **settings)
    return lambda x, w: jax.vmap(eqx.tree_at(lambda layer: layer.weight, layer, w))(x)


def _output_padding(shape: Shape) -> tuple[int, ...]:
    """How much larger the result of a transposed convolution is than the smallest one with as many positions."""
    geometry = shape.geometry
    return tuple(
        n - ((positions - 1) * shape.stride + e - 2 * shape.padding)
        for n, positions, e in zip(geometry.size, geometry.output, geometry.extent, strict=True)
    )


def _pads_of_transpose(shape: Shape) -> tuple[tuple[int, int], ...]:
    """The padding of the dilated image that lax and flax expect."""
    before = [e - 1 - shape.padding for e in shape.geometry.extent]
    return tuple((b, b + extra) for b, extra in zip(before, _output_padding(shape), strict=True))


# --- PyTorch


def _torch(shape: Shape, dtype: str, *, last: bool) -> Implementation:
    import torch

    device = "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"
    layout = _first(shape, oi=not shape.transposed)
    arrays = zip(("image", "w", "image"), shape.arrays(seed=0), strict=True)
    x, w, y = (
        torch.from_numpy(layout.native(what, a)).to(device=device, dtype=getattr(torch, dtype)) for what, a in arrays
    )
    if last:
        order = {2: torch.channels_last, 3: torch.channels_last_3d}[shape.axes]
        x, w, y = (a.to(memory_format=order) for a in (x, w, y))
    each = [shape.axes * [n] for n in (shape.stride, shape.padding, 1)]
    extra = list(_output_padding(shape)) if shape.transposed else [0] * shape.axes
    settings: Any = (*each, shape.transposed, extra, shape.groups)
    x_, w_ = (a.clone(memory_format=torch.preserve_format).requires_grad_() for a in (x, w))

    def waiting(compute: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            result = compute()
            if device == "cuda":
                torch.cuda.synchronize()
            return result

        return call

    def forward() -> Any:
        with torch.inference_mode():
            return torch.convolution(x, w, None, *settings)

    def gradient(which: int) -> Callable[[], Any]:
        backward = torch.ops.aten.convolution_backward.default
        mask = [which == 0, which == 1, False]

        def compute() -> Any:
            with torch.inference_mode():
                return backward(y, x, w, None, *settings, mask)[which]

        return compute

    def step() -> Any:
        result = torch.convolution(x_, w_, None, *settings)
        return result.detach(), *torch.autograd.grad(result, (x_, w_), y)

    computed = {"forward": forward, "input_gradient": gradient(0), "weight_gradient": gradient(1), STEP: step}
    return Implementation({what: waiting(compute) for what, compute in computed.items()}, layout, {})

"""oneDNN's convolution, which jaxlib contains on x86-64 Linux, called through `jax.ffi`.

XLA has a custom call "__onednn$convolution" for its own use. It takes arrays in any layout, given in its configuration,
and runs at the speed of PyTorch, which calls the same library. It is used only if all of this holds (`refuses`):

- jaxlib is a release that the tests of this module have run with, because the configuration is not a stable interface;
- the processor has AVX2, and a small convolution, run once in each process, gives the right numbers;
- the arrays are float32 and not empty, and oneDNN has an implementation made for the processor ("brgemm" or "jit").
  Its fallback, "gemm", nests one parallel loop in another, and XLA's thread pool then hangs or corrupts memory. This
  was observed for depthwise convolutions with a dilation, or with a number of maps that is not a multiple of the vector
  width, and for "__onednn$matmul", which is therefore not used at all. With ONEDNN_VERBOSE=1 in the environment oneDNN
  prints which implementation it uses.
- bfloat16 arrays, on a processor that multiplies them natively (AVX512-BF16), have one group or one map in each. Then
  oneDNN chose the same implementations in all of some 850 drawn convolutions; with several groups of several maps it
  fell back to "gemm" or "ref". float16 is never passed: without AVX512-FP16 its kernels end the process.

The custom call is opaque to XLA's partitioner and not portable, so exported programs and programs for several devices
do not use it (`choice`). Neither do programs that JAX may write to disk, because XLA cannot serialize the call. It is a
`OneDnnOpThunk` of the kind `kCustomCall`, and `thunk_proto_serdes.cc` casts every thunk of that kind, unchecked, to a
`CustomCallThunk`: it takes two pointers for the address and the length of a string, which ends in `std::bad_alloc` if
in nothing worse. No configuration of the call changes that. Nor could XLA load it again, since it would look up the
name among the registered custom calls, where oneDNN's are not.
"""

from __future__ import annotations

import functools
import json
import platform
import re
import sys
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from cnnjax._core.shapes import Geometry
from cnnjax.operator._jax import may_be_stored

__all__ = ["convolve", "multiplies_bfloat16", "refuses"]

# The releases of jaxlib that the tests have run with: from the first up to, but not including, the second.
_TESTED = ((0, 10, 2), (0, 13, 0))


def refuses(geometry: Geometry, shapes: tuple[tuple[int, ...], ...], groups: int, dtype: DTypeLike) -> str | None:
    """Why a convolution with x, w and y of these shapes is not served, or None if it is."""
    if dtype != jnp.float32:
        return "oneDNN is used for float32 alone"
    if not all(size > 0 for shape in shapes for size in shape):
        return "an array is empty"
    x_shape, w_shape, _ = shapes
    if _is_depthwise(x_shape, w_shape, groups) and (
        len(geometry.kernel) > 2 or groups % 16 or set(geometry.dilation) != {1}
    ):
        return "oneDNN's depthwise kernels are for at most two axes, no dilation and a multiple of 16 maps"
    if may_be_stored():
        return None  # it is not called (`choice`), nor tried out: that would compile a program that JAX might write
    return unavailable()


def _is_depthwise(x_shape: tuple[int, ...], w_shape: tuple[int, ...], groups: int) -> bool:
    return groups > 1 and groups == x_shape[-1] == w_shape[-1]


@functools.cache
def unavailable() -> str | None:
    """Why this process cannot use oneDNN, or None if it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "jaxlib carries oneDNN on x86-64 Linux alone"
    release = metadata.version("jaxlib")
    if not _TESTED[0] <= tuple(map(int, re.findall(r"\d+", release)[:3])) < _TESTED[1]:
        return f"jaxlib {release} is not among the releases that this was tested with"
    if not _has("avx2"):
        return "the processor has no AVX2"
    missing = "oneDNN's convolution is missing from this jaxlib, or differs"
    return None if _gives_the_right_numbers(jnp.float32) else missing


@functools.cache
def multiplies_bfloat16() -> bool:
    """Whether this process can use oneDNN for bfloat16 arrays, whose products are summed in float32."""
    return unavailable() is None and _has("avx512_bf16") and _gives_the_right_numbers(jnp.bfloat16)


def _has(flag: str) -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and flag in cpuinfo.read_text().split()


def _gives_the_right_numbers(dtype: DTypeLike) -> bool:
    """Whether a small convolution by the library equals NumPy's, whose sums are exact, to the bit."""
    geometry = Geometry((4, 5), (2, 3), (1, 2), (1, 1), ((1, 0), (0, 1)))
    x = np.arange(40, dtype=np.float32).reshape(1, 4, 5, 2)
    w = np.arange(36, dtype=np.float32).reshape(2, 3, 2, 3)
    padded = np.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (2, 3), axis=(1, 2))[:, :, ::2]
    expected = np.einsum("npqchw,hwco->npqo", patches, w)
    try:
        with jax.ensure_compile_time_eval(), jax.default_device(jax.local_devices(backend="cpu")[0]):
            y = jax.jit(lambda x, w: convolve(x, w, geometry, 1))(x.astype(dtype), w.astype(dtype))
        return np.array_equal(np.asarray(y), expected.astype(dtype))
    except RuntimeError:  # this build has no such custom call, or JAX was started without a CPU backend
        return False


def convolve(x: jax.Array, w: jax.Array, geometry: Geometry, groups: int, *, swapped: bool = False) -> jax.Array:
    """Convolve x (N, *size, C_in) with w (*kernel, C_in / groups, C_out) into (N, *output, C_out).

    With `swapped`, w is (*kernel, C_out, C_in) and is read in place, without a transposed copy; for one group only.
    """
    axes = len(geometry.kernel)
    if axes == 1 and _is_depthwise(x.shape, w.shape, groups):  # its depthwise kernels are for images
        return convolve(x[:, None], w[None], geometry.with_one_row(), groups)[:, 0]
    images = {"batch_dim": 0, "feature_dim": axes + 1, "spatial_dims": list(range(1, axes + 1))}
    inputs, outputs = (axes + 1, axes) if swapped else (axes, axes + 1)
    kernels = {"input_feature_dim": inputs, "output_feature_dim": outputs, "spatial_dims": list(range(axes))}
    config = {
        "dims": axes + 2,
        "input": {"dims": axes + 2, "data": images},
        "kernel": {"dims": axes + 2, "filter": kernels},
        "output": {"dims": axes + 2, "data": images},
        "window": {
            "size": list(geometry.kernel),
            "pad_left": [before for before, _ in geometry.pads],
            "pad_right": [after for _, after in geometry.pads],
            "strides": list(geometry.stride),
            "window_dilations": list(geometry.dilation),
        },
        "feature_groups": groups,
    }
    result = jax.ShapeDtypeStruct((x.shape[0], *geometry.output, w.shape[outputs]), x.dtype)
    call = jax.ffi.ffi_call(
        "__onednn$convolution",
        result,
        custom_call_api_version=2,
        legacy_backend_config=json.dumps({"onednn_conv_config": config}),
    )
    return call(x, w)

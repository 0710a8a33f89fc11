"""oneDNN's convolution: where it is used and where not, and that concurrent convolutions neither hang nor differ."""

import functools
import math
import os
import re
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import integers, normal

import cnnjax
from cnnjax._core.shapes import conv_geometry
from cnnjax.operator import _onednn, primitives
from cnnjax.operator.methods import BY_NAME, onednn
from cnnjax.operator.methods.onednn import sums_over_images
from cnnjax.operator.spec import ConvSpec

METHOD = BY_NAME["onednn"]


@pytest.fixture(autouse=True)
def not_stored(monkeypatch):
    """Whatever other tests of this process have imported, its programs are not written to disk."""
    monkeypatch.delitem(sys.modules, "jax.experimental.serialize_executable", raising=False)


here = pytest.mark.skipif(_onednn.unavailable() is not None, reason=str(_onednn.unavailable()))
GEOMETRY = conv_geometry("test", (9, 9), (3, 3))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ConvSpec(GEOMETRY, 2, 8, 8, dtype=np.dtype("float64")), "float32 alone"),
        (ConvSpec(GEOMETRY, 0, 8, 8), "empty"),
        (ConvSpec(GEOMETRY, 2, 24, 24, groups=24), "multiple of 16 maps"),
        (ConvSpec(conv_geometry("test", (9, 9, 9), (3, 3, 3)), 2, 16, 16, groups=16), "two axes"),
        (ConvSpec(conv_geometry("test", (9, 9), (3, 3), dilation=(1, 2)), 2, 16, 16, groups=16), "no dilation"),
        (ConvSpec(conv_geometry("test", (9, 9), (3, 3), padding=3), 2, 8, 8), "as wide as the kernel"),
    ],
)
def test_what_it_does_not_serve_it_refuses(spec, words):
    assert words in METHOD.refuses(spec)


@pytest.mark.parametrize(
    ("patched", "value", "words"),
    [
        ("sys.platform", "darwin", "x86-64 Linux alone"),
        ("platform.machine", lambda: "aarch64", "x86-64 Linux alone"),
        ("metadata.version", lambda _: "0.99.0", "not among the releases"),
        ("_gives_the_right_numbers", lambda dtype: False, "missing from this jaxlib, or differs"),
    ],
)
@here
def test_a_machine_without_it_is_told_apart(monkeypatch, patched, value, words):
    monkeypatch.setattr(f"cnnjax.operator._onednn.{patched}", value)
    assert words in _onednn.unavailable.__wrapped__()


def programs(**settings):
    x, w = jnp.ones((32, 9, 9, 8), jnp.float32), jnp.ones((3, 3, 8, 8), jnp.float32)
    step = jax.jit(jax.grad(lambda x, w: jnp.sum(jnp.tanh(cnnjax.conv2d(x, w, **settings))), (0, 1)))
    return step, (x, w)


@here
def test_one_device_has_it_and_an_exported_program_has_not():
    spec = ConvSpec(GEOMETRY, 32, 8, 8)
    x, w, y = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (spec.x_shape, spec.w_shape, spec.y_shape))
    directions = {
        primitives.forward: (x, w, True),
        primitives.input_gradient: (w, y, True),
        primitives.weight_gradient: (x, y, False),
    }
    for direction, (a, b, has_it) in directions.items():
        program = jax.jit(functools.partial(direction, spec=spec, dtype=jnp.float32)).lower(a, b).as_text()
        assert ("__onednn$convolution" in program) is has_it
    for settings in ({}, {"method": "onednn"}):
        step, arrays = programs(**settings)
        assert "__onednn" not in jax.export.export(step, platforms=("cpu",))(*arrays).mlir_module()


@here
@pytest.mark.parametrize("settings", [{}, {"method": "onednn"}])
def test_a_program_that_may_be_stored_has_it_not(settings, monkeypatch):
    monkeypatch.setattr("cnnjax.operator._jax.may_be_stored", lambda: True)
    step, arrays = programs(**settings)
    assert "__onednn" not in step.lower(*arrays).as_text()


def test_where_programs_may_be_stored_it_is_not_tried_out(monkeypatch):
    monkeypatch.setattr(_onednn, "may_be_stored", lambda: True)
    monkeypatch.setattr(_onednn, "unavailable", lambda: pytest.fail("this compiles a program"))
    assert METHOD.refuses(ConvSpec(GEOMETRY, 2, 8, 8)) is None


SPECS = {
    "ordinary": ConvSpec(conv_geometry("test", (20, 20), (3, 3), padding=1), 4, 32, 24),
    "grouped": ConvSpec(conv_geometry("test", (20, 20), (3, 3), padding=1), 4, 32, 32, groups=4),
    "depthwise": ConvSpec(conv_geometry("test", (20, 20), (3, 3), padding=1), 4, 32, 32, groups=32),
    "depthwise sequence": ConvSpec(conv_geometry("test", (60,), (5,), padding=2), 4, 32, 32, groups=32),
    "strided": ConvSpec(conv_geometry("test", (20, 20), (3, 3), stride=2), 4, 16, 32),
}


@functools.cache
def directions(dtype, names=tuple(SPECS)):
    """What the library computes of these convolutions, in one program, and its arguments."""
    specs = [SPECS[name] for name in names]
    arrays = [[jnp.asarray(normal(s, str(s), dtype)) for s in (c.x_shape, c.w_shape, c.y_shape)] for c in specs]

    @jax.jit
    def all_of_them(arrays):
        return [
            (
                primitives.forward(x, w, spec, dtype),
                primitives.input_gradient(w, y, spec, dtype),
                primitives.weight_gradient(x, y, spec, dtype) if sums_over_images(spec) else None,
            )
            for (x, w, y), spec in zip(arrays, specs, strict=True)
        ]

    return all_of_them, arrays


@here
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_calls_side_by_side_give_the_same_bits_a_hundred_times(dtype):
    all_of_them, arrays = directions(dtype)
    first = jax.tree.map(np.asarray, all_of_them(arrays))
    for _ in range(100):
        jax.tree.map(np.testing.assert_array_equal, all_of_them(arrays), first)


OPERANDS = r"__onednn\$convolution.*: \(tensor<[\dx]+x(\w+)>"
in_bfloat16 = pytest.mark.skipif(not _onednn.multiplies_bfloat16(), reason="the processor does not multiply bfloat16")


@in_bfloat16
def test_bfloat16_is_passed_as_it_is_and_rounded_once():
    for name in SPECS:
        step, arrays = directions("bfloat16", (name,))
        passed = set(re.findall(OPERANDS, step.lower(arrays).as_text()))
        of_weights = {"f32"} if sums_over_images(SPECS[name]) else set()
        assert passed == {"f32" if name == "grouped" else "bf16"} | of_weights
    all_of_them, arrays = directions("bfloat16")
    exact = directions("float64")[0]([[a.astype("float64") for a in of] for of in arrays])
    for a, b in zip(jax.tree.leaves(all_of_them(arrays)), jax.tree.leaves(exact), strict=True):
        assert a.dtype == jnp.bfloat16
        # Half a unit in the last place, and the error of a sum in float32.
        np.testing.assert_allclose(a.astype("float64"), b, rtol=2**-8, atol=1e-4)


@in_bfloat16
def test_a_processor_without_bfloat16_computes_in_float32(monkeypatch):
    monkeypatch.setattr(_onednn, "multiplies_bfloat16", lambda: False)
    spec = ConvSpec(GEOMETRY, 2, 16, 16, method="onednn", dtype=np.dtype(jnp.bfloat16))
    forward = jax.jit(functools.partial(primitives.forward, spec=spec, dtype=jnp.bfloat16))
    x, w = (jnp.ones(shape, jnp.bfloat16) for shape in (spec.x_shape, spec.w_shape))
    assert re.findall(OPERANDS, forward.lower(x, w).as_text()) == ["f32"]


@here
def test_within_a_loop_it_is_the_same_as_outside():
    spec = ConvSpec(conv_geometry("test", (12, 12), (3, 3), padding=1), 2, 16, 16)
    x, w = (jnp.asarray(normal(s, str(s), "float32")) for s in (spec.x_shape, spec.w_shape))
    forward = functools.partial(primitives.forward, spec=spec, dtype=jnp.float32)
    looped = jax.jit(lambda x, w: jax.lax.fori_loop(0, 3, lambda _, x: jnp.tanh(forward(x, w)), x))(x, w)
    step = jax.jit(lambda x, w: jnp.tanh(forward(x, w)))
    np.testing.assert_allclose(looped, step(step(step(x, w), w), w), rtol=1e-6, atol=1e-6)


@here
@pytest.mark.parametrize("name", ["depthwise", "depthwise sequence"])
def test_the_weight_gradient_of_a_large_batch_is_summed_in_parts(name, monkeypatch):
    spec = SPECS[name]
    positions = math.prod(spec.geometry.output)
    monkeypatch.setattr(onednn, "_MOST_POSITIONS", 3 * positions)  # two of the four images: equal parts
    monkeypatch.setattr(onednn, "_LEAST_POSITIONS", 2 * positions)
    x, y = (jnp.asarray(integers(s, str(s)), "float32") for s in (spec.x_shape, spec.y_shape))
    program = jax.jit(lambda x, y: METHOD.weight_gradient(x, y, spec))
    assert "while" in program.lower(x, y).as_text()
    np.testing.assert_array_equal(program(x, y), BY_NAME["definition"].weight_gradient(x, y, spec))
    monkeypatch.setattr(onednn, "_LEAST_POSITIONS", 3 * positions)
    assert not sums_over_images(spec)


def test_a_kernel_of_cotangents_is_longer_than_the_padding_and_of_one_map_to_one():
    padded = conv_geometry("test", (2, 9), (3, 3), padding=((2, 1), (1, 1)))
    assert sums_over_images(ConvSpec(padded, 2, 32, 32, groups=32))
    assert not sums_over_images(ConvSpec(replace(padded, pads=((3, 1), (1, 1)), size=(1, 9)), 2, 32, 32, groups=32))
    assert not sums_over_images(ConvSpec(padded, 2, 32, 64, groups=32))
    assert not sums_over_images(ConvSpec(padded, 2, 32, 32))


PICKED = """
import itertools, jax, jax.numpy as jnp, numpy as np
from dataclasses import replace
from cnnjax._core.shapes import Geometry
from cnnjax.operator.spec import ConvSpec
from cnnjax.operator.methods import BY_NAME
from cnnjax.operator.methods.onednn import sums_over_images
random, method, served, summed = np.random.default_rng(0), BY_NAME["onednn"], 0, 0
for kind, axes in itertools.product(("full", "depthwise", "multiplied", "grouped", "plain"), (1, 2, 2, 2, 3)):
    size = tuple(random.integers(4, 12, axes).tolist())
    kernel = tuple(min(k, s) for k, s in zip(random.integers(1, 6, axes).tolist(), size))
    stride = tuple(random.integers(1, 2 if kind == "plain" else 4, axes).tolist())
    dilation = tuple(random.choice((1, 1, 1 if kind == "plain" else 2), axes).tolist())
    pads = tuple((min(a, k - 1), min(b, k - 1)) for k in kernel for a, b in [random.integers(0, 4, 2).tolist()])
    groups = {"full": 1, "grouped": 3}.get(kind, 16)
    c_in = groups if groups == 16 else groups * int(random.integers(1, 12))
    c_out = groups * (1 if kind in ("depthwise", "plain") else int(random.integers(2, 12)))
    geometry = Geometry(size, kernel, stride, dilation, pads)
    spec = ConvSpec(geometry, 2, c_in, c_out, groups)
    if min(p - e for p, e in zip(geometry.padded, geometry.extent)) < 0 or method.refuses(spec):
        continue
    served += 1
    arrays = [jnp.asarray(random.normal(size=s), jnp.float32) for s in (spec.x_shape, spec.w_shape, spec.y_shape)]
    both = jax.jit(lambda x, w, y: (method.forward(x, w, spec), method.input_gradient(w, y, spec)))
    jax.block_until_ready(both(*arrays))
    if method.native("forward", replace(spec, dtype=np.dtype(jnp.bfloat16))):
        jax.block_until_ready(both(*(a.astype(jnp.bfloat16) for a in arrays)))
    if sums_over_images(spec):
        summed += 1
        jax.block_until_ready(jax.jit(lambda x, y: method.weight_gradient(x, y, spec))(arrays[0], arrays[2]))
print("served", served, "and summed", summed)
"""


@here
def test_the_library_never_falls_back_to_what_hangs():
    """For random convolutions only specialized kernels are picked: "brg...", "jit...", never "gemm:..." or "ref"."""
    environment = {**os.environ, "ONEDNN_VERBOSE": "1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", PICKED], env=environment, capture_output=True, text=True, check=False)
    assert re.search(r"served \d+ and summed [3-9]", done.stdout), done.stderr[-2000:]
    picked = re.findall(r"exec,cpu,convolution,([^,]+),", done.stdout)
    assert len(picked) > 20
    assert all(re.match(r"brg|brdgmm_dw|jit_dw|jit_bf16|jit:", name) for name in picked), set(picked)

"""With drop_in, programs are compiled to other code that computes the same, and without it to JAX's own again."""

import itertools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import cnnjax
from cnnjax import drop_in
from cnnjax.drop_in.lowering import install
from cnnjax.drop_in.recognition import recognise
from cnnjax.errors import JaxVersionError
from cnnjax.operator._jax import cpu_lowering


@pytest.mark.parametrize(("stride", "groups"), list(itertools.product([1, 2], [1, 2, 4])))
def test_second_derivatives_and_vmap(stride, groups):
    rng = np.random.default_rng(0)
    x, w = (jnp.asarray(rng.standard_normal(shape)) for shape in ((3, 2, 7, 6, 4), (3, 3, 3, 4 // groups, 4)))

    def loss(x, w):
        layout = "NHWC", "HWIO", "NHWC"
        y = lax.conv_general_dilated(
            x, w, (stride, stride), "SAME", dimension_numbers=layout, feature_group_count=groups
        )
        return jnp.sum(jnp.sin(y))

    def second(x, w):
        first = lambda x, w: sum(jnp.sum(g**2) for g in jax.grad(loss, (0, 1))(x, w))  # noqa: E731
        return jax.vmap(jax.grad(first, (0, 1)))(x, w)

    expected = jax.jit(second)(x, w)
    with drop_in.enabled():
        found = jax.jit(second)(x, w)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max())


def depthwise(x, w):
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=x.shape[-1]
    )


# --- Every way in which a program is compiled: in one process with several devices, because their number is fixed.

PROGRAMS = """
import jax, jax.numpy as jnp, numpy as np
from jax import export, lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from cnnjax import drop_in

x = jnp.asarray(np.random.default_rng(0).standard_normal((8, 12, 12, 8)), "float32")
w = jnp.asarray(np.random.default_rng(1).standard_normal((3, 3, 1, 16)), "float32")

def loss(x, w):
    layout = "NHWC", "HWIO", "NHWC"
    y = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout, feature_group_count=8)
    return jnp.sum(jnp.sin(lax.reduce_window(y, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")))

step = jax.value_and_grad(loss, (0, 1))
meshes = {kind: jax.make_mesh((4,), ("d",), axis_types=(kind,)) for kind in (AxisType.Auto, AxisType.Explicit)}

def on_mesh(kind, axes):
    with jax.set_mesh(meshes[kind]):
        on = lambda a, axes: jax.device_put(a, NamedSharding(meshes[kind], axes))
        return jax.jit(step)(on(x, axes), on(w, P()))

def on_each_device(x, w):
    value, (of_x, of_w) = step(x, lax.pcast(w, ("d",), to="varying"))
    return lax.psum(value, "d"), (of_x, lax.psum(of_w, "d"))

def in_scan(x, w):
    def body(total, image):
        value, (of_x, of_w) = step(image[None], w)
        return total + of_w, (value, of_x[0])
    of_w, (values, of_x) = lax.scan(body, jnp.zeros_like(w), x)
    return values.sum(), (of_x, of_w)

def unjitted():
    with jax.disable_jit():
        return step(x, w)

split = P("d"), P()
auto = meshes[AxisType.Auto]
mapped = jax.shard_map(on_each_device, mesh=auto, in_specs=split, out_specs=(P(), split))
batch = jax.ShapeDtypeStruct((*export.symbolic_shape("n"), *x.shape[1:]), x.dtype)
one_of_two = lambda x, w: lax.cond(x[0, 0, 0, 0] > 9, lambda: step(2 * x, w), lambda: step(x, w))
ways = {
    "batch on a mesh": lambda: on_mesh(AxisType.Auto, P("d")),
    "rows on a mesh": lambda: on_mesh(AxisType.Auto, P(None, "d")),
    "maps on a mesh": lambda: on_mesh(AxisType.Auto, P(None, None, None, "d")),
    "batch on an explicit mesh": lambda: on_mesh(AxisType.Explicit, P("d")),
    "shard_map": lambda: jax.jit(mapped)(x, w),
    "remat": lambda: jax.jit(jax.value_and_grad(jax.checkpoint(loss), (0, 1)))(x, w),
    "scan": lambda: jax.jit(in_scan)(x, w),
    "cond": lambda: jax.jit(one_of_two)(x, w),
    "eager": lambda: step(x, w),
    "disable_jit": unjitted,
    "export": lambda: export.export(jax.jit(step))(x, w).call(x, w),
    "symbolic batch": lambda: export.export(jax.jit(step))(batch, w).call(x, w),
}
expected = jax.tree.leaves(step(x, w))
for name, way in ways.items():
    with drop_in.enabled():
        found = jax.tree.leaves(way())
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), b, rtol=2e-4, atol=2e-4, err_msg=name)
rows = [row.call for row in drop_in.report().rows]
print(sorted({(call.platform, call.operation) for call in rows if call.taken_over}))
print(sorted({call.reason for call in rows if "n," in call.result}))
"""


def test_every_way_in_which_a_program_is_compiled():
    devices = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", PROGRAMS], env=devices, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    taken, left = done.stdout.splitlines()
    pools = ["max_pool", "max_pool_gradient"]  # taken over on one device alone
    on_meshes = [("any cpu", direction) for direction in ("forward", "weight_gradient")]
    assert taken == str(on_meshes + [("cpu", operation) for operation in ("forward", *pools, "weight_gradient")])
    assert left == str(["a size is symbolic", "the program is exported, or partitioned over several devices"])


X, W = jnp.ones((1, 6, 6, 32), "float32"), jnp.ones((3, 3, 1, 32), "float32")


def calls_jax(text):
    """Whether a program contains the grouped convolution as JAX writes it."""
    return "feature_group_count = 32" in text


def test_it_is_on_from_enable_to_disable_and_within_enabled():
    compiled = jax.jit(depthwise)
    assert calls_jax(compiled.lower(X, W).as_text())
    drop_in.enable()
    try:
        assert drop_in.is_enabled()
        assert not calls_jax(compiled.lower(X, W).as_text())
    finally:
        drop_in.disable()
    assert not drop_in.is_enabled()
    assert calls_jax(compiled.lower(X, W).as_text())
    with drop_in.enabled():
        assert not calls_jax(compiled.lower(X, W).as_text())
    assert calls_jax(compiled.lower(X, W).as_text())


def test_conv_general_dilated_is_taken_over_alone():
    ours = lambda x, w: drop_in.conv_general_dilated(  # noqa: E731
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=32
    )
    np.testing.assert_allclose(ours(X, W), depthwise(X, W), rtol=1e-6)


def test_a_program_for_another_platform_is_the_same():
    for_tpu = lambda: jax.jit(depthwise).trace(X, W).lower(lowering_platforms=("tpu",)).as_text()  # noqa: E731
    expected = for_tpu()
    assert calls_jax(expected)
    with drop_in.enabled():
        assert for_tpu() == expected


def test_jax_keeps_its_lowering_rules_where_they_are_looked_up():
    from jax.extend.core.primitives import conv_general_dilated_p, reduce_window_max_p

    assert callable(cpu_lowering(conv_general_dilated_p))
    assert callable(cpu_lowering(reduce_window_max_p))


def test_a_call_that_is_taken_over_is_recognised():
    (equation,) = jax.make_jaxpr(depthwise)(X, W).eqns
    call = recognise(*(v.aval for v in equation.invars), equation.outvars[0].aval, **equation.params)
    assert call.direction == "forward"


def test_it_is_an_attribute_of_the_package():
    assert cnnjax.drop_in is drop_in


def test_a_release_of_jax_with_its_rules_elsewhere_is_named(monkeypatch):
    from jax.extend.core.primitives import conv_general_dilated_p
    from jax.interpreters import mlir

    # Not `install.cache_clear()`: the rules would then be installed a second time, in front of themselves.
    monkeypatch.setattr(drop_in, "install", install.__wrapped__)
    own = mlir._platform_specific_lowerings["cpu"]
    monkeypatch.delattr(mlir, "_lowerings")
    rule = own[conv_general_dilated_p]
    with pytest.raises(JaxVersionError, match=r"does not keep its lowering rule of .* nothing was changed"):
        drop_in.enable()
    assert not drop_in.is_enabled()
    assert own[conv_general_dilated_p] is rule

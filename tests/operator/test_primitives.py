"""The three primitives: closed under differentiation and vmap, compiled for every platform, right on a mesh."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

import cnnjax
from cnnjax._core.shapes import conv_geometry
from cnnjax.operator import primitives
from cnnjax.operator.spec import ConvSpec

SETTINGS = {"stride": 2, "padding": ((1, 0), (1, 2)), "dilation": (1, 2), "groups": 2}
RANDOM = np.random.default_rng(0)
X, W = RANDOM.normal(size=(2, 6, 7, 4)), RANDOM.normal(size=(3, 2, 2, 6))


def ours(x, w):
    return cnnjax.conv2d(x, w, **SETTINGS)


def of_jax(x, w):
    names = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, w, (2, 2), ((1, 0), (1, 2)), rhs_dilation=(1, 2), feature_group_count=2, dimension_numbers=names
    )


def curved(convolve):
    return lambda x, w: jnp.sum(jnp.tanh(convolve(x, w)) ** 2)


def along(f, v):
    return lambda x, w: jax.jvp(f, (x, w), v)[1]


DIRECTION = (RANDOM.normal(size=X.shape), RANDOM.normal(size=W.shape))
DERIVATIVES = {
    "value": lambda f: f,
    "gradient": lambda f: jax.grad(curved(f), (0, 1)),
    "tangent": lambda f: along(f, DIRECTION),
    "forward over reverse": lambda f: along(jax.grad(curved(f), (0, 1)), DIRECTION),
    "reverse over reverse": lambda f: jax.grad(
        lambda x, w: sum(jnp.sum(g**2) for g in jax.grad(curved(f), (0, 1))(x, w)), (0, 1)
    ),
    "third order": lambda f: jax.grad(
        lambda x, w: sum(jnp.vdot(a, v) for a, v in zip(
            along(jax.grad(curved(f), (0, 1)), DIRECTION)(x, w), DIRECTION, strict=True)), (0, 1)
    ),
}  # fmt: skip


def assert_equal_trees(a, b, tolerance=1e-11):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance * np.abs(right).max())


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_are_those_of_jax_own_convolution(name):
    derivative = DERIVATIVES[name]
    assert_equal_trees(jax.jit(derivative(ours))(X, W), jax.jit(derivative(of_jax))(X, W))


@pytest.mark.parametrize("name", ["value", "gradient", "forward over reverse"])
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (3, 1)])
def test_vmap_over_either_or_both_operands(name, axes):
    x, w = (
        a if axis is None else RANDOM.normal(size=(*a.shape[:axis], 3, *a.shape[axis:]))
        for a, axis in zip((X, W), axes, strict=True)
    )
    derivative = DERIVATIVES[name]
    assert_equal_trees(*(jax.jit(jax.vmap(derivative(f), in_axes=axes))(x, w) for f in (ours, of_jax)))


def test_nested_vmap():
    x, w = RANDOM.normal(size=(3, *X.shape)), RANDOM.normal(size=(2, *W.shape))
    results = [
        jax.jit(jax.vmap(jax.vmap(jax.grad(curved(f), (0, 1)), in_axes=(0, None)), in_axes=(None, 0)))(x, w)
        for f in (ours, of_jax)
    ]
    assert_equal_trees(*results)


def test_remat_and_scan_and_eager_agree():
    plain = jax.grad(curved(ours))(X, W)
    remat = jax.jit(jax.grad(jax.checkpoint(curved(ours))))(X, W)
    _, scanned = lax.scan(lambda carry, x: (carry, jax.grad(curved(ours))(x, W)), 0, X[None])
    assert_equal_trees(plain, remat)
    assert_equal_trees(plain, scanned[0])


def test_a_cotangent_of_a_wider_dtype_comes_back_in_the_dtype_of_its_argument():
    x, w = jnp.asarray(X, jnp.bfloat16), jnp.asarray(W, jnp.bfloat16)
    loss = lambda x, w: jnp.sum(cnnjax.conv2d(x, w, preferred_element_type=jnp.float32, **SETTINGS) ** 2)  # noqa: E731
    assert [g.dtype for g in jax.grad(loss, (0, 1))(x, w)] == [jnp.bfloat16, jnp.bfloat16]


@pytest.mark.parametrize("platforms", [("cpu",), ("cuda",), ("tpu",), ("cpu", "cuda", "tpu")])
def test_training_steps_are_exported_for_every_platform_from_this_machine(platforms):
    step = jax.jit(jax.grad(curved(ours), (0, 1)))
    exported = export.export(step, platforms=platforms)(*(jax.ShapeDtypeStruct(a.shape, jnp.float32) for a in (X, W)))
    assert exported.platforms == platforms


# The weight gradient of JAX's own convolution is half of what it should be when one of two mesh axes shards the height
# and the other replicates (jaxlib 0.10.2; lax.conv_general_dilated alone shows it), so rows are sharded on one axis.
MESH = """
import jax, jax.numpy as jnp, numpy as np, cnnjax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
random = np.random.default_rng(0)
x, w = (jnp.asarray(random.normal(size=s), jnp.float32) for s in ((8, 8, 8, 8), (3, 3, 8, 8)))
two = jax.make_mesh((4, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
one = jax.make_mesh((8,), ("a",), axis_types=(AxisType.Auto,))
for method in ("auto", "im2col"):
    convolve = lambda x, w: cnnjax.conv2d(x, w, padding="SAME", method=method)
    step = jax.jit(jax.value_and_grad(lambda x, w: jnp.sum(jnp.tanh(convolve(x, w))), (0, 1)))
    alone = step(x, w)
    for mesh, of_x, of_w in (
        (two, P("a"), P()), (one, P(None, "a"), P()), (two, P("a", None, None, "b"), P(None, None, "b")),
        (two, P("a"), P(None, None, None, "b")),
    ):
        many = step(jax.device_put(x, NamedSharding(mesh, of_x)), jax.device_put(w, NamedSharding(mesh, of_w)))
        for left, right in zip(jax.tree.leaves(alone), jax.tree.leaves(many)):
            np.testing.assert_allclose(left, right, rtol=2e-4, atol=2e-4)
    # The gradient by weights that are the same everywhere is summed over the devices by itself.
    loss = lambda x, w: jax.lax.psum(jnp.sum(jnp.tanh(convolve(x, w))), "a")
    by_hand = jax.shard_map(jax.grad(loss, (0, 1)), mesh=one, in_specs=(P("a"), P()), out_specs=(P("a"), P()))
    for left, right in zip(alone[1], jax.jit(by_hand)(x, w)):
        np.testing.assert_allclose(left, right, rtol=2e-4, atol=2e-4)
print("equal on", len(jax.devices()), "devices")
"""


def test_batch_spatial_and_channel_sharding_give_the_result_of_one_device():
    devices = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", MESH], env=devices, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "equal on 8 devices", done.stderr[-2000:]


GEOMETRY = conv_geometry("test", (6, 7), (3, 2), stride=2, padding=((1, 0), (1, 2)), dilation=(1, 2))
SPEC = ConvSpec(GEOMETRY, 2, 4, 6, 2, dtype=np.dtype("float64"))
OPERANDS = {
    "forward": (primitives.forward, SPEC.x_shape, SPEC.w_shape),
    "input_gradient": (primitives.input_gradient, SPEC.w_shape, SPEC.y_shape),
    "weight_gradient": (primitives.weight_gradient, SPEC.x_shape, SPEC.y_shape),
}


@pytest.mark.parametrize("direction", OPERANDS)
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (2, 1)])
def test_every_direction_under_vmap_is_the_loop(direction, axes):
    primitive, *shapes = OPERANDS[direction]
    a, b = (
        RANDOM.normal(size=shape if axis is None else (*shape[:axis], 3, *shape[axis:]))
        for shape, axis in zip(shapes, axes, strict=True)
    )
    compute = jax.jit(lambda a, b: primitive(a, b, SPEC, jnp.float64))
    together = jax.jit(jax.vmap(compute, in_axes=axes))(a, b)
    for i in range(3):
        one = (v if axis is None else np.take(v, i, axis) for v, axis in zip((a, b), axes, strict=True))
        np.testing.assert_allclose(together[i], compute(*one), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "method",
    [
        name
        for name in cnnjax.METHODS
        if name not in ("depthwise", "grouped", "block_diagonal", "onednn", "space_to_depth")
    ],
)
def test_a_batch_of_weights_is_served_whatever_method_was_requested(method):
    size = (3, 3) if method == "matmul" else (5, 4)
    x, w = RANDOM.normal(size=(2, 1, *size, 2)), RANDOM.normal(size=(2, 3, 3, 2, 2))
    together = jax.jit(jax.vmap(lambda x, w: cnnjax.conv2d(x, w, method=method)))(x, w)
    for i in range(2):
        np.testing.assert_allclose(together[i], cnnjax.conv2d(x[i], w[i]), rtol=1e-9, atol=1e-9)

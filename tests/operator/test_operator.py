"""The operator: its list of methods, and the check of the argument `method`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import operator
from cnnjax._core.shapes import conv_geometry
from cnnjax.errors import ArgumentTypeError, ArgumentValueError


def test_the_definition_and_lax_are_always_among_the_methods():
    assert isinstance(cnnjax.METHODS, tuple)
    assert {"definition", "lax"} <= set(cnnjax.METHODS)
    assert "auto" not in cnnjax.METHODS
    assert len(set(cnnjax.METHODS)) == len(cnnjax.METHODS)


@pytest.mark.parametrize("method", ["auto", *cnnjax.METHODS])
def test_every_name_passes_the_check(method):
    operator.check_method("conv2d", method)


@pytest.mark.parametrize(
    ("method", "error"), [("LAX", ArgumentValueError), (1, ArgumentTypeError), ([], ArgumentTypeError)]
)
def test_every_other_name_does_not(method, error):
    with pytest.raises(error, match=r"conv2d: `method` is .* expected one of \"auto\", \"definition\", \"lax\""):
        operator.check_method("conv2d", method)


@pytest.mark.parametrize("method", ["auto", "lax", "definition", "grouped", "block_diagonal", "sparse"])
def test_the_operator_returns_the_requested_dtype(method):
    x, w = jnp.ones((1, 4, 4, 2), jnp.bfloat16), jnp.ones((3, 3, 1, 4), jnp.bfloat16)
    geometry = conv_geometry("conv2d", (4, 4), (3, 3))
    y = operator.convolve("conv2d", x, w, geometry, 2, method, jnp.dtype("float32"), None)
    assert y.dtype == jnp.float32
    np.testing.assert_array_equal(y, np.full((1, 2, 2, 4), 9.0))


def test_the_same_call_is_the_same_program_every_time():
    x, w = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 4))
    programs = {jax.jit(lambda x, w: cnnjax.conv2d(x, w)).lower(x, w).as_text() for _ in range(3)}
    assert len(programs) == 1


def test_the_definition_uses_no_convolution_of_jax():
    x, w = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 4))
    program = {
        m: jax.jit(lambda x, w, m=m: cnnjax.conv2d(x, w, method=m)).lower(x, w).as_text() for m in ("definition", "lax")
    }
    assert "stablehlo.convolution" not in program["definition"]
    assert "stablehlo.convolution" in program["lax"]


EMPTY = {
    "conv1d": (lambda x, w: cnnjax.conv1d(x, w, padding="CAUSAL", dilation=2), (0, 8, 4), (3, 4, 6)),
    "conv2d, stride": (lambda x, w: cnnjax.conv2d(x, w, stride=2), (0, 8, 8, 4), (3, 3, 4, 6)),
    "conv2d, groups": (lambda x, w: cnnjax.conv2d(x, w, groups=2, padding="EDGE"), (0, 8, 8, 4), (3, 3, 2, 6)),
    "conv3d": (lambda x, w: cnnjax.conv3d(x, w, padding="CIRCULAR"), (0, 5, 5, 5, 2), (3, 3, 3, 2, 3)),
    "depthwise": (cnnjax.depthwise_conv2d, (0, 8, 8, 4), (3, 3, 4, 2)),
    "transposed": (lambda y, w: cnnjax.conv2d_transpose(y, w, stride=2), (0, 8, 8, 6), (3, 3, 4, 6)),
    "local": (cnnjax.local_conv2d, (0, 8, 8, 4), (6, 6, 3, 3, 4, 2)),
    "max pool": (lambda x, w: cnnjax.max_pool2d(x, 3, stride=1) * w, (0, 8, 8, 4), (1, 1, 1, 4)),
}


@pytest.mark.parametrize("name", EMPTY)
def test_no_images_give_zeros_of_the_right_shape(name):
    f, x_shape, w_shape = EMPTY[name]
    x, w = jnp.zeros(x_shape), jnp.ones(w_shape)
    assert f(x, w).shape[0] == 0
    loss = lambda x, w: jnp.sum(f(x, w) ** 2)  # noqa: E731
    by_x, by_w = jax.jit(jax.grad(loss, (0, 1)))(x, w)
    assert by_x.shape == x_shape
    np.testing.assert_array_equal(by_w, np.zeros(w_shape))
    second = jax.grad(lambda w: jnp.sum(jax.grad(loss, 1)(x, w) ** 2))(w)
    np.testing.assert_array_equal(second, np.zeros(w_shape))


@pytest.mark.parametrize("name", EMPTY)
def test_vmap_over_no_examples_gives_none(name):
    f, (_, *x_shape), w_shape = EMPTY[name]
    one = jnp.zeros((0, 2, *x_shape))
    shape = f(jnp.zeros((2, *x_shape)), jnp.ones(w_shape)).shape
    assert jax.vmap(lambda x: f(x, jnp.ones(w_shape)))(one).shape == (0, *shape)
    assert jax.vmap(f)(one, jnp.ones((0, *w_shape))).shape == (0, *shape)
    assert jax.vmap(f, (None, 0))(jnp.zeros((2, *x_shape)), jnp.ones((0, *w_shape))).shape == (0, *shape)

"""A computation kept from fusing gives the same values, whatever the numbers, and is really not fused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax.operator.unfused import unfused


@pytest.mark.parametrize("centre", [0.0, -1.0, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_it_computes_whatever_the_centre_is(centre, dtype):
    x = jnp.arange(9.0).astype(dtype).reshape(3, 3).at[1, 1].set(centre)
    computed = jax.jit(lambda x: unfused(jnp.square, x))(x)
    np.testing.assert_array_equal(computed.astype("float64"), jnp.square(x).astype("float64"))


def test_an_empty_array_has_no_centre():
    assert unfused(jnp.square, jnp.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("x", "w", "groups"), [((2, 8, 8, 1), (3, 3, 1, 4), 1), ((2, 8, 8, 3), (3, 3, 1, 3), 3)], ids=["shift", "depthwise"]
)
def test_a_loop_over_elements_is_a_branch_of_its_own_on_this_cpu_and_no_branch_where_it_is_exported(x, w, groups):
    method = "shift" if groups == 1 else "depthwise"
    step = jax.jit(lambda x, w: jnp.tanh(cnnjax.conv2d(x, w, groups=groups, padding=1, method=method)))
    arrays = jnp.ones(x), jnp.ones(w)
    assert " conditional(" in step.lower(*arrays).compile().as_text()
    assert "stablehlo.case" not in jax.export.export(step)(*arrays).mlir_module()


def test_patches_are_gathered_in_a_branch_of_their_own():
    x, w = jnp.ones((2, 8, 8, 16)), jnp.ones((3, 3, 16, 4))
    gradient = jax.jit(jax.grad(lambda w, x: jnp.sum(cnnjax.conv2d(x, w, padding=1, method="gathered") ** 2)))
    assert " conditional(" in gradient.lower(w, x).compile().as_text()


def test_wide_products_of_patches_are_products_of_plain_matrices():
    x, y = jnp.ones((2, 16, 16, 32)), jnp.ones((2, 16, 16, 32))
    convolve = lambda w: cnnjax.conv2d(x, w, padding=1, method="gathered")  # noqa: E731
    gradient = jax.jit(lambda w, y: jax.vjp(convolve, w)[1](y)[0])
    compiled = gradient.lower(jnp.ones((3, 3, 32, 32)), y).compile().as_text()
    assert "lhs_contracting_dims={1}" in compiled
    assert "lhs_contracting_dims={0}" not in compiled

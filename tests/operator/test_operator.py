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

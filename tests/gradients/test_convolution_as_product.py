"""A convolution as a matrix product gives what XLA's gives, in every layout, and is taken where it is faster."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cnnjax.gradients.convolution_as_product import convolve, is_faster_as_product
from cnnjax.gradients.float64 import evaluate

RNG = np.random.default_rng(0)
ONE = {"window_strides": (1,), "padding": [(0, 0)], "lhs_dilation": (1,), "rhs_dilation": (1,)}
TWO = {"window_strides": (1, 1), "padding": [(1, 1)] * 2, "lhs_dilation": (1, 1), "rhs_dilation": (1, 1)}


@pytest.mark.parametrize(
    ("x", "kernel", "layout", "how"),
    [
        ((2, 9, 3), (4, 3, 5), ("NWC", "WIO", "NWC"), ONE),
        ((2, 6, 7, 3), (3, 2, 3, 4), ("NHWC", "HWIO", "NHWC"), TWO),
        ((2, 3, 6, 7), (4, 3, 3, 2), ("NCHW", "OIHW", "NCHW"), TWO),
        ((3, 6, 7, 2), (2, 3, 4, 3), ("CHWN", "WHOI", "HNWC"), TWO),
        ((2, 6, 7, 3), (5, 6, 3, 4), ("NHWC", "HWIO", "NHWC"), TWO),  # more elements in a kernel than positions
        ((2, 6, 7, 3), (3, 2, 3, 4), ("NHWC", "HWIO", "NHWC"), TWO | {"window_strides": (2, 3)}),
        (
            (2, 6, 7, 3),
            (3, 5, 3, 4),
            ("NHWC", "HWIO", "NHWC"),
            TWO | {"rhs_dilation": (2, 1)},
        ),
        ((2, 4, 3, 3), (3, 2, 3, 4), ("NHWC", "HWIO", "NHWC"), TWO | {"lhs_dilation": (2, 3)}),
        ((2, 6, 7, 3), (3, 2, 3, 4), ("NHWC", "HWIO", "NHWC"), TWO | {"padding": [(-1, 2), (3, -2)]}),
    ],
)
def test_it_is_the_convolution(x, kernel, layout, how):
    x, kernel = RNG.normal(size=x), RNG.normal(size=kernel)
    dimensions = lax.conv_dimension_numbers(x.shape, kernel.shape, layout)
    expected = lax.conv_general_dilated(x, kernel, **how, dimension_numbers=dimensions)
    found = convolve(jnp.asarray(x), jnp.asarray(kernel), how | {"dimension_numbers": dimensions})
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def conv(x, kernel, **how):
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), **how)


@pytest.mark.parametrize(
    ("x", "kernel", "groups", "expected"),
    [
        ((1, 16, 16, 16), (3, 3, 16, 16), 1, True),
        ((1, 4, 4, 16), (3, 3, 16, 16), 1, False),  # few products
        ((1, 64, 64, 16), (3, 3, 16, 4), 1, False),  # few features
        ((1, 64, 64, 16), (3, 3, 1, 16), 16, False),  # groups
        ((1, 64, 64, 1), (64, 64, 1, 8), 1, False),  # a long kernel at many positions
    ],
)
def test_where_it_is_faster(x, kernel, groups, expected):
    x, kernel = jax.ShapeDtypeStruct(x, np.float32), jax.ShapeDtypeStruct(kernel, np.float32)
    jaxpr = jax.make_jaxpr(lambda x, kernel: conv(x, kernel, feature_group_count=groups))(x, kernel)
    (eqn,) = jaxpr.eqns
    assert is_faster_as_product(eqn) is expected
    evaluated = jax.make_jaxpr(lambda *args: evaluate(jaxpr, args))(x, kernel)
    assert ("conv_general_dilated" in str(evaluated)) is not expected

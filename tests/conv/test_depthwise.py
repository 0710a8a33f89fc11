"""Depthwise and separable convolution, as the convolutions with a dense kernel that they equal."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import (
    SPATIAL,
    assert_within,
    each_method,
    integers,
    normal,
    sum_bound,
    wide,
)

import cnnjax
from cnnjax import connections as tables
from cnnjax import reference


@pytest.mark.parametrize("options", SPATIAL, ids=str)
@each_method
def test_depthwise_is_the_table_in_which_each_map_feeds_its_own(options, method):
    x, w, b = integers((2, 5, 6, 3), "x"), integers((3, 2, 3, 2), "w"), integers((6,), "b")
    table = tables.depthwise(3, 2)
    dense = np.zeros((3, 2, 3, 6))
    for c, r in itertools.product(range(3), range(2)):
        dense[:, :, c, 2 * c + r] = w[:, :, c, r]
    exact = reference.convolve(x, dense, b, **options, connections=table.matrix)
    depthwise = jax.jit(lambda x, w, b: cnnjax.depthwise_conv2d(x, w, b, **options, method=method))
    np.testing.assert_array_equal(depthwise(x, w, b), exact)
    np.testing.assert_array_equal(depthwise(x, w.reshape(3, 2, 1, 6), b), exact)
    np.testing.assert_array_equal(depthwise(x[1], w, b), exact[1])


@pytest.mark.parametrize("options", SPATIAL, ids=str)
def test_separable_is_the_convolution_with_the_product_of_the_kernels(options):
    x, w1, w2 = integers((2, 5, 6, 2), "x"), integers((3, 2, 2, 3), "w1"), integers((1, 1, 6, 4), "w2")
    b = integers((4,), "b")
    kernel = np.einsum("uvcr,cro->uvco", w1, w2.reshape(2, 3, 4))
    exact = reference.convolve(x, kernel, b, **options)
    np.testing.assert_array_equal(cnnjax.separable_conv2d(x, w1, w2, b, **options), exact)
    np.testing.assert_array_equal(cnnjax.separable_conv2d(x[0], w1.reshape(3, 2, 1, 6), w2, b, **options), exact[0])


@each_method
def test_separable_keeps_the_wider_dtype_between_its_parts(method):
    x, w1, w2 = (normal(shape, "separable", "bfloat16") for shape in ((4, 4, 2), (2, 2, 2, 2), (1, 1, 4, 3)))
    b = normal((3,), "b", "bfloat16")
    y = cnnjax.separable_conv2d(x, w1, w2, b, method=method, preferred_element_type=jnp.float32)
    assert y.dtype == jnp.float32
    kernel = np.einsum("uvcr,cro->uvco", wide(w1), wide(w2).reshape(2, 2, 3))
    exact = reference.convolve(x[None], kernel, b)[0]
    sizes = reference.convolve(
        np.abs(wide(x))[None],
        np.einsum("uvcr,cro->uvco", np.abs(wide(w1)), np.abs(wide(w2)).reshape(2, 2, 3)),
        np.abs(wide(b)),
    )[0]
    assert_within(y, exact, sum_bound(sizes, 4 + 8 + 1, "float32"))
    assert cnnjax.separable_conv2d(x, w1, w2, method=method).dtype == jnp.bfloat16

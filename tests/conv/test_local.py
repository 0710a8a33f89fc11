"""Locally connected convolution: a separate kernel at every position."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import (
    SPATIAL,
    assert_within,
    each_dtype,
    integers,
    normal,
    sum_bound,
    wide,
)

import cnnjax
from cnnjax import reference


@pytest.mark.parametrize(
    "options", [*SPATIAL, {"padding": "REFLECT", "stride": 2}, {"padding": "EDGE", "dilation": 2}], ids=str
)
def test_local_has_a_kernel_for_each_position(options):
    x = integers((2, 5, 6, 2), "x")
    _, output = reference._pixels_read((5, 6), (3, 2), **options)
    w, b = integers((*output, 3, 2, 2, 3), "w"), integers((*output, 3), "b")
    local = jax.jit(lambda x, w, b=None: cnnjax.local_conv2d(x, w, b, **options))
    exact = reference.local_convolve(x, w, b, **options)
    np.testing.assert_array_equal(local(x, w, b), exact)
    np.testing.assert_array_equal(local(x[1], w, b), exact[1])
    shared = np.broadcast_to(w[0, 0], w.shape)
    np.testing.assert_array_equal(local(x, shared, np.zeros_like(b)), cnnjax.conv2d(x, w[0, 0], **options))


@each_dtype
def test_local_is_as_exact_as_its_dtype(dtype):
    x, w = normal((1, 4, 4, 3), "x", dtype), normal((3, 3, 2, 2, 3, 2), "w", dtype)
    exact = reference.local_convolve(x, w)
    sizes = reference.local_convolve(np.abs(wide(x)), np.abs(wide(w)))
    ours = cnnjax.local_conv2d(x, w)
    assert ours.dtype == dtype
    assert_within(ours, exact, sum_bound(sizes, 12, dtype, exact))


def test_the_gradient_of_shared_weights_is_the_sum_of_the_local_ones():
    x, w, y = integers((1, 4, 4, 2), "x"), integers((2, 2, 2, 3), "w"), integers((1, 3, 3, 3), "y")
    local = jnp.broadcast_to(w, (3, 3, *w.shape))
    by_local = jax.vjp(lambda w: cnnjax.local_conv2d(x, w), local)[1](jnp.asarray(y))[0]
    np.testing.assert_array_equal(by_local.sum((0, 1)), reference.weight_gradient(x, w.shape, y))

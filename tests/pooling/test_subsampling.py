"""LeNet-5's sub-sampling: the sum of each window, its gradients, and sums of 16-bit numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import integers

import cnnjax
from cnnjax import reference

SHAPE = (2, 5, 6, 3)


@pytest.mark.parametrize("padding", ["VALID", "CIRCULAR", "REFLECT"])
def test_subsampling_is_the_mean_times_the_area(padding):
    x, w, b = integers((2, 6, 4, 3), "x"), integers((3,), "w"), integers((3,), "b")
    mean = cnnjax.avg_pool2d(x, (2, 4), padding=padding)
    ours = cnnjax.subsample2d(x, w, b, window=(2, 4), padding=padding)
    np.testing.assert_array_equal(ours, w[None, None, None] * 8 * mean + b[None, None, None])
    np.testing.assert_array_equal(cnnjax.subsample2d(x, w, window=(2, 4), padding=padding), ours - b[None, None, None])


def test_the_gradients_of_subsampling_are_sums():
    x, w, b, y = integers(SHAPE, "x"), integers((3,), "w"), integers((3,), "b"), integers((2, 2, 3, 3), "y")
    by_x, by_w, by_b = jax.vjp(cnnjax.subsample2d, x, w, b)[1](y)
    sums = reference.subsample(x, np.ones(3), np.zeros(3), (2, 2), stride=2)
    np.testing.assert_array_equal(by_w, (sums * y).sum((0, 1, 2)))
    np.testing.assert_array_equal(by_b, y.sum((0, 1, 2)))
    np.testing.assert_array_equal(by_x[:, :4], np.repeat(np.repeat(y * w, 2, 1), 2, 2))
    np.testing.assert_array_equal(by_x[:, 4:], np.zeros((2, 1, 6, 3)))


def test_16_bit_sums_are_scaled_before_they_are_rounded():
    half = jnp.full((2, 2, 1), 30000, jnp.float16)  # the sum overflows in float16, its quarter does not
    y = cnnjax.subsample2d(half, jnp.full(1, 0.25, jnp.float16))
    assert y.dtype == jnp.float16
    assert y.item() == 30000
    brain = jnp.array([[256, 1], [0, 0]], jnp.bfloat16)[..., None]
    assert cnnjax.subsample2d(brain, jnp.full(1, 3, jnp.bfloat16)).item() == 772  # 771, rounded to a multiple of 4
    bias = jnp.full(1, -768, jnp.bfloat16)
    assert cnnjax.subsample2d(brain, jnp.full(1, 3, jnp.bfloat16), bias).item() == 3


def test_ceil_mode_adds_the_sums_of_the_windows_at_the_edge():
    x = integers((1, 5, 6, 2), "ceil")
    ours = cnnjax.subsample2d(x, np.ones(2), window=2, ceil_mode=True)
    padded = np.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0)))
    np.testing.assert_array_equal(ours, reference.subsample(padded, np.ones(2), np.zeros(2), (2, 2), stride=2))

"""The input of a network: what it accepts, and how it scales and centres images."""

import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import Input
from cnnjax.errors import ArgumentTypeError, ArgumentValueError


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Input((32, 32)), ArgumentValueError, r"Input: `shape` is \(32, 32\) \(2 entries\)"),
        (lambda: Input((32, 0, 1)), ArgumentValueError, r"`shape` is \(32, 0, 1\)"),
        (lambda: Input((8, 8, 3), background=(0.0, 1.0)), ArgumentValueError, "one for each of the 3 maps"),
        (lambda: Input(32), ArgumentTypeError, r"`shape` is 32; expected a tuple \(H, W, C\)"),
    ],
)
def test_an_input_that_cannot_be_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_images_are_centred_and_their_grey_levels_scaled():
    take = Input((5, 6, 1), background=-0.1, foreground=1.175)
    images = np.full((2, 2, 3), 255, np.uint8)
    images[1] = 51
    prepared = take.prepare(images)
    assert prepared.shape == (2, 5, 6, 1)
    assert prepared.dtype == jnp.float32
    inside = np.zeros((5, 6), bool)
    inside[1:3, 1:4] = True  # the odd row and column go after the image
    np.testing.assert_allclose(prepared[0, ..., 0], np.where(inside, 1.175, -0.1), rtol=1e-6)
    np.testing.assert_allclose(prepared[1, ..., 0], np.where(inside, 0.155, -0.1), rtol=1e-6)
    np.testing.assert_array_equal(take.prepare(images[..., None]), prepared)
    assert take.prepare(images, jnp.float64).dtype == jnp.float64
    np.testing.assert_array_equal(take.prepare(jnp.asarray(images)), prepared)


def test_plain_input_is_between_zero_and_one():
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    np.testing.assert_allclose(Input((16, 16, 1)).prepare(ramp)[0, ..., 0], ramp[0] / 255, rtol=1e-7)


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (np.zeros((2, 5, 5), np.float32), ArgumentTypeError, "float32; expected uint8 grey levels"),
        ([[0, 1]], ArgumentTypeError, "a list of 1 items; expected uint8"),
        (np.zeros((2, 5, 5, 3), np.uint8), ArgumentValueError, r"\(N, h, w\) or \(N, h, w, 1\), at most 6 x 6 pixels"),
        (np.zeros((2, 7, 5), np.uint8), ArgumentValueError, "at most 6 x 6 pixels"),
        (np.zeros((2, 5, 7), np.uint8), ArgumentValueError, "crop or resize"),
        (np.zeros((5, 5), np.uint8), ArgumentValueError, r"\(N, h, w\)"),
    ],
)
def test_images_that_are_no_grey_levels_are_refused(images, error, words):
    with pytest.raises(error, match=words):
        Input((6, 6, 1)).prepare(images)


def test_each_map_may_have_a_range_of_its_own():
    take = Input((2, 2, 2), background=(-1.0, 0.0), foreground=(1.0, 4.0))
    images = np.full((1, 2, 2, 2), [255, 51], np.uint8)
    np.testing.assert_allclose(take.prepare(images)[0, 0, 0], [1.0, 0.8], rtol=1e-6)
    np.testing.assert_allclose(take.prepare(images[:, :1])[0, 1, 0], [-1.0, 0.0], atol=1e-6)

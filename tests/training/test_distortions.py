"""Distortions translate, scale, squeeze and shear as documented, differ from image to image, and stay on the image."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from cnnjax.training.distortions import affine, random_affine, random_shift


def some_images(count=3, height=9, width=12):
    return jax.random.normal(jax.random.key(0), (count, height, width, 2), jnp.float64)


def same(count, value):
    return jnp.full((count,), value, jnp.float64)


def moved(images, down=0.0, right=0.0, tall=1.0, wide=1.0, shear=0.0):
    n = len(images)
    return affine(
        images, translation=(same(n, down), same(n, right)), scale=(same(n, tall), same(n, wide)), shear=same(n, shear)
    )


def test_nothing_changes_nothing():
    images = some_images()
    np.testing.assert_allclose(moved(images), images, atol=1e-12)


def test_whole_pixels_are_a_shift_that_repeats_the_edge():
    images = np.asarray(some_images())
    expected = np.pad(images, ((0, 0), (2, 0), (0, 1), (0, 0)), mode="edge")[:, :9, 1:]
    np.testing.assert_allclose(moved(images, down=2.0, right=-1.0), expected, atol=1e-12)


@pytest.mark.parametrize(
    "amounts",
    [
        {"down": 1.3, "right": -0.6},
        {"tall": 1.2, "wide": 1.2},
        {"tall": 0.8, "wide": 1.1},
        {"shear": 0.3},
        {"down": 0.4, "right": 1.7, "tall": 1.1, "wide": 0.9, "shear": -0.25},
    ],
)
def test_it_is_bilinear_interpolation_as_scipy_has_it(amounts):
    images = some_images()
    options = {"down": 0.0, "right": 0.0, "tall": 1.0, "wide": 1.0, "shear": 0.0} | amounts
    middle = np.array([4.0, 5.5])
    matrix = np.array([[1 / options["tall"], 0], [options["shear"], 1 / options["wide"]]])
    shift = np.array([options["down"] / options["tall"], options["right"] / options["wide"]])
    for image, found in zip(np.asarray(images), np.asarray(moved(images, **amounts)), strict=True):
        for c in range(2):
            offset = middle - matrix @ middle - shift
            expected = scipy.ndimage.affine_transform(image[..., c], matrix, offset, order=1, mode="nearest")
            np.testing.assert_allclose(found[..., c], expected, atol=1e-9)


def test_a_larger_scale_makes_larger_digits():
    square = jnp.zeros((1, 16, 16, 1), jnp.float64).at[:, 6:10, 6:10].set(1.0)

    def ink(**amounts):
        return float(moved(square, **amounts).sum())

    assert ink(tall=1.5, wide=1.5) == pytest.approx(16 * 2.25, rel=0.1)
    assert ink(tall=1.5, wide=1 / 1.5) == pytest.approx(16, rel=0.1)
    assert ink(shear=0.5) == pytest.approx(16, rel=0.01)


def test_every_image_has_amounts_of_its_own_within_the_bounds():
    square = jnp.zeros((200, 32, 32, 1), jnp.float64).at[:, 12:20, 12:20].set(1.0)
    only = {"translation": 0.0, "scaling": 0.0, "squeezing": 0.0, "shear": 0.0}
    draw = partial(random_affine, jax.random.key(3))
    pixels = jnp.arange(32.0)
    places = jnp.einsum("nijc,j->n", draw(square, **(only | {"translation": 2.0})), pixels) / 64 - 15.5
    assert -2 <= places.min() < -1.5 < 1.5 < places.max() <= 2
    areas = draw(square, **(only | {"scaling": 0.2})).sum((1, 2, 3)) / 64
    assert 1.2**-2 * 0.9 < areas.min() < 0.8 < 1.2 < areas.max() < 1.2**2 * 1.1
    squeezed = draw(square, **(only | {"squeezing": 0.2}))
    tall, wide = squeezed.sum(2).max((1, 2)), squeezed.sum(1).max((1, 2))
    assert ((tall > 8.5) == (wide < 8)).mean() > 0.8
    np.testing.assert_allclose(squeezed.sum((1, 2, 3)) / 64, 1, atol=0.1)


def test_the_same_key_gives_the_same_under_jit_and_nothing_is_nan():
    images = some_images(5, 32, 32)
    key = jax.random.key(1)
    found = random_affine(key, images)
    np.testing.assert_allclose(jax.jit(random_affine)(key, images), found, atol=1e-9)
    assert random_affine(key, images.astype(jnp.float32)).dtype == jnp.float32
    assert jnp.isfinite(found).all()
    assert (found.max() <= images.max()) & (found.min() >= images.min())
    assert not jnp.allclose(random_affine(jax.random.key(2), images), found)


@pytest.mark.parametrize("name", ["translation", "scaling", "squeezing", "shear"])
@pytest.mark.parametrize("amount", [-0.1, "much", float("nan")])
def test_an_amount_that_cannot_be_is_named(name, amount):
    with pytest.raises(ValueError, match=rf"`{name}` is .*expected a number of at least 0. Fix: use {name}=0 for none"):
        random_affine(jax.random.key(0), some_images(), **{name: amount})


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (jnp.zeros((3, 28, 28, 1), jnp.uint8), TypeError, "expected a floating"),
        (jnp.zeros((28, 28, 1)), ValueError, "`images` is"),
        ([[1.0]], TypeError, "expected a JAX or NumPy array"),
    ],
)
def test_images_that_do_not_fit_are_named(images, error, words):
    with pytest.raises(error, match=words):
        random_affine(jax.random.key(0), images)


def test_random_shift_moves_each_image_by_whole_pixels_and_repeats_the_edge():
    images = jnp.asarray(np.random.default_rng(0).normal(size=(40, 6, 5, 2)))
    moved = np.asarray(random_shift(jax.random.key(1), images, pixels=2))
    wide = np.pad(np.asarray(images), ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    shifts = set()
    for image, result in zip(wide, moved, strict=True):
        places = [(r, c) for r in range(5) for c in range(5) if np.array_equal(image[r : r + 6, c : c + 5], result)]
        assert len(places) == 1
        shifts.add(places[0])
    assert len(shifts) > 10

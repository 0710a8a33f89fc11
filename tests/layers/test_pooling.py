"""Pooling layers: their settings reach the pooling functions, and invalid settings raise."""

import jax.numpy as jnp
import numpy as np
import pytest
from cases import integers, normal

from cnnjax import reference
from cnnjax.errors import ArgumentValueError
from cnnjax.layers import AdaptiveAvgPool2D, AvgPool2D, MaxPool2D, Subsample2D


@pytest.mark.parametrize(
    ("layer", "pool"),
    [
        (MaxPool2D(2, stride=1, padding="SAME"), reference.max_pool),
        (AvgPool2D(2, stride=1, padding="SAME"), reference.avg_pool),
        (Subsample2D(2, stride=1, padding="SAME"), lambda x, *a, **k: 3 * reference.avg_pool(x, *a, **k)),
    ],
)
def test_a_pooling_layer_hands_every_setting_on(layer, pool):
    x = np.ones((1, 3, 3, 2)) if isinstance(layer, Subsample2D) else integers((1, 3, 3, 2), "x")
    params = {"w": np.full(2, 3.0), "b": np.zeros(2)} if isinstance(layer, Subsample2D) else {}
    y = layer.apply(params, x)
    if isinstance(layer, Subsample2D):
        np.testing.assert_array_equal(y[0, ..., 0], [[12, 12, 6], [12, 12, 6], [6, 6, 3]])
    else:
        np.testing.assert_allclose(y, pool(x, (2, 2), stride=1, padding="SAME"), rtol=4e-16)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: MaxPool2D(2).output_shape((100,)),
            ArgumentValueError,
            "MaxPool2D: `shape`.* put this layer before the dense",
        ),
        (lambda: MaxPool2D(0), ArgumentValueError, "MaxPool2D: `window` is 0"),
        (lambda: AvgPool2D(2, activation="no"), ArgumentValueError, "AvgPool2D: `activation`"),
        (lambda: Subsample2D(9).output_shape((4, 4, 1)), ArgumentValueError, "Subsample2D: `window` is a window of"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_pooling_layer_rounds_its_size_up_and_counts_its_padding_if_asked():
    x = integers((1, 6, 6, 2), "ceil")
    for layer in (MaxPool2D(3, stride=2, ceil_mode=True), AvgPool2D(3, stride=2, ceil_mode=True)):
        assert layer.apply({}, x).shape[1:] == layer.output_shape((6, 6, 2)) == (3, 3, 2)
    subsample = Subsample2D(3, stride=2, ceil_mode=True)
    y = subsample.apply({"w": np.ones(2), "b": np.zeros(2)}, x)
    np.testing.assert_array_equal(y[0, 2, 2], x[0, 4:, 4:].sum((0, 1)))
    corner = AvgPool2D(3, stride=1, padding=1, count_include_pad=True).apply({}, x)[0, 0, 0]
    np.testing.assert_allclose(corner, x[0, :2, :2].sum((0, 1)) / 9, rtol=4e-16)


@pytest.mark.parametrize("size", [1, 2, (3, 5), 6, 7])
@pytest.mark.parametrize("shape", [(6, 6), (5, 7), (1, 2)])
def test_adaptive_pooling_is_that_of_pytorch(shape, size):
    torch = pytest.importorskip("torch")
    layer, x = AdaptiveAvgPool2D(size), normal((2, *shape, 3), "adaptive")
    expected = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(np.moveaxis(x, -1, 1).copy()), size)
    np.testing.assert_allclose(layer.apply({}, jnp.asarray(x)), np.moveaxis(expected.numpy(), 1, -1), rtol=1e-12)
    assert layer.output_shape((*shape, 3)) == layer.apply({}, jnp.asarray(x)).shape[1:]


def test_a_number_that_is_not_finite_stays_in_the_windows_of_adaptive_pooling():
    x = jnp.ones((1, 5, 5, 1)).at[0, 0, 0].set(jnp.nan)
    found = np.isnan(AdaptiveAvgPool2D(2).apply({}, x)[0, ..., 0])
    np.testing.assert_array_equal(found, [[True, False], [False, False]])

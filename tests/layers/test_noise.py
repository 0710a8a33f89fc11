"""Dropout and stochastic depth: how much is dropped, what is left, and that devices share the numbers of a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import ArgumentValueError
from cnnjax.layers import Dropout, StochasticDepth

KEY = jax.random.key(0)
X = jnp.arange(1, 4001, dtype=float).reshape(1000, 2, 2, 1)


@pytest.mark.parametrize(("layer", "draws"), [(Dropout(0.3), 4000), (StochasticDepth(0.3), 1000)])
def test_units_or_images_are_dropped_with_the_given_probability_and_the_rest_is_scaled(layer, draws):
    np.testing.assert_array_equal(layer.apply({}, X), X)
    y, params = layer.apply_training({}, X, KEY, None)
    assert params == {}
    kept = np.asarray(y != 0)
    np.testing.assert_allclose(y, np.where(kept, np.asarray(X) / 0.7, 0), rtol=1e-12)
    if draws == len(X):
        assert np.all(kept == kept[:, :1, :1])
    deviation = (0.3 * 0.7 / draws) ** 0.5
    assert abs(kept.mean() - 0.7) < 4 * deviation
    assert not np.array_equal(layer.apply_training({}, X, jax.random.key(1), None)[0], y)


def test_what_is_dropped_does_not_depend_on_how_the_batch_is_shared():
    layer, halves = Dropout(0.5), X[:10].reshape(2, 5, 2, 2, 1)
    shared = jax.vmap(lambda x: layer.apply_training({}, x, KEY, "data")[0], axis_name="data")(halves)
    np.testing.assert_array_equal(shared.reshape(10, 2, 2, 1), layer.apply_training({}, X[:10], KEY, None)[0])


def test_what_is_dropped_does_not_depend_on_the_dtypes_that_jax_has():
    dropped = []
    for wide in (False, True):
        with jax.enable_x64(wide):
            x = jnp.ones((4, 6, 6, 3), "float32")
            dropped.append(np.asarray(Dropout(0.3).apply_training({}, x, jax.random.key(0), None)[0] == 0))
    np.testing.assert_array_equal(*dropped)


@pytest.mark.parametrize("rate", [1.0, -0.1, "half"])
def test_a_rate_that_is_no_probability_below_one_is_refused(rate):
    with pytest.raises(ArgumentValueError, match=r"`rate` is .* a probability from 0 to below 1"):
        Dropout(rate)

"""A pass does the steps of training.make_step, one after the other, in the given order."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnjax.layers import Conv2D, Dense, Input, Network
from cnnjax.training import TrainState, default_loss, make_step, random_shift
from cnnjax.training.online import make_pass


@pytest.fixture(autouse=True)
def numerics_of_a_user():
    """32 bits; and optax multiplies weak floats with integer step counts, which strict promotion refuses."""
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize(("batch", "augment"), [(1, None), (3, random_shift)])
def test_a_pass_is_its_steps(batch, augment):
    layers = {"c1": Conv2D(2, 5, activation="tanh"), "output": Dense(10)}
    network, optimizer = Network("small", Input((12, 12, 1)), tuple(layers.items())), optax.adam(1e-2)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (7, 12, 12), np.uint8)
    labels = random.integers(0, 10, 7)
    order, key = random.permutation(7)[:6].reshape(-1, batch), jax.random.key(3)
    params = network.init(jax.random.key(0))
    start = TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))

    state, losses, wrong = start, [], 0
    step = make_step(network, default_loss(network), optimizer, augment)
    for rows in order:
        state, loss, errors = step(state, images[rows], labels[rows], key)
        losses.append(float(loss))
        wrong += int(errors)
    found, mean, share = make_pass(network, default_loss(network), optimizer, augment)(
        start, images, labels, order, key
    )

    assert int(found.step) == len(order)
    assert float(mean) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(share) == pytest.approx(wrong / 6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), found.params, state.params)

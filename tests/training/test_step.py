"""One step is plain gradient descent on the augmented batch, and reports values that are not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_runs import leaves, run

import cnnjax
from cnnjax import training
from cnnjax.errors import DivergedError
from cnnjax.layers import Dense, Input, Network

pytestmark = pytest.mark.usefixtures("standard_promotion")


def test_one_step_is_plain_gradient_descent(network, digits):
    images, labels = digits[0][:16], digits[1][:16]
    epoch = run(network, (images, labels), optimizer=optax.sgd(0.1), epochs=1)[0]
    params = network.init(jax.random.split(jax.random.key(5))[0])
    rows = training.sample_order(5, 1, 16)
    x = network.input.prepare(images[rows])

    def loss(params):
        logits = network.apply(params, x)
        return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(16), labels[rows].astype(int)])

    value, gradient = jax.value_and_grad(loss)(params)
    np.testing.assert_allclose(epoch.loss, value, rtol=1e-6)
    expected = jax.tree.map(lambda p, g: p - np.float32(0.1) * g, params, gradient)
    for a, b in zip(leaves(epoch.state.params), leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_augmentation_is_applied_with_a_new_key_each_step(network, digits):
    seen = []

    def record(key, images):
        jax.debug.callback(lambda data: seen.append(tuple(np.ravel(data).tolist())), jax.random.key_data(key))
        return images

    run(network, digits, epochs=2, augment=record)
    jax.effects_barrier()
    assert len(set(seen)) == len(seen) == 8


def test_loss_follows_from_the_last_layer():
    assert training.default_loss(cnnjax.models.lenet5()) is cnnjax.losses.map_loss
    assert training.default_loss(cnnjax.models.lenet_tutorial()) is training.softmax_cross_entropy


def test_lenet5_takes_a_step_that_leaves_unconnected_weights_at_zero():
    network = cnnjax.models.lenet5()
    images, labels = np.random.default_rng(0).integers(0, 255, (8, 28, 28), dtype=np.uint8), np.arange(8)
    (epoch,) = run(network, (images, labels), epochs=1, batch_size=8)
    w = np.asarray(epoch.state.params["c3"]["w"])
    assert np.all(w[:, :, ~cnnjax.connections.LENET5_C3.matrix] == 0)
    assert np.all(w[:, :, cnnjax.connections.LENET5_C3.matrix] != 0)


def test_a_gradient_that_is_not_finite_is_named_though_the_loss_is(digits):
    layers = {"out": Dense(4, activation=lambda x: jnp.sqrt(jnp.maximum(x - x, 0)))}
    with pytest.raises(DivergedError, match=r"the gradient of out\.b became NaN or infinite in step 1, epoch 1"):
        run(Network("flat", Input((12, 12, 1)), layers), digits)

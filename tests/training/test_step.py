"""One step is plain gradient descent on the augmented batch, and reports values that are not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_runs import assert_resumes, leaves, run

import cnnjax
from cnnjax import training
from cnnjax.errors import DivergedError
from cnnjax.layers import BatchNorm, Conv2D, Dense, Dropout, Input, Network
from cnnjax.training.checkpoints import Checkpoints

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


NOISY = Network(
    "noisy",
    Input((12, 12, 1)),
    {"c1": Conv2D(4, 3, bias=False), "n1": BatchNorm(activation="relu"), "drop": Dropout(0.3), "out": Dense(4)},
)


def test_statistics_follow_the_batches_and_no_optimizer_moves_them(digits):
    (epoch,) = run(NOISY, (digits[0][:16], digits[1][:16]), optimizer=optax.adamw(0.01, weight_decay=0.5), epochs=1)
    start = NOISY.init(jax.random.split(jax.random.key(5))[0])
    x = NOISY.input.prepare(digits[0][training.sample_order(5, 1, 16)])
    _, fresh = NOISY.apply_training(start, x, jax.random.key(0))  # the noise comes after the statistics
    for key in ("mean", "var"):
        np.testing.assert_allclose(epoch.state.params["n1"][key], fresh["n1"][key], rtol=1e-5)
    assert np.all(epoch.state.params["n1"]["w"] < 1)


def test_the_noise_of_each_step_is_new_and_a_run_repeats_bit_for_bit(digits):
    still = optax.set_to_zero()
    losses = [epoch.loss for epoch in run(NOISY, (digits[0][:16], digits[1][:16]), optimizer=still, epochs=3)]
    assert len(set(losses)) == 3
    ends = [leaves(run(NOISY, digits, epochs=2)[-1].state) for _ in range(2)]
    assert all(one.tobytes() == other.tobytes() for one, other in zip(*ends, strict=True))


def test_a_network_with_statistics_and_noise_resumes_bit_for_bit(digits, tmp_path):
    whole = run(NOISY, digits, augment=training.random_shift)
    run(NOISY, digits, augment=training.random_shift, epochs=1, checkpoints=Checkpoints(tmp_path, every=3))
    assert_resumes(NOISY, digits, tmp_path, whole, 1)

"""The loop learns, is a function of its arguments, and visits the samples in a new order each epoch."""

import jax
import numpy as np
import optax
import pytest
from toy_runs import leaves, run

from cnnjax import errors, training

pytestmark = pytest.mark.usefixtures("standard_promotion")


def test_training_lowers_the_loss_and_learns_the_toy(network, digits):
    epochs = run(network, digits, epochs=8)
    assert [epoch.number for epoch in epochs] == list(range(1, 9))
    assert epochs[-1].loss < epochs[0].loss / 4
    assert training.error_rate(network, epochs[-1].state.params, *digits, batch_size=10) == 0
    assert epochs[-1].state.step == 8 * 4
    assert all(epoch.images_per_second > 0 and epoch.seconds > 0 for epoch in epochs)


def test_a_run_is_a_function_of_its_seed(network, digits):
    augment = training.random_shift
    first, second, other = (run(network, digits, seed=seed, augment=augment)[-1] for seed in (5, 5, 6))
    for a, b in zip(leaves(first.state.params), leaves(second.state.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.loss == second.loss != other.loss


def test_a_run_starts_from_given_parameters(network, digits, tmp_path):
    given = network.init(jax.random.key(7))
    (epoch,) = run(network, digits, epochs=1, params=given, optimizer=optax.sgd(0.0))
    for ours, expected in zip(leaves(epoch.state.params), leaves(given), strict=True):
        np.testing.assert_array_equal(ours, expected)
    with pytest.raises(ValueError, match=r"fit: `params` .* 'out'"):
        run(network, digits, params={"c1": given["c1"]})


def test_a_run_from_other_parameters_is_not_resumed(network, digits, tmp_path):
    settings = {"epochs": 1, "checkpoints": training.Checkpoints(tmp_path)}
    run(network, digits, params=network.init(jax.random.key(7)), **settings)
    with pytest.raises(errors.ConfigurationError, match="params"):
        run(network, digits, params=network.init(jax.random.key(8)), **settings)


def test_order_is_a_permutation_of_its_own_for_each_seed_and_epoch():
    orders = {(s, e): tuple(training.sample_order(s, e, 50)) for s in range(3) for e in range(3)}
    assert len(set(orders.values())) == 9
    assert all(sorted(order) == list(range(50)) for order in orders.values())


def test_error_rate_counts_every_image_once(network, digits):
    params = network.init(jax.random.key(0))
    classes = np.asarray(network.classify(params, network.input.prepare(digits[0])))
    expected = 100 * np.mean(classes != digits[1])
    assert training.error_rate(network, params, *digits, batch_size=7) == pytest.approx(expected)


@pytest.mark.parametrize(("images", "labels", "batch"), [(5, 5, 8), (5, 4, 2), (5, 5, 0)])
def test_data_that_do_not_fit_are_refused(network, images, labels, batch):
    data = np.zeros((images, 12, 12), np.uint8), np.zeros(labels, np.uint8)
    with pytest.raises(ValueError, match="expected as many labels as images, and at least one batch"):
        run(network, data, batch_size=batch)

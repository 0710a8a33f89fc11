import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import cnnjax
from cnnjax import training
from cnnjax.layers import Conv2D, Dense, Input, MaxPool2D, Network


@pytest.fixture(autouse=True)
def promotion_as_optax_needs_it():
    """optax multiplies weak floats with integer step counts, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def digits():
    """A learnable toy: the class is where the bright square stands."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 64).astype(np.uint8)
    images = random.integers(0, 40, (64, 12, 12)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[6 * row + 1 : 6 * row + 5, 6 * column + 1 : 6 * column + 5] += 200
    return images, labels


@pytest.fixture
def network():
    layers = {"c1": Conv2D(4, 3, activation="relu"), "s1": MaxPool2D(2), "out": Dense(4)}
    return Network("toy", Input((12, 12, 1)), layers)


def leaves(params):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(params)]


def run(network, digits, **changes):
    settings = {"optimizer": optax.adam(0.01), "epochs": 3, "batch_size": 16, "seed": 5, **changes}
    return list(training.fit(network, *digits, **settings))


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


def test_order_is_a_permutation_of_its_own_for_each_seed_and_epoch():
    orders = {(s, e): tuple(training.sample_order(s, e, 50)) for s in range(3) for e in range(3)}
    assert len(set(orders.values())) == 9
    assert all(sorted(order) == list(range(50)) for order in orders.values())


def test_loss_follows_from_the_last_layer():
    assert training.default_loss(cnnjax.models.lenet5()) is cnnjax.losses.map_loss
    assert training.default_loss(cnnjax.models.lenet_tutorial()) is training.softmax_cross_entropy


def test_random_shift_moves_each_image_by_whole_pixels_and_repeats_the_edge():
    images = jnp.asarray(np.random.default_rng(0).normal(size=(40, 6, 5, 2)))
    moved = np.asarray(training.random_shift(jax.random.key(1), images, pixels=2))
    wide = np.pad(np.asarray(images), ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    shifts = set()
    for image, result in zip(wide, moved, strict=True):
        places = [(r, c) for r in range(5) for c in range(5) if np.array_equal(image[r : r + 6, c : c + 5], result)]
        assert len(places) == 1
        shifts.add(places[0])
    assert len(shifts) > 10


def test_error_rate_counts_every_image_once(network, digits):
    params = network.init(jax.random.key(0))
    classes = np.asarray(network.classify(params, network.input.prepare(digits[0])))
    expected = 100 * np.mean(classes != digits[1])
    assert training.error_rate(network, params, *digits, batch_size=7) == pytest.approx(expected)


def test_lenet5_takes_a_step_that_leaves_unconnected_weights_at_zero():
    network = cnnjax.models.lenet5()
    images, labels = np.random.default_rng(0).integers(0, 255, (8, 28, 28), dtype=np.uint8), np.arange(8)
    (epoch,) = run(network, (images, labels), epochs=1, batch_size=8)
    w = np.asarray(epoch.state.params["c3"]["w"])
    assert np.all(w[:, :, ~cnnjax.connections.LENET5_C3.matrix] == 0)
    assert np.all(w[:, :, cnnjax.connections.LENET5_C3.matrix] != 0)


def test_a_diverging_run_stops_and_says_where(network, digits):
    with pytest.raises(training.DivergedError, match=r"epoch 1, batch \d+; try a smaller learning rate"):
        run(network, digits, optimizer=optax.sgd(1e30))


@pytest.mark.parametrize(("images", "labels", "batch"), [(5, 5, 8), (5, 4, 2), (5, 5, 0)])
def test_data_that_do_not_fit_are_refused(network, images, labels, batch):
    data = np.zeros((images, 12, 12), np.uint8), np.zeros(labels, np.uint8)
    with pytest.raises(ValueError, match="expected as many labels as images, and at least one batch"):
        run(network, data, batch_size=batch)


def test_a_terminal_gets_a_progress_bar_and_a_log_none(network, digits, monkeypatch, capsys):
    run(network, digits, epochs=1)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run(network, digits, epochs=1)
    assert "epoch 1/1" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))  # not the real one: no bar, no failure
    run(network, digits, epochs=1)
    assert capsys.readouterr().err == ""

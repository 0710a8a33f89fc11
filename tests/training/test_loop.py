import os
import re
import signal
import subprocess
import sys
import textwrap
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import cnnjax
from cnnjax import training
from cnnjax.errors import CheckpointError, ConfigurationError, DivergedError
from cnnjax.layers import Conv2D, Dense, Input, MaxPool2D, Network
from cnnjax.training.checkpoints import Checkpoints


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
    with pytest.raises(DivergedError, match=r"epoch 1, batch \d+; try a smaller learning rate"):
        run(network, digits, optimizer=optax.sgd(1e30))


def test_the_tensor_that_diverges_is_named_and_the_checkpoint_from_before(network, digits, tmp_path):
    def rate(step):
        return jnp.where(step < 6, 0.1, jnp.inf)

    settings = {"optimizer": optax.sgd(rate), "checkpoints": Checkpoints(tmp_path, every=3)}
    with pytest.raises(DivergedError) as raised:
        run(network, digits, **settings)
    assert "c1.b became NaN or infinite in step 7, epoch 2, batch 2" in str(raised.value)
    assert f"The last good checkpoint is {tmp_path / '6'}." in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4", "6"]


def test_a_gradient_that_is_not_finite_is_named_though_the_loss_is(digits):
    layers = {"out": Dense(4, activation=lambda x: jnp.sqrt(jnp.maximum(x - x, 0)))}
    with pytest.raises(DivergedError, match=r"the gradient of out\.b became NaN or infinite in step 1, epoch 1"):
        run(Network("flat", Input((12, 12, 1)), layers), digits)


# Runs that go on: all are compared with one that was left alone


@pytest.fixture
def alone(network, digits):
    return run(network, digits, augment=training.random_shift)


def assert_goes_on(network, digits, folder, alone, first, **changes):
    epochs = run(network, digits, augment=training.random_shift, checkpoints=Checkpoints(folder, every=3), **changes)
    assert [epoch.number for epoch in epochs] == list(range(first, 4))
    for epoch in epochs:
        expected = alone[epoch.number - 1]
        assert (epoch.loss, epoch.error) == (expected.loss, expected.error)
    ends = jax.tree.leaves(epochs[-1].state), jax.tree.leaves(alone[-1].state)
    assert all(one.tobytes() == other.tobytes() for one, other in zip(*ends, strict=True))


def test_checkpoints_change_nothing_and_a_finished_run_ends_again(network, digits, tmp_path, alone):
    assert_goes_on(network, digits, tmp_path, alone, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["12", "8", "9"]
    assert_goes_on(network, digits, tmp_path, alone, 3)


KILLED = """
import os, signal, sys
import numpy as np, optax
from cnnjax import training
from cnnjax.training.runs import Keeper
from cnnjax.training.checkpoints import Checkpoints
from cnnjax.layers import Conv2D, Dense, Input, MaxPool2D, Network

save = Keeper.save
def save_and_die(keeper, step, *rest):
    save(keeper, step, *rest)
    if step == 6:
        os.kill(os.getpid(), signal.SIGKILL)
Keeper.save = save_and_die

images, labels = np.load(sys.argv[1]).values()
layers = {"c1": Conv2D(4, 3, activation="relu"), "s1": MaxPool2D(2), "out": Dense(4)}
settings = {"optimizer": optax.adam(0.01), "epochs": 3, "batch_size": 16, "seed": 5, "augment": training.random_shift}
list(training.fit(Network("toy", Input((12, 12, 1)), layers), images, labels, **settings,
                  checkpoints=Checkpoints(sys.argv[2], every=3)))
"""


@pytest.mark.usefixtures("float32_world")
@pytest.mark.filterwarnings("ignore:.* was never finished:RuntimeWarning")
def test_a_run_killed_within_an_epoch_while_it_saves_ends_with_the_same_bits(network, digits, tmp_path):
    alone = run(network, digits, augment=training.random_shift)
    np.savez(tmp_path / "digits.npz", images=digits[0], labels=digits[1])
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "digits.npz"), str(tmp_path / "run")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert_goes_on(network, digits, tmp_path / "run", alone, 2 if (tmp_path / "run" / "6").exists() else 1)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_saves_first(network, digits, tmp_path, alone, capsys, number, error):
    handlers = [signal.getsignal(of) for of in (signal.SIGTERM, signal.SIGINT)]
    settings = {"optimizer": optax.adam(0.01), "epochs": 3, "batch_size": 16, "seed": 5}
    settings |= {"augment": training.random_shift, "checkpoints": Checkpoints(tmp_path)}
    epochs = training.fit(network, *digits, **settings)
    next(epochs)
    os.kill(os.getpid(), number)
    with pytest.raises(error) as raised:
        next(epochs)
    assert error is KeyboardInterrupt or raised.value.code == 143
    assert "saved after step 5" in capsys.readouterr().err
    assert (tmp_path / "5").exists()
    assert [signal.getsignal(of) for of in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert_goes_on(network, digits, tmp_path, alone, 2)


def test_a_consumer_that_stops_gets_its_signals_back_and_loses_nothing(network, digits, tmp_path):
    handler = signal.getsignal(signal.SIGTERM)
    epochs = training.fit(
        network, *digits, optimizer=optax.sgd(0.1), epochs=3, batch_size=16, checkpoints=Checkpoints(tmp_path)
    )
    next(epochs)
    assert signal.getsignal(signal.SIGTERM) != handler
    epochs.close()
    assert signal.getsignal(signal.SIGTERM) == handler
    assert [path.name for path in tmp_path.iterdir()] == ["4"]


def test_another_run_is_refused_with_the_differences(network, digits, tmp_path):
    kept = Checkpoints(tmp_path, configuration={"note": "first"})
    run(network, digits, epochs=1, checkpoints=kept)
    other = Network("toy", network.input, {**dict(network.layers), "c1": Conv2D(4, 3, activation="tanh")})
    for changes, words in (
        ({"optimizer": optax.adam(0.02)}, "program of loss, optimizer and augmentation: .* saved, .* now"),
        ({"seed": 6}, "  seed: 5 saved, 6 now"),
        ({"batch_size": 8}, "  batch_size: 16 saved, 8 now"),
        ({"checkpoints": Checkpoints(tmp_path, configuration={"note": "other"})}, "  note: first saved, other now"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            run(network, digits, **{"checkpoints": kept, "epochs": 1, **changes})
    with pytest.raises(ConfigurationError, match=r"network\.c1: .*'relu'.* saved, .*'tanh'.* now"):
        run(other, digits, checkpoints=kept)
    with pytest.raises(ConfigurationError, match=re.escape("  data: ")):
        run(network, (digits[0], digits[1][::-1]), checkpoints=kept)
    assert [epoch.number for epoch in run(network, digits, epochs=2, checkpoints=kept)] == [1, 2]  # longer is no other


def test_a_run_that_cannot_save_does_not_begin(network, digits, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="No checkpoint can be written"):
        run(network, digits, checkpoints=Checkpoints(tmp_path / "file"))


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

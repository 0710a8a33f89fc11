"""A small network and learnable data for the tests of training, and the runs they are compared with."""

import jax
import numpy as np
import optax

from cnnjax import training
from cnnjax.layers import Conv2D, Dense, Input, MaxPool2D, Network
from cnnjax.training.checkpoints import Checkpoints


def make_digits():
    """Images whose class is the position of a bright square."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 64).astype(np.uint8)
    images = random.integers(0, 40, (64, 12, 12)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[6 * row + 1 : 6 * row + 5, 6 * column + 1 : 6 * column + 5] += 200
    return images, labels


def make_network():
    layers = {"c1": Conv2D(4, 3, activation="relu"), "s1": MaxPool2D(2), "out": Dense(4)}
    return Network("toy", Input((12, 12, 1)), layers)


def leaves(params):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(params)]


def run(network, digits, **changes):
    settings = {"optimizer": optax.adam(0.01), "epochs": 3, "batch_size": 16, "seed": 5, **changes}
    return list(training.fit(network, *digits, **settings))


def assert_resumes(network, digits, folder, uninterrupted, first, **changes):
    """Resume a run, which yields the epochs from `first` on, bit-identical to those of an uninterrupted run."""
    epochs = run(network, digits, augment=training.random_shift, checkpoints=Checkpoints(folder, every=3), **changes)
    assert [epoch.number for epoch in epochs] == list(range(first, 4))
    for epoch in epochs:
        expected = uninterrupted[epoch.number - 1]
        assert (epoch.loss, epoch.error) == (expected.loss, expected.error)
    ends = jax.tree.leaves(epochs[-1].state), jax.tree.leaves(uninterrupted[-1].state)
    assert all(one.tobytes() == other.tobytes() for one, other in zip(*ends, strict=True))

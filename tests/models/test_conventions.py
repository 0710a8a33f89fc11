"""The conventions of 1998: grey levels of about zero mean, and the paper's units."""

import dataclasses

import numpy as np

from cnnjax.datasets import mnist
from cnnjax.layers import Conv2D, Dense, Subsample2D
from cnnjax.models import four_to_six, lenet5
from cnnjax.models.conventions import LECUN_UNITS, lecun_input


def test_grey_levels_of_digits_have_about_zero_mean():
    pixels = np.asarray(lecun_input(32, 32).prepare(mnist().train_images[:500]))
    assert pixels.shape == (500, 32, 32, 1)
    assert (pixels.min(), pixels.max()) == (np.float32(-0.1), np.float32(1.175))
    assert abs(pixels.mean()) < 0.1


def test_both_networks_follow_them_up_to_their_last_hidden_layer():
    for network in (lenet5(), four_to_six()):
        assert network.input == lecun_input(*network.input.shape[:2])
        for _, layer in network.layers[:-1]:
            assert isinstance(layer, (Conv2D, Dense, Subsample2D))
            assert layer == dataclasses.replace(layer, **LECUN_UNITS)

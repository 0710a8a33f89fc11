"""Layers on whole maps: selection, shuffling, scaling, activation."""

import jax.numpy as jnp
import numpy as np
import pytest
from cases import normal

from cnnjax.errors import ArgumentValueError
from cnnjax.layers import Activation, ChannelShuffle, LayerScale, PReLU, SelectMaps

X = jnp.asarray(normal((2, 3, 4, 6), "maps"))


def test_maps_are_shuffled_as_in_pytorch():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.functional.channel_shuffle(torch.from_numpy(np.moveaxis(np.array(X), -1, 1).copy()), 3)
    np.testing.assert_array_equal(ChannelShuffle(3).apply({}, X), np.moveaxis(theirs.numpy(), 1, -1))


def test_maps_are_selected_scaled_and_activated():
    np.testing.assert_array_equal(SelectMaps(2, 5).apply({}, X), X[..., 2:5])
    scale = jnp.arange(6.0)
    np.testing.assert_array_equal(LayerScale().apply({"w": scale}, X), np.asarray(X) * np.arange(6.0))
    slope = np.where(np.asarray(X) > 0, 1, np.arange(6.0))
    np.testing.assert_array_equal(PReLU().apply({"w": scale}, X), np.asarray(X) * slope)
    np.testing.assert_array_equal(Activation("relu").apply({}, X), np.maximum(X, 0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ChannelShuffle(4).apply({}, X), "a divisor of the 6 maps"),
        (lambda: ChannelShuffle(0), "`groups` is 0"),
        (lambda: SelectMaps(2, 2), "`stop` is 2"),
        (lambda: SelectMaps(2, 7).apply({}, X), "at most 6, the number of maps"),
        (lambda: Activation("rulu"), "Activation: `activation`"),
        (lambda: LayerScale().apply({"w": jnp.ones(5)}, X), r"expected shape \(6,\)"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises(ArgumentValueError, match=words):
        make()

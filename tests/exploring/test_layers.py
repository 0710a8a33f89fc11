"""Which networks an exploring page can hold, and the description of their layers."""

import base64

import jax
import numpy as np
import pytest

import cnnjax
from cnnjax import Input, Network
from cnnjax.exploring.layers import MAX_MACS, MAX_PARAMETERS, check_explorable, describe_layers
from cnnjax.layers import Conv2D, Dense


class Doubled(Conv2D):
    """A layer of a user."""


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"wide": Dense(2000)}, f"2,050,000 parameters; expected at most {MAX_PARAMETERS:,}"),
        (
            {"c1": Conv2D(64, 3, padding="SAME"), "c2": Conv2D(64, 3)},
            f"multiply-accumulates; expected at most {MAX_MACS:,}",
        ),
        ({"c1": Doubled(1, 3)}, r"`network.layers\['c1'\]` is Doubled"),
        ({"c1": Conv2D(1, 3, activation="gelu_exact")}, "Conv2D with activation 'gelu_exact'"),
        ([("c1", Conv2D(1, 3)), ("c2", Conv2D(1, 3), "input")], "is reading input; expected layers that each read the"),
        ({"c1": Conv2D(1, 3, activation=lambda a: a)}, "with one of the activations identity, "),
    ],
)
def test_what_a_page_cannot_compute_is_named(layers, message):
    network = Network("net", Input((32, 32, 1)), layers)
    with pytest.raises(ValueError, match=message):
        check_explorable("explore", network)


def test_the_limits_are_those_that_the_documentation_states():
    for limit in (MAX_PARAMETERS, MAX_MACS):
        assert f"{limit:,}" in cnnjax.explore.__doc__
    lenet5 = cnnjax.summary(cnnjax.models.lenet5())
    assert f"LeNet-5: {lenet5.num_parameters:,} and {lenet5.num_macs:,}" in cnnjax.explore.__doc__


def test_only_weights_of_links_are_stored():
    network = cnnjax.models.lenet5()
    layers = describe_layers(network, network.init(jax.random.key(0)))
    c3 = next(layer for layer in layers if layer["name"] == "c3")
    assert len(base64.b64decode(c3["slices"])) == 4 * 1500
    assert c3["reads"][0] == (0, 1, 2)
    assert np.shape(c3["rows"]) == (10, 5)

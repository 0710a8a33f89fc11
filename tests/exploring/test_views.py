"""What a page says about the volumes of a network, and how it arranges them."""

from cnnjax import Input, Network, models
from cnnjax.exploring import views
from cnnjax.layers import (
    Activation,
    AdaptiveAvgPool2D,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    MaxPool2D,
    StochasticDepth,
)


def test_the_sentences_of_lenet5():
    texts = {view.title: view.text for view in views(models.lenet5())}
    assert texts == {
        "Picture": "32 × 32 numbers.",
        "C1": "6 maps of 28 × 28. Each slides its own 5 × 5 kernel over the picture.",
        "S2": "6 maps of 14 × 14. Each 2 × 2 block of a C1 map becomes one value.",
        "C3": "16 maps of 10 × 10. Each combines the S2 maps that it reads.",
        "S4": "16 maps of 5 × 5. Each 2 × 2 block of a C3 map becomes one value.",
        "C5": "120 values. Each reads all of S4.",
        "F6": "84 values. Each reads all of C5.",
        "Output": "10 values. How far F6 is from the code of each class. The smallest distance wins.",
    }


def test_every_other_kind_of_layer_has_a_sentence():
    layers = {
        "mix": Conv2D(4, 3, padding="SAME"),
        "depthwise": Conv2D(4, 3, groups=4),
        "max": MaxPool2D(3, stride=1),
        "mean": AvgPool2D(2),
        "parts": AdaptiveAvgPool2D(2),
        "norm": BatchNorm(),
        "silu": Activation("silu"),
        "drop": Dropout(),
        "pool": AdaptiveAvgPool2D(),
        "flat": StochasticDepth(),
        "scores": Dense(5),
    }
    texts = [view.text for view in views(Network("net", Input((12, 12, 3)), layers))]
    assert texts == [
        "3 maps of 12 × 12: red, green and blue.",
        "4 maps of 12 × 12. Each combines the maps of the picture that it reads.",
        "4 maps of 10 × 10. Each slides its own 3 × 3 kernel over one Mix map.",
        "4 maps of 8 × 8. Each is the largest value of 3 × 3 values of a Depthwise map.",
        "4 maps of 4 × 4. Each is the mean of 2 × 2 values of a Max map.",
        "4 maps of 2 × 2. Each is the mean of a part of a Mean map.",
        "4 maps of 2 × 2. Each is a Parts map, scaled and shifted: batch normalisation by running statistics.",
        "4 maps of 2 × 2. Each is a Norm map after the activation function.",
        "4 maps of 2 × 2. Each is a Silu map as it is: units are dropped in training only.",
        "4 values. Each is the mean of a whole Drop map.",
        "4 values. Each is a Pool value as it is: units are dropped in training only.",
        "5 values. Each reads all of Flat. The largest score wins.",
    ]


def test_the_arrangement_depends_on_the_number_of_maps_and_their_size():
    by_name = {view.name: view for view in views(models.lenet5())}
    assert [by_name[name].columns for name in ("c1", "s2", "c3", "s4", "output")] == [6, 6, 8, 16, 10]
    assert (by_name["c5"].grid, by_name["f6"].grid) == ((4, 30), (3, 30))
    assert by_name["output"].grid is None

"""VGG: the table of cs231n row by row, and outputs equal to those of torchvision."""

import math

import pytest
from published import check_counts, check_names, check_outputs
from torchvision_oracle import build

from cnnjax import models
from cnnjax.layers import Conv2D, Dense, Dropout

NAMES = ["vgg11", "vgg16", "vgg19"]

# The notes of cs231n on VGG-16: values of the volume, and weights without biases.
ROWS = [
    (224 * 224 * 64, 1_728), (224 * 224 * 64, 36_864), (112 * 112 * 64, 0),
    (112 * 112 * 128, 73_728), (112 * 112 * 128, 147_456), (56 * 56 * 128, 0),
    (56 * 56 * 256, 294_912), (56 * 56 * 256, 589_824), (56 * 56 * 256, 589_824), (28 * 28 * 256, 0),
    (28 * 28 * 512, 1_179_648), (28 * 28 * 512, 2_359_296), (28 * 28 * 512, 2_359_296), (14 * 14 * 512, 0),
    (14 * 14 * 512, 2_359_296), (14 * 14 * 512, 2_359_296), (14 * 14 * 512, 2_359_296), (7 * 7 * 512, 0),
    (4096, 102_760_448), (4096, 16_777_216), (1000, 4_096_000),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "parameters", "billions"),
    [("vgg11", 132_863_336, 7.609), ("vgg16", 138_357_544, 15.470), ("vgg19", 143_667_240, 19.632)],
)
def test_counts_are_the_published_ones(name, parameters, billions):
    check_counts(getattr(models, name)(), parameters, billions)


def test_vgg16_is_the_table_of_the_course_notes_row_by_row():
    network = models.vgg16()
    shapes, inputs = network.shapes(), network.input_shapes()
    rows = [
        (math.prod(shapes[name]), layer.counts(inputs[name]).num_weights)
        for name, layer in network.layers
        if not isinstance(layer, Dropout) and name != "avgpool"
    ]
    assert rows == ROWS
    assert sum(values for values, _ in rows) + 224 * 224 * 3 == 15_237_608
    assert sum(weights for _, weights in rows) == 138_344_128


def test_most_products_of_vgg16_are_in_its_middle_stages():
    """The notes say that most computation is early; of memory that is true, of products it is not."""
    network = models.vgg16()
    inputs = network.input_shapes()
    stages: dict[int, int] = {}
    for name, layer in network.layers:
        if isinstance(layer, Conv2D | Dense):
            size = inputs[name][0] if isinstance(layer, Conv2D) else 1
            stages[size] = stages.get(size, 0) + layer.counts(inputs[name]).num_macs
    shares = [round(100 * macs / 15_470_264_320, 1) for macs in stages.values()]
    assert shares == [12.5, 17.9, 29.9, 29.9, 9.0, 0.8]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_torchvision(name):
    check_names(getattr(models, name)(), name)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_of_torchvision(name):
    module = build(name, num_classes=10, init_weights=False)
    check_outputs(getattr(models, name)(classes=10, size=33), module)

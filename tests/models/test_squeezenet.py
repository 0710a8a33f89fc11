"""SqueezeNet: the published counts, and outputs and a training step equal to those of torchvision."""

import pytest
from published import check_counts, check_names, check_outputs, check_training_step
from torchvision_oracle import build

from cnnjax import models

NAMES = ["squeezenet1_0", "squeezenet1_1"]


@pytest.mark.parametrize(
    ("name", "parameters", "billions"),
    [
        ("squeezenet1_0", 1_248_424, 0.819),
        ("squeezenet1_1", 1_235_496, 0.349),
    ],
)
def test_counts_are_the_published_ones(name, parameters, billions):
    check_counts(getattr(models, name)(), parameters, billions)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_torchvision(name):
    check_names(getattr(models, name)(), name)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_of_torchvision(name):
    check_outputs(getattr(models, name)(classes=10, size=64), build(name, num_classes=10))


def test_a_training_step_is_that_of_torchvision():
    check_training_step(models.squeezenet1_1(classes=10, size=64), build("squeezenet1_1", num_classes=10))

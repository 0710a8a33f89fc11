"""Residual networks: the published counts, and outputs and a training step equal to those of torchvision."""

import pytest
from published import check_counts, check_names, check_outputs, check_training_step
from torchvision_oracle import build

from cnnjax import models
from cnnjax.layers import summary

NAMES = ["resnet18", "resnet34", "resnet50", "resnext50_32x4d"]


@pytest.mark.parametrize(
    ("name", "parameters", "billions"),
    [
        ("resnet18", 11_689_512, 1.814),
        ("resnet34", 21_797_672, 3.664),
        ("resnet50", 25_557_032, 4.089),
        ("resnext50_32x4d", 25_028_904, 4.230),
    ],
)
def test_counts_are_the_published_ones(name, parameters, billions):
    check_counts(getattr(models, name)(), parameters, billions)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_torchvision(name):
    check_names(getattr(models, name)(), name)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_of_torchvision(name):
    check_outputs(getattr(models, name)(classes=10, size=33), build(name, num_classes=10))


def test_a_training_step_is_that_of_torchvision():
    check_training_step(models.resnet18(classes=10, size=33), build("resnet18", num_classes=10))


def test_every_block_is_a_sum_whose_shortcut_is_the_block_before_or_its_projection():
    reads = models.resnet18().reads
    assert reads["layer1.0"] == ("layer1.0.bn2", "maxpool")
    assert reads["layer1.1"] == ("layer1.1.bn2", "layer1.0")
    assert reads["layer2.0"] == ("layer2.0.bn2", "layer2.0.downsample.1")
    assert reads["layer2.0.downsample.0"] == ("layer1.1",)


def test_the_receptive_field_grows_along_the_longest_path():
    rows = {row.name: row for row in summary.summary(models.resnet50()).rows}
    assert (rows["layer1.0"].receptive_field, rows["layer1.0.downsample.1"].receptive_field) == ((19, 19), (11, 11))
    assert (rows["layer4.2"].receptive_field, rows["layer4.2"].jump) == ((427, 427), (32, 32))

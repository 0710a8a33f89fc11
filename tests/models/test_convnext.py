"""ConvNeXt: the published counts, and outputs and a training step equal to those of torchvision."""

from published import check_counts, check_names, check_outputs, check_training_step
from torchvision_oracle import build

from cnnjax import models


def test_counts_are_the_published_ones():
    check_counts(models.convnext_tiny(), 28_589_128, 4.456)


def test_outputs_are_those_of_torchvision():
    check_names(models.convnext_tiny(), "convnext_tiny")
    check_outputs(models.convnext_tiny(classes=10, size=32), build("convnext_tiny", num_classes=10))


def test_a_training_step_is_that_of_torchvision():
    check_training_step(models.convnext_tiny(classes=10, size=32), build("convnext_tiny", num_classes=10))

"""ShuffleNet V2: the published counts, and outputs and a training step equal to those of torchvision."""

from published import check_counts, check_names, check_outputs, check_training_step
from torchvision_oracle import build

from cnnjax import models


def test_counts_are_the_published_ones():
    check_counts(models.shufflenet_v2_x1_0(), 2_278_604, 0.145)


def test_outputs_are_those_of_torchvision():
    check_names(models.shufflenet_v2_x1_0(), "shufflenet_v2_x1_0")
    check_outputs(models.shufflenet_v2_x1_0(classes=10, size=33), build("shufflenet_v2_x1_0", num_classes=10))


def test_a_training_step_is_that_of_torchvision():
    check_training_step(models.shufflenet_v2_x1_0(classes=10, size=33), build("shufflenet_v2_x1_0", num_classes=10))

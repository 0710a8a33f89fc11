"""DenseNet: the published counts, and outputs equal to those of torchvision."""

from published import check_counts, check_names, check_outputs
from torchvision_oracle import build

from cnnjax import models


def test_counts_are_the_published_ones():
    check_counts(models.densenet121(), 7_978_856, 2.834)


def test_outputs_are_those_of_torchvision():
    check_names(models.densenet121(), "densenet121")
    check_outputs(models.densenet121(classes=10, size=33), build("densenet121", num_classes=10))

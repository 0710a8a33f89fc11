"""GoogLeNet: the published counts, and outputs and a training step equal to those of torchvision."""

from published import check_counts, check_outputs, check_training_step
from torchvision_oracle import build

from cnnjax import models


def test_counts_are_the_published_ones():
    check_counts(models.googlenet(), 6_624_904, 1.498)


def test_outputs_are_those_of_torchvision():
    module = build("googlenet", num_classes=10, aux_logits=False, init_weights=False)
    check_outputs(models.googlenet(classes=10, size=33), module)


def test_a_training_step_is_that_of_torchvision():
    module = build("googlenet", num_classes=10, aux_logits=False, init_weights=False)
    check_training_step(models.googlenet(classes=10, size=33), module)


def test_an_inception_module_is_four_branches_side_by_side():
    network = models.googlenet()
    reads, shapes = network.reads, network.shapes()
    first = [f"inception3a.{name}" for name in ("branch1.conv", "branch2.0.conv", "branch3.0.conv", "branch4.0")]
    assert {reads[name] for name in first} == {("maxpool2",)}
    assert [shapes[name][-1] for name in reads["inception3a"]] == [64, 128, 32, 32]

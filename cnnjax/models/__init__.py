"""Published architectures, one file for each family."""

from cnnjax.models.four_to_six import four_to_six
from cnnjax.models.lenet5 import DIGIT_CODES, lenet5
from cnnjax.models.lenet_tutorial import lenet_tutorial
from cnnjax.models.resnet import resnet18, resnet34, resnet50, resnext50_32x4d

__all__ = [
    "DIGIT_CODES",
    "four_to_six",
    "lenet5",
    "lenet_tutorial",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnext50_32x4d",
]

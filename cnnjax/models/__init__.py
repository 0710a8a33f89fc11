"""Published architectures, one file each."""

from cnnjax.models.four_to_six import four_to_six
from cnnjax.models.lenet5 import DIGIT_CODES, lenet5
from cnnjax.models.lenet_tutorial import lenet_tutorial

__all__ = ["DIGIT_CODES", "four_to_six", "lenet5", "lenet_tutorial"]

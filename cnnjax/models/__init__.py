"""Published architectures, one file for each family."""

from cnnjax.models.alexnet import alexnet, alexnet_2012
from cnnjax.models.convnext import convnext_tiny
from cnnjax.models.densenet import densenet121
from cnnjax.models.efficientnet import efficientnet_b0
from cnnjax.models.four_to_six import four_to_six
from cnnjax.models.googlenet import googlenet
from cnnjax.models.lenet5 import DIGIT_CODES, lenet5
from cnnjax.models.lenet_tutorial import lenet_tutorial
from cnnjax.models.mobilenet import mobilenet_v2, mobilenetv1_100
from cnnjax.models.resnet import resnet18, resnet34, resnet50, resnext50_32x4d
from cnnjax.models.shufflenet import shufflenet_v2_x1_0
from cnnjax.models.squeezenet import squeezenet1_0, squeezenet1_1
from cnnjax.models.vgg import vgg11, vgg16, vgg19
from cnnjax.models.zfnet import zfnet

__all__ = [
    "DIGIT_CODES",
    "alexnet",
    "alexnet_2012",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "four_to_six",
    "googlenet",
    "lenet5",
    "lenet_tutorial",
    "mobilenet_v2",
    "mobilenetv1_100",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnext50_32x4d",
    "shufflenet_v2_x1_0",
    "squeezenet1_0",
    "squeezenet1_1",
    "vgg11",
    "vgg16",
    "vgg19",
    "zfnet",
]

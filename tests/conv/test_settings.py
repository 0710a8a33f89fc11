"""The settings of a convolution as one value."""

import dataclasses
import inspect

import pytest

import cnnjax
from cnnjax._core.shapes import conv_geometry
from cnnjax.conv import ConvSettings


@pytest.mark.parametrize("name", ["conv1d", "conv2d", "conv3d"])
def test_they_are_the_arguments_of_a_convolution_that_are_not_arrays(name):
    arguments = inspect.signature(getattr(cnnjax, name)).parameters.values()
    keyword_only = {argument.name: argument.default for argument in arguments if argument.kind is argument.KEYWORD_ONLY}
    assert keyword_only == {field.name: field.default for field in dataclasses.fields(ConvSettings)}


def test_they_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ConvSettings().stride = 2


def test_their_geometry_is_that_of_the_same_arguments():
    settings = ConvSettings(stride=2, padding="SAME", dilation=(1, 2), groups=3)
    geometry = settings.geometry("test", (7, 8), (3, 2))
    assert geometry == conv_geometry("test", (7, 8), (3, 2), stride=2, padding="SAME", dilation=(1, 2))


def test_what_does_not_fit_is_said_of_the_function_and_argument_given():
    with pytest.raises(ValueError, match=r"separable_conv2d: `w_depthwise` is a kernel of \(9, 9\)"):
        ConvSettings().geometry("separable_conv2d", (7, 8), (9, 9), "w_depthwise")

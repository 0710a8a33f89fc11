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


def test_their_spec_is_the_static_side_of_the_convolution():
    settings = ConvSettings(stride=2, padding="SAME", groups=2)
    spec = settings.spec("test", (5, 7, 8, 4), [3, 2, 2, 6], "bfloat16")
    assert (spec.x_shape, spec.w_shape, spec.y_shape) == ((5, 7, 8, 4), (3, 2, 2, 6), (5, 4, 4, 6))
    assert spec.dtype == "bfloat16"
    assert spec.geometry == settings.geometry("test", (7, 8), (3, 2))


@pytest.mark.parametrize("padding", ["CIRCULAR", "EDGE", "REFLECT"])
def test_what_is_wrapped_or_mirrored_has_been_written_out_before_the_operator(padding):
    settings = ConvSettings(padding=padding)
    geometry = settings.geometry("test", (7, 8), (3, 2))
    assert settings.spec("test", (5, 7, 8, 4), (3, 2, 4, 6), "float32").geometry == geometry.after_padding()


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "error", "words"),
    [
        (None, (3, 2, 4, 6), TypeError, "`x_shape` is None; expected integers"),
        ((5, 7, 8, 4), (3.0, 2, 4, 6), TypeError, r"`w_shape` is \(3.0, 2, 4, 6\); expected integers"),
        ((7, 8, 4), (3, 2, 4, 6), ValueError, "give x_shape its batch axis"),
        ((5, 4), (4, 6), ValueError, "with one to three spatial axes"),
        ((5, 7, 8, 4), (3, 2, 3, 6), ValueError, "3 input maps"),
        ((5, 7, 8, 4), (9, 2, 4, 6), ValueError, "9 pixels along H"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(x_shape, w_shape, error, words):
    with pytest.raises(error, match=f"test: .*{words}"):
        ConvSettings().spec("test", x_shape, w_shape, "float32")

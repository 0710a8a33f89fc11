"""The static description of a convolution, and the names that are passed around."""

from typing import get_args

import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import METHODS
from cnnjax._core.shapes import conv_geometry
from cnnjax.operator.spec import (
    DIRECTIONS,
    ConvSpec,
    Direction,
    Measured,
    MethodName,
    Platform,
    is_cpu,
    is_this_cpu,
    widest,
)

GEOMETRY = conv_geometry("test", (6, 7), (3, 2), stride=2, padding=((1, 0), (1, 2)), dilation=(1, 2))
SPEC = ConvSpec(GEOMETRY, 2, 4, 6, 2)


def test_the_names_of_methods_are_auto_and_those_that_exist():
    assert get_args(MethodName) == ("auto", *METHODS)


def test_the_directions_are_listed_in_their_order():
    assert DIRECTIONS == get_args(Direction) == ("forward", "input_gradient", "weight_gradient")


def test_shapes_follow_from_geometry_and_maps():
    assert SPEC.x_shape == (2, 6, 7, 4)
    assert SPEC.w_shape == (3, 2, 2, 6)
    assert SPEC.y_shape == (2, *GEOMETRY.output, 6)
    assert (SPEC.maps_in_group, SPEC.num_taps) == (2, 6)
    assert not SPEC.unit_stride
    assert not SPEC.unit_dilation
    assert ConvSpec(conv_geometry("test", (6,), (3,)), 1, 1, 1).unit_stride


@pytest.mark.parametrize(("dtype", "wide"), [("bfloat16", "float32"), ("float64", "float64")])
def test_the_accumulation_dtype_is_that_of_its_dtype(dtype, wide):
    assert ConvSpec(GEOMETRY, 2, 4, 6, 2, dtype=jnp.dtype(dtype)).accumulation_dtype == wide


def test_the_widest_dtype_is_the_first_of_the_largest():
    assert widest("bfloat16", "float32", np.float16) == "float32"
    assert widest("float16", "bfloat16") == "float16"
    assert widest("complex64", "float64") == "complex64"


@pytest.mark.parametrize("platform", get_args(Platform))
def test_three_platforms_are_cpus_and_two_are_this_one(platform):
    assert is_cpu(platform) is (platform in ("cpu", "stored cpu", "any cpu"))
    assert is_this_cpu(platform) is (platform in ("cpu", "stored cpu"))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_measurements_become_the_method_on_the_kind_of_platform_they_were_made_on(direction):
    measured = Measured(True, "im2col", "toeplitz", "gathered")
    spec = ConvSpec(GEOMETRY, 2, 4, 6, method="lax", measured=measured)
    for platform in get_args(Platform):
        resolved = spec.resolved(direction, platform)
        assert resolved.measured is None
        assert resolved.method == (measured.direction(direction) if is_cpu(platform) else "lax")
    plain = ConvSpec(GEOMETRY, 2, 4, 6, method="lax")
    assert plain.resolved(direction, "cpu") is plain


def test_a_spec_is_a_value():
    assert ConvSpec(GEOMETRY, 2, 4, 6, 2) == SPEC
    assert hash(ConvSpec(GEOMETRY, 2, 4, 6, 2)) == hash(SPEC)

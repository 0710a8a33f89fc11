"""The leaves of arguments and results: what they are called, and where their numbers stand."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.gradients.leaves import Leaf, find_leaf, float64_dtype, largest, numeric_leaves, representable


def test_elements_have_the_names_a_user_would_write():
    leaf = Leaf("args[1]['w']", (2, 3), np.dtype(np.float32), 10)
    assert leaf.element(15) == "args[1]['w'][1, 2]"
    assert Leaf("args[0]", (), np.dtype(np.float32), 0).element(0) == "args[0]"
    number = Leaf("args[0]", (2,), np.dtype(np.complex64), 0)
    assert (number.stop, number.element(1), number.element(2)) == (4, "args[0][1].real", "args[0][0].imag")
    assert find_leaf([leaf, number], 3) is number


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        (jnp.bfloat16, np.float64),
        (np.float16, np.float64),
        (np.complex64, np.complex128),
        (np.int32, np.int32),
    ],
)
def test_float64_dtypes(dtype, wide):
    assert float64_dtype(np.dtype(dtype)) == wide


def test_only_inexact_leaves_have_a_place_in_the_vector():
    leaves, where, others = numeric_leaves("args", (1.0, 2, {"w": np.ones((2, 3), np.float32)}, np.complex64(1j)))
    assert [(leaf.name, leaf.start, leaf.stop) for leaf in leaves] == [
        ("args[0]", 0, 1),
        ("args[2]['w']", 1, 7),
        ("args[3]", 7, 9),
    ]
    assert where == [0, 2, 3]
    assert others == ["args[1] (int)"]
    assert [leaf.weak for leaf in leaves] == [True, False, False]


def test_the_largest_finite_magnitude_is_that_of_the_own_leaf():
    leaves = [Leaf("a", (2,), np.dtype(np.float32), 0), Leaf("b", (3,), np.dtype(np.float32), 2)]
    found = largest(np.array([1.0, -2.0, 5.0, np.inf, np.nan]), leaves)
    np.testing.assert_array_equal(found, [2.0, 2.0, 5.0, 5.0, 5.0])


def test_representable_numbers_are_those_of_each_dtype():
    leaves = [Leaf("a", (1,), np.dtype(np.float32), 0), Leaf("b", (1,), np.dtype(np.float64), 1)]
    np.testing.assert_array_equal(representable(np.array([0.1, 0.1]), leaves), [np.float32(0.1), 0.1])


@dataclass
class Dropout:
    w: np.ndarray
    rate: float


jax.tree_util.register_dataclass(Dropout, ["w", "rate"], [])


class Point(NamedTuple):
    x: float
    y: float


def test_a_number_of_a_layer_is_a_setting_and_no_parameter():
    leaves, _, others = numeric_leaves("args", (Dropout(np.ones(2), 0.5), {"scale": 2.0}, Point(1.0, 2.0)))
    assert [leaf.name for leaf in leaves] == ["args[0].w", "args[1]['scale']", "args[2].x", "args[2].y"]
    assert others == ["args[0].rate (float)"]

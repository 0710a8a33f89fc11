"""The exception family and the pieces of a message."""

import numpy as np
import pytest

import cnnjax
from cnnjax import errors
from cnnjax._core.messages import describe, error_message


@pytest.mark.parametrize(
    ("ours", "builtin"),
    [
        (errors.ArgumentValueError, ValueError),
        (errors.ArgumentTypeError, TypeError),
        (errors.DataError, ValueError),
        (errors.DataNotFoundError, FileNotFoundError),
        (errors.MissingExtraError, ImportError),
        (errors.GradientError, AssertionError),
    ],
)
def test_every_exception_is_ours_and_the_builtin_one_that_people_catch(ours, builtin):
    assert issubclass(ours, cnnjax.CnnjaxError)
    assert issubclass(ours, builtin)


def test_a_gradient_error_carries_its_report():
    error = cnnjax.GradientError("the gradient is wrong", report=42)
    assert str(error) == "the gradient is wrong"
    assert error.report == 42


def test_a_complaint_names_call_argument_value_expectation_and_fix():
    text = error_message("conv2d", "stride", got="0", expected="an integer of at least 1", fix="use stride=1")
    assert text == "conv2d: `stride` is 0; expected an integer of at least 1. Fix: use stride=1."


class Verbose:
    def __repr__(self):
        return "x" * 1000


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "None"),
        (2.5, "2.5"),
        ("SAEM", "'SAEM'"),
        ((1, 2), "(1, 2)"),
        ([1, 2], "a list of 2 items"),
        ({"a": 1}, "a dict of 1 items"),
        (tuple(range(100)), "a tuple of 100 items"),
        (np.zeros((2, 3), np.int8), "an array of shape (2, 3) and dtype int8"),
        (Verbose(), "an object of type Verbose"),
        ("y" * 100, "an object of type str"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_described_in_a_few_words(value, words):
    assert describe(value) == words

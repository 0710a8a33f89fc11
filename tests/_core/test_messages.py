"""The pieces of an error message."""

import numpy as np
import pytest

from cnnjax._core.messages import describe, error_message, type_error, value_error
from cnnjax.errors import ArgumentTypeError, ArgumentValueError


def test_a_message_names_function_argument_value_expectation_and_fix():
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


def test_the_two_errors_carry_the_message():
    words = {"got": "0", "expected": "an integer of at least 1", "fix": "use stride=1"}
    for make, error in ((value_error, ArgumentValueError), (type_error, ArgumentTypeError)):
        made = make("conv2d", "stride", **words)
        assert type(made) is error
        assert str(made) == error_message("conv2d", "stride", **words)

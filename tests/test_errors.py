"""The exception hierarchy."""

import pytest

import cnnjax
from cnnjax import errors


@pytest.mark.parametrize(
    ("ours", "builtin"),
    [
        (errors.ArgumentValueError, ValueError),
        (errors.ArgumentTypeError, TypeError),
        (errors.DataError, ValueError),
        (errors.DataNotFoundError, FileNotFoundError),
        (errors.JaxVersionError, RuntimeError),
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

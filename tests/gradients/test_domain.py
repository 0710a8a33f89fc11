"""What is wrong at the sign-flipped point alone, and whether that point is in the domain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import GradientError
from cnnjax.gradients import check_grads


def exponential(slope_of):
    """The function exp(k x), whose rule for x takes the slope from k in its own way."""

    @jax.custom_jvp
    def f(x, k):
        return jnp.exp(k * x)

    @f.defjvp
    def rule(primals, tangents):
        (x, k), (dx, dk) = primals, tangents
        value = f(x, k)
        return value, value * (slope_of(x, k) * dx + x * dk)

    return f


ARGS = (np.array([0.3, 0.8]), np.array(1.4))


def test_a_rule_for_positive_parameters_is_accepted_with_a_warning():
    report = check_grads(exponential(lambda x, k: abs(k)), ARGS, modes="rev")
    assert ["the sign-flipped point" in warning for warning in report.warnings] == [True]


def test_a_rule_that_is_wrong_for_negative_numbers_of_its_own_is_rejected():
    with pytest.raises(GradientError) as error:
        check_grads(exponential(lambda x, k: jnp.where(x < 0, 1.01, 1.0) * k), ARGS, modes="rev")
    assert {check.point for check in error.value.report.failed} == {"sign-flipped"}
    assert all(mismatch.where.startswith("args[0]") for mismatch in error.value.report.mismatches)

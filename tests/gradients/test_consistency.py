"""Each check catches the rule that fails it, where finite differences alone see nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from custom_rules import X, failed_checks, right, sine

from cnnjax.gradients import check_grads


def test_a_right_rule_passes_every_check():
    report = check_grads(sine(right), (X,))
    names = {check.name.split(" (")[0] for check in report.checks}
    assert names >= {"linearity", "repetition", "jit equals eager", "value", "own dtype", "vmap equals loop"}


@pytest.mark.parametrize(
    "bwd",
    [
        lambda x, y: jnp.clip(right(x, y), -100.0, 100.0),
        lambda x, y: jnp.where(abs(y) < 2e-3, 0.0, right(x, y)),
        lambda x, y: jnp.where(abs(y) < 1e-5, 0.0, right(x, y)),
        lambda x, y: right(x, jnp.clip(y, -1e5, 1e5)),
        lambda x, y: right(x, jnp.where((y**2).sum() < 1e-4, 0.0, y)),
    ],
)
def test_linearity(bwd):
    assert failed_checks(sine(bwd), modes="rev") == {"linearity"}


@pytest.mark.parametrize("seed", range(3, 6))
def test_sums_that_round_are_no_failure_of_linearity(seed):
    """The reverse rule of relu6 rounds nothing, so nothing but the sum of two cotangents could have."""
    assert check_grads(jax.nn.relu6, (np.array([0.0, 6.0, 3.0], np.float32),), seed=seed, modes="rev").ok


def test_adjointness():
    """A transpose that somebody wrote is the one thing that separates the two modes."""

    def f(x):
        def apply(r, x):
            return r * x

        return jax.custom_derivatives.linear_call(apply, lambda r, y: 1.001 * r * y, jnp.asarray(2.0, x.dtype), x)

    assert "adjointness" in failed_checks(f)

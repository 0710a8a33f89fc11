"""Finite differences along segments of a few lines: the derivatives, and what they leave out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from custom_rules import ruled

from cnnjax.errors import GradientError
from cnnjax.gradients import check_grads
from cnnjax.gradients.finite_differences import (
    FiniteDifferences,
    Segment,
    derivatives_at_points,
    lines_through,
    magnitudes,
)
from cnnjax.gradients.leaves import Leaf
from cnnjax.gradients.programs import Program
from cnnjax.gradients.richardson import FINE_LADDER, LADDER, SHORT_LADDER, SIGNIFICANT
from cnnjax.gradients.strategies import STRATEGIES

X = np.array([0.3, -1.2, 0.8, 2.0])
LEAVES = [Leaf("a", (3,), np.dtype(np.float64), 0), Leaf("b", (), np.dtype(np.float64), 3)]
LINES = lines_through(X, LEAVES, np.random.default_rng(0))
SEGMENTS = [Segment(0, 0, 3), Segment(1, 0, 3), Segment.element(0, 3)]


def f(x):
    return jnp.stack([jnp.sin(x).sum(), x[0] * x[3], x[1] ** 2])


def differences(at=X):
    return FiniteDifferences(Program(f, (4,), STRATEGIES[0]), at, LINES)


def test_every_output_along_every_segment():
    at = differences()
    found = at.derivatives(SEGMENTS)
    exact = np.array([jax.jvp(f, (X,), (at.direction(segment),))[1] for segment in SEGMENTS])
    assert found.value.shape == (3, 3)
    assert (found.distance(exact) <= SIGNIFICANT * found.bar).all()
    assert (found.bar <= 1e-9).all()
    assert at.evaluations == 1 + 3 * 2 * len(LADDER)


def test_the_scale_of_an_output_is_that_at_the_point_or_next_to_it():
    moved = f(X + LADDER[0] * LINES[0])
    np.testing.assert_allclose(differences().output_scale, np.maximum(abs(f(X)), abs(moved)), rtol=1e-12)


def test_a_longer_ladder_takes_what_a_shorter_one_has_evaluated():
    at = differences()
    at.derivatives(SEGMENTS[:1], SHORT_LADDER)
    found = at.derivatives(SEGMENTS[:1], LADDER)
    assert at.evaluations == 1 + 2 * len(LADDER)
    np.testing.assert_array_equal(found.value, differences().derivatives(SEGMENTS[:1]).value)


def test_the_weighted_sum_of_the_outputs_is_projected():
    at, weights = differences(), np.array([1.0, 0.0, -2.0])
    found = at.projected(SEGMENTS, weights, LADDER)
    exact = at.derivatives(SEGMENTS).dot(weights)[:, None]
    assert found.value.shape == (3, 1)
    np.testing.assert_allclose(found.value, exact.value, rtol=1e-8)


def test_several_points_together():
    points = [differences(X), differences(X + 0.1)]
    found = derivatives_at_points(points, SEGMENTS[0], FINE_LADDER)
    for row, at in enumerate(points):
        np.testing.assert_allclose(found.value[row], at.derivatives(SEGMENTS[:1], FINE_LADDER).value[0], rtol=1e-9)


def test_segments_are_bisected():
    assert Segment(1, 2, 7).halves() == (Segment(1, 2, 4), Segment(1, 4, 7))
    assert Segment.element(0, 5) == Segment(0, 5, 6)
    assert Segment.element(0, 5).size == 1


def test_the_scale_of_a_zero_is_that_of_its_leaf():
    leaves = [Leaf("a", (3,), np.dtype(np.float64), 0), Leaf("b", (1,), np.dtype(np.float64), 3)]
    np.testing.assert_array_equal(magnitudes(np.array([1000.0, 0.0, 1000.0, 0.0]), leaves), [512.0, 512.0, 512.0, 1.0])


def test_noise_is_measured_once():
    at = differences()
    lower_bound = at.noise
    at.measure_noise()
    measured, evaluations = at.noise, at.evaluations
    at.measure_noise()
    assert (measured >= lower_bound).all()
    assert at.noise is measured
    assert at.evaluations == evaluations


def test_a_step_that_is_rounded_away_is_no_evidence():
    """The shift common to all is 1e-5 here, which the finest steps cannot add to 1, where the function is zero."""
    f = ruled(lambda x: x * jnp.log(x), lambda r, y: ((jnp.log(r[0]) + 1) * y,))
    assert check_grads(lambda x: jax.scipy.special.xlogy(x, x), (np.array([1e-30, 1e-5, 1.0]),)).ok
    assert check_grads(f, (np.array([1e-30, 1e-5, 1.0]),)).ok


def test_round_off_that_a_factor_of_zero_hides_at_the_point_alone_is_measured_next_to_it():
    def odd_root(x):  # its derivative at 0 is 1/2, and JAX's is 0
        return jnp.sign(x) * (jnp.sqrt(abs(x) + 1) - 1)

    with pytest.raises(GradientError, match=r"args\[0\]\[0\]"):
        check_grads(odd_root, (np.array([0.0, 1.0]),), modes="rev")

"""Richardson extrapolation: the error bar holds for every kind of function, and is small where it can be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnjax.gradients.richardson import FINE_LADDER, LADDER, SIGNIFICANT, extrapolate


def along(f, x, steps=LADDER, scale=1.0, noise=0.0):
    with np.errstate(all="ignore"):
        t = steps * scale
        return extrapolate(t, np.float64(f(x)), f(x + t), f(x - t), noise)


FUNCTIONS = {
    "exp": (np.exp, np.exp),
    "log": (np.log, lambda x: 1 / x),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "cube": (lambda x: x**3, lambda x: 3 * x**2),
    "sin 1e3": (lambda x: np.sin(1e3 * x), lambda x: 1e3 * np.cos(1e3 * x)),
    "steep": (lambda x: np.exp(50 * x), lambda x: 50 * np.exp(50 * x)),
    "offset": (lambda x: x**2 + 1e6, lambda x: 2 * x),
    "pole": (lambda x: 1 / (x + 1e-3), lambda x: -1 / (x + 1e-3) ** 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(x=st.floats(0.05, 3.0))
def test_the_error_is_within_the_bar(name, x):
    f, slope = FUNCTIONS[name]
    found = along(f, x, scale=2.0 ** np.floor(np.log2(x)))
    assert found.distance(slope(x)) <= 2 * found.bar
    assert SIGNIFICANT > 2
    if name not in ("offset",):
        assert found.bar <= 1e-7 * abs(slope(x)) + 1e-12


@given(slope=st.floats(-1e6, 1e6).filter(lambda s: abs(s) > 1e-6), x=st.floats(-3, 3))
def test_a_linear_function_is_exact_to_round_off(slope, x):
    found = along(lambda t: slope * t, x)
    assert found.distance(slope) <= 2 * found.bar
    assert found.bar <= 1e-12 * abs(slope) * (1 + abs(x))


@pytest.mark.parametrize(("f", "low", "high"), [(np.abs, -1, 1), (lambda x: np.maximum(x, 0), 0, 1)])
def test_a_kink_gives_the_interval_of_its_one_sided_derivatives(f, low, high):
    found = along(f, 0.0)
    assert found.kink
    assert (found.low, found.high) == (low, high)
    assert found.distance(0.5) == 0
    assert found.distance(high + 0.5) == pytest.approx(0.5)


def test_a_kink_elsewhere_does_not_matter():
    found = along(lambda x: np.maximum(x - 1e-4, 0) + x, 0.0)
    assert not found.kink
    assert found.distance(1.0) <= found.bar <= 1e-9


def test_one_side_decides_at_the_edge_of_a_domain():
    found = along(lambda x: np.where(x >= 0, np.sin(x), np.nan), 0.0)
    assert found.distance(1.0) <= found.bar < 1e-9


@pytest.mark.parametrize("f", [np.sqrt, lambda x: np.where(x > 0, x * np.log(x), 0.0)])
def test_an_infinite_derivative_is_not_given_a_value(f):
    assert not np.isfinite(along(lambda x: np.where(x >= 0, f(x), np.nan), 0.0).bar)


def test_a_function_much_rougher_than_the_steps_needs_the_fine_ladder():
    f, slope = (lambda x: np.sin(1e9 * x)), 1e9 * np.cos(1e9 * 0.7)
    coarse, fine = along(f, 0.7), along(f, 0.7, FINE_LADDER, noise=1e9 * 2e-16)
    assert np.isinf(coarse.bar) or coarse.distance(slope) <= SIGNIFICANT * coarse.bar
    assert fine.distance(slope) <= SIGNIFICANT * fine.bar


def test_noise_that_is_known_is_in_the_bar():
    def f(x):  # the offset leaves about four digits
        return (x**2 + 1e12) - 1e12

    found = along(f, 0.7, noise=1e-4)
    assert found.distance(1.4) <= found.bar


def test_nowhere_finite_is_no_derivative():
    found = along(lambda x: np.full(np.shape(x), np.nan), 0.0)
    assert np.isinf(found.bar)
    assert np.isnan(found.value)


def test_the_sum_of_outputs_adds_up_the_bars():
    t = LADDER[:, None]
    found = extrapolate(
        LADDER, np.zeros(2), np.concatenate([t, np.exp(t) - 1], 1), np.concatenate([-t, np.exp(-t) - 1], 1)
    )
    total = found.dot(np.array([2.0, -1.0]))
    assert total.distance(1.0) <= total.bar
    assert total.bar >= found.bar @ [2.0, 1.0]

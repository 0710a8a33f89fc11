"""The rates at which Taylor's remainders shrink."""

import numpy as np
import pytest

from cnnjax.gradients import check_grads

X = np.array([1.0, -2.0, 3.0], np.float32)


def test_taylor_rates(reports):
    good, bad = (report.taylor for report in reports)
    assert good.rate == pytest.approx(2, abs=0.1)
    assert good.second_rate == pytest.approx(3, abs=0.2)
    assert bad.rate == pytest.approx(1, abs=0.1)
    assert "t^2.0" in str(reports[0])


def test_of_a_linear_function_nothing_remains():
    assert check_grads(lambda x: 2 * x, (X,), modes="rev").taylor.rate is None

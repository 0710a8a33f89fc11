"""How the consistency checks compare: exactly, then up to the lower bound of round-off, then up to the measured one."""

import numpy as np
import pytest

from cnnjax.gradients.checked_mode import Equality, check_equalities


def check(found, expected, bar, noise=0.0):
    measured = []

    def measure():
        measured.append(True)
        return np.full(len(found), noise)

    found, expected = np.array(found), np.array(expected)
    equality = Equality(found, expected, np.full(len(found), bar), measure, lambda at: f"element {at}")
    return check_equalities("a name", [equality]), bool(measured)


@pytest.mark.parametrize(
    ("found", "expected", "bar", "noise", "ok", "measured"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0, 0.0, True, False),
        ([1.0, 2.1], [1.0, 2.0], 0.1, 0.0, True, False),
        ([1.0, 3.0], [1.0, 2.0], 0.1, 0.1, True, True),
        ([1.0, 3.0], [1.0, 2.0], 0.1, 0.01, False, True),
        ([np.nan, 2.0], [np.nan, 2.0], 0.0, 0.0, True, False),
        ([np.nan, 2.0], [1.0, 2.0], 0.1, 0.1, False, True),
        ([np.inf, 2.0], [np.inf, 2.0], 0.0, 0.0, True, False),
        ([], [], 0.0, 0.0, True, False),
    ],
)
def test_round_off_is_measured_before_a_check_fails(found, expected, bar, noise, ok, measured):
    result, was_measured = check(found, expected, bar, noise)
    assert (result.ok, was_measured) == (ok, measured)
    assert result.compared == len(found)


def test_the_worst_element_is_named():
    result, _ = check([1.0, 2.0, 9.0, 4.0], [1.0, 3.0, 3.0, 4.0], 0.01)
    (mismatch,) = result.mismatches
    assert (mismatch.where, mismatch.computed, mismatch.reference) == ("element 2", 9.0, 3.0)
    assert result.worst == pytest.approx(6 / (8 * 0.01))

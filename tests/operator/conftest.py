"""Candidate times that are given instead of measured, so nothing is compiled."""

import pytest

from cnnjax.operator import tuning

MADE_UP = {"lax": 2.0, "im2col": 1.0, "shift": 3.0, "toeplitz": 1.95}


@pytest.fixture
def times(request, monkeypatch):
    """Each candidate takes the milliseconds in this dict, unless the test asks for real times (`as_measured`)."""
    made_up = dict(MADE_UP)

    def milliseconds(programs, seconds):
        return {name: made_up.get(name, 9.0) for name in programs}

    if "as_measured" not in request.fixturenames:
        monkeypatch.setattr(tuning, "_milliseconds", milliseconds)
    return made_up


@pytest.fixture
def as_measured():
    """Requested by a test that needs real times."""

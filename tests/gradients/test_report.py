"""The report: one screen, the same for success and failure; JSON and the figure."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import ArgumentValueError, GradientError
from cnnjax.gradients import GradientReport, check_grads

X = np.array([1.0, -2.0, 3.0], np.float32)


def test_success_and_failure_are_the_same_object(reports):
    good, bad = reports
    assert isinstance(good, GradientReport)
    assert isinstance(bad, GradientReport)
    assert (good.ok, bad.ok) == (True, False)
    assert good.worst < 1 < bad.worst
    assert bad.mismatches
    assert bad.failed
    assert not good.failed


def test_it_fits_on_a_screen(reports):
    for report in reports:
        lines = str(report).splitlines()
        assert len(lines) <= 40
        assert max(map(len, lines)) <= 140
    assert "0.5 times the right gradient" in str(reports[1])
    assert "FAILED gradient (rev) at given, order 1" in str(reports[1])


def test_json_holds_everything(reports):
    for report in reports:
        data = json.loads(report.to_json())
        assert data["ok"] is report.ok
        assert [c["name"] for c in data["checks"]] == [c.name for c in report.checks]
        assert data["evaluations"] == report.evaluations > 0
    assert json.loads(reports[1].to_json())["diagnosis"]


def test_the_figure_shows_the_v(reports):
    pytest.importorskip("matplotlib")
    (axes,) = reports[0].figure().axes
    assert "step" in axes.get_xlabel()
    assert len(axes.get_lines()) == 2
    with pytest.raises(GradientError) as caught:
        check_grads(lambda i: i, (np.int32(1),))
    with pytest.raises(ArgumentValueError, match="nothing was differentiated"):
        caught.value.report.figure()


def test_the_same_seed_gives_the_same_report():
    assert check_grads(jnp.sin, (X,), modes="rev", seed=3) == check_grads(jnp.sin, (X,), modes="rev", seed=3)

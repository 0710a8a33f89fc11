"""A line on a terminal, nothing in a log."""

import sys

import pytest

from cnnjax.gradients import progress
from cnnjax.gradients.progress import Progress


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "_QUIET", 0.0)
    monkeypatch.setattr(progress, "_INTERVAL", 0.0)


@pytest.mark.usefixtures("at_once")
def test_a_terminal_shows_the_latest_step(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    shown = Progress("loss", 60.0)
    shown("gradient (rev)")
    shown("linearity (rev)")
    shown.close()
    first, second, last = capsys.readouterr().err.split("\r")[1:4]
    assert first.rstrip() == "check_grads loss: gradient (rev), 0 of 60 s"
    assert second.rstrip() == "check_grads loss: linearity (rev), 0 of 60 s"
    assert not last.strip()


@pytest.mark.usefixtures("at_once")
def test_a_log_shows_nothing(capsys):
    shown = Progress("loss", 60.0)
    shown("gradient (rev)")
    shown.close()
    assert capsys.readouterr().err == ""


def test_a_short_verification_shows_nothing(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    shown = Progress("loss", float("inf"))
    shown("gradient (rev)")
    shown.close()
    assert capsys.readouterr().err == ""

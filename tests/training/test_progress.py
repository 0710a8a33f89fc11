"""The progress bar appears on a terminal and not in a log."""

import sys
import types

import pytest
from toy_runs import run

pytestmark = pytest.mark.usefixtures("standard_promotion")


def test_a_terminal_gets_a_progress_bar_and_a_log_none(network, digits, monkeypatch, capsys):
    run(network, digits, epochs=1)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run(network, digits, epochs=1)
    assert "epoch 1/1" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))  # not the real one: no bar, no failure
    run(network, digits, epochs=1)
    assert capsys.readouterr().err == ""

"""The tutorial's training: early stopping by patience, and an interrupted run that resumes."""

import json

import pytest


@pytest.fixture
def tutorial(experiment):
    return experiment("lenet_tutorial")


def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(tutorial, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert tutorial.main(["four_to_six", "--quick", "--out", str(whole)]) == 0
    assert tutorial.main(["four_to_six", "--quick", "--passes", "1", "--out", str(parts)]) == 0
    record = json.loads((parts / "four_to_six.json").read_text())
    assert record["ended"] == "passes"
    (parts / "four_to_six.json").write_text(json.dumps(record | {"ended": ""}))  # as if it had been killed there
    assert tutorial.main(["four_to_six", "--quick", "--out", str(parts)]) == 0
    first, second = (json.loads((folder / "four_to_six.json").read_text()) for folder in (whole, parts))
    assert first["history"] == second["history"]
    assert first["best"] == second["best"]
    assert [entry["iteration"] for entry in first["history"]] == [2, 4]


@pytest.mark.parametrize(
    ("errors", "ended_after", "best"),
    [
        ([5, 4, 4, 4, 4, 4, 4, 4], 4, 2),  # an improvement at iteration 2 x 2 gives patience of 2 x 3
        ([5, 4.99, 4.98, 4.98, 4.98, 4.98], 3, 3),  # too small a one gives none, and is kept all the same
    ],
)
def test_training_ends_when_patience_does(tutorial, tmp_path, monkeypatch, errors, ended_after, best):
    monkeypatch.setattr(tutorial, "PATIENCE", 4)
    measured = iter([e for i, e in enumerate(errors) for e in ([e, 7.0] if e < min([9, *errors[:i]]) else [e])])
    monkeypatch.setattr(tutorial, "error_rate", lambda *_: next(measured))
    monkeypatch.setattr(tutorial, "make_pass", lambda *_: lambda state, *_: (state, 0.0, 0.0))
    assert tutorial.main(["four_to_six", "--quick", "--passes", "9", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "four_to_six.json").read_text())
    assert record["ended"] == "patience"
    assert (record["passes"], record["best"]["iteration"] // 2) == (ended_after, best)


def test_a_network_that_is_not_there_is_named(tutorial, capsys):
    with pytest.raises(SystemExit):
        tutorial.main(["lenet7"])
    assert "no such network: lenet7" in capsys.readouterr().err

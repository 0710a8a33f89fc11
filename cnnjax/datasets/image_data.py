"""A labelled image data set as a value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImageData", "describe_sizes"]


@dataclass(frozen=True, eq=False, repr=False)
class ImageData:
    """A labelled image data set, split into training and test images; unpacks into its four arrays.

    Attributes:
        train_images: uint8 ``(N, height, width)``: sample, row from the top, column from the left; 0 is
            background. In colour ``(N, height, width, 3)``.
        train_labels: integers ``(N,)``: the class of each training image, an index into ``class_names``.
        test_images: uint8 ``(M, height, width)``, the same for the test images.
        test_labels: integers ``(M,)``.
        name: the name of the data set.
        source: one sentence for a log: what the data are, where they came from, and whether a checksum was
            verified.
        class_names: the meaning of each label.

    Example:
        >>> import cnnjax
        >>> data = cnnjax.datasets.mnist()
        >>> data
        ImageData(MNIST: 4,000 training and 1,000 test images of 28x28, 10 classes)
        >>> train_images, train_labels, test_images, test_labels = data
        >>> train_images is data.train_images
        True
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[Any]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[Any]
    name: str
    source: str
    class_names: tuple[str, ...]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield the training images and labels, then the test images and labels."""
        return iter((self.train_images, self.train_labels, self.test_images, self.test_labels))

    def __repr__(self) -> str:
        """Return the sizes, without the arrays."""
        height, width = self.train_images.shape[1:3]
        sizes = describe_sizes(self.name, len(self.train_images), len(self.test_images))
        return f"ImageData({sizes} of {height}x{width}, {len(self.class_names)} classes)"


def describe_sizes(name: str, training: int, test: int) -> str:
    """Return the name of a data set with its numbers of training and test images."""
    return f"{name}: {training:,} training and {test:,} test images"

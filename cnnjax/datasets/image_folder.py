"""A folder of images of one's own: a subfolder for each class, as in torchvision's `ImageFolder`."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnjax._core.messages import describe, error_message, value_error
from cnnjax.datasets.extra import import_extra
from cnnjax.datasets.image_data import ImageData, describe_sizes
from cnnjax.errors import DataError, DataNotFoundError

__all__ = ["image_folder"]

_CALLER = "image_folder"
_TEST_FOLDERS = ("test", "val", "validation")


def image_folder(
    path: str | PathLike[str], size: int | tuple[int, int] = 224, *, test_share: float = 0.2, seed: int = 0
) -> ImageData:
    """Read a folder of images with a subfolder for each class, resized and cropped to one size.

    The layouts are those of torchvision's `ImageFolder`::

        path/class/image.jpg                                       a share of each class becomes the test images
        path/train/class/image.jpg, path/test/class/image.jpg      or "val", or "validation", in the place of "test"

    Images are scaled so that they just cover `size`, and cropped at their centre; grey ones become grey colours. All of
    them are kept in memory: 150 kB each at 224 x 224. Pillow reads them, and turns photographs upright as their
    metadata says.

    Args:
        path: the folder.
        size: the height and width of every image, one integer or a pair.
        test_share: the share of each class that becomes test images, where there is no folder of them.
        seed: which images these are.

    Returns:
        An `ImageData` with images (N, height, width, 3), whose `class_names` are the subfolders in alphabetical order.

    Raises:
        DataNotFoundError: for a folder that does not exist.
        DataError: for a folder without classes, a class without images, classes that differ between training and test
            images, or a file that is not an image.
        ArgumentValueError: for a size that is not one or two positive integers, or a share that leaves no training or
            no test images in a class.
        MissingExtraError: without Pillow.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, colour in (("black", 0), ("white", 255)):
        ...         (Path(folder) / name).mkdir()
        ...         for i in range(5):
        ...             Image.new("L", (40, 30), colour).save(f"{folder}/{name}/{i}.png")
        ...     data = image_folder(folder, size=16)
        >>> data.train_images.shape, data.test_labels.tolist(), data.class_names
        ((8, 16, 16, 3), [0, 1], ('black', 'white'))

    Source: the layout of `torchvision.datasets.ImageFolder`.
    """
    shape = _height_and_width(size)
    root = Path(path)
    if not root.is_dir():
        raise DataNotFoundError(_message(root, "which does not exist", "a folder", "name a folder of images"))
    pillow = import_extra(_CALLER, "path", "PIL.Image", got=f"{str(root)!r}", alternative="pass arrays of your own")
    test_folder = next((root / name for name in _TEST_FOLDERS if (root / name).is_dir()), None)
    if (root / "train").is_dir() and test_folder is not None:
        names, train_files = _files_by_class(root / "train", pillow)
        test_names, test_files = _files_by_class(test_folder, pillow)
        if names != test_names:
            differing = ", ".join(sorted(set(names) ^ set(test_names)))
            problem = f"whose training and test images differ in the classes {differing}"
            raise DataError(_message(root, problem, "the same classes in both", "add or remove these folders"))
    else:
        names, files = _files_by_class(root, pillow)
        train_files, test_files = _split(files, names, test_share, seed)
    train_images, train_labels = _read(train_files, shape)
    test_images, test_labels = _read(test_files, shape)
    name = root.resolve().name
    source = f"{describe_sizes(name, len(train_labels), len(test_labels))} from {root}."
    return ImageData(train_images, train_labels, test_images, test_labels, name=name, source=source, class_names=names)


def _height_and_width(size: Any) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else size
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
        expected = "a positive integer, or a pair (height, width) of them"
        raise value_error(_CALLER, "size", got=describe(size), expected=expected, fix="use for example size=224")
    return pair[0], pair[1]


def _files_by_class(root: Path, pillow: Any) -> tuple[tuple[str, ...], list[list[Path]]]:
    """Return the names of the classes, and the images of each in alphabetical order."""
    pillow.init()
    extensions = {name for name, kind in pillow.registered_extensions().items() if kind in pillow.OPEN}
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    if len(folders) < 2:
        problem = f"with {len(folders)} subfolder{'s' if len(folders) != 1 else ''}"
        raise DataError(_message(root, problem, "a subfolder for each of at least two classes", "sort the images"))
    files = [sorted(file for file in folder.rglob("*") if file.suffix.lower() in extensions) for folder in folders]
    empty = [folder.name for folder, found in zip(folders, files, strict=True) if not found]
    if empty:
        problem = f"where {', '.join(empty)} holds no image"
        raise DataError(
            _message(root, problem, "images in each subfolder", "remove the subfolders that are no classes")
        )
    return tuple(folder.name for folder in folders), files


def _split(
    files: Sequence[Sequence[Path]], names: Sequence[str], share: float, seed: int
) -> tuple[list[list[Path]], list[list[Path]]]:
    """Return the training and the test images of each class."""
    draw = np.random.default_rng(seed)
    train: list[list[Path]] = []
    test: list[list[Path]] = []
    for name, own in zip(names, files, strict=True):
        count = round(share * len(own))
        if not 0 < count < len(own):
            raise value_error(
                _CALLER,
                "test_share",
                got=f"{describe(share)}, {count} of the {len(own)} images of {name!r}",
                expected="at least one training and one test image of each class",
                fix="add images, or use another share",
            )
        order = draw.permutation(len(own))
        test.append([own[i] for i in sorted(order[:count])])
        train.append([own[i] for i in sorted(order[count:])])
    return train, test


def _read(files: Sequence[Sequence[Path]], shape: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return the images of all classes, (N, height, width, 3), and their labels."""
    labels = np.repeat(np.arange(len(files)), [len(own) for own in files])
    labels = labels.astype(np.uint8 if len(files) <= 256 else np.uint16)
    return np.stack([_read_image(file, shape) for own in files for file in own]), labels


def _read_image(path: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(ImageOps.fit(upright, (shape[1], shape[0]), Image.Resampling.BILINEAR))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(_message(path, f"which Pillow cannot read ({error})", "an image", "replace it")) from error


def _message(path: Path, problem: str, expected: str, fix: str) -> str:
    return error_message(_CALLER, "path", got=f"{str(path)!r}, {problem}", expected=expected, fix=fix)

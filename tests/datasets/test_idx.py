"""The IDX reader against an independent writer, and everything it refuses."""

import gzip

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from idx_files import CODES, idx_bytes, same_arrays, small_arrays, write_folder

from cnnjax import datasets, errors

DTYPES = st.sampled_from(sorted(CODES)).map(np.dtype)
ARRAYS = DTYPES.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file"


@hypothesis.given(array=ARRAYS, packed=st.booleans(), as_text=st.booleans())
def test_what_was_written_is_read(scratch, array, packed, as_text):
    scratch.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    read = datasets.read_idx(str(scratch) if as_text else scratch)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array, strict=True)


@hypothesis.given(array=ARRAYS, packed=st.booleans(), data=st.data())
def test_a_cut_file_is_refused(scratch, array, packed, data):
    content = gzip.compress(idx_bytes(array)) if packed else idx_bytes(array)
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
    content = bytearray(gzip.compress(idx_bytes(array), mtime=0))
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
        idx_bytes(IMAGES)[:-1],
        r"truncated: it holds 7,839 .* expected 7,840 .* shape \(10, 28, 28\) of uint8",
    ),
    "left over": (idx_bytes(IMAGES) + b"\n", "has bytes left over: it holds 7,841 .* expected 7,840 bytes"),
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
    "cut gzip": (gzip.compress(idx_bytes(IMAGES))[:-9], "gzip data are truncated or corrupt"),
    "gzip with a tail": (gzip.compress(idx_bytes(IMAGES)) + b"tail", "gzip data are truncated or corrupt"),
    "cut, then packed": (gzip.compress(idx_bytes(IMAGES)[:-40]), "truncated: it holds 7,800 bytes"),
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
    write_folder(tmp_path / "digits")
    assert same_arrays(datasets.mnist("~/digits"), small_arrays())

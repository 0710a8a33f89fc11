"""IDX files for the tests of the data sets, written by an independent writer."""

import dataclasses
import gzip
import hashlib
import struct

import numpy as np

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx_bytes(array):
    """The bytes of an IDX file."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.name], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def small_arrays(train=6, test=4):
    """Four small arrays in the order of the files."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (count, 28, 28), np.uint8) for count in (train, test)]
    labels = [rng.integers(0, 10, count).astype(np.uint8) for count in (train, test)]
    return [images[0], labels[0], images[1], labels[1]]


def write_folder(folder, arrays=None, spell="{}"):
    """Write four IDX files into a folder and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(NAMES, small_arrays() if arrays is None else arrays, strict=True):
        content = idx_bytes(array)
        (folder / spell.format(name)).write_bytes(gzip.compress(content, 1) if ".gz" in spell else content)
    return folder


def same_arrays(data, arrays):
    return all(np.array_equal(mine, theirs) for mine, theirs in zip(data, arrays, strict=True))


def with_array(place, array):
    arrays = small_arrays()
    arrays[place] = array
    return arrays


def published_as(data, arrays, **changes):
    """The description of a data set as if ``arrays`` were what was published."""
    files = tuple(
        dataclasses.replace(
            file,
            count=len(array),
            md5=hashlib.md5(idx_bytes(array)).hexdigest(),
            sha256=hashlib.sha256(gzip.compress(idx_bytes(array), mtime=0)).hexdigest(),
        )
        for file, array in zip(data.files, arrays, strict=True)
    )
    return dataclasses.replace(data, files=files, **changes)

"""The IDX file format, in which MNIST is distributed."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnjax._core.messages import describe, error_message, type_error, value_error
from cnnjax.errors import DataError, DataNotFoundError

__all__ = ["check_path", "decode", "decompress", "read_bytes", "read_idx"]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_RETRY = "copy or download the file again"


def read_idx(file: str | os.PathLike[str]) -> NDArray[Any]:
    """Read one IDX file into an array, whether or not it is gzipped (detected from its content, not its name).

    The format::

        00 00   type code   rank   one 4-byte count for each axis   the elements

    Everything is big-endian, the last axis varies fastest, and the type code is 08 for uint8, 09 for int8, 0B for
    int16, 0C for int32, 0D for float32 and 0E for float64.

    Args:
        file: the file to read.

    Returns:
        A new, writable array in native byte order, with the dtype and axes that the header states: MNIST's images
        are uint8 ``(N, 28, 28)`` (sample, row, column), its labels uint8 ``(N,)``.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: the file cannot be read, is not an IDX file, is truncated or has trailing bytes, or its gzip data are
            corrupt.
        ArgumentTypeError, ArgumentValueError: ``file`` is not a path.

    Example:
        >>> import pathlib, tempfile
        >>> header = bytes([0, 0, 0x08, 2]) + bytes([0, 0, 0, 2]) + bytes([0, 0, 0, 3])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "tiny-idx2-ubyte")
        ...     _ = file.write_bytes(header + bytes([1, 2, 3, 4, 5, 6]))
        ...     read_idx(file)
        array([[1, 2, 3],
               [4, 5, 6]], dtype=uint8)

    Source: the description of the format on the MNIST page (LeCun, Cortes, Burges).
    """
    path = check_path("read_idx", "file", file)
    return decode(decompress(read_bytes(path), path), path)


def check_path(caller: str, argument: str, value: str | os.PathLike[str]) -> Path:
    """Return the path that a value names, with its ``~`` expanded, or raise unless it names one."""
    expected = "the name of a file or folder, as a str or a pathlib.Path"
    fix = f"pass a path, such as {caller}('data')"
    if not isinstance(value, (str, os.PathLike)):
        raise type_error(caller, argument, got=describe(value), expected=expected, fix=fix)
    text = os.fsdecode(value)
    if not text or "\0" in text:
        raise value_error(caller, argument, got=repr(text), expected=expected, fix=fix)
    return Path(os.path.expanduser(text))


def read_bytes(file: Path) -> bytes:
    """Return a file's bytes; raises DataError."""
    expected = "an IDX file, plain or gzipped"
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise _file_error(file, "which does not exist", expected, "check the name", DataNotFoundError) from error
    except OSError as error:
        fix = "name one file that you may read (mnist and fashion_mnist take the folder)"
        raise _file_error(file, f"which cannot be read ({error.strerror})", expected, fix) from error


def decompress(content: bytes, file: Path) -> bytes:
    """Return the bytes of an IDX file, uncompressed if they are gzipped; raises DataError, which names the file."""
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        problem = f"whose gzip data are truncated or corrupt ({error})"
        raise _file_error(file, problem, "an IDX file, plain or gzipped") from error


def decode(content: bytes, file: Path) -> NDArray[Any]:
    """Return the array in the uncompressed bytes of an IDX file; raises DataError, which names the file."""
    codes = ", ".join(f"{code:02x} {np.dtype(dtype).name}" for code, dtype in _DTYPES.items())
    expected = f"an IDX file: 00 00, a type code ({codes}), the rank, and a 4-byte count for each axis"
    header = 4 + 4 * content[3] if len(content) >= 4 else 4
    if len(content) < header or content[:2] != b"\0\0" or content[2] not in _DTYPES or content[3] == 0:
        begins = f"which begins with the bytes {content[:4].hex(' ')} and has {len(content):,} in all"
        problem = begins if content else "which is empty"
        raise _file_error(file, problem, expected, f"check that it is an IDX file, or {_RETRY}")
    dtype = np.dtype(_DTYPES[content[2]])
    shape = tuple(int(count) for count in np.frombuffer(content[4:header], ">u4"))
    needed, present = math.prod(shape) * dtype.itemsize, len(content) - header
    if present != needed:
        problem = "which is truncated" if present < needed else "which has bytes left over"
        stated = f"{needed:,} bytes of data, as its header says: shape {shape} of {dtype.name}"
        raise _file_error(file, f"{problem}: it holds {present:,} bytes of data", stated)
    try:
        return np.frombuffer(content, dtype, offset=header).astype(dtype.newbyteorder("=")).reshape(shape)
    except ValueError as error:  # more axes, or longer ones, than NumPy supports
        raise _file_error(file, f"whose header cannot be right ({error})", expected) from error


def _file_error(
    file: Path, problem: str, expected: str, fix: str = _RETRY, kind: type[DataError] = DataError
) -> DataError:
    return kind(error_message("read_idx", "file", got=f"{str(file)!r}, {problem}", expected=expected, fix=fix))

"""A lock on a folder: one process at a time holds it, and the system releases it when that process ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["lock_folder"]


def lock_folder(folder: Path) -> Callable[[], None] | None:
    """Lock a folder, and return the function that releases the lock; None if it is locked already.

    The lock is one of the folder itself, not a file in it, so nothing is left behind by a process that is killed. On
    Windows, and on file systems without locks, there is none, and the function does nothing.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> release = lock_folder(folder)
        >>> lock_folder(folder) is None
        True
        >>> release()
        >>> lock_folder(folder) is None
        False
    """
    if sys.platform == "win32":
        return _nothing
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        return None if isinstance(error, BlockingIOError) else _nothing
    return lambda: os.close(descriptor)


def _nothing() -> None: ...

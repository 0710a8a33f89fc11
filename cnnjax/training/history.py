"""The history of a run as JSON Lines: an object an epoch, the same bytes whether or not the run was interrupted."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["append", "read"]


def append(path: str | os.PathLike[str], entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Add an epoch's entry to a file, and return all that it holds now.

    The epoch's own older entry and all later ones are dropped: a run that goes on from a checkpoint lives through them
    again. The file is replaced whole, so it never ends in half a line. Entries hold what the run determines, no times.

    Raises OSError when the file cannot be written.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "history.jsonl")
    >>> for epoch in (1, 2, 3, 2):
    ...     _ = append(file, {"epoch": epoch, "loss": 0.5})
    >>> print(file.read_text(), end="")
    {"epoch": 1, "loss": 0.5}
    {"epoch": 2, "loss": 0.5}
    """
    file = Path(path)
    entries = [kept for kept in read(file) if kept["epoch"] < entry["epoch"]] + [dict(entry)]
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    unfinished.write_text("".join(json.dumps(kept) + "\n" for kept in entries))
    unfinished.replace(file)
    return entries


def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The entries of a file, in order; none where there is no file.

    >>> read("no/such/history.jsonl")
    []
    """
    file = Path(path)
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

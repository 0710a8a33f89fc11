"""The history of a run as JSON Lines, one object per epoch; an interrupted and resumed run writes the same bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["append", "read"]


def append(path: str | os.PathLike[str], entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Append an epoch's entry to a file, and return all of its entries.

    An older entry of the same epoch and all later ones are dropped, because a resumed run repeats them. The file is
    replaced as a whole, so it never ends in an incomplete line.

    Args:
        path: the file.
        entry: "epoch", its number, and any reproducible values. Wall-clock times are not reproducible; keep them in
            another file.

    Raises:
        OSError: when the file cannot be written.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "history.jsonl")
        >>> for epoch in (1, 2, 3, 2):
        ...     _ = append(file, {"epoch": epoch, "loss": 0.5})
        >>> print(file.read_text(), end="")
        {"epoch": 1, "loss": 0.5}
        {"epoch": 2, "loss": 0.5}
    """
    file = Path(path)
    entries = [earlier for earlier in read(file) if earlier["epoch"] < entry["epoch"]] + [dict(entry)]
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text("".join(json.dumps(line) + "\n" for line in entries))
    temporary.replace(file)
    return entries


def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the entries of a file, in order; an empty list if there is no file.

    Args:
        path: the file.

    Example:
        >>> read("no/such/history.jsonl")
        []
    """
    file = Path(path)
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

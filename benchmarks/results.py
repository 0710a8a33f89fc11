"""How the benchmarks store their numbers: a JSON record and, if requested, the Markdown page generated from it."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["add_options", "allocator", "provenance", "report", "resume", "save", "table"]

Record = Mapping[str, Any]
Render = Callable[[Record], str]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add --record, --page and --report."""
    parser.add_argument("--record", type=Path, help="JSON file for the results")
    parser.add_argument("--page", type=Path, help="Markdown file for the results; not written unless given")
    parser.add_argument("--report", action="store_true", help="measure nothing; write --page from --record")


def report(options: argparse.Namespace, render: Render) -> bool:
    """With --report, write the page from the record; return whether --report was given."""
    if not options.report:
        return False
    if not (options.record and options.page and options.record.exists()):
        raise SystemExit("--report needs --page, and a --record that exists.")
    options.page.write_text(render(json.loads(options.record.read_text())))
    return True


def save(options: argparse.Namespace, record: Record, render: Render) -> None:
    """Write the record and the page, each only if its option is given; interrupted, the old record stays whole."""
    if options.record:
        unfinished = options.record.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(record, indent=1) + "\n")
        unfinished.replace(options.record)
    if options.page:
        options.page.write_text(render(record))


def resume(path: Path | None, fresh: Record, same: Sequence[str]) -> dict[str, Any]:
    """The record in `path`, dated anew, or `fresh` if there is none; it must agree with `fresh` in the keys `same`."""
    if path is None or not path.exists():
        return dict(fresh)
    record = json.loads(path.read_text())
    for key in same:
        if record.get(key) != fresh[key]:
            raise SystemExit(
                f"{path} was measured with other {key}: {record.get(key)}, not {fresh[key]}. Delete or rename it."
            )
    return record | {"date": fresh["date"]}


def allocator() -> str:
    """How glibc's allocator was set for this process, as `glibc.malloc.hugetlb=1`; empty where it was not."""
    return os.environ.get("GLIBC_TUNABLES", "")


def provenance(record: Record, module: str, name: str) -> str:
    """When, where and with what a record was measured, how to repeat it, and where its numbers are."""
    setting = f"GLIBC_TUNABLES={record['allocator']} " if record.get("allocator") else ""
    versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
    return (
        f"Measured {record['date']} on {record['machine']} with {versions}; seed {record['seed']}. All numbers are in "
        f"[{name}.json](../records/{name}.json). To repeat the measurement and write this page:\n\n"
        f"```console\n{setting}python -m {module} --record docs/records/{name}.json --page docs/results/{name}.md\n```"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

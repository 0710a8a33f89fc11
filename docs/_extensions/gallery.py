"""The gallery is experiments/README.md, whose links are relative to its folder and whose headings are links to scripts.

On the site a heading is plain text, since it is an entry of the table of contents, and the script a download below it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def setup(app: Any) -> dict[str, bool]:
    """Rewrite the page as it is included."""
    app.connect("include-read", _rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _rewrite(app: Any, relative_path: Path, parent_docname: str, content: list[str]) -> None:
    if parent_docname == "gallery":
        content[0] = for_the_site(content[0])


def for_the_site(page: str) -> str:
    """Move links out of headings and make them relative to docs/.

    >>> print(for_the_site("## [a.py](a.py): a title\\n\\nSee [b](../docs/b.md), [parts](a/README.md), [c](http://c)."))
    ## A title
    <BLANKLINE>
    Script: [`experiments/a.py`](../experiments/a.py)
    <BLANKLINE>
    See [b](b.md), `experiments/a/README.md`, [c](http://c).
    """
    page = re.sub(r"^## \[(\S+\.py)\]\(\S+\): (.)(.*)$", _heading, page, flags=re.MULTILINE)
    page = re.sub(r"\[[^]]*\]\((?!\.\./|https?:)(\S+\.md)\)", r"`experiments/\1`", page)
    return page.replace("](../docs/", "](")


def _heading(match: re.Match[str]) -> str:
    script, first, rest = match.groups()
    return f"## {first.upper()}{rest}\n\nScript: [`experiments/{script}`](../experiments/{script})"

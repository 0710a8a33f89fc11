"""Docstrings of cnnjax as reStructuredText: plain docstrings stay plain in the code, and are marked up here.

Three conventions are translated: an indented formula is a literal block, `name` in single backticks is a reference
where there is something to refer to and code elsewhere, and everything outside backticks is literal text (so `*` and
`|` in formulas are no markup). The last paragraph, "Source: ...", becomes a field beside the parameters.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

SECTION = re.compile(r"(Args|Attributes|Example|Examples|Raises|Returns|Source|Yields):(?= |$)")
_CODE = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)
_NAME = re.compile(r"`[A-Za-z_][\w.]*`")


def setup(app: Any) -> dict[str, bool]:
    """Register the translation around that of sphinx.ext.napoleon."""
    app.setup_extension("sphinx.ext.napoleon")
    app.connect("autodoc-process-docstring", _before_napoleon, priority=100)
    app.connect("autodoc-process-docstring", _after_napoleon, priority=900)
    app.connect("autodoc-process-signature", _plain_aliases)
    app.connect("autodoc-skip-member", _skip_member)
    app.connect("missing-reference", _resolve_short_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _before_napoleon(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    if what == "data":
        lines[:] = _comment_of(name, value)
    lines[:] = marked_up(lines)
    if what in ("attribute", "data", "property"):  # napoleon would take the words before a colon for the type
        lines[:1] = re.split(r"(?<=:) +", lines[0], maxsplit=1)


def _after_napoleon(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [line.replace("jax.jaxlib._jax.Array", "jax.Array") for line in _source_as_field(lines)]


def marked_up(lines: list[str]) -> list[str]:
    r"""Translate the lines of a docstring.

    >>> print("\n".join(marked_up(["The sum of *args by `add`:", "", "    y = a * b", "", "Source: Euler."])))
    The sum of \*args by `add`:
    <BLANKLINE>
    .. code-block:: text
    <BLANKLINE>
        y = a * b
    <BLANKLINE>
    Source:
        Euler.
    """
    translated: list[str] = []
    for is_text, run in groupby(_translated(lines), key=itemgetter(0)):
        part = "\n".join(line for _, line in run)
        translated += (escaped(part) if is_text else part).split("\n")
    return translated


def _translated(lines: list[str]) -> Iterator[tuple[bool, str]]:
    """Yield each line with whether it is text, in which markup is to be escaped."""
    literal, section, doctest, before = False, "", False, ""
    for number, line in enumerate(lines):
        blank, indent = not line.strip(), len(line) - len(line.lstrip())
        after_blank = number > 0 and not lines[number - 1].strip()
        if blank:
            doctest = False
            yield False, line
            continue
        literal = literal and indent > 0
        heading = SECTION.match(line)
        if heading:
            section = heading[1]
            yield False, f"{section}:"
            if rest := line[heading.end() :].strip():
                yield True, "    " + rest
            before = line
            continue
        doctest = doctest or line.lstrip().startswith(">>>")
        if not (section or literal or doctest) and indent and after_blank and not _is_item(before):
            literal = True
            if not before.endswith("::"):
                yield False, ".. code-block:: text"
                yield False, ""
        if section == "Source" and not indent:
            line = "    " + line
        yield not (literal or doctest), line
        before = line


def _is_item(line: str) -> bool:
    return line.lstrip().startswith(("- ", "* ", ".. "))


def escaped(text: str) -> str:
    r"""Escape what is no markup; `f` stays a reference, and `f(x)` is code.

    >>> print(escaped("`f` of |x| * `g(x)` with w_ and ``h``"))
    `f` of \|x\| \* ``g(x)`` with w\_ and ``h``
    """
    parts = _CODE.split(text)
    for i, part in enumerate(parts):
        if i % 2 == 0:
            part = re.sub(r"([*|])", r"\\\1", re.sub(r"(?<=\w)_(?!\w)", r"\\_", part))
            parts[i] = re.sub(r"\bdocs/([\w/]+)\.md\b", r":doc:`/\1`", part)
        elif not part.startswith("``") and not _NAME.fullmatch(part):
            parts[i] = f"`{part}`"
    for i in range(2, len(parts), 2):
        if parts[i][:1].isalnum():  # `f`s: markup ends before the s
            parts[i] = "\\ " + parts[i]
    return "".join(parts)


def _source_as_field(lines: list[str]) -> list[str]:
    if ".. rubric:: Source" not in lines:
        return lines
    at = lines.index(".. rubric:: Source")
    words = " ".join(line.strip() for line in lines[at + 1 :] if line.strip())
    words = re.sub(r"^(\w)\.", r"\1\\.", words)  # an initial is no item of a list
    return [*lines[:at], "", f":Source: {words}", ""]


def _comment_of(name: str, value: Any) -> list[str]:
    """The comment of a constant: autodoc reads it only in the module that defines the constant."""
    from sphinx.errors import PycodeError
    from sphinx.pycode import ModuleAnalyzer
    from sphinx.util import logging

    last = name.rpartition(".")[2]
    for module_name, module in sorted(sys.modules.items()):
        if module_name.startswith("cnnjax") and vars(module).get(last) is value:
            try:
                found = ModuleAnalyzer.for_module(module_name).find_attr_docs().get(("", last))
            except PycodeError:
                continue
            if found:
                return list(found)
    logging.getLogger(__name__).warning("the constant %s has no comment", name)
    return []


def _plain_aliases(
    app: Any, what: str, name: str, value: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Show a type alias in a union by its name alone, and a default made by a factory as an ellipsis."""
    alias = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
    plain = (text and alias.sub(r"\1", text).replace("<factory>", "...") for text in (signature, returns))
    return next(plain), next(plain)


def _skip_member(app: Any, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of a NamedTuple, which Python documents as "Alias for field number"."""
    return True if (getattr(value, "__doc__", None) or "").startswith("Alias for field number") else None


def _resolve_short_name(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Resolve `conv2d` from any module, and `cnnjax.ConnectionTable` where it is documented."""
    target = node.get("reftarget", "").removeprefix("cnnjax.")
    if node.get("refdomain") != "py" or not target:
        return None
    domain = env.get_domain("py")
    ends = [name for name, entry in domain.objects.items() if name.endswith(f".{target}") and _linkable(entry)]
    best = f"cnnjax.{target}" if f"cnnjax.{target}" in ends else ends[0] if len(ends) == 1 else None
    if best is None:
        return None
    from sphinx.util.nodes import make_refnode

    entry = domain.objects[best]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, best)


def _linkable(entry: Any) -> bool:
    return entry.objtype in ("class", "data", "exception", "function", "method") and not entry.aliased

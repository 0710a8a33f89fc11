"""The documentation site: every public name has an entry, and the site builds without a warning."""

import importlib
import inspect
import re
import subprocess
import sys
import types
import zlib
from pathlib import Path

import pytest

import cnnjax

DOCS = Path(__file__).parents[2] / "docs"

DIRECTIVE = re.compile(
    r"^\.\. (?:auto(?:class|data|exception|function)|currentmodule|automodule):: (\S+)$", re.MULTILINE
)


def public_names():
    """The names of every public module's `__all__`, in full, with their values."""
    modules, waiting = {}, [cnnjax]
    while waiting:
        module = waiting.pop()
        modules[module.__name__] = module
        values = [getattr(module, name) for name in getattr(module, "__all__", ())]
        waiting += [v for v in values if isinstance(v, types.ModuleType) and v.__name__ not in modules]
    names = {}
    for module_name, module in modules.items():
        names |= {f"{module_name}.{name}": getattr(module, name) for name in getattr(module, "__all__", ())}
    return names


def entries_of_sources():
    """The names that docs/api gives an entry, read from its sources: directives below their `currentmodule`."""
    names = set()
    for page in sorted((DOCS / "api").glob("*")):
        module = ""
        for match in DIRECTIVE.finditer(page.read_text()):
            kind, name = match[0].split("::")[0], match[1]
            if kind.endswith("currentmodule"):
                module = name
            else:
                names.add(name if kind.endswith("automodule") or name.startswith("cnnjax") else f"{module}.{name}")
    return names


def without_entry(entries):
    """The public names that have no entry, neither under this name nor under another of the same value."""
    public = public_names()
    found = {id(public[name]) for name in entries if name in public}
    return sorted(name for name, value in public.items() if id(value) not in found)


def value_of(name):
    """The value of a name in full."""
    parts = name.split(".")
    for i in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:i]))
        except ModuleNotFoundError:
            continue
        for part in parts[i:]:
            value = getattr(value, part)
        return value
    raise AssertionError(name)


def test_every_public_name_is_in_the_api_reference():
    assert without_entry(entries_of_sources()) == []


def test_every_entry_of_the_api_reference_exists_and_has_a_docstring():
    for name in entries_of_sources():
        value = value_of(name)
        if inspect.isroutine(value) or isinstance(value, (type, types.ModuleType)):
            assert inspect.getdoc(value), name


def test_every_page_of_the_api_reference_is_in_its_index():
    listed = set(re.findall(r"^(\w+)$", (DOCS / "api" / "index.md").read_text(), re.MULTILINE))
    assert {page.stem for page in (DOCS / "api").glob("*.rst")} <= listed


def test_every_term_that_a_newcomer_looks_up_is_in_the_glossary():
    terms = (DOCS / "glossary.md").read_text().split("\n")
    for term in ("channel", "map", "volume", "activation tensor", "table", "mask", "link", "connection", "MAC"):
        assert term in terms, term


@pytest.fixture(scope="module")
def built_site(tmp_path_factory):
    """The folder of the built site and what its build printed."""
    for package in ("sphinx", "myst_parser", "furo", "sphinx_copybutton"):
        pytest.importorskip(package)
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", DOCS, site]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=DOCS.parent)
    return site, done


def test_the_site_builds_without_a_warning(built_site):
    _, done = built_site
    assert (done.returncode, done.stderr) == (0, "")


def test_every_public_name_is_in_the_inventory_of_the_site(built_site):
    site, _ = built_site
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    entries = {line.split(" ")[0] for line in zlib.decompress(packed).decode().splitlines() if " py:" in line}
    assert without_entry(entries) == []


def test_every_link_within_the_site_leads_somewhere(built_site):
    site, _ = built_site
    for page in site.rglob("*.html"):
        for target in re.findall(r'(?:href|src)="([^"#?:]+)["#?]', page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


def test_an_undocumented_public_name_fails_the_build(monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "_extensions")
    undocumented = importlib.import_module("public_names").undocumented
    public = {"cnnjax.f": len, "cnnjax.module.f": len, "cnnjax.module.g": max}
    assert undocumented(public, ["cnnjax.f"]) == ["cnnjax.module.g"]
    assert undocumented(public, ["cnnjax.f", "cnnjax.module.g"]) == []
    assert undocumented({"cnnjax.h": types.FunctionType((lambda: 0).__code__, {})}, ["cnnjax.h"]) == ["cnnjax.h"]


def test_the_tree_of_the_architecture_page_is_that_of_the_repository():
    page = (DOCS / "guides" / "architecture.md").read_text()
    tree, folders, named = page.split("```text\n")[1].split("```")[0], [], set()
    for line in tree.splitlines():
        indent = len(line) - len(line.lstrip())
        name = line.split()[0]
        folders = [*folders[: indent // 2], name]
        path = DOCS.parent.joinpath(*folders)
        assert path.is_dir() if name.endswith("/") else path.is_file(), path
        named.add(path)
    package = DOCS.parent / "cnnjax"
    modules = set(package.glob("[!_]*.py")) | {path.parent for path in package.glob("*/__init__.py")}
    assert modules <= named

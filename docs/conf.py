"""The documentation site: sphinx-build -W -b html docs site."""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "docs" / "_extensions"), str(ROOT)]

project = "cnnjax"
copyright = "the cnnjax authors"
version = release = next(
    line.split('"')[1] for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version")
)

extensions = [
    "docstrings",
    "gallery",
    "myst_parser",
    "public_names",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_*", "figures", "records"]
default_role = "py:obj"

myst_enable_extensions = ["deflist", "smartquotes"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
# Aliases are shown by their names, not as the unions that they stand for.
autodoc_type_aliases = {
    name: name
    for name in (
        "ActivationName",
        "Activation",
        "ArrayLike",
        "Augment",
        "Connections",
        "DTypeLike",
        "Direction",
        "Loss",
        "MethodName",
        "NDArray",
        "Padding",
        "Params",
        "Pixels",
        "Platform",
        "PrecisionLike",
        "Shape",
    )
}
autosummary_generate = False
napoleon_custom_sections = ["Source"]
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 90
python_use_unqualified_type_names = True
add_module_names = False

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

highlight_language = "text"
pygments_style = "friendly"
pygments_dark_style = "github-dark"
html_theme = "furo"
html_title = f"cnnjax {release}"
html_static_path = ["_static"]
html_css_files = ["cnnjax.css"]
html_favicon = "_static/logo.svg"
html_logo = "_static/logo.svg"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5f8b", "color-brand-content": "#1f5f8b"},
    "dark_css_variables": {"color-brand-primary": "#7db8e0", "color-brand-content": "#7db8e0"},
    "navigation_with_keys": True,
}


def setup(app: Any) -> None:
    """Correct what the extensions leave behind."""
    app.connect("doctree-read", _strip_code)
    app.connect("env-check-consistency", _drop_modules_without_source)


def _strip_code(app: Any, doctree: Any) -> None:
    """Drop the empty line with which a doctest in Markdown ends."""
    from docutils import nodes

    for block in doctree.findall(nodes.literal_block):
        if len(block.children) == 1 and block.rawsource == block.astext():
            block.rawsource = block.rawsource.rstrip()
            block[:] = [nodes.Text(block.rawsource)]


def _drop_modules_without_source(app: Any, env: Any) -> None:
    """Keep viewcode's index from linking to builtins, where the type aliases come from."""
    pages = env._viewcode_modules
    for name in [name for name, source in pages.items() if not source]:
        del pages[name]

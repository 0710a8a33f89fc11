"""Submodules that are imported on first use."""

import subprocess
import sys

import pytest

from cnnjax._core.lazy import lazy_submodules


def test_a_named_submodule_is_imported_when_it_is_used():
    code = (
        "import sys; from cnnjax._core.lazy import lazy_submodules; attribute = lazy_submodules('json', 'tool'); "
        "before = 'json.tool' in sys.modules; print(before, attribute('tool').__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "json.tool"]


def test_any_other_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'json' has no attribute 'scanner'"):
        lazy_submodules("json", "tool")("scanner")

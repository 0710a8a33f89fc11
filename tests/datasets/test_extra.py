"""Packages of the extra are imported, or an error says how to do without them."""

import sys

import pytest

from cnnjax import errors
from cnnjax.datasets.extra import import_extra


def test_a_module_that_is_installed_is_imported():
    assert (
        import_extra("f", "x", "importlib.metadata", got="1", alternative="wait") is sys.modules["importlib.metadata"]
    )


def test_a_package_that_is_missing_is_named_with_both_ways_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "absent", None)
    message = r"^f: `x` is 1, which needs the package absent, .*; expected absent to be installed\. Fix: pip install "
    with pytest.raises(errors.MissingExtraError, match=message + r"'cnnjax\[experiments\]', or wait\.$"):
        import_extra("f", "x", "absent.module", got="1", alternative="wait")

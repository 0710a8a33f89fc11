"""The record of check_grads on functions of other libraries, its page, and the faults found on the way."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "gradcheck" / "libraries"
RECORD = json.loads((ROOT / "docs" / "records" / "gradients_libraries.json").read_text())


def module(name):
    spec = importlib.util.spec_from_file_location(f"gradients_of_libraries_{name}", FOLDER / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded  # where dataclasses look for it
    spec.loader.exec_module(loaded)
    return loaded


def test_what_was_committed_is_what_the_page_says():
    assert (ROOT / "docs" / "results" / "gradients_libraries.md").read_text() == module("page").page(RECORD)


def test_every_verdict_is_right_and_none_takes_a_minute():
    rows = RECORD["rows"]
    assert len({(row["library"], row["name"], row["dtype"]) for row in rows}) == len(rows) >= 150
    assert [row["name"] for row in rows if not module("page").is_right(row)] == []
    assert max(row["seconds"] for row in rows) < 60


@pytest.mark.parametrize("fault", RECORD["faults"], ids=lambda fault: fault["title"])
def test_the_page_has_the_programs_that_ran(fault):
    assert fault["program"] in [one.program for one in module("faults").FAULTS]
    assert abs(fault["found"] - fault["truth"]) > 1e-3 or fault["found"] != fault["found"]

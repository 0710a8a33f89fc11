"""The communication between devices, read from the text of a compiled program."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.training.scaling import Collective, collectives, page

sys.path.pop(0)

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%a = f32[5,6]{1,0} all-reduce(%x), replica_groups={{0,1,2,3}}", Collective("all-reduce", 120, 4)),
        ("%a = (f32[2]{0}, s32[]) all-reduce-start(%x), replica_groups=[1,8]<=[8]", Collective("all-reduce", 12, 8)),
        ("%a = pred[8]{0} all-gather(%x), replica_groups=mesh['d'=4,'m'=2] {'m'}", Collective("all-gather", 8, 2)),
        ("%a = bf16[4]{0} collective-permute(%x), source_target_pairs={{0,1}}", Collective("collective-permute", 8, 2)),
    ],
)
def test_an_exchange_is_read_with_its_bytes_and_its_group(line, expected):
    assert collectives(f"%y = f32[3]{{0}} add(%a, %b)\n  {line}\n") == [expected]


def test_groups_in_a_way_that_is_not_known_are_no_guess():
    with pytest.raises(ValueError, match="no groups that are known"):
        collectives("%a = f32[5,6]{1,0} all-reduce(%x), groups=all")


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("all-reduce", 150),
        ("all-gather", 75),
        ("reduce-scatter", 300),
        ("all-to-all", 75),
        ("collective-permute", 100),
    ],
)
def test_what_a_device_sends_around_a_ring_of_four(kind, sent):
    assert Collective(kind, 100, 4).sent == sent


def test_the_page_is_that_of_the_record():
    record = json.loads((DOCS / "records" / "benchmarks-scaling.json").read_text())
    assert page(record) == (DOCS / "results" / "benchmarks-scaling.md").read_text()

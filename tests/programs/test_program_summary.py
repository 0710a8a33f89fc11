"""The values of a program's summary, and its printed table."""

from dataclasses import replace

import numpy as np
import pytest

from cnnjax import connections as tables
from cnnjax.errors import ArgumentTypeError
from cnnjax.operator.spec import Links
from cnnjax.programs import ProgramRow, ProgramSummary

ROW = ProgramRow(
    name="c1",
    kind="Conv2D",
    maps_in=4,
    size_in=(8, 8),
    maps=6,
    size=(6, 6),
    kernel=(3, 3),
    groups=1,
    num_parameters=222,
    num_statistics=0,
    num_connections=7992,
    num_macs=7776,
    times=1,
    receptive_field=(3, 5),
    jump=(1, 0.5),
    weights=("c1/w",),
)


@pytest.mark.parametrize(
    ("row", "reads", "table"),
    [
        (ROW, "all", tables.full(4, 6)),
        (replace(ROW, groups=2), "1/2", tables.grouped(4, 6, 2)),
        (replace(ROW, maps=8, groups=4), "one", tables.depthwise(4, 2)),
        (
            replace(ROW, maps_in=2, maps=2, links=Links.of(np.array([[[True, False], [True, True]]]))),
            "by table",
            tables.from_rows([[0, 1], [1]], 2),
        ),
        (
            replace(ROW, maps=4, groups=2, links=Links.of(np.array([[[True, False], [True, True]]]))),
            "by table",
            tables.from_rows([[0, 1], [1], [2, 3], [3]], 4),
        ),
    ],
)
def test_which_maps_are_read(row, reads, table):
    assert row.reads == reads
    assert row.connection_table() == table


def test_what_reads_no_maps_has_no_table():
    row = replace(ROW, kind="Embedding", maps_in=0)
    assert row.reads == ""
    with pytest.raises(
        ArgumentTypeError, match=r"connection_table: `row` is of kind Embedding; expected a convolution"
    ):
        row.connection_table()


def test_totals_shares_and_the_printed_table():
    again = replace(ROW, name="again", times=3, num_macs=23_328, receptive_field=(3, 3), jump=(2, 2))
    table = ProgramSummary("f", (ROW, again), num_parameters=222, num_statistics=0, notes=("something is left out",))
    assert (table.num_connections, table.num_macs) == (2 * 7992, 31_104)
    assert [table.share(row) for row in table.rows] == [0.25, 0.75]
    _, _, _, first, second, _, total, note = str(table).splitlines()
    assert first.split()[-3:] == ["25.0%", "3x5", "1x0.5"]
    assert second.split()[:2] == ["again", "(x3)"]
    assert second.split()[-3:] == ["75.0%", "3x3", "2"]
    assert total.split() == ["total", "222", "15,984", "31,104"]
    assert note == "note: something is left out"


def test_a_program_without_products_has_no_shares():
    row = replace(ROW, num_macs=0)
    assert ProgramSummary("f", (row,), 0, 0, ()).share(row) == 0

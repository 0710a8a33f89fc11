"""Connection tables: as values, as counts, and as blocks."""

import copy
import itertools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import TABLES, UNEQUAL_TABLE
from hypothesis import given
from hypothesis import strategies as st

from cnnjax import ConnectionTable
from cnnjax import connections as tables
from cnnjax.connections import LENET5_C3, blocks_of
from cnnjax.errors import ArgumentTypeError, ArgumentValueError

# Table I as printed: one row for each S2 map, one column for each C3 map.
TABLE_I = """
X...XXX..XXXX.XX
XX...XXX..XXXX.X
XXX...XXX..X.XXX
.XXX..XXXX..X.XX
..XXX..XXXX.XX.X
...XXX..XXXX.XXX
"""


def test_table_i_is_the_one_that_is_printed():
    printed = np.array([[mark == "X" for mark in row] for row in TABLE_I.split()])
    np.testing.assert_array_equal(LENET5_C3.matrix, printed)


def test_table_i_has_the_counts_of_the_paper():
    assert (LENET5_C3.c_in, LENET5_C3.c_out, LENET5_C3.num_links) == (6, 16, 60)
    assert LENET5_C3.fan_in == (3,) * 6 + (4,) * 9 + (6,)
    assert LENET5_C3.fan_out == (10,) * 6
    assert len(set(LENET5_C3.rows)) == 16
    assert LENET5_C3.rows[0] == (0, 1, 2)
    assert LENET5_C3.num_weights(5) == 1500
    assert LENET5_C3.num_parameters(kernel=5) == 1516
    assert LENET5_C3.num_parameters(kernel=5, bias=False) == 1500
    assert LENET5_C3.num_connections(kernel=5, output=10) == 151_600
    assert LENET5_C3.num_connections(kernel=(5, 5), output=(10, 10), bias=False) == 150_000


def test_full_connection_has_the_counts_of_the_paper():
    full = tables.full(6, 16)
    assert full.num_parameters(5) == 2416
    assert full.num_connections(5, 10) == 241_600
    assert tables.full(4, 6).num_parameters(5) == 606
    assert tables.full(1, 6).num_parameters(5) == 156
    assert tables.full(3, 32).num_parameters((11, 4)) == 3 * 32 * 44 + 32
    assert tables.full(2, 3).num_parameters((5,)) == 2 * 3 * 5 + 3


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        (tables.full(2, 3), [(0, 1)] * 3),
        (tables.one_to_one(3), [(0,), (1,), (2,)]),
        (tables.grouped(4, 2, 2), [(0, 1), (2, 3)]),
        (tables.grouped(3, 3, 1), [(0, 1, 2)] * 3),
        (tables.depthwise(2), [(0,), (1,)]),
        (tables.depthwise(2, 3), [(0,)] * 3 + [(1,)] * 3),
        (UNEQUAL_TABLE, [(0,), (0, 1, 2), (), (1, 2)]),
    ],
)
def test_constructors_make_the_tables_they_say(table, rows):
    assert list(table.rows) == rows
    assert table == tables.from_rows(rows, table.c_in)
    assert table.num_links == sum(map(len, rows))
    assert table.fan_in == tuple(map(len, rows))
    assert sum(table.fan_out) == table.num_links


def test_tables_compare_and_hash_by_value():
    one, same = ConnectionTable([[True, False]]), ConnectionTable(jnp.array([[True, False]]))
    assert one == same
    assert hash(one) == hash(same)
    assert one != ConnectionTable([[True], [False]])  # the same bytes in another shape
    assert one != ConnectionTable([[True, True]])
    assert one != [[True, False]]
    assert len({one, same, tables.full(1, 2)}) == 2
    flipped = ConnectionTable(np.asfortranarray(UNEQUAL_TABLE.matrix))
    assert flipped == UNEQUAL_TABLE
    assert hash(flipped) == hash(UNEQUAL_TABLE)
    assert tables.depthwise(3) == tables.one_to_one(3) == tables.grouped(3, 3, 3)


def test_tables_do_not_change():
    matrix = np.ones((2, 2), bool)
    table = ConnectionTable(matrix)
    matrix[0, 0] = False
    assert table.matrix.all()
    with pytest.raises(ValueError, match="read-only"):
        table.matrix[0, 0] = False
    with pytest.raises(AttributeError):
        table.matrix = matrix


def test_tables_can_be_copied_and_pickled():
    for twin in (copy.deepcopy(LENET5_C3), pickle.loads(pickle.dumps(LENET5_C3))):
        assert twin == LENET5_C3
        assert hash(twin) == hash(LENET5_C3)


def test_a_table_prints_as_in_the_paper():
    lines = repr(LENET5_C3).splitlines()
    assert lines[0] == "ConnectionTable: 6 -> 16 maps, 60 of 96 links"
    assert lines[1].split() == [str(o) for o in range(16)]
    printed = ["".join(line.split()[1:]) for line in lines[2:]]
    assert printed == TABLE_I.split()
    assert len({len(line) for line in lines[1:]}) == 1


def test_a_large_table_prints_its_beginning():
    lines = repr(tables.full(50, 60)).splitlines()
    assert lines[0] == "ConnectionTable: 50 -> 60 maps, 3000 of 3000 links"
    assert len(lines) == 2 + 40 + 1
    assert lines[-1] == " ..."
    assert all(line.endswith(" ...") for line in lines[1:])
    assert lines[2].count("X") == 40
    assert len(repr(tables.one_to_one(40)).splitlines()) == 42


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: ConnectionTable(np.ones((2, 2))),
            ArgumentTypeError,
            "`matrix` is of dtype float64; expected a boolean",
        ),
        (lambda: ConnectionTable([[1, 0]]), ArgumentTypeError, r"of dtype int.* Fix: pass matrix > 0"),
        (
            lambda: ConnectionTable([[True], [True, False]]),
            ArgumentTypeError,
            "is a list of 2 items; expected a boolean",
        ),
        (lambda: ConnectionTable(np.ones(3, bool)), ArgumentValueError, r"of shape \(3,\); expected .*\(C_in, C_out\)"),
        (lambda: ConnectionTable(np.ones((0, 3), bool)), ArgumentValueError, r"of shape \(0, 3\)"),
        (lambda: jax.jit(ConnectionTable)(np.ones((2, 3), bool)), ArgumentTypeError, "an array of shape"),
        (lambda: tables.full(0, 3), ArgumentValueError, "full: `c_in` is 0; expected at least 1"),
        (lambda: tables.full(3, 2.0), ArgumentTypeError, "full: `c_out` is 2.0; expected an integer"),
        (lambda: tables.one_to_one(-1), ArgumentValueError, "one_to_one: `c` is -1"),
        (
            lambda: tables.grouped(4, 6, 4),
            ArgumentValueError,
            "`groups` is 4; expected a divisor of both c_in = 4 and c_out = 6",
        ),
        (lambda: tables.grouped(3, 4, 2), ArgumentValueError, "`groups` is 2; expected a divisor of both c_in = 3"),
        (lambda: tables.depthwise(3, 0), ArgumentValueError, "depthwise: `multiplier` is 0"),
        (
            lambda: tables.from_rows([[0], [0, 3]], 3),
            ArgumentValueError,
            r"`rows\[1\]` is \[0, 3\]; expected input maps out of 0 .. 2",
        ),
        (lambda: tables.from_rows([[1, 1]], 3), ArgumentValueError, "each at most once"),
        (lambda: tables.from_rows([[-1]], 3), ArgumentValueError, "mend the entry -1"),
        (lambda: tables.from_rows([[0.0]], 3), ArgumentTypeError, r"`rows\[0\]` is 0.0; expected an integer"),
        (
            lambda: tables.from_rows([0, 1], 3),
            ArgumentTypeError,
            "`rows` is a list of 2 items; expected for each output",
        ),
        (lambda: tables.from_rows([], 3), ArgumentValueError, r"of shape \(3, 0\)"),
        (lambda: LENET5_C3.num_parameters(0), ArgumentValueError, "weights: `kernel` is 0"),
        (lambda: LENET5_C3.num_parameters(2.5), ArgumentTypeError, "`kernel` is 2.5"),
        (lambda: LENET5_C3.num_connections(5, (10, 0)), ArgumentValueError, "connections: `output` is 0"),
    ],
)
def test_what_is_no_table_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


# Tables that consist of equal blocks


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("one to one", [[0], [1], [2], [3]], [[0], [1], [2], [3]]),
        ("grouped", [[0, 1], [2, 3]], [[0, 1, 2], [3, 4, 5]]),
        ("depthwise", [[0], [1], [2], [3]], [[0, 1], [2, 3], [4, 5], [6, 7]]),
        ("blocks out of order, with a gap", [[0, 2], [1, 3]], [[1, 3, 5], [0, 2, 4]]),
    ],
)
def test_blocks_are_the_maps_that_links_join(name, inputs, outputs):
    blocks = blocks_of(TABLES[name])
    assert blocks.inputs.tolist() == inputs
    assert blocks.outputs.tolist() == outputs


@pytest.mark.parametrize(
    "table",
    [
        tables.full(4, 4),
        LENET5_C3,
        TABLES["unequal, with an output that reads nothing"],
        tables.from_rows([[0], [1, 2]], 3),
        tables.from_rows([[0], [0], [1]], 2),
        tables.from_rows([[0], [1]], 3),
        tables.from_rows([[0], [0, 1], [1, 2], [2, 3]], 4),
    ],
    ids=["full", "Table I", "empty output", "unequal inputs", "unequal outputs", "unread input", "a chain"],
)
def test_what_does_not_fall_into_equal_blocks_stays_whole(table):
    assert blocks_of(table) is None


@given(st.integers(2, 4), st.integers(1, 3), st.integers(1, 3), st.randoms(use_true_random=False), st.floats(0.2, 1.0))
def test_a_table_falls_apart_into_what_it_was_made_of(groups, ins, outs, random, density):
    """Every permutation of the maps of a grouped table with gaps; links that leave a block unconnected are put back."""
    order_in, order_out = (random.sample(range(groups * n), groups * n) for n in (ins, outs))
    links = np.zeros((groups * ins, groups * outs), bool)
    for g, i, o in itertools.product(range(groups), range(ins), range(outs)):
        links[order_in[g * ins + i], order_out[g * outs + o]] = i == 0 or o == 0 or random.random() < density
    blocks = blocks_of(ConnectionTable(links))
    parts = {frozenset(order_in[g * ins : (g + 1) * ins]): order_out[g * outs : (g + 1) * outs] for g in range(groups)}
    assert {frozenset(i): sorted(o) for i, o in zip(blocks.inputs.tolist(), blocks.outputs.tolist(), strict=True)} == {
        i: sorted(o) for i, o in parts.items()
    }

"""Connection tables: as values, as counts, and the law that a table is a mask is a loop over pairs."""

import copy
import itertools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import GENERAL, UNEQUAL_TABLE, integers, normal
from hypothesis import given
from hypothesis import strategies as st

import cnnjax
from cnnjax import ConnectionTable, reference
from cnnjax import connections as tables
from cnnjax.connections import LENET5_C3, blocks_of
from cnnjax.errors import ArgumentTypeError, ArgumentValueError

# Table I as it is printed: a row an S2 map, a column a C3 map.
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


# The law

TABLES = {
    "full": tables.full(4, 4),
    "one to one": tables.one_to_one(4),
    "grouped": tables.grouped(4, 6, 2),
    "depthwise": tables.depthwise(4, 2),
    "unequal, with an output that reads nothing": tables.from_rows([[0], [0, 1, 3], [], [1, 2]], 4),
    "only one link": tables.from_rows([[], [2], []], 4),
    "blocks out of order, with a gap": tables.from_rows([[1, 3], [0, 2], [3], [2, 0], [3, 1], [0]], 4),
}
each_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


@each_table
@pytest.mark.parametrize("method", GENERAL)
def test_mask_is_loop_over_connected_pairs(table, method):
    x, w, b = integers((2, 4, 5, 4), "x"), integers((2, 3, 4, table.c_out), "w"), integers((table.c_out,), "b")
    by_loop = reference.convolve(x, w, b, stride=2, padding="SAME", connections=table.matrix)
    one_map_at_a_time = np.zeros_like(by_loop) + b
    for o, row in enumerate(table.rows):
        for c in row:
            pair = reference.convolve(x[..., c : c + 1], w[:, :, c : c + 1, o : o + 1], stride=2, padding="SAME")
            one_map_at_a_time[..., o] += pair[..., 0]
    np.testing.assert_array_equal(by_loop, one_map_at_a_time)
    convolve = jax.jit(
        lambda x, w, b, t: cnnjax.conv2d(x, w, b, stride=2, padding="SAME", connections=t, method=method)
    )
    static = jax.jit(
        lambda x, w, b, t: cnnjax.conv2d(x, w, b, stride=2, padding="SAME", connections=t, method=method),
        static_argnums=3,
    )
    np.testing.assert_array_equal(convolve(x, w, b, table.matrix), by_loop)  # a traced boolean table
    np.testing.assert_array_equal(static(x, w, b, table), by_loop)
    masked = cnnjax.conv2d(x, w * table.matrix, b, stride=2, padding="SAME", method="lax")
    np.testing.assert_array_equal(masked, by_loop)


@pytest.mark.parametrize(("c_in", "c_out", "groups"), [(4, 6, 2), (4, 4, 4), (3, 6, 3), (2, 4, 1)])
def test_a_grouped_table_is_the_grouped_convolution(c_in, c_out, groups):
    x, w = integers((1, 4, 4, c_in), "x"), integers((3, 2, c_in, c_out), "w")
    per_group, outs = c_in // groups, c_out // groups
    slices = [w[:, :, g * per_group : (g + 1) * per_group, g * outs : (g + 1) * outs] for g in range(groups)]
    grouped = cnnjax.conv2d(x, np.concatenate(slices, axis=-1), groups=groups)
    by_table = cnnjax.conv2d(x, w, connections=tables.grouped(c_in, c_out, groups))
    np.testing.assert_array_equal(by_table, grouped)


def test_a_depthwise_table_is_the_depthwise_convolution():
    x, w = integers((1, 4, 4, 3), "x"), integers((3, 2, 3, 6), "w")
    own = np.stack([w[:, :, c, 2 * c : 2 * c + 2] for c in range(3)], axis=2)
    by_table = cnnjax.conv2d(x, w, connections=tables.depthwise(3, 2))
    np.testing.assert_array_equal(by_table, cnnjax.depthwise_conv2d(x, own))


@each_table
@pytest.mark.parametrize("method", GENERAL)
def test_what_unconnected_weights_hold_has_no_effect(table, method):
    x, w = integers((1, 3, 4), "x"), integers((2, 4, table.c_out), "w")

    @jax.jit
    def value_and_gradients(x, w):
        y, back = jax.vjp(lambda x, w: cnnjax.conv1d(x, w, connections=table, method=method), x, w)
        return y, *back(y)

    plain = value_and_gradients(x, w)
    for nothing in (np.nan, np.inf, 1e300):
        spoilt = value_and_gradients(x, np.where(table.matrix, w, nothing))
        for ours, same in zip(spoilt, plain, strict=True):
            np.testing.assert_array_equal(ours, same)


@pytest.mark.parametrize(
    "name", ["grouped", "unequal, with an output that reads nothing", "blocks out of order, with a gap"]
)
@pytest.mark.parametrize("method", GENERAL)
def test_unconnected_weights_have_a_gradient_of_exactly_zero_at_every_order(name, method):
    """Orders 1 to 3 of a loss that mixes everything with everything, in both modes; connected ones do not vanish."""
    table = TABLES[name]
    x, w = normal((1, 3, 4), "order x"), normal((2, 4, table.c_out), "order w")
    spoilt = np.where(table.matrix, w, np.nan)
    along = normal(w.shape, "order direction")

    def loss(w):
        y = jnp.tanh(cnnjax.conv1d(x, w, connections=table, method=method))
        return jnp.exp(0.3 * jnp.sum(y)) + jnp.sum(y) ** 3

    def orders(w, along):
        derivative, found = loss, []
        for _ in range(3):
            derivative = jax.grad(derivative)
            found.append(derivative(w))
            inner = derivative
            derivative = lambda w, f=inner: jnp.vdot(f(w), along)  # noqa: E731
        forward = jax.jvp(jax.grad(loss), (w,), (along,))[1]
        return [*found, forward]

    connected = np.broadcast_to(table.matrix, w.shape)
    for gradient in jax.jit(orders)(spoilt, along):
        assert np.all(np.asarray(gradient)[~connected] == 0)
        assert np.all(np.asarray(gradient)[connected] != 0)
    # A direction through unconnected weights alone changes nothing at all.
    idle = np.where(connected, 0.0, along)
    for value in jax.jvp(jax.grad(loss), (w,), (idle,))[1], jax.jvp(loss, (w,), (idle,))[1]:
        assert np.all(np.asarray(value) == 0)


# Tables that fall apart


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


def test_auto_computes_the_blocks_and_a_method_by_name_the_mask():
    table, x, w = tables.one_to_one(8), normal((1, 5, 5, 8), "x"), normal((3, 3, 8, 8), "w")
    auto = jax.make_jaxpr(lambda x, w: cnnjax.conv2d(x, w, connections=table))(x, w)
    by_name = jax.make_jaxpr(lambda x, w: cnnjax.conv2d(x, w, connections=table, method="im2col"))(x, w)
    assert "groups=8" in str(auto)
    assert "groups=8" not in str(by_name)
    assert cnnjax.explain(x.shape, w.shape, connections=table).refused["matmul"]
    assert cnnjax.explain(x.shape, w.shape, connections=table).chosen == (
        cnnjax.explain(x.shape, (3, 3, 1, 8), groups=8).chosen
    )


def test_every_output_of_an_unlinked_map_is_its_bias():
    x, w = integers((4, 4, 4), "x"), integers((3, 3, 4, 3), "w")
    y = cnnjax.conv2d(x, w, jnp.array([5.0, 6.0, 7.0]), connections=TABLES["only one link"])
    np.testing.assert_array_equal(y[..., 0], np.full((2, 2), 5.0))
    np.testing.assert_array_equal(y[..., 2], np.full((2, 2), 7.0))


def test_the_static_table_is_not_compiled_twice():
    traces = []

    def convolve(x, w, table):
        traces.append(table)
        return cnnjax.conv2d(x, w, connections=table)

    compiled = jax.jit(convolve, static_argnums=2)
    x, w = integers((3, 3, 2), "x"), integers((2, 2, 2, 2), "w")
    compiled(x, w, tables.depthwise(2))
    compiled(x, w, tables.one_to_one(2))
    assert len(traces) == 1
    compiled(x, w, tables.full(2, 2))
    assert len(traces) == 2


def test_batched_tables_under_vmap_are_one_convolution_each():
    x, w = integers((1, 3, 3, 2), "x"), integers((2, 2, 2, 2), "w")
    choices = np.stack([tables.full(2, 2).matrix, tables.one_to_one(2).matrix])
    together = jax.vmap(lambda t: cnnjax.conv2d(x, w, connections=t))(choices)
    one_by_one = [reference.convolve(x, w, connections=t) for t in choices]
    np.testing.assert_array_equal(together, np.stack(one_by_one))

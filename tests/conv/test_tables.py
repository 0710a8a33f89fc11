"""Connection tables in a convolution: a table is a mask, a mask is a loop over pairs, and equal blocks are groups."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import GENERAL, TABLES, integers, normal
from hypothesis import given, settings
from hypothesis import strategies as st

import cnnjax
from cnnjax import connections as tables
from cnnjax import reference
from cnnjax.conv.tables import as_table, blocks_for, dense_weights, masked, reorder_maps, weights_of_blocks

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


def test_map_zero_of_c3_reads_three_maps_through_all_25_taps():
    x, w = normal((5, 5, 6), "x"), normal((5, 5, 6, 16), "w")
    gradient = jax.grad(lambda x: cnnjax.conv2d(x, w, connections=tables.LENET5_C3)[0, 0, 0])(x)
    np.testing.assert_array_equal(np.count_nonzero(gradient, axis=(0, 1)), [25, 25, 25, 0, 0, 0])


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


# The pieces


def test_a_convolution_without_a_table_has_that_of_its_groups():
    assert as_table("test", None, 4, 6, 1) == tables.full(4, 6)
    assert as_table("test", None, 4, 6, 2) == tables.grouped(4, 6, 2)
    assert as_table("test", tables.LENET5_C3, 6, 16, 1) is tables.LENET5_C3


@pytest.mark.parametrize(
    ("table", "groups", "error", "words"),
    [
        (
            tables.full(3, 4),
            1,
            ValueError,
            r"test: `connections` is a table of shape \(3, 4\); expected \(C_in, maps\)",
        ),
        (tables.full(4, 6), 2, ValueError, "given together with groups=2; expected one of the two"),
        (np.ones((4, 6), bool), 1, TypeError, "expected a ConnectionTable or None. Fix: wrap a boolean"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(table, groups, error, words):
    with pytest.raises(error, match=words):
        as_table("test", table, 4, 6, groups, "maps")


def test_grouped_weights_written_out_are_dense_with_zeros():
    w = integers((3, 2, 2, 6), "w")
    dense = dense_weights(jnp.asarray(w), tables.grouped(4, 6, 2), 2)
    x = integers((1, 5, 5, 4), "x")
    np.testing.assert_array_equal(cnnjax.conv2d(x, np.asarray(dense)), cnnjax.conv2d(x, w, groups=2))
    assert np.all(np.asarray(dense)[..., ~tables.grouped(4, 6, 2).matrix] == 0)
    w = jnp.asarray(integers((3, 2, 6, 16), "w"))
    np.testing.assert_array_equal(dense_weights(w, tables.LENET5_C3, 1), masked(w, tables.LENET5_C3.matrix))


def test_the_weights_of_blocks_are_those_of_a_grouped_convolution_of_reordered_maps():
    table = TABLES["blocks out of order, with a gap"]
    blocks = blocks_for(table, "auto")
    w, x = jnp.asarray(integers((3, 2, 4, 6), "w")), jnp.asarray(integers((1, 5, 5, 4), "x"))
    grouped = weights_of_blocks(masked(w, table.matrix), blocks)
    assert grouped.shape == (3, 2, 2, 6)
    y = cnnjax.conv2d(reorder_maps(x, blocks.inputs), grouped, groups=2)
    back = reorder_maps(y, np.argsort(blocks.outputs, axis=None))
    np.testing.assert_array_equal(back, cnnjax.conv2d(x, w, connections=table))


def test_maps_in_their_order_are_left_alone():
    x = jnp.ones((1, 2, 4))
    assert reorder_maps(x, np.array([[0, 1], [2, 3]])) is x


@pytest.mark.parametrize("method", ["lax", "grouped"])
def test_a_method_by_name_and_a_traced_table_have_no_blocks(method):
    table = tables.one_to_one(4)
    assert blocks_for(table, method) is None
    assert blocks_for(jnp.asarray(table.matrix), "auto") is None
    assert len(blocks_for(table.matrix, "auto").inputs) == 4


# Numbers that are not finite

NOT_FINITE = (np.nan, np.inf, -np.inf)
KINDS = {"static": lambda table: table, "numpy": lambda table: table.matrix, "jax": lambda t: jnp.asarray(t.matrix)}


@st.composite
def spoilt(draw):
    """A table, x, w and y of a convolution of 2 x 3 pixels kernels, and one number that is not finite, anywhere."""
    table = draw(st.sampled_from([*TABLES.values(), tables.LENET5_C3]))
    x, w = normal((2, 4, 5, table.c_in), "x"), normal((2, 3, table.c_in, table.c_out), "w")
    y = normal((2, 3, 3, table.c_out), "y")
    where, value = draw(st.sampled_from(["x", "w", "y"])), draw(st.sampled_from(NOT_FINITE))
    array = {"x": x, "w": w, "y": y}[where]
    array[tuple(draw(st.integers(0, n - 1)) for n in array.shape)] = value
    return table, x, w, y


def assert_same_finite_numbers(ours, exact):
    finite = np.isfinite(exact)
    np.testing.assert_array_equal(np.isfinite(ours), finite)
    np.testing.assert_allclose(np.asarray(ours)[finite], np.asarray(exact)[finite], rtol=1e-12, atol=1e-12)


@functools.cache
def value_and_gradients(table, kind):
    def compute(x, w, y, matrix):
        value, back = jax.vjp(lambda x, w: cnnjax.conv2d(x, w, connections=matrix), x, w)
        return value, *back(y)

    if kind == "jax":
        return lambda x, w, y: jax.jit(compute)(x, w, y, jnp.asarray(table.matrix))
    return jax.jit(functools.partial(compute, matrix=KINDS[kind](table)))


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("kind", KINDS)
def test_a_number_that_is_not_finite_reaches_connected_maps_only(kind):
    """The same results are finite as by the definition, in the forward pass and in both gradients."""

    @settings(max_examples=25)
    @given(spoilt())
    def check(drawn):
        table, x, w, y = drawn
        terms = list(reference.terms(x.shape, w.shape, connections=table.matrix))
        exact = np.zeros(y.shape), np.zeros(x.shape), np.zeros(w.shape)
        for at_x, at_w, at_y in terms:
            exact[0][at_y] += x[at_x] * w[at_w]
            exact[1][at_x] += w[at_w] * y[at_y]
            exact[2][at_w] += x[at_x] * y[at_y]
        for ours, right in zip(value_and_gradients(table, kind)(x, w, y), exact, strict=True):
            assert_same_finite_numbers(ours, right)

    check()


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("kind", KINDS)
def test_under_vmap_it_reaches_connected_maps_of_its_own_example_only(kind, axes):
    table = TABLES["unequal, with an output that reads nothing"]
    x, w = normal((2, 1, 4, 5, 4), "x"), normal((2, 2, 3, 4, 4), "w")
    x[0, 0, 1, 2, 0] = np.nan
    operands = (x if axes[0] == 0 else x[0], w if axes[1] == 0 else w[0])
    convolve = functools.partial(cnnjax.conv2d, connections=KINDS[kind](table))
    ours = jax.vmap(convolve, axes)(*operands)
    for i in range(2):
        one = [a[i] if axis == 0 else a for a, axis in zip(operands, axes, strict=True)]
        assert_same_finite_numbers(ours[i], convolve(*one))
    assert np.isfinite(ours).any()
    assert not np.isfinite(ours).all()
    assert np.isfinite(ours[0, ..., [2, 3]]).all()  # maps 2 and 3 do not read map 0


def test_second_derivatives_keep_to_the_connected_maps():
    table = tables.from_rows([[0, 1], [1, 2, 3]], c_in=4)
    x, w, along = normal((1, 4, 4, 4), "x"), normal((2, 2, 4, 2), "w"), normal((1, 4, 4, 4), "along")
    along[..., 0] = np.inf  # map 0 feeds output map 0 only

    def loss(x, w):
        return jnp.sum(cnnjax.conv2d(x, w, connections=table)[..., 1] ** 3)

    by_x, by_w = jax.jvp(jax.grad(loss, (0, 1)), (x, w), (along, np.zeros_like(w)))[1]
    assert np.isfinite(by_x).all()
    finite = np.isfinite(by_w).all(axis=(0, 1))
    np.testing.assert_array_equal(finite, [[False, True], [True, True], [True, True], [True, True]])


def test_the_transpose_keeps_to_the_connected_maps():
    table = tables.from_rows([[0, 1], [1, 2, 3]], c_in=4)
    y, w = np.ones((1, 3, 3, 2)), np.ones((2, 2, 4, 2))
    y[..., 0] = np.nan
    finite = np.isfinite(cnnjax.conv2d_transpose(y, w, connections=table)).all(axis=(0, 1, 2))
    np.testing.assert_array_equal(finite, [False, False, True, True])


def test_a_table_of_all_pairs_is_no_table():
    x, w = jnp.ones((1, 4, 4, 4)), jnp.ones((2, 2, 4, 4))
    program = jax.make_jaxpr(lambda x, w: cnnjax.conv2d(x, w, connections=tables.full(4, 4)))(x, w)
    assert "links=None" in str(program)

"""Transposed convolutions: the adjoints of `conv1d` to `conv3d`, against the oracle's input gradient and PyTorch."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import (
    CASES,
    TABLES,
    UNEQUAL_TABLE,
    assert_within,
    convolutions,
    each_dtype,
    integers,
    normal,
    product,
    sum_bound,
    wide,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tuning_cases import methods_in_program

import cnnjax
from cnnjax import METHODS, reference
from cnnjax import connections as tables
from cnnjax.conv import ConvSettings
from cnnjax.operator.methods import BY_NAME
from cnnjax.operator.spec import DIRECTIONS

TRANSPOSES = [
    {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "output_padding": extra}
    for padding in ("VALID", "SAME", "SAME_LOWER", "CIRCULAR", "EDGE", "REFLECT", 1, ((1, 0), (0, 2)))
    for stride, extra in ((1, 0), (2, 0), (2, 1), ((2, 3), (0, 2)))
    for dilation, groups in ((1, 1), ((1, 2), 2))
]


@pytest.mark.parametrize("options", TRANSPOSES, ids=str)
def test_transpose_is_the_adjoint_of_the_convolution(options):
    """<conv2d(x, w), y> = <x, conv2d_transpose(y, w)>, and it is the oracle's input gradient."""
    groups = options["groups"]
    w, y = integers((2, 3, 4 // groups, 2), "w"), integers((2, 4, 4, 2), "y")
    forward = {key: value for key, value in options.items() if key != "output_padding"}
    back = cnnjax.conv2d_transpose(y, w, **options)
    x = integers(back.shape, "x")
    there = cnnjax.conv2d(x, w, **forward)
    assert there.shape == y.shape
    assert np.vdot(there, y) == np.vdot(x, back)
    np.testing.assert_array_equal(back, reference.input_gradient(x.shape, w, y, **forward))


@pytest.mark.parametrize(
    "options", product(stride=[1, 2, (3, 2)], padding=[0, (1, 2)], dilation=[1, 2], groups=[1, 2]), ids=str
)
def test_transpose_equals_torch(options):
    torch = pytest.importorskip("torch")
    stride, dilation = options["stride"], options["dilation"]
    extra = tuple(s - 1 for s in ((stride, stride) if isinstance(stride, int) else stride))
    y, w = integers((2, 4, 5, 4), "torch y"), integers((3, 4, 2, 4), "torch w")
    padding = options["padding"]
    pairs = ((padding, padding),) * 2 if isinstance(padding, int) else tuple((p, p) for p in padding)
    ours = cnnjax.conv2d_transpose(y, w, **{**options, "padding": pairs}, output_padding=extra)
    theirs = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(np.moveaxis(y, -1, 1).copy()),
        torch.from_numpy(np.transpose(w, (3, 2, 0, 1)).copy()),
        stride=stride,
        padding=padding,
        output_padding=extra,
        groups=options["groups"],
        dilation=dilation,
    )
    np.testing.assert_array_equal(ours, np.moveaxis(theirs.numpy(), 1, -1))


TRANSPOSE = {1: cnnjax.conv1d_transpose, 2: cnnjax.conv2d_transpose, 3: cnnjax.conv3d_transpose}


def by_torch(y, w, b, padding, **settings):
    """The transposed convolution of PyTorch, with arrays in the order of ours."""
    torch = pytest.importorskip("torch")
    function = getattr(torch.nn.functional, f"conv_transpose{w.ndim - 2}d")
    images, kernel = np.moveaxis(y, -1, 1), np.moveaxis(w, (-1, -2), (0, 1))
    x = function(*(torch.from_numpy(a.copy()) for a in (images, kernel, b)), padding=padding, **settings)
    return np.moveaxis(x.numpy(), 1, -1)


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (1, 3), (2, 1), (2, 3), (3, 2), (2, 4)])
def test_every_output_padding_of_torch_gives_the_values_of_torch(spatial, stride, dilation):
    """Up to the larger of stride and dilation; rows that no position reads are the bias."""
    size, kernel = (3, 2, 2)[:spatial], (3, 2, 1)[:spatial]
    b = integers((4,), "b")
    # A kernel of 1 or 2 pixels has less than one pixel to lose on either side.
    paddings = (0,) if spatial == 3 or dilation == 1 else (0, 1)
    y = integers((2, *size, 4), "y")

    def weights_and_settings(groups, extra):
        settings = {"stride": stride, "dilation": dilation, "groups": groups, "output_padding": extra}
        return integers((*kernel, 4 // groups, 4), "w"), settings

    @jax.jit  # one program for all: each by itself takes longer to compile
    def ours(y, b):
        results = {}
        for padding, groups, extra in itertools.product(paddings, (1, 2), range(max(stride, dilation))):
            w, settings = weights_and_settings(groups, extra)
            pads = ((padding, padding),) * spatial
            results[padding, groups, extra] = TRANSPOSE[spatial](y, jnp.asarray(w), b, padding=pads, **settings)
        return results

    for (padding, groups, extra), x in ours(y, b).items():
        w, settings = weights_and_settings(groups, extra)
        np.testing.assert_array_equal(x, by_torch(y, w, b, padding, **settings))


def test_rows_that_no_position_reads_are_the_bias_and_take_no_gradient():
    y, w, b = integers((1, 3, 3, 2), "y"), integers((2, 2, 1, 2), "w"), jnp.array([5.0])
    f = lambda y, w, b: cnnjax.conv2d_transpose(y, w, b, dilation=3, output_padding=(2, 0))  # noqa: E731
    x, back = jax.vjp(f, y, w, b)
    assert x.shape == (1, 8, 6, 1)
    assert np.all(np.asarray(x)[:, 6:] == 5)
    plain = jax.vjp(lambda y, w, b: cnnjax.conv2d_transpose(y, w, b, dilation=3), y, w, b)[1]
    cotangent = integers(x.shape, "cotangent")
    for ours, same in zip(back(jnp.asarray(cotangent))[:2], plain(jnp.asarray(cotangent[:, :6]))[:2], strict=True):
        np.testing.assert_array_equal(ours, same)


@pytest.mark.parametrize("padding", ["SAME", "CIRCULAR", "EDGE", "REFLECT"])
def test_output_padding_stays_below_the_stride_where_the_padding_follows_the_size(padding):
    y, w = jnp.ones((4, 4, 1)), jnp.ones((2, 2, 1, 1))
    with pytest.raises(ValueError, match="`output_padding` is 2; expected less than the stride 2, because more"):
        cnnjax.conv2d_transpose(y, w, stride=2, dilation=3, padding=padding, output_padding=2)


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_drawn_transposes_are_the_adjoint_of_their_convolution(spatial):
    @settings(max_examples=15)
    @given(convolutions(spatial), st.data())
    def check(case, data):
        w, y = case.draw_integers("w"), case.draw_integers("y")
        options = {**case.settings, "connections": case.table}
        try:
            smallest = TRANSPOSE[spatial](y, w, **options).shape[1:-1]
        except ValueError:  # the padding would leave no pixel, or a mirror would be larger than the image
            return
        stride = options["stride"]
        extra = tuple(data.draw(st.integers(0, s - 1)) for s in stride)
        back = TRANSPOSE[spatial](y, w, output_padding=extra, **options)
        assert back.shape[1:-1] == tuple(n + e for n, e in zip(smallest, extra, strict=True))
        np.testing.assert_array_equal(back, reference.input_gradient(back.shape, w, y, **case.for_oracle))

    check()


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_an_empty_batch_has_gradients_of_zero(spatial):
    for padding in ("VALID", "SAME", "CIRCULAR", "EDGE", "REFLECT"):
        y, w = jnp.zeros((0, *(4,) * spatial, 2)), jnp.ones((*(2,) * spatial, 3, 2))
        f = lambda y, w, p=padding: TRANSPOSE[spatial](y, w, stride=2, padding=p)  # noqa: E731
        x, back = jax.vjp(f, y, w)
        by_y, by_w = back(x)
        assert x.shape[0] == 0
        assert by_y.shape == y.shape
        np.testing.assert_array_equal(by_w, jnp.zeros_like(w))


@pytest.mark.parametrize("padding", ["VALID", "SAME", "EDGE", 1])
def test_it_is_exported_with_symbolic_sizes(padding):
    f = jax.jit(lambda y, w: cnnjax.conv2d_transpose(y, w, stride=2, padding=padding, output_padding=1))
    sizes = jax.export.symbolic_shape("n, h, w, 3", constraints=["h >= 2", "w >= 2"])
    w = integers((3, 3, 2, 3), "w")
    exported = jax.export.export(f)(jax.ShapeDtypeStruct(sizes, w.dtype), jax.ShapeDtypeStruct(w.shape, w.dtype))
    for shape in ((1, 3, 4, 3), (2, 5, 2, 3)):
        y = integers(shape, "y")
        np.testing.assert_array_equal(exported.call(y, w), f(y, w))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64"])
@pytest.mark.parametrize("options", TRANSPOSES[5::23], ids=str)
def test_integers_are_summed_in_integers(dtype, options):
    groups = options["groups"]
    limits = np.iinfo("int16" if dtype in ("int32", "int64") else dtype)
    random = np.random.default_rng(0)
    draw = lambda shape: random.integers(limits.min // 4, limits.max // 4, shape, endpoint=True)  # noqa: E731
    w, y = draw((2, 3, 4 // groups, 2)), draw((2, 4, 4, 2))
    ours = cnnjax.conv2d_transpose(y.astype(dtype), w.astype(dtype), **options)
    exact = cnnjax.conv2d_transpose(y.astype(float), w.astype(float), method="definition", **options)
    assert ours.dtype == dtype
    np.testing.assert_array_equal(ours, np.asarray(exact).astype(np.int64).astype(dtype))
    wider = cnnjax.conv2d_transpose(y.astype(dtype), w.astype(dtype), preferred_element_type=jnp.int64, **options)
    np.testing.assert_array_equal(wider, np.asarray(exact).astype(np.int64))


def test_its_result_may_be_wider():
    y, w = jnp.ones((4, 4, 1), "bfloat16"), jnp.ones((2, 2, 1, 1), "bfloat16")
    assert cnnjax.conv2d_transpose(y, w, preferred_element_type=jnp.float32).dtype == "float32"
    with pytest.raises(
        TypeError, match="conv2d_transpose: `preferred_element_type` is int32; expected a floating dtype"
    ):
        cnnjax.conv2d_transpose(y, w, preferred_element_type=jnp.int32)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["VALID", "SAME", "CIRCULAR", 1])
def test_output_padding_chooses_among_the_sizes_that_give_the_same_output(stride, padding):
    y, w = jnp.zeros((4, 4, 1)), jnp.zeros((3, 3, 1, 1))
    sizes = [
        cnnjax.conv2d_transpose(y, w, stride=stride, padding=padding, output_padding=e).shape[0] for e in range(stride)
    ]
    assert sizes == [sizes[0] + e for e in range(stride)]
    fits = [n for n in range(1, 30) if reference._pixels_read((n,), (3,), stride=stride, padding=padding)[1] == (4,)]
    assert sizes == fits


def test_transpose_adds_its_bias_and_takes_one_image():
    w, y, b = integers((3, 3, 2, 4), "w"), integers((2, 5, 5, 4), "y"), integers((2,), "b")
    plain = cnnjax.conv2d_transpose(y, w, stride=2)
    np.testing.assert_array_equal(cnnjax.conv2d_transpose(y, w, b, stride=2), plain + b[None, None, None])
    np.testing.assert_array_equal(cnnjax.conv2d_transpose(y[1], w, b, stride=2), plain[1] + b[None, None])


def test_transpose_is_differentiable_as_often_as_the_convolution():
    w, y, x = integers((2, 2, 2, 3), "w"), integers((1, 3, 3, 3), "y"), integers((1, 5, 5, 2), "x")
    f = lambda y, w: cnnjax.conv2d_transpose(y, w, stride=2, padding="SAME")  # noqa: E731
    by_y, by_w = jax.vjp(f, y, w)[1](x)
    options = {"stride": 2, "padding": "SAME"}
    np.testing.assert_array_equal(by_y, reference.convolve(x, w, **options))
    np.testing.assert_array_equal(by_w, reference.weight_gradient(x, w.shape, y, **options))
    mixed = jax.jvp(jax.grad(lambda y, w: jnp.vdot(f(y, w), x)), (y, w), (np.zeros_like(y), w))[1]
    np.testing.assert_array_equal(mixed, by_y)
    batch = np.stack([y, 2 * y])
    np.testing.assert_array_equal(jax.vmap(f, (0, None))(batch, w), np.stack([f(y, w), 2 * f(y, w)]))


@each_dtype
def test_transpose_is_as_exact_as_its_dtype(dtype):
    w, y = normal((3, 2, 2, 3), "w", dtype), normal((1, 4, 4, 3), "y", dtype)
    ours = cnnjax.conv2d_transpose(y, w, stride=2, padding="CIRCULAR")
    assert ours.dtype == dtype
    options = {"stride": 2, "padding": "CIRCULAR"}
    exact = reference.input_gradient(ours.shape, w, y, **options)
    sizes = reference.input_gradient(ours.shape, np.abs(wide(w)), np.abs(wide(y)), **options)
    # The wrapped rows are added up in the dtype of y, at most four values for each pixel.
    assert_within(ours, exact, sum_bound(sizes, 18, dtype, exact, *[sizes] * 4))


# Connection tables, methods, precision

ALL_TABLES = {**TABLES, "unequal": UNEQUAL_TABLE, "Table I": tables.LENET5_C3}
GEOMETRIES = {
    "3x3": ((3, 3), {"padding": "SAME"}),
    "1x1": ((1, 1), {}),
    "tiles": ((2, 3), {"stride": (2, 3), "output_padding": (1, 0)}),
    "stride, dilation": ((3, 2), {"stride": 2, "dilation": (1, 2), "padding": 1}),
    "wrapped": ((2, 3), {"padding": "CIRCULAR", "stride": 2}),
}
APPROXIMATE = ("winograd2", "winograd4", "fft")  # they transform: integers do not stay integers


def serving(x_shape, w_shape, options):
    """The methods that serve the convolution, and the dtype of their arrays: the library is for float32 only."""
    found = {}
    for method in METHODS:
        dtype = "float32" if method == "onednn" else "float64"
        spec = ConvSettings(**options).spec("test", x_shape, w_shape, dtype)
        if BY_NAME[method].refuses(spec) is None:
            found[method] = dtype
    return {"auto": "float64", **found}


def assert_is_the_adjoint(w_shape, settings, table=None):
    """By every method that serves: the oracle's input gradient, and <conv2d(x, w), y> = <x, conv2d_transpose(y, w)>."""
    forward = {name: value for name, value in settings.items() if name != "output_padding"}
    w, y = integers(w_shape, "w"), integers((2, 3, 4, w_shape[-1]), "y")
    x_shape = jax.eval_shape(lambda y, w: cnnjax.conv2d_transpose(y, w, **settings), y, w).shape
    x = integers(x_shape, "x")
    methods = serving(x_shape, w_shape, forward)

    @jax.jit
    def by_every_method(y, w):
        transpose = functools.partial(cnnjax.conv2d_transpose, connections=table, **settings)
        return {m: transpose(y.astype(dtype), w.astype(dtype), method=m) for m, dtype in methods.items()}

    there = cnnjax.conv2d(x, w, connections=table, **forward)
    exact = reference.input_gradient(x_shape, w, y, **forward, connections=None if table is None else table.matrix)
    for method, back in by_every_method(y, w).items():
        if method in APPROXIMATE:
            np.testing.assert_allclose(back, exact, rtol=0, atol=1e-11)
        else:
            np.testing.assert_array_equal(back, exact)
            assert np.vdot(there, y) == np.vdot(x, np.asarray(back, float))
    return set(methods)


CROSSED = [*((name, "3x3") for name in ALL_TABLES), *(("unequal", name) for name in GEOMETRIES if name != "3x3")]


@pytest.mark.parametrize(("table", "geometry"), CROSSED)
def test_with_a_table_it_is_the_adjoint_by_every_method_that_serves(table, geometry):
    table, (kernel, settings) = ALL_TABLES[table], GEOMETRIES[geometry]
    methods = assert_is_the_adjoint((*kernel, table.c_in, table.c_out), settings, table)
    assert {"auto", "definition", "lax", "shift", "im2col", "gathered", "fft", "sparse"} <= methods
    assert ("winograd4" in methods) is (geometry == "3x3")
    assert ("matmul" in methods) is (geometry in ("1x1", "tiles"))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_with_groups_it_is_the_adjoint_by_every_method_that_serves(groups):
    methods = assert_is_the_adjoint((3, 2, 4 // groups, 4), {"groups": groups, "stride": 2, "padding": 1})
    assert {"auto", "definition", "lax", "gathered", "sparse"} <= methods
    assert ({"grouped", "block_diagonal"} <= methods) is (groups > 1)
    assert ("depthwise" in methods) is (groups == 4)


@pytest.mark.parametrize("case", [case for case in CASES if case.table is not None and case.spatial == 2], ids=str)
def test_with_the_tables_of_the_cases_it_is_the_input_gradient(case):
    w, y = case.draw_integers("w"), case.draw_integers("y")
    back = cnnjax.conv2d_transpose(y, w, connections=case.table, **case.settings)
    exact = reference.input_gradient(back.shape, w, y, **case.for_oracle)
    np.testing.assert_array_equal(back, exact)
    matrix = cnnjax.conv2d_transpose(y, w, connections=jnp.asarray(case.table.matrix), **case.settings)
    np.testing.assert_array_equal(matrix, exact)


@pytest.mark.parametrize("table", ALL_TABLES.values(), ids=ALL_TABLES)
def test_unconnected_weights_have_no_effect_and_no_gradient(table):
    w, y = integers((2, 2, table.c_in, table.c_out), "w"), integers((1, 3, 3, table.c_out), "y")
    x = integers((1, 4, 4, table.c_in), "x")
    spoilt = np.where(table.matrix, w, np.nan)
    back, pull = jax.vjp(lambda y, w: cnnjax.conv2d_transpose(y, w, connections=table), y, spoilt)
    np.testing.assert_array_equal(back, reference.input_gradient(x.shape, w, y, connections=table.matrix))
    by_y, by_w = pull(jnp.asarray(x))
    np.testing.assert_array_equal(by_y, reference.convolve(x, w, connections=table.matrix))
    np.testing.assert_array_equal(by_w, reference.weight_gradient(x, w.shape, y, connections=table.matrix))
    assert np.all(np.asarray(by_w)[..., ~table.matrix] == 0)


def test_a_table_of_equal_blocks_costs_what_groups_cost():
    table, y, w = tables.one_to_one(8), jnp.ones((1, 5, 5, 8)), jnp.ones((3, 3, 8, 8))
    auto, by_name = (
        str(jax.make_jaxpr(lambda y, w, m=m: cnnjax.conv2d_transpose(y, w, connections=table, method=m))(y, w))
        for m in ("auto", "im2col")
    )
    assert "groups=8" in auto
    assert "groups=8" not in by_name


@pytest.mark.parametrize("method", ["definition", "lax", "shift", "im2col", "toeplitz", "winograd2", "fft", "sparse"])
def test_the_method_is_that_of_the_input_gradient(method):
    y, w = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))
    found = methods_in_program(lambda y, w: cnnjax.conv2d_transpose(y, w, method=method), y, w)
    assert found == {"input_gradient": method}
    table = tables.full(2, 2)
    masked = methods_in_program(lambda y, w: cnnjax.conv2d_transpose(y, w, method=method, connections=table), y, w)
    assert masked == {"input_gradient": method}
    gradient = jax.grad(lambda y, w: jnp.sum(cnnjax.conv2d_transpose(y, w, method=method) ** 2), (0, 1))
    assert methods_in_program(gradient, y, w) == dict.fromkeys(DIRECTIONS, method)


def test_measurements_of_the_convolution_serve_its_transpose():
    measured = cnnjax.tune((1, 6, 6, 2), (3, 3, 2, 2), methods=["shift"], dtype="float64", seconds=0.001)
    y, w = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))
    found = methods_in_program(lambda y, w: cnnjax.conv2d_transpose(y, w, method=measured), y, w)
    assert found == {"input_gradient": "shift"}


def test_its_precision_is_passed_on():
    y, w = jnp.ones((5, 5, 1)), jnp.ones((3, 3, 1, 1))
    for precision in ("highest", jax.lax.Precision.DEFAULT):
        step = jax.jit(lambda y, w, p=precision: cnnjax.conv2d_transpose(y, w, method="lax", precision=p))
        assert str(jax.lax.Precision(precision)).split(".")[-1] in step.lower(y, w).as_text()


def test_an_empty_batch_stays_empty():
    assert cnnjax.conv2d_transpose(jnp.zeros((0, 3, 3, 4)), jnp.zeros((3, 3, 2, 4))).shape == (0, 5, 5, 2)

"""Every method against the oracle, in all three directions, on every case of the table that it serves."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from cases import (
    BY_NAME,
    CASES,
    PLAIN,
    assert_within,
    exact_gradients,
    gradient_bounds,
    normal,
    oracle,
    size_of_terms,
    spec_of,
    sum_bound,
)

from cnnjax import METHODS
from cnnjax._core.shapes import conv_geometry
from cnnjax.operator._onednn import unavailable
from cnnjax.operator.choice import compute
from cnnjax.operator.methods import BY_NAME as METHOD
from cnnjax.operator.methods.sparse import triples
from cnnjax.operator.spec import DIRECTIONS, ConvSpec

# How much larger a method's error may be than the bound for plain sums of products, as a factor.
LOSES = {"winograd2": 8, "winograd4": 200, "fft": 20}


def dtype_of(method):
    """The dtype a method is tested in: the library's is for float32 alone."""
    return "float32" if method == "onednn" else "float64"


def serving(method):
    return [case for case in PLAIN if METHOD[method].refuses(spec_of(case, dtype_of(method))) is None]


def skip_without_onednn(method):
    if method == "onednn" and unavailable():
        pytest.skip(unavailable())


@pytest.mark.parametrize("method", METHODS)
def test_three_directions_equal_the_oracle_on_every_case_they_serve(method):
    skip_without_onednn(method)
    cases, dtype = serving(method), dtype_of(method)
    assert cases
    arrays = [[case.draw(what, dtype) for what in "xwy"] for case in cases]

    @jax.jit
    def all_directions(arrays):
        compute = [METHOD[method].direction(name) for name in DIRECTIONS]
        operands = [((x, w), (w, y), (x, y)) for x, w, y in arrays]
        specs = [spec_of(case, dtype) for case in cases]
        return [[f(a, b, spec) for f, (a, b) in zip(compute, pairs, strict=True)]
                for pairs, spec in zip(operands, specs, strict=True)]  # fmt: skip

    room = LOSES.get(method, 1)
    for case, (x, w, y), (ours, by_x, by_w) in zip(cases, arrays, all_directions(arrays), strict=True):
        exact = oracle(case, dtype)
        bound = sum_bound(size_of_terms(case, dtype), int(np.prod(case.w[:-1])), dtype, exact)
        assert_within(ours, exact, room * scale_of(method, bound))
        for mine, exact, bound in zip(
            (by_x, by_w),
            exact_gradients(x, w, y, case.for_oracle),
            gradient_bounds(x, w, y, case.for_oracle, dtype),
            strict=True,
        ):
            assert_within(mine, exact, room * scale_of(method, bound))


def scale_of(method, bound):
    """Methods that transform spread their rounding over the whole result."""
    return bound.max() if method in LOSES else bound


@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_does_not_serve_a_call_says_why_and_who_does(method):
    refused = [(case, why) for case in CASES if (why := METHOD[method].refuses(spec_of_zero_padded(case)))]
    assert bool(refused) is (method not in ("definition", "lax", "gathered", "sparse"))  # the library refuses float64
    for case, why in refused[:2]:
        x, w = case.one(case.draw("x")), case.draw("w")
        with pytest.raises(ValueError, match="does not serve this call") as caught:
            case.convolve(x, w, method=method)
        assert why in str(caught.value)
        assert '"definition", "lax"' in str(caught.value)


def spec_of_zero_padded(case):
    return spec_of(case) if case in PLAIN else spec_of(BY_NAME["1x1 mixes maps"])


def test_an_explanation_of_more_than_four_million_products_is_refused():
    geometry = conv_geometry("test", (100, 100), (5, 5), padding="SAME")
    assert "more than 4,194,304" in METHOD["sparse"].refuses(ConvSpec(geometry, 1, 6, 16))


def test_the_sparse_matrix_has_an_entry_for_each_product_and_the_weights_again_and_again():
    geometry = conv_geometry("test", (32, 32), (5, 5))
    rows, columns, weights = triples(ConvSpec(geometry, 1, 1, 6))
    assert len(rows) == 117_600  # the multiply-accumulates of LeNet-5's C1
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == len(rows)
    np.testing.assert_array_equal(np.bincount(weights), np.full(150, 784))
    assert (rows.max(), columns.max()) == (4_703, 1_023)


@pytest.mark.parametrize(
    ("size", "kernel", "maps", "groups", "settings"),
    [
        ((40, 300), (5, 5), (16, 8), 1, {"padding": "SAME"}),  # several strips of rows
        ((41, 300), (5, 5), (16, 8), 1, {"stride": 2, "padding": 2}),  # a last strip that is not full
        ((20, 20), (5, 5), (24, 24), 1, {}),  # several images, the last part not full
        ((20, 20), (5, 5), (24, 48), 1, {}),  # wide products: one side turned
        ((90, 400), (5, 5), (3, 8), 1, {"stride": 3}),  # few maps
        ((40, 300), (5, 5), (32, 32), 8, {"padding": "SAME"}),  # blocks of groups
        ((2000,), (9,), (16, 32), 1, {"padding": "SAME"}),  # a row of many taps: pairs of positions
        ((20, 24), (3, 8), (4, 6), 1, {"padding": ((1, 1), (6, 1))}),
        ((20, 24), (3, 8), (4, 6), 1, {"stride": (2, 1), "padding": ((1, 1), (0, 7))}),
        ((20, 25), (3, 8), (4, 6), 1, {"padding": ((1, 1), (6, 1))}),  # an odd number of positions: no pairs
        ((20, 40), (3, 8), (4, 6), 1, {"dilation": (1, 2)}),
        ((20, 24), (3, 8), (4, 8), 2, {"padding": ((1, 1), (6, 1))}),
    ],
)
@pytest.mark.parametrize("gathered", [False, True])
def test_weight_gradients_by_parts_are_those_of_the_whole(size, kernel, maps, groups, settings, gathered):
    geometry = conv_geometry("test", size, kernel, **settings)
    spec = ConvSpec(geometry, 23 if size == (20, 20) else 2, *maps, groups, dtype=np.dtype("float64"))
    x, y = normal(spec.x_shape, "x"), normal(spec.y_shape, "y")
    by_parts = METHOD["gathered" if gathered else "im2col" if groups == 1 else "block_diagonal"].weight_gradient
    np.testing.assert_allclose(
        jax.jit(lambda x, y: by_parts(x, y, spec))(x, y),
        jax.jit(lambda x, y: METHOD["lax"].weight_gradient(x, y, spec))(x, y),
        rtol=1e-9,
        atol=1e-9,
    )


def test_a_tap_that_is_always_on_padding_has_no_gradient():
    geometry = conv_geometry("test", (3, 4), (3, 2), padding=((0, 0), (6, 0)), dilation=(1, 6))
    spec = ConvSpec(geometry, 2, 3, 4, dtype=np.dtype("float64"))
    x, y = normal(spec.x_shape, "x"), normal(spec.y_shape, "y")
    exact = METHOD["lax"].weight_gradient(x, y, spec)
    assert not np.any(exact[:, 0])
    assert np.all(exact[:, 1])
    np.testing.assert_allclose(METHOD["shift"].weight_gradient(x, y, spec), exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gathered", [False, True])
@pytest.mark.parametrize(("maps", "groups"), [(16, 1), (3, 1), (16, 4)])
def test_a_batch_of_no_images_has_a_weight_gradient_of_zero(maps, groups, gathered):
    spec = ConvSpec(conv_geometry("test", (8, 8), (3, 3)), 0, maps, 4, groups, dtype=np.dtype("float64"))
    spec = replace(spec, method="gathered" if gathered else "im2col" if groups == 1 else "block_diagonal")
    x, y = np.zeros(spec.x_shape), np.zeros(spec.y_shape)
    np.testing.assert_array_equal(
        compute("weight_gradient", x, y, spec, np.dtype("float64"), "cpu"), np.zeros(spec.w_shape)
    )

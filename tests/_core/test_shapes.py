"""Sizes and pads, against an independent formula, against JAX's, and against counting positions one by one."""

import jax
import numpy as np
import pytest
from cases import CASES, axes, pads_by_hand, product
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from cnnjax._core.shapes import PADDINGS, Geometry, conv_geometry, integers, transposed_geometry
from cnnjax.errors import ArgumentTypeError, ArgumentValueError


def positions_by_counting(size, kernel, stride, dilation, pads):
    """Slide the kernel along the padded axis until it no longer fits."""
    count, start = 0, -pads[0]
    while start + dilation * (kernel - 1) < size + pads[1]:
        count, start = count + 1, start + stride
    return count


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_drawn_geometries_equal_the_formula_and_the_count(spatial):
    @settings(max_examples=200)
    @given(axes(spatial))
    def check(drawn):
        size, kernel, where = drawn
        geometry = conv_geometry("conv", size, kernel, **where)
        assert list(geometry.pads) == [tuple(pair) for pair in pads_by_hand(size, kernel, where)]
        counted = [
            positions_by_counting(*axis)
            for axis in zip(size, kernel, where["stride"], where["dilation"], geometry.pads, strict=True)
        ]
        assert list(geometry.output) == counted
        assert min(geometry.output) >= 1
        assert list(geometry.extent) == [d * (k - 1) + 1 for k, d in zip(kernel, where["dilation"], strict=True)]
        if where["padding"] in ("SAME", "SAME_LOWER", "CIRCULAR", "EDGE", "REFLECT", "CAUSAL"):
            assert list(geometry.output) == [-(-n // s) for n, s in zip(size, where["stride"], strict=True)]

    check()


@settings(max_examples=200)
@given(
    st.integers(1, 30), st.integers(1, 7), st.integers(1, 4), st.integers(1, 3), st.sampled_from(["SAME", "SAME_LOWER"])
)
def test_same_puts_its_zeros_where_jax_does(size, kernel, stride, dilation, padding):
    extent = dilation * (kernel - 1) + 1
    ours = conv_geometry("conv1d", (size,), (kernel,), stride=stride, padding=padding, dilation=dilation).pads
    assert list(ours) == lax.padtype_to_pads((size,), (extent,), (stride,), padding)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_size_of_each_case_is_that_of_jax(case):
    geometry = conv_geometry("conv", case.batched_x[1:-1], case.w[:-2], **case.where)
    result = jax.eval_shape(
        lambda x, w: lax.conv_general_dilated(
            x,
            w,
            geometry.stride,
            list(geometry.pads),
            rhs_dilation=geometry.dilation,
            dimension_numbers={1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}[
                case.spatial
            ],
            feature_group_count=case.settings.get("groups", 1),
        ),
        np.zeros(case.batched_x),
        np.zeros(case.w),
    )
    assert (case.batched_x[0], *geometry.output, case.w[-1]) == result.shape == case.output


@settings(max_examples=200)
@given(
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 2),
    st.sampled_from(["VALID", "SAME", "SAME_LOWER", "CIRCULAR", "EDGE", "REFLECT", 0, 1, ((2, 1),)]),
    st.data(),
)
def test_the_transposed_geometry_is_a_geometry_with_that_output(output, kernel, stride, dilation, padding, data):
    extra = data.draw(st.integers(0, stride - 1))
    where = {"stride": stride, "padding": padding, "dilation": dilation}
    try:
        geometry = transposed_geometry("conv", (output,), (kernel,), output_padding=extra, **where)
    except ArgumentValueError:
        # Then the size would be below one; or a mirror would have to be larger than the image.
        fitting = [n for n in range(1, 40) if _output(n, kernel, where) == output]
        assert not fitting or max(fitting) - (stride - 1) + extra < 1 or padding == "REFLECT"
        return
    assert geometry.output == (output,)
    assert geometry == conv_geometry("conv", geometry.size, (kernel,), **where)
    smallest = geometry.size[0] - extra
    assert smallest <= 1 or _output(smallest - 1, kernel, where) != output or padding == "REFLECT"


@settings(max_examples=200)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.sampled_from([0, 1, ((2, 1),)]))
def test_an_output_padding_over_the_stride_takes_it_from_the_padding(output, kernel, stride, dilation, padding):
    where = {"stride": stride, "padding": padding, "dilation": dilation}
    for extra in range(stride, dilation):
        try:
            smallest = transposed_geometry("conv", (output,), (kernel,), **where)
        except ArgumentValueError:
            continue
        geometry = transposed_geometry("conv", (output,), (kernel,), output_padding=extra, **where)
        assert geometry.size[0] == smallest.size[0] + extra
        assert geometry.output == (output,)
        (before, after), (same, less) = smallest.pads[0], geometry.pads[0]
        assert (same, less) == (before, after - extra)


def test_sizes_may_be_symbolic():
    h, w = jax.export.symbolic_shape("h, w")
    same = conv_geometry("conv2d", (h, w), (3, 5), stride=(1, 2), padding="SAME")
    assert same.pads[0] == (1, 1)
    assert same.output == (h, -(-w // 2))
    assert conv_geometry("conv2d", (h, w), (3, 5), padding="REFLECT").output == (h, w)
    assert transposed_geometry("conv2d_transpose", (h, w), (3, 3), stride=2, padding=1).size == (2 * h - 1, 2 * w - 1)
    with pytest.raises(ArgumentValueError, match="a kernel"):
        conv_geometry("conv2d", (h, 2), (3, 3))


def _output(n, kernel, where):
    try:
        return conv_geometry("conv", (n,), (kernel,), **where).output[0]
    except ArgumentValueError:
        return None


def test_the_question_that_cannot_be_answered_is_refused_not_answered_with_an_empty_result():
    with pytest.raises(ArgumentValueError, match="at most 2, the padded input's size along W"):
        conv_geometry("conv2d", (5, 2), (3, 3))
    with pytest.raises(ArgumentValueError, match=r"a kernel of \(3, 3\) \(dilated by \(3, 3\)\), 7 pixels along H"):
        conv_geometry("conv2d", (6, 9), (3, 3), dilation=3)
    with pytest.raises(ArgumentValueError, match="use a smaller window, a larger input"):
        conv_geometry("max_pool2d", (5, 2), (3, 3), kernel_argument="window")


def test_a_transpose_that_no_input_has_is_refused():
    with pytest.raises(ArgumentValueError, match=r"with it the result would have the size \(-1, -1\)"):
        transposed_geometry("conv2d_transpose", (1, 1), (3, 3), padding=2)
    with pytest.raises(ArgumentValueError, match="less than the stride 2"):
        transposed_geometry("conv2d_transpose", (4, 4), (3, 3), stride=(3, 2), output_padding=(2, 2))


@pytest.mark.parametrize("padding", PADDINGS)
def test_after_padding_the_same_positions_are_read(padding):
    geometry = conv_geometry("conv2d", (6, 7), (3, 2), stride=2, padding=padding, dilation=(1, 2))
    padded = geometry.after_padding()
    assert padded.output == geometry.output
    assert padded.size == padded.padded == geometry.padded
    assert padded.boundary == "zero"


def test_taps_are_in_the_order_of_the_weights():
    geometry = conv_geometry("conv2d", (6, 7), (3, 2))
    assert list(geometry.taps) == list(np.ndindex(3, 2))


def test_a_geometry_is_a_value():
    one, other = (conv_geometry("conv2d", (6, 7), [3, 2], padding=[[1, 0], 2]) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one == Geometry((6, 7), (3, 2), (1, 1), (1, 1), ((1, 0), (2, 2)))


@pytest.mark.parametrize("value", [2, np.int64(2), (2, 2), [2, np.uint8(2)], np.array(2)], ids=repr)
def test_integers_of_every_kind_will_do(value):
    assert integers("conv2d", "stride", value, 2, least=1) == (2, 2)


@pytest.mark.parametrize(
    ("value", "error"),
    BAD := [
        (0, ArgumentValueError),
        (-1, ArgumentValueError),
        ((1, 0), ArgumentValueError),
        ((1, 2, 3), ArgumentValueError),
        ((), ArgumentValueError),
        (1.0, ArgumentTypeError),
        (True, ArgumentTypeError),
        (np.True_, ArgumentTypeError),
        ((1, None), ArgumentTypeError),
        ("2", ArgumentTypeError),
        (None, ArgumentTypeError),
        (np.array([1, 2]), ArgumentTypeError),
    ],
    ids=[repr(value) for value, _ in BAD],
)
def test_anything_else_is_not_an_integer(value, error):
    with pytest.raises(error, match=r"`stride`.*an integer of at least 1, or 2 of them, one for each axis"):
        integers("conv2d", "stride", value, 2, least=1)


@pytest.mark.parametrize("options", product(size=[1, 2, 3, 4], kernel=[1, 2, 3, 4, 5, 6]), ids=str)
def test_a_mirror_is_refused_exactly_when_it_would_read_beyond_the_far_edge(options):
    size, kernel = options["size"], options["kernel"]
    needed = kernel // 2
    if needed < size:
        assert conv_geometry("conv1d", (size,), (kernel,), padding="REFLECT").boundary == "reflect"
    else:
        with pytest.raises(
            ArgumentValueError, match=f"needs {needed} mirrored pixels along L; expected at most {size - 1}"
        ):
            conv_geometry("conv1d", (size,), (kernel,), padding="REFLECT")

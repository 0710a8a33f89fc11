"""The rule behind method="auto": which method it chooses on which platform."""

import pytest

from cnnjax import explain
from cnnjax.operator._onednn import unavailable
from cnnjax.operator.spec import DIRECTIONS

# x, w, settings, the methods on "any cpu", and those on "cpu" where oneDNN is available;
# "stored cpu" is "cpu" without oneDNN
CHOICES = [
    (
        (8, 56, 56, 128),
        (3, 3, 1, 128),
        {"groups": 128, "padding": 1},
        ["depthwise"] * 3,
        ["onednn"] * 3,
    ),
    (  # a stride
        (8, 56, 56, 128),
        (3, 3, 1, 128),
        {"groups": 128, "padding": 1, "stride": 2},
        ["depthwise"] * 3,
        ["onednn", "onednn", "depthwise"],
    ),
    (
        (8, 28, 28, 256),
        (3, 3, 8, 256),
        {"groups": 32, "padding": 1},
        ["block_diagonal"] * 3,
        ["onednn", "onednn", "gathered"],
    ),
    ((8, 56, 56, 64), (1, 1, 64, 256), {}, ["matmul", "matmul", "im2col"], ["matmul", "matmul", "gathered"]),
    ((256, 5, 5, 16), (5, 5, 16, 120), {}, ["matmul"] * 3, ["matmul"] * 3),
    ((8, 56, 56, 64), (2, 2, 64, 128), {"stride": 2}, ["lax", "matmul", "im2col"], ["onednn", "matmul", "gathered"]),
    ((256, 32, 32, 1), (5, 5, 1, 6), {}, ["shift", "toeplitz", "im2col"], ["shift", "toeplitz", "gathered"]),
    ((256, 14, 14, 6), (5, 5, 6, 16), {}, ["lax", "toeplitz", "im2col"], ["onednn", "onednn", "gathered"]),
    ((8, 56, 56, 64), (3, 3, 64, 64), {"padding": 1}, ["lax", "lax", "im2col"], ["onednn", "onednn", "gathered"]),
    ((8, 7, 7, 512), (3, 3, 512, 512), {"padding": 1}, ["lax", "lax", "im2col"], ["onednn", "onednn", "shift"]),
    ((64, 7, 7, 512), (3, 3, 512, 512), {"padding": 1}, ["lax", "lax", "im2col"], ["onednn", "onednn", "gathered"]),
    (
        (8, 224, 224, 3),
        (7, 7, 3, 64),
        {"padding": 3, "stride": 2},
        ["lax", "space_to_depth", "im2col"],
        ["onednn", "onednn", "gathered"],
    ),
    ((8, 4096, 64), (9, 64, 64), {"padding": 4}, ["lax", "lax", "im2col"], ["onednn", "onednn", "gathered"]),
    ((32, 9, 9, 8), (3, 3, 8, 8), {"padding": 3}, ["lax", "toeplitz", "im2col"], ["lax", "toeplitz", "gathered"]),
    # few multiplications; few positions; few maps of images, with few and with many numbers in their patches
    ((6, 17, 50), (2, 50, 40), {}, ["im2col"] * 3, ["im2col", "im2col", "gathered"]),
    ((1, 4, 4, 816), (3, 3, 816, 1632), {"stride": 2}, ["im2col"] * 3, ["im2col", "im2col", "gathered"]),
    ((8, 32, 32, 3), (3, 3, 3, 32), {"padding": 1}, ["lax", "im2col", "im2col"], ["onednn", "im2col", "gathered"]),
    ((10, 59, 59, 4), (7, 7, 4, 88), {"padding": 3}, ["lax", "lax", "im2col"], ["onednn", "lax", "gathered"]),
    # one map to one, and to many; a depthwise kernel of many taps; small tiles; a sequence of one map
    ((1, 64, 640, 1), (5, 5, 1, 1), {"padding": 2}, ["depthwise", "depthwise", "im2col"], None),
    ((1, 64, 16384, 1), (5, 5, 1, 1), {"padding": 2}, ["depthwise"] * 3, ["depthwise"] * 3),
    ((1, 128, 128, 1), (31, 31, 1, 16), {"padding": 15}, ["lax", "lax", "im2col"], ["onednn", "lax", "gathered"]),
    ((4, 64, 64, 3), (9, 9, 3, 32), {"padding": 4}, ["lax", "toeplitz", "im2col"], ["onednn", "toeplitz", "gathered"]),
    ((4, 28, 28, 60), (13, 13, 1, 60), {"padding": 6, "groups": 60}, ["depthwise"] * 2 + ["block_diagonal"], None),
    ((1, 28, 28, 1), (14, 14, 1, 104), {"stride": 14}, ["matmul", "matmul", "im2col"], None),
    ((8, 16384, 1), (64, 1, 16), {}, ["shift", "toeplitz", "im2col"], ["shift", "toeplitz", "gathered"]),
]


@pytest.mark.parametrize(("x", "w", "settings", "anywhere", "here"), CHOICES)
def test_the_rule_on_a_cpu(x, w, settings, anywhere, here):
    def chosen(platform):
        explanation = explain(x, w, platform=platform, **settings)
        return [explanation.chosen[direction][0] for direction in DIRECTIONS]

    assert chosen("any cpu") == anywhere
    here = here or [*anywhere[:2], "gathered"]
    # Few weight gradients need the library.
    without = [*anywhere[:2], anywhere[2] if here[2] == "onednn" else here[2]]
    assert chosen("cpu") == (without if unavailable() else here)
    assert chosen("stored cpu") == without


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_the_library_is_chosen_where_sums_are_kept_in_float32(dtype):
    chosen = explain((8, 56, 56, 64), (3, 3, 64, 64), platform="cpu", dtype=dtype).chosen
    assert (chosen["forward"][0] == "onednn") is (dtype == "bfloat16" and not unavailable())


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(
    ("x", "w", "stride", "methods"),
    [
        ((8, 56, 56, 64), (1, 1, 64, 256), 1, ["onednn", "onednn", "gathered"]),
        ((8, 28, 28, 256), (2, 2, 256, 512), 2, ["onednn", "onednn", "gathered"]),
        ((1, 14, 14, 64), (1, 1, 64, 256), 1, ["matmul", "matmul", "gathered"]),
        ((8, 5, 5, 512), (5, 5, 512, 512), 1, ["matmul", "matmul", "matmul"]),
    ],
)
def test_many_products_of_bfloat16_are_left_to_the_processor_that_has_them(monkeypatch, x, w, stride, methods, native):
    monkeypatch.setattr("cnnjax.operator._onednn.multiplies_bfloat16", lambda: native)
    chosen = explain(x, w, stride=stride, platform="cpu", dtype="bfloat16").chosen
    if native and not unavailable():
        assert [chosen[direction].method for direction in DIRECTIONS] == methods
    else:
        assert chosen["input_gradient"].method == "matmul"
    assert "onednn" not in {method for method, _ in explain(x, w, stride=stride, platform="any cpu").chosen.values()}


@pytest.mark.parametrize(("x", "w", "settings"), [choice[:3] for choice in CHOICES])
@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
def test_accelerators_have_the_convolution_of_their_vendor(x, w, settings, platform):
    chosen = explain(x, w, platform=platform, **settings).chosen
    assert {name for name, _ in chosen.values()} == {"lax"}


def test_what_is_chosen_serves_and_is_never_one_that_loses_precision():
    for x, w, settings, *_ in CHOICES:
        explanation = explain(x, w, platform="cpu", **settings)
        names = {name for name, _ in explanation.chosen.values()}
        assert not names & set(explanation.refused)
        assert not names & {"winograd2", "winograd4", "fft"}


def test_a_method_by_name_is_taken():
    explanation = explain((1, 8, 8, 4), (3, 3, 4, 4), method="winograd4")
    assert set(explanation.chosen.values()) == {("winograd4", "asked for")}


@pytest.mark.parametrize(("groups", "left"), [(2, True), (8, True), (64, False), (256, False)])
def test_few_positions_of_groups_are_left_to_xla_if_the_groups_have_many_maps(groups, left):
    w = (3, 3, 512 // groups, 512)
    chosen = explain((1, 4, 4, 512), w, stride=2, padding="SAME", groups=groups, platform="any cpu").chosen
    assert (chosen["forward"].method == "lax") == left

"""The rows of pools."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from read_programs import drafts

import cnnjax

IMAGE, KERNEL = jnp.ones((2, 9, 8, 4)), jnp.ones((3, 3, 4, 6))


def convolved(f):
    """A function after a convolution, which tells what the axes are."""
    return lambda x, w: f(cnnjax.conv2d(x, w))


@pytest.mark.parametrize(
    ("pool", "kind"),
    [
        (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 2, 1), (1, 2, 2, 1), "VALID"), "MaxPool2D"),
        (lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 3, 2, 1), (1, 2, 2, 1), "VALID"), "AvgPool2D"),
        (lambda x: lax.reduce_window(x, jnp.inf, lax.min, (1, 3, 2, 1), (1, 2, 2, 1), "VALID"), "MinPool2D"),
        (lambda x: cnnjax.max_pool2d(x, (3, 2), stride=2), "MaxPool2D"),
        (lambda x: cnnjax.avg_pool2d(x, (3, 2), stride=2), "AvgPool2D"),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_windows(pool, kind, first):
    if first:
        (row,) = drafts(pool, IMAGE)
        size_in, size, maps = (9, 8), (4, 4), 4
    else:
        _, row = drafts(convolved(pool), IMAGE, KERNEL)
        size_in, size, maps = (7, 6), (3, 3), 6
    assert (row.kind, row.kernel, row.size_in, row.size) == (kind, (3, 2), size_in, size)
    assert row.c_in == row.c_out == row.groups == maps
    assert (row.num_connections, row.num_macs, row.uses) == (2 * maps * size[0] * size[1] * 6, 0, [])


def test_sub_sampling_has_a_weight_and_a_bias_for_each_map():
    f = lambda x, k, w, b: cnnjax.subsample2d(cnnjax.conv2d(x, k), w, b)  # noqa: E731
    _, row = drafts(f, jnp.ones((1, 10, 10, 4)), KERNEL, jnp.ones(6), jnp.ones(6))
    assert (row.kind, row.num_connections, row.num_macs) == ("Subsample2D", 96 * 5, 96)
    assert sum(use.count for use in row.uses) == 12


@pytest.mark.parametrize(
    ("f", "kind"), [(lambda x: x.mean((1, 2)), "GlobalAvgPool"), (lambda x: x.max((1, 2)), "GlobalMaxPool")]
)
def test_a_reduction_of_whole_maps_is_a_global_pool(f, kind):
    _, row = drafts(convolved(f), IMAGE, KERNEL)
    assert (row.kind, row.kernel, row.size, row.c_out) == (kind, (7, 6), (), 6)
    assert row.num_connections == 2 * 6 * 42


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x - x.mean((1, 2), keepdims=True),
        lambda x: (x - 1) * lax.rsqrt(x.var((1, 2), keepdims=True) + 1e-5),
        lambda x: x.mean((0, 1, 2)),
        lambda x: x.mean(-1),
        lambda x: x.sum(1),
    ],
)
def test_other_reductions_are_none(f):
    rows = drafts(convolved(f), IMAGE, KERNEL)
    assert {row.kind for row in rows} <= {"Conv2D", "Norm"}


def test_windows_over_numbers_that_do_not_depend_on_the_input_are_none():
    count = lambda x: lax.reduce_window(jnp.ones_like(x), 0.0, lax.add, (1, 2, 2, 1), (1, 1, 1, 1), "SAME")  # noqa: E731
    assert drafts(lambda x: count(x) * jax.nn.relu(x), IMAGE) == []

"""Reading a program from beginning to end: what goes along with its variables."""

import jax
import jax.numpy as jnp
from jax import lax
from read_programs import drafts

import cnnjax

IMAGE, KERNEL = jnp.ones((1, 9, 9, 2)), jnp.ones((3, 3, 2, 2))


def test_rows_are_in_the_order_of_execution():
    f = lambda x, w: cnnjax.max_pool2d(jax.nn.relu(cnnjax.conv2d(x, w, padding="SAME")), 3).mean((1, 2))  # noqa: E731
    assert [row.kind for row in drafts(f, IMAGE, KERNEL)] == ["Conv2D", "MaxPool2D", "GlobalAvgPool"]


def test_a_bias_belongs_to_the_layer_before_it_only_if_nothing_comes_between():
    through_a_cast = lambda x, w, b: cnnjax.conv2d(x, w).astype(jnp.float32) + b[None, None, None]  # noqa: E731
    assert len(drafts(through_a_cast, IMAGE, KERNEL, jnp.ones(2, jnp.float32))) == 1
    after_relu = lambda x, w, b: jax.nn.relu(cnnjax.conv2d(x, w)) + b[None, None, None]  # noqa: E731
    assert len(drafts(after_relu, IMAGE, KERNEL, jnp.ones(2))) == 2


def test_the_statistics_of_a_normalisation_do_not_widen_the_receptive_field():
    def f(x, w):
        x = cnnjax.conv2d(x, w)
        x = (x - x.mean((1, 2), keepdims=True)) * lax.rsqrt(x.var((1, 2), keepdims=True) + 1e-5)
        return cnnjax.conv2d(x, w)

    *_, row = drafts(f, IMAGE, KERNEL)
    assert [interval.size for interval in row.axes.extents.intervals[1:3]] == [5, 5]


def test_a_gate_reads_the_whole_image():
    def f(x, w, v):
        x = cnnjax.conv2d(x, w)
        return cnnjax.conv2d(x * jax.nn.sigmoid(x.mean((1, 2)) @ v)[:, None, None], w)

    *_, row = drafts(f, IMAGE, KERNEL, jnp.ones((2, 2)))
    assert [interval.size for interval in row.axes.extents.intervals[1:3]] == [11, 11]


def test_in_the_reverse_pass_only_products_have_rows():
    f = lambda w, x: cnnjax.conv2d(x, w).mean((1, 2)).sum()  # noqa: E731
    rows = drafts(lambda x, w: jax.grad(f)(w, x), IMAGE, KERNEL)
    forward = ["Conv2D", "GlobalAvgPool"]
    assert [row.kind for row in rows] == [*forward, "Conv2D"]

"""The rows of biases, scales, shifts, normalisations, tables and codes."""

import jax.numpy as jnp
import pytest
from jax import lax
from read_programs import drafts

import cnnjax

X, W, V = jnp.ones((2, 5)), jnp.ones((5, 4)), jnp.ones(4)
PER_MAP = jnp.ones((4, 4))
"""Mean, variance, scale and shift of four maps."""


def kinds(rows):
    return [row.kind for row in rows]


def counts(row):
    return [sum(use.count for use in uses) for uses in row.split_uses()]


def test_a_number_for_each_map_that_is_added_is_a_bias():
    (row,) = drafts(lambda x, w, b: x @ w + b[None], X, W, V)
    assert (row.has_bias, counts(row), row.num_connections) == (True, [24, 0], 2 * 24)


def test_a_second_one_and_one_of_another_size_are_none():
    every = jnp.ones((2, 4))
    rows = drafts(lambda x, w, b: x @ w + b[None] + every, X, W, V)
    assert [counts(row) for row in rows] == [[24, 0], [8, 0]]
    assert kinds(rows) == ["Dense", "Affine"]
    rows = drafts(lambda x, w, b: jnp.tanh(x @ w) + b[None], X, W, V)
    assert kinds(rows) == ["Dense", "Affine"]


NORMALISATIONS = {
    "flax": lambda y, p: (y - p[0][None]) * (lax.rsqrt(p[1] + 1e-5) * p[2])[None] + p[3][None],
    "keras": lambda y, p: y * (i := lax.rsqrt(p[1] + 1e-5) * p[2])[None] + (p[3] - p[0] * i)[None],
    "divided": lambda y, p: (y - p[0][None]) / jnp.sqrt(p[1] + 1e-5)[None] * p[2][None] + p[3][None],
}


@pytest.mark.parametrize("normalise", NORMALISATIONS.values(), ids=NORMALISATIONS)
def test_running_means_and_variances_are_no_parameters(normalise):
    rows = drafts(lambda x, w, p: normalise(x @ w, p), X, W, PER_MAP)
    assert kinds(rows) == ["Dense", "Norm"]
    parameters, statistics = rows[1].split_uses()
    assert len({use.part for use in parameters}) == 2
    assert len({use.part for use in statistics} - {use.part for use in parameters}) == 2
    assert not rows[0].has_bias


@pytest.mark.parametrize(
    "normalise",
    [
        lambda y, s, b: (y - y.mean(-1, keepdims=True)) * lax.rsqrt(y.var(-1, keepdims=True) + 1e-5) * s + b,
        lambda y, s, b: (y - y.mean(-1, keepdims=True)) * (lax.rsqrt(y.var(-1, keepdims=True) + 1e-5) * s) + b,
        lambda y, s, b: y / jnp.sqrt((y * y).mean(-1, keepdims=True) + 1e-5) * s + b,
    ],
)
def test_means_of_the_values_normalise_too(normalise):
    rows = drafts(lambda x, w, s, b: normalise(x @ w, s[None], b[None]), X, W, V, V)
    assert kinds(rows) == ["Dense", "Norm"]
    assert counts(rows[1]) == [8, 0]
    assert rows[1].volume() == (4, ())


def test_a_difference_without_a_root_is_a_shift():
    rows = drafts(lambda x, w, b: jnp.tanh(x @ w) - b[None], X, W, V)
    assert counts(rows[1]) == [4, 0]


def test_softmax_is_no_normalisation():
    assert kinds(drafts(lambda x, w: jnp.exp(x @ w) / jnp.exp(x @ w).sum(-1, keepdims=True), X, W)) == ["Dense"] * 2


def test_captured_numbers_before_the_first_layer_are_no_parameters():
    mean = jnp.ones(3)
    image = jnp.ones((1, 5, 5, 3))
    f = lambda x, w: cnnjax.conv2d((x - mean[None, None, None]) / 2, w)  # noqa: E731
    assert kinds(drafts(f, image, jnp.ones((3, 3, 3, 4)))) == ["Conv2D"]


def test_a_running_average_is_no_parameter():
    f = lambda x, w, mean: 0.9 * mean + 0.1 * (x @ w).mean(0)  # noqa: E731
    assert [counts(row) for row in drafts(f, X, W, V)] == [[20, 0]]


def test_rows_that_are_looked_up_and_values_put_beside_others():
    table = jnp.ones((9, 5))

    def f(tokens, w, first):
        return jnp.concatenate([first[None, None], table[tokens] @ w], axis=1)

    rows = drafts(f, jnp.zeros((1, 3), jnp.int32), W, V)
    assert kinds(rows) == ["Embedding", "Dense", "Concatenate"]
    assert [counts(row) for row in rows] == [[45, 0], [20, 0], [4, 0]]


def test_squared_distances_to_codes():
    distance = lambda x, codes: jnp.sum((x[:, None] - codes[None]) ** 2, axis=-1)  # noqa: E731
    y = lambda x, w, codes: distance(x @ w, codes)  # noqa: E731
    rows = drafts(y, X, W, jnp.ones((3, 4)))
    assert kinds(rows) == ["Dense", "RBF"]
    assert (rows[1].num_macs, rows[1].c_in, rows[1].c_out, counts(rows[1])) == (2 * 12, 4, 3, [12, 0])
    codes = jnp.ones((3, 4))
    rows = drafts(lambda x, w: y(x, w, codes), X, W)
    assert (rows[1].kind, counts(rows[1])) == ("RBF", [0, 0])

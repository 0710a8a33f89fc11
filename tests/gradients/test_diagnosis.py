"""The usual mistakes are called by their names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cnnjax.errors import GradientError
from cnnjax.gradients import check_grads
from cnnjax.gradients.diagnosis import diagnose
from cnnjax.gradients.leaves import Leaf

RIGHT = np.random.default_rng(0).normal(size=(4, 4, 3))


def told(computed, right=RIGHT, x=None, dtype=np.float32):
    leaf = Leaf("args[0]", right.shape, np.dtype(dtype), 0)
    x = np.arange(1.0, right.size + 1) if x is None else x.reshape(-1)
    (text,) = diagnose(computed.reshape(-1), right.reshape(-1), x, [leaf])
    return text


def changed(index, factor):
    out = RIGHT.copy()
    out[index] *= factor
    return out


BORDER = np.ones((4, 4, 3))
BORDER[1:3, 1:3] = 0


@pytest.mark.parametrize(
    ("computed", "words"),
    [
        (-RIGHT, "wrong sign"),
        (RIGHT * 4, "a sum where it should be a mean over 4"),
        (RIGHT / 48, "a mean where it should be a sum over 48"),
        (RIGHT * 1.5, "1.5 times the right gradient everywhere"),
        (0 * RIGHT, "no gradient at all"),
        (RIGHT.transpose(1, 0, 2), "axes transposed to (1, 0, 2)"),
        (RIGHT[::-1, ::-1], "reversed along axis 0, 1 (a kernel not flipped?)"),
        (np.roll(RIGHT, 1, 1), "shifted by 1 along axis 1 (a padding off by one?)"),
        (RIGHT * (np.arange(4) == 0)[:, None, None], "only the first index of axis 0"),
        (np.broadcast_to(RIGHT.mean(0), RIGHT.shape), "the mean over axis 0"),
        (changed((1, 2, 0), 2.0), "1 of 48 elements wrong, at [1, 2, 0]: 2 times"),
        (changed((slice(None), slice(None), 1), 0.0), "at index 1 of axis 2: zero there"),
        (np.where(BORDER, 0.5, 1.0) * RIGHT, "on the border of axis 0, 1: 0.5 times"),
        (RIGHT + 0.25, "every element wrong: 0.25 too much there"),
        (RIGHT + (np.arange(4) > 1)[:, None, None], "at index 2, 3 of axis 0: 1 too much there"),
    ],
)
def test_images_and_patterns(computed, words):
    assert words in told(computed)


def test_by_the_sign_of_the_argument():
    x = np.random.default_rng(1).normal(size=RIGHT.shape)
    assert "where the argument is negative: 3 times" in told(np.where(x < 0, 3 * RIGHT, RIGHT), x=x)


def test_exchanged_leaves():
    leaves = [Leaf("a", (3,), np.dtype(np.float32), 0), Leaf("b", (3,), np.dtype(np.float32), 3)]
    right = np.array([1.0, 2, 3, 7, 5, 4])
    texts = diagnose(np.roll(right, 3), right, right, leaves)
    assert texts[0] == "a: the gradient of b: two are exchanged"


def test_a_missing_conjugate():
    right = np.array([1.0, 2.0, 3.0, -4.0])
    leaf = Leaf("z", (2,), np.dtype(np.complex64), 0)
    (text,) = diagnose(right * [1, 1, -1, -1], right, right, [leaf])
    assert "conjugate" in text


def test_what_is_right_is_not_mentioned():
    leaves = [Leaf("a", (2,), np.dtype(np.float32), 0), Leaf("b", (2,), np.dtype(np.float32), 2)]
    right = np.array([1.0, 2.0, 3.0, 4.0])
    assert [t.split(":")[0] for t in diagnose(right * [1, 1, 2, 2], right, right, leaves)] == ["b"]


def pooled(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def test_every_tie_rewarded():
    def spread(a):
        return jnp.repeat(jnp.repeat(a, 2, 1), 2, 2)

    f = jax.custom_vjp(pooled)
    f.defvjp(
        lambda x: (pooled(x), x),
        lambda x, y: (jnp.where(x == spread(pooled(x)), spread(y), jnp.zeros_like(x)),),
    )
    x = np.round(np.random.default_rng(0).normal(size=(1, 4, 4, 2))).astype(np.float32)
    with pytest.raises(GradientError) as caught:
        check_grads(f, (x,))
    assert "every tie rewarded" in " ".join(caught.value.report.diagnosis)


def test_the_report_says_what_it_looks_like():
    f = jax.custom_vjp(lambda a, b: a @ b)
    f.defvjp(lambda a, b: (a @ b, (a, b)), lambda r, y: ((y @ r[1].T).T, r[0].T @ y))
    a, b = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
    with pytest.raises(GradientError, match=r"It looks like: args\[0\]: axes transposed to \(1, 0\)"):
        check_grads(f, (a, b))


def test_an_ignored_triangle_is_no_tie():
    m = np.array([[2.0, 0.5, 0.3], [0.5, 1.5, 0.2], [0.3, 0.2, 1.0]])

    def solve(a):
        return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(a), np.ones(3))

    with pytest.raises(GradientError, match="the function ignores the lower triangle"):
        check_grads(solve, (m,), modes="rev")

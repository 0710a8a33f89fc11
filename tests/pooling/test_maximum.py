"""Max-pooling: PyTorch's values and gradients, ties, padding and NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import integers, normal

import cnnjax


def test_the_tutorials_pool():
    """Its example, on numpy.random.RandomState(1).rand(3, 2, 5, 5), of which it prints four and nine values."""
    images = np.moveaxis(np.random.RandomState(1).rand(3, 2, 5, 5), 1, -1)
    inside = cnnjax.max_pool2d(images, 2)[0, ..., 0]
    np.testing.assert_allclose(inside, [[0.72032449, 0.39676747], [0.6852195, 0.87811744]], atol=5e-9)
    with_border = cnnjax.max_pool2d(images, 2, padding=((0, 1), (0, 1)))[1, ..., 0]
    printed = [
        [0.67883553, 0.58930554, 0.69975836],
        [0.66379465, 0.94459476, 0.58655504],
        [0.90340192, 0.80739129, 0.39767684],
    ]
    np.testing.assert_allclose(with_border, printed, atol=5e-9)


def test_the_zeros_beyond_the_edge_never_win():
    x = -np.ones((3, 3, 1))
    np.testing.assert_array_equal(cnnjax.max_pool2d(x, 3, stride=1, padding="SAME"), x)
    assert cnnjax.max_pool2d(-np.inf * x * -1, 3).item() == -np.inf


def test_the_gradient_of_a_maximum_goes_to_the_largest_and_is_shared_by_equals():
    x = jnp.array([[1.0, 5.0, 2.0, 2.0], [3.0, 4.0, 2.0, 0.0]])[..., None]
    gradient = jax.grad(lambda x: jnp.sum(cnnjax.max_pool2d(x) * jnp.array([1.0, 3.0])[None, :, None]))(x)
    np.testing.assert_array_equal(gradient[..., 0], [[0, 1, 1, 1], [0, 0, 1, 0]])
    constant = jax.grad(lambda x: cnnjax.max_pool2d(x, 2, stride=1, padding="SAME").sum())(jnp.zeros((2, 2, 1)))
    np.testing.assert_array_equal(constant[..., 0], [[0.25, 0.75], [0.75, 2.25]])  # shared with no zero beyond the edge


SIZES = {1: (13,), 2: (9, 12), 3: (6, 7, 9)}
PLACES = [{"stride": 1, "pad": 1}, {"stride": 2, "pad": 0}, {"stride": 4, "pad": 1}]


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("where", [{**place, "window": k} for place in PLACES for k in (2, 5)], ids=str)
def test_max_pools_equal_torch(axes, where):
    torch = pytest.importorskip("torch")
    window, stride, pad = where["window"], where["stride"], where["pad"]
    x = normal((2, *SIZES[axes], 3), "max pool of torch")
    their_pool, our_pool = getattr(torch.nn.functional, f"max_pool{axes}d"), getattr(cnnjax, f"max_pool{axes}d")

    @jax.jit
    def ours(x):
        pool = lambda x, ceil_mode: our_pool(x, window, stride=stride, padding=pad, ceil_mode=ceil_mode)  # noqa: E731
        down, up = pool(x, False), pool(x, True)
        return down, up, *(jax.grad(lambda x, c=ceil: jnp.sum(jnp.sin(pool(x, c))))(x) for ceil in (False, True))

    *values, down, up = ours(x)
    for ceil_mode, y, gradient in zip((False, True), values, (down, up), strict=True):
        theirs = torch.from_numpy(np.moveaxis(x, -1, 1).copy()).requires_grad_()
        expected = their_pool(theirs, window, stride, pad, ceil_mode=ceil_mode)
        np.testing.assert_array_equal(y, np.moveaxis(expected.detach().numpy(), 1, -1))
        expected.sin().sum().backward()
        np.testing.assert_allclose(gradient, np.moveaxis(theirs.grad.numpy(), 1, -1), rtol=0, atol=1e-13)


def shares_by_hand(x, window, stride, pad, weights):
    """The gradient of a 2-D max-pool of one map: each window's weight in equal parts to its largest pixels."""
    gradient = np.zeros_like(x)
    for (i, j), weight in np.ndenumerate(weights):
        rows = [r for r in range(i * stride - pad, i * stride - pad + window) if 0 <= r < x.shape[0]]
        columns = [c for c in range(j * stride - pad, j * stride - pad + window) if 0 <= c < x.shape[1]]
        pixels = x[np.ix_(rows, columns)]
        largest = np.isnan(pixels) if np.isnan(pixels).any() else pixels == pixels.max()
        gradient[np.ix_(rows, columns)] += weight * largest / largest.sum()
    return gradient


@pytest.mark.parametrize(
    "where", [(2, 2, 0), (2, 2, 1), (3, 2, 1), (4, 3, 1), (2, 3, 0), (11, 1, 5), (12, 12, 0)], ids=str
)
@pytest.mark.parametrize("values", ["ties", "-inf", "NaN"])
def test_equal_maxima_share_in_both_modes_and_padding_takes_nothing(where, values):
    window, stride, pad = where
    x = integers((12, 12), "ties") // 2  # many equal neighbours
    if values == "-inf":
        x = np.where(np.arange(12) < 8, -np.inf, x)
    if values == "NaN":
        x[3, 4] = x[3, 5] = x[9, 1] = np.nan
    pool = lambda x: cnnjax.max_pool2d(x[..., None], window, stride=stride, padding=pad)[..., 0]  # noqa: E731
    weights = integers(jax.eval_shape(pool, x).shape, "weights")
    expected = shares_by_hand(x, window, stride, pad, weights)
    reverse = jax.jit(lambda x, weights: jax.vjp(pool, x)[1](weights)[0])(x, weights)
    np.testing.assert_allclose(reverse, expected, rtol=0, atol=1e-12)
    direction = normal((12, 12), "direction")
    forward = jax.jit(lambda x, t: jax.jvp(pool, (x,), (t,))[1])(x, direction)
    np.testing.assert_allclose((forward * weights).sum(), (direction * expected).sum(), rtol=1e-11)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_tangent_has_the_dtype_of_the_image(dtype):
    x = jnp.asarray(normal((1, 6, 6, 2), "dtype", dtype))
    for stride in (1, 2):
        y, pull = jax.vjp(lambda x, s=stride: cnnjax.max_pool2d(x, 2, stride=s), x)
        assert y.dtype == pull(y)[0].dtype == dtype

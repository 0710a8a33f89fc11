"""Pooling by the p-norm: PyTorch's values, its range, and its derivatives at zero."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import normal

import cnnjax


def test_the_norm_lies_between_the_largest_modulus_and_the_sum():
    x = normal((4, 6, 2), "norm")
    largest = cnnjax.max_pool2d(np.abs(x), 2)
    norms = [cnnjax.lp_pool2d(x, 2, p=p) for p in (1.0, 1.5, 2, 7.0, 400.0)]
    for more, less in itertools.pairwise(norms):
        assert (more >= less).all()
    # The p-norm of four numbers is at most 4^(1/p) times the largest.
    assert (norms[-1] >= largest * (1 - 1e-14)).all()
    assert (norms[-1] <= largest * 4 ** (1 / 400) * (1 + 1e-14)).all()


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_no_power_overflows_or_underflows(scale):
    x = scale * np.array([[3.0, 4.0], [0.0, 0.0]])[..., None]
    value, gradient = jax.value_and_grad(lambda x: cnnjax.lp_pool2d(x, 2).sum())(x)
    np.testing.assert_allclose(value, 5 * scale, rtol=4e-16)
    np.testing.assert_allclose(gradient[..., 0], [[0.6, 0.8], [0, 0]], rtol=4e-16)


@pytest.mark.parametrize("p", [1, 1.5, 2.0, 3])
def test_the_gradient_of_a_norm_is_finite_everywhere_and_zero_at_zero(p):
    x = jnp.zeros((2, 4, 1)).at[0, 2, 0].set(2.0)  # one window of zeros, one that is not
    f = lambda x: cnnjax.lp_pool2d(x, 2, p=p).sum()  # noqa: E731
    gradient = jax.grad(f)(x)
    np.testing.assert_allclose(gradient[..., 0], [[0, 0, 1, 0], [0, 0, 0, 0]], rtol=1e-15)
    np.testing.assert_array_equal(jax.hessian(f)(jnp.zeros((2, 2, 1))), np.zeros((2, 2, 1) * 2))


def test_beside_another_number_a_zero_has_the_curvature_of_the_norm():
    x = jnp.array([[2.0, 0.0], [0.0, 0.0]])[..., None]
    hessian = jax.hessian(lambda x: cnnjax.lp_pool2d(x).sum())(x).reshape(4, 4)
    np.testing.assert_allclose(hessian, np.diag([0, 0.5, 0.5, 0.5]), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("p", [1, 2, 3.5])
def test_norms_equal_torch(axes, ceil_mode, p):
    torch = pytest.importorskip("torch")
    x = normal((2, *(11, 8, 5)[:axes], 3), "norms of torch")
    theirs = torch.from_numpy(np.moveaxis(np.abs(x), -1, 1).copy())
    expected = getattr(torch.nn.functional, f"lp_pool{axes}d")(theirs, p, 3, 2)
    pool = getattr(cnnjax, f"lp_pool{axes}d")
    ours = pool(x, 3, p=p, stride=2, ceil_mode=ceil_mode)
    shared = (slice(None), *(slice(n) for n in expected.shape[2:]))
    few_ulps = 64 * np.finfo(float).eps
    np.testing.assert_allclose(ours[shared], np.moveaxis(expected.numpy(), 1, -1), rtol=few_ulps)
    if ceil_mode:  # zeros beyond the edge add nothing
        padded = np.pad(x, ((0, 0), *[(0, 2)] * axes, (0, 0)))
        larger = pool(padded, 3, p=p, stride=2)[tuple(map(slice, ours.shape))]
        np.testing.assert_allclose(ours, larger, rtol=few_ulps)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_a_row_of_zeros_beside_numbers_of_any_size(scale):
    x = scale * np.array([[0.0, 0.0, 0.0], [0.0, 3.0, 4.0], [0.0, 0.0, 0.0]])[..., None]
    value, gradient = jax.value_and_grad(lambda x: cnnjax.lp_pool2d(x, 3, stride=1, p=3).sum())(x)
    np.testing.assert_allclose(value, 91 ** (1 / 3) * scale, rtol=1e-15)
    np.testing.assert_allclose(gradient[1, 1:, 0], np.array([9, 16]) / 91 ** (2 / 3), rtol=4e-15)
    assert not np.delete(gradient.ravel(), (4, 5)).any()

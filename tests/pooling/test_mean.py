"""Average pooling: PyTorch's values and gradients, with and without the padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import normal, product

import cnnjax
from cnnjax import reference


@pytest.mark.parametrize("padding", ["VALID", "SAME", "SAME_LOWER", "CIRCULAR", "REFLECT", 1])
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_a_constant_image_stays_constant(name, padding):
    for value in (1.75, -1.75):
        y = getattr(cnnjax, name)(np.full((5, 6, 1), value), 3, stride=2, padding=padding)
        np.testing.assert_array_equal(y, np.full(y.shape, value))


def test_complex_images_have_a_mean_and_a_subsampling():
    x = normal((1, 4, 4, 2), "complex", "complex128")
    np.testing.assert_allclose(cnnjax.avg_pool2d(x), reference.avg_pool(x, (2, 2), stride=2), rtol=0, atol=1e-15)
    w = normal((2,), "w", "complex128")
    exact = reference.subsample(x, w, np.zeros(2), (2, 2), stride=2)
    np.testing.assert_allclose(cnnjax.subsample2d(x, w), exact, rtol=0, atol=1e-14)


SIZES = {1: (13,), 2: (9, 12), 3: (6, 7, 9)}
PLACES = [{"stride": 1, "pad": 1}, {"stride": 2, "pad": 0}, {"stride": 4, "pad": 1}]
MODES = product(ceil_mode=[False, True], count_include_pad=[False, True])


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("where", [{**place, "window": k} for place in PLACES for k in (2, 3)], ids=str)
def test_average_pools_equal_torch(axes, where):
    torch = pytest.importorskip("torch")
    window, stride, pad = where["window"], where["stride"], where["pad"]
    x = normal((2, *SIZES[axes], 3), "average pool of torch")
    their_pool, our_pool = getattr(torch.nn.functional, f"avg_pool{axes}d"), getattr(cnnjax, f"avg_pool{axes}d")

    @jax.jit
    def ours(x):
        pool = lambda x, mode: our_pool(x, window, stride=stride, padding=pad, **mode)  # noqa: E731
        gradient = lambda mode: jax.grad(lambda x: jnp.sum(jnp.sin(pool(x, mode))))(x)  # noqa: E731
        return [(pool(x, mode), gradient(mode)) for mode in MODES]

    for mode, (y, gradient) in zip(MODES, ours(x), strict=True):
        theirs = torch.from_numpy(np.moveaxis(x, -1, 1).copy()).requires_grad_()
        expected = their_pool(theirs, window, stride, pad, **mode)
        np.testing.assert_allclose(y, np.moveaxis(expected.detach().numpy(), 1, -1), rtol=0, atol=1e-14)
        expected.sin().sum().backward()
        np.testing.assert_allclose(gradient, np.moveaxis(theirs.grad.numpy(), 1, -1), rtol=0, atol=1e-13)


def test_padding_that_counts_is_the_sum_over_the_area():
    x = normal((1, 5, 6, 2), "count")
    sums = reference.subsample(x, np.ones(2), np.zeros(2), (3, 2), stride=2, padding="SAME")
    ours = cnnjax.avg_pool2d(x, (3, 2), stride=2, padding="SAME", count_include_pad=True)
    np.testing.assert_allclose(ours, sums / 6, rtol=0, atol=1e-15)
    for padding in ("CIRCULAR", "REFLECT"):  # these pads are pixels of the image, and count anyway
        both = (cnnjax.avg_pool2d(x, 3, stride=1, padding=padding, count_include_pad=count) for count in (False, True))
        np.testing.assert_array_equal(*both)


def test_an_infinite_real_part_leaves_the_imaginary_part_alone():
    x = np.full((2, 2, 1), 1 + 2j)
    x[0, 0] = complex(np.inf, 2)
    assert cnnjax.avg_pool2d(x).item() == complex(np.inf, 2)

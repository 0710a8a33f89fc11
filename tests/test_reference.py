"""The oracle itself, against values worked out by hand, SciPy, and sums written in another way."""

import ast
import inspect
import itertools

import numpy as np
import pytest
from cases import CASES, exact_gradients

from cnnjax import reference


def test_it_never_imports_jax():
    tree = ast.parse(inspect.getsource(reference))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported == {"__future__", "itertools", "collections", "typing", "numpy"}


def test_a_convolution_worked_out_by_hand():
    x = np.array([1.0, 2.0, 3.0, 4.0])[None, :, None]
    w = np.array([10.0, 1.0])[:, None, None]
    by_padding = {
        "VALID": [12, 23, 34],
        "SAME": [12, 23, 34, 40],
        "SAME_LOWER": [1, 12, 23, 34],
        "CAUSAL": [1, 12, 23, 34],
        "CIRCULAR": [12, 23, 34, 41],
        "EDGE": [12, 23, 34, 44],
        "REFLECT": [12, 23, 34, 43],
        1: [1, 12, 23, 34, 40],
        ((2, 0),): [0, 1, 12, 23, 34],
    }
    for padding, y in by_padding.items():
        np.testing.assert_array_equal(reference.convolve(x, w, padding=padding)[0, :, 0], y)
    np.testing.assert_array_equal(reference.convolve(x, w, stride=2)[0, :, 0], [12, 34])
    np.testing.assert_array_equal(reference.convolve(x, w, dilation=2)[0, :, 0], [13, 24])
    np.testing.assert_array_equal(reference.convolve(x, w, b=[100.0])[0, :, 0], [112, 123, 134])


def test_mirror_and_ring_worked_out_by_hand():
    x = np.array([1.0, 2.0, 3.0])[None, :, None]
    identity = np.eye(5)[:, None]  # five maps: the five taps themselves
    ring = reference.convolve(x, identity, padding="CIRCULAR")[0]
    np.testing.assert_array_equal(ring, [[2, 3, 1, 2, 3], [3, 1, 2, 3, 1], [1, 2, 3, 1, 2]])
    mirror = reference.convolve(x, identity, padding="REFLECT")[0]
    np.testing.assert_array_equal(mirror, [[3, 2, 1, 2, 3], [2, 1, 2, 3, 2], [1, 2, 3, 2, 1]])


def test_it_equals_scipy():
    signal = pytest.importorskip("scipy.signal")
    random = np.random.default_rng(0)
    x, w = random.integers(-5, 6, (1, 6, 7, 1)), random.integers(-5, 6, (3, 2, 1, 1))
    for padding, mode in (("VALID", "valid"), (((2, 2), (1, 1)), "full")):
        theirs = signal.correlate2d(x[0, ..., 0], w[..., 0, 0], mode)
        np.testing.assert_array_equal(reference.convolve(x, w, padding=padding)[0, ..., 0], theirs)


@pytest.mark.parametrize("case", CASES[4:], ids=lambda case: case.name)
def test_the_three_sums_are_one_trilinear_form(case):
    x, w, y = (case.draw_integers(what) for what in "xwy")
    by_x, by_w = exact_gradients(x, w, y, case.for_oracle)
    forward = np.vdot(reference.convolve(x, w, **case.for_oracle), y)
    assert forward == np.vdot(by_x, x) == np.vdot(by_w, w)
    assert by_x.shape == x.shape
    assert by_w.shape == w.shape


def test_unconnected_maps_have_no_terms():
    matrix = np.array([[True, False], [False, False]])
    terms = list(reference.terms((1, 3, 2), (2, 2, 2), connections=matrix))
    assert {(at_x[-1], at_y[-1]) for at_x, _, at_y in terms} == {(0, 0)}
    assert len(terms) == 4


def test_complex_numbers_are_not_conjugated():
    x, w = np.full((1, 1, 1), 1j), np.full((1, 1, 1), 1j)
    assert reference.convolve(x, w) == -1
    assert reference.convolve(x, w).dtype == np.complex128


def test_a_local_convolution_by_hand():
    x = np.arange(1.0, 4.0)[None, :, None]
    w = np.array([[1.0, 0.0], [0.0, 10.0]]).reshape(2, 2, 1, 1)
    np.testing.assert_array_equal(reference.local_convolve(x, w)[0, :, 0], [1, 30])
    np.testing.assert_array_equal(reference.local_convolve(x, w, b=np.ones((2, 1)))[0, :, 0], [2, 31])


def test_pools_by_hand():
    x = np.array([[3.0, -4.0, 1.0], [0.0, 2.0, 5.0]])[None, ..., None]
    shown = lambda y: y[0, ..., 0].tolist()  # noqa: E731
    assert shown(reference.max_pool(x, (2, 2), stride=1)) == [[3, 5]]
    assert shown(reference.avg_pool(x, (2, 2), stride=1)) == [[0.25, 1]]
    assert shown(reference.avg_pool(x, (2, 2), stride=2, padding="SAME")) == [[0.25, 3]]
    assert shown(reference.lp_pool(x, (1, 2), 2)) == [[5, 17**0.5], [2, 29**0.5]]
    assert shown(reference.subsample(x, [2.0], [1.0], (2, 3))) == [[15]]


def test_sums_are_kept_in_float64_whatever_comes_in():
    for dtype, name in itertools.product((np.float16, np.float32, int), ("convolve", "max_pool")):
        x = np.ones((1, 2, 2, 1), dtype)
        result = reference.convolve(x, x[0, ..., None]) if name == "convolve" else reference.max_pool(x, (2, 2))
        assert result.dtype == np.float64

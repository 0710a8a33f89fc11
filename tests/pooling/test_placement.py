"""Where the windows of a pool lie, with `ceil_mode` and without, and what does not fit."""

import itertools

import pytest

from cnnjax.errors import ArgumentTypeError, ArgumentValueError
from cnnjax.pooling import pool_geometry


def test_rounded_up_sizes_equal_torch():
    torch = pytest.importorskip("torch")
    for n, k, s in itertools.product(range(1, 9), range(1, 5), range(1, 6)):
        for pad in range(k // 2 + 1):
            if n + 2 * pad < k:
                continue
            for ceil_mode in (False, True):
                ours = pool_geometry("max_pool1d", (n,), k, stride=s, padding=pad, ceil_mode=ceil_mode).output
                theirs = torch.nn.functional.max_pool1d(torch.zeros(1, 1, n), k, s, pad, ceil_mode=ceil_mode).shape[2:]
                assert ours == tuple(theirs), (n, k, s, pad, ceil_mode)


@pytest.mark.parametrize("padding", ["CIRCULAR", "REFLECT", "EDGE"])
def test_a_continued_image_has_a_window_at_every_stride_anyway(padding):
    down, up = (
        pool_geometry("max_pool2d", (7, 8), 3, stride=2, padding=padding, ceil_mode=ceil_mode)
        for ceil_mode in (False, True)
    )
    assert down == up
    assert up.output == (4, 4)


def test_windows_are_side_by_side_by_default():
    assert pool_geometry("max_pool3d", (4, 6, 9), (2, 3, 4)).stride == (2, 3, 4)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"window": 2.0}, ArgumentTypeError, "max_pool2d: `window` is 2.0"),
        ({"window": (2, 2, 2)}, ArgumentValueError, "max_pool2d: `window` is"),
        ({"window": 6}, ArgumentValueError, "max_pool2d: `window` is a window of"),
        ({"window": 2, "padding": 2}, ArgumentValueError, "max_pool2d: `padding` is 2; expected less than the window"),
        ({"window": 2, "stride": 0}, ArgumentValueError, "max_pool2d: `stride` is 0"),
    ],
    ids=str,
)
def test_a_window_that_does_not_fit_is_refused(settings, error, words):
    with pytest.raises(error, match=words):
        pool_geometry("max_pool2d", (5, 5), **settings)

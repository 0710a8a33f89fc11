"""ZFNet: the sizes of its figure 3, and counts by hand."""

from published import check_counts

from cnnjax import models


def test_sizes_are_those_of_figure_3():
    shapes = models.zfnet().shapes()
    sizes = [shape[0] for name, shape in shapes.items() if name.startswith(("conv", "pool", "input"))]
    assert sizes == [224, 110, 55, 26, 13, 13, 13, 13, 6]


def test_counts_follow_from_the_kernels():
    weights = 7 * 7 * 3 * 96 + 5 * 5 * 96 * 256 + 3 * 3 * (256 * 384 + 384 * 384 + 384 * 256)
    dense = 6 * 6 * 256 * 4096 + 4096 * 4096 + 4096 * 1000
    biases = 96 + 256 + 384 + 384 + 256 + 4096 + 4096 + 1000
    check_counts(models.zfnet(), weights + dense + biases, 1.168)

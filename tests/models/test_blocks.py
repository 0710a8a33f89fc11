"""Parts of architectures: a convolution and the normalisation after it."""

from cnnjax.layers import BatchNorm, Conv2D
from cnnjax.models.blocks import conv_norm


def test_a_convolution_keeps_the_size_and_has_no_biases():
    (name, conv, read), (norm_name, norm) = conv_norm(("c", "n"), 8, (3, 1), read="x", groups=2, activation="relu6")
    assert (name, read, norm_name) == ("c", "x", "n")
    assert isinstance(conv, Conv2D)
    assert conv.output_shape((9, 7, 4)) == (9, 7, 8)
    assert (conv.bias, conv.groups) == (False, 2)
    assert norm == BatchNorm(activation="relu6")
    assert conv_norm(("c", "n"), 8, 3)[0][0:1] == ("c",)
    assert len(conv_norm(("c", "n"), 8, 3)[0]) == 2

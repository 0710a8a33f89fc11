"""`cnnjax.explain`: what it prints, and which arguments it refuses."""

import pytest

import cnnjax
from cnnjax import CnnjaxError, explain


def test_it_prints_who_serves_and_why_the_others_do_not():
    printed = str(explain((8, 56, 56, 128), (3, 3, 1, 128), groups=128, platform="any cpu"))
    assert "on any cpu:" in printed
    assert "weight gradient depthwise" in printed
    assert "would serve too: definition, lax, gathered, grouped, block_diagonal" in printed
    assert "does not serve: winograd4, because it is for one group and 3 x 3 kernels" in printed


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "words"),
    [
        ((None, (3, 3, 1, 1)), {}, TypeError, "`x_shape` is None"),
        (((8, 8, 1), (3, 3, 1, 1)), {}, ValueError, "give x_shape its batch axis"),
        (((1, 8, 8, 1), (3, 3, 2, 1)), {}, ValueError, "2 input maps"),
        (((1, 8, 8, 1), (3, 3, 1, 1)), {"method": "fastest"}, ValueError, "'fastest'"),
        (((1, 8, 8, 1), (9, 9, 1, 1)), {}, ValueError, "9 pixels along H"),
        (((1, 8, 8, 1), (3, 3, 1, 1)), {"method": "matmul"}, ValueError, "does not serve this call"),
    ],
)
def test_wrong_arguments_are_named(arguments, settings, error, words):
    with pytest.raises(error, match="explain: ") as caught:
        explain(*arguments, **settings)
    assert isinstance(caught.value, CnnjaxError)
    assert words in str(caught.value)


def test_explain_is_public():
    assert "explain" in cnnjax.__all__

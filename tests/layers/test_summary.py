"""The summary of a network: its rows, and its printed table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import Input, Network
from cnnjax import connections as tables
from cnnjax.errors import ArgumentTypeError
from cnnjax.layers import AdaptiveAvgPool2D, Add, AvgPool2D, Conv2D, Dense, MaxPool2D, Multiply
from cnnjax.layers.summary import Row, summary

PRINTED = """
LeNet-5
layer   kind         maps @ size  kernel  parameters  connections  mult-adds  field  jump
-----------------------------------------------------------------------------------------
input                1 @ 32x32
c1      Conv2D       6 @ 28x28    5x5            156      122,304    117,600    5x5     1
s2      Subsample2D  6 @ 14x14    2x2             12        5,880      1,176    6x6     2
c3      Conv2D       16 @ 10x10   5x5          1,516      151,600    150,000  14x14     2
s4      Subsample2D  16 @ 5x5     2x2             32        2,000        400  16x16     4
c5      Conv2D       120 @ 1x1    5x5         48,120       48,120     48,000  32x32     4
f6      Dense        84           1x1         10,164       10,164     10,080  32x32     4
output  RBF          10                            0          840        840  32x32     4
-----------------------------------------------------------------------------------------
total                                         60,000      340,908    328,096
"""


def test_lenet5_prints_as_the_table_of_the_paper():
    assert str(cnnjax.summary(cnnjax.models.lenet5())) == PRINTED.strip("\n")


def test_the_totals_are_the_sums_of_the_rows():
    table = cnnjax.summary(cnnjax.models.lenet_tutorial())
    for name in ("num_parameters", "num_connections", "num_macs"):
        assert getattr(table, name) == sum(getattr(row, name) for row in table.rows)
    assert table.name == "tutorial LeNet"
    assert table.input_shape == (28, 28, 1)


NETWORK = Network(
    "uneven",
    Input((20, 30, 3)),
    {
        "dilated": Conv2D(4, (3, 2), stride=(2, 1), dilation=(2, 3), padding="SAME"),
        "pool": MaxPool2D((2, 3)),
        "grouped": Conv2D(6, 3, groups=2, bias=False),
        "average": AvgPool2D(2, stride=1),
        "out": Dense(7),
    },
)


def test_rows_of_a_network_with_unequal_axes():
    rows = cnnjax.summary(NETWORK).rows
    assert rows[0] == Row("dilated", "Conv2D", 4, (10, 30), (3, 2), 76, 76 * 300, 72 * 300, (5, 4), (2, 1))
    assert rows[1] == Row("pool", "MaxPool2D", 4, (5, 10), (2, 3), 0, 6 * 200, 0, (7, 6), (4, 3))
    assert rows[2] == Row("grouped", "Conv2D", 6, (3, 8), (3, 3), 108, 108 * 24, 108 * 24, (15, 12), (4, 3))
    assert rows[3] == Row("average", "AvgPool2D", 6, (2, 7), (2, 2), 0, 4 * 84, 0, (19, 15), (4, 3))
    assert rows[4] == Row("out", "Dense", 7, (), (2, 7), 84 * 7 + 7, 595, 588, (23, 33), (4, 3))
    assert "4x3" in str(cnnjax.summary(NETWORK)).splitlines()[5].split()


def test_the_receptive_field_is_what_moves_a_unit_and_the_jump_how_far_its_neighbour_is():
    layers = (
        ("dilated", Conv2D(2, (3, 2), stride=(2, 1), dilation=(1, 3), padding="SAME")),
        ("pool", AvgPool2D((2, 3))),
        ("last", Conv2D(1, (2, 3), stride=(1, 2))),
    )
    network = Network("wide", Input((32, 48, 1)), layers)
    row = cnnjax.summary(network).rows[-1]
    params = jax.tree.map(jnp.ones_like, network.init(jax.random.key(0), jnp.float64))
    middle = lambda x: network.apply(params, x)[2:4, 2:4, 0]  # noqa: E731
    felt = np.any(np.asarray(jax.jit(jax.jacrev(middle))(jnp.ones((32, 48, 1)))) != 0, axis=-1)
    for axis in range(2):
        first, second = (np.flatnonzero(felt[i, i].any(axis=1 - axis)) for i in range(2))
        assert first[-1] - first[0] + 1 == row.receptive_field[axis]
        assert second[0] - first[0] == row.jump[axis]


def test_a_table_counts_only_its_links():
    table = tables.from_rows([[0], [0, 1]], 2)
    network = Network("partial", Input((4, 4, 2)), {"c": Conv2D(2, 3, connections=table)})
    assert cnnjax.summary(network).rows[0].num_parameters == 3 * 9 + 2
    assert cnnjax.summary(network).num_connections == 4 * 29


@pytest.mark.parametrize("thing", [None, cnnjax.models.lenet5, Conv2D(2, 3), [1]])
def test_what_is_no_network_is_refused(thing):
    with pytest.raises(
        ArgumentTypeError, match=r"summary: `network` is .*; expected a cnnjax Network. Fix: pass for example"
    ):
        cnnjax.summary(thing)


def test_a_unit_that_reads_several_volumes_has_the_field_of_all():
    network = Network(
        "branched",
        Input((16, 16, 1)),
        [
            ("a", Conv2D(2, 3, stride=2, padding=1)),
            ("up", Conv2D(2, 3, padding=((2, 0), (1, 1)))),
            ("down", Conv2D(2, 3, padding=((0, 2), (1, 1))), "a"),
            ("sum", Add(), ("up", "down")),
            ("mean", AdaptiveAvgPool2D()),
            ("scaled", Multiply(), ("sum", "mean")),
        ],
    )
    rows = {row.name: row for row in summary(network).rows}
    assert rows["up"].receptive_field == rows["down"].receptive_field == (7, 7)
    assert rows["sum"].receptive_field == (11, 7)  # one branch looks up, the other down
    assert rows["mean"].jump == (16, 16)
    assert rows["scaled"].jump == (2, 2)

"""AlexNet: the counts of 2012 layer by layer, and outputs equal to those of torchvision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from published import check_counts, check_names, check_outputs
from torchvision_oracle import build

from cnnjax import models
from cnnjax.layers import Conv2D, summary


@pytest.mark.parametrize(
    ("name", "parameters", "billions"), [("alexnet", 61_100_840, 0.714), ("alexnet_2012", 60_965_224, 0.724)]
)
def test_counts_are_the_published_ones(name, parameters, billions):
    check_counts(getattr(models, name)(), parameters, billions)


def test_the_layers_of_2012_have_the_sizes_and_parameters_of_the_paper():
    """cs231n: 55x55 units of 96 maps in the first layer, which have 34,944 parameters together."""
    rows = {row.name: row for row in summary.summary(models.alexnet_2012()).rows}
    parameters = {name: row.num_parameters for name, row in rows.items() if row.num_parameters}
    assert parameters == {
        "conv1": 34_944, "conv2": 307_456, "conv3": 885_120, "conv4": 663_936, "conv5": 442_624,
        "fc6": 37_752_832, "fc7": 16_781_312, "fc8": 4_097_000,
    }  # fmt: skip
    sizes = [(row.maps, row.size[0]) for name, row in rows.items() if name.startswith(("conv", "pool"))]
    assert sizes == [(96, 55), (96, 27), (256, 27), (256, 13), (384, 13), (384, 13), (256, 13), (256, 6)]
    assert rows["conv1"].num_connections == 290_400 * 364


def test_the_groups_of_2012_are_two_devices_that_meet_in_conv3():
    network = models.alexnet_2012()
    shapes = network.input_shapes()
    tables = {name: layer.table(shapes[name]) for name, layer in network.layers if isinstance(layer, Conv2D)}
    assert {name: table.rows[0] for name, table in tables.items() if name != "conv1"} == {
        "conv2": tuple(range(48)), "conv3": tuple(range(256)), "conv4": tuple(range(192)), "conv5": tuple(range(192)),
    }  # fmt: skip


def test_the_network_of_2012_starts_as_its_section_5_says():
    params = models.alexnet_2012(classes=2, size=67).init(jax.random.key(0))
    assert float(jnp.std(params["conv3"]["w"])) == pytest.approx(0.01, rel=0.01)
    ones = {name: float(own["b"][0]) for name, own in params.items()}
    assert ones == {"conv1": 0, "conv2": 1, "conv3": 0, "conv4": 1, "conv5": 1, "fc6": 1, "fc7": 1, "fc8": 0}
    assert np.all(np.isfinite(params["fc8"]["w"]))


def test_outputs_are_those_of_torchvision():
    check_names(models.alexnet(), "alexnet")
    check_outputs(models.alexnet(classes=10, size=64), build("alexnet", num_classes=10))

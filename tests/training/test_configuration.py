"""What identifies a run, and the differences between two configurations."""

import re

import numpy as np
import optax
import pytest
from toy_runs import run

from cnnjax.errors import ConfigurationError
from cnnjax.layers import Conv2D, Network
from cnnjax.training.checkpoints import Checkpoints
from cnnjax.training.configuration import differences

pytestmark = pytest.mark.usefixtures("standard_promotion")


def test_another_run_is_refused_with_the_differences(network, digits, tmp_path):
    kept = Checkpoints(tmp_path, configuration={"note": "first"})
    run(network, digits, epochs=1, checkpoints=kept)
    other = Network("toy", network.input, {**dict(network.layers), "c1": Conv2D(4, 3, activation="tanh")})
    for changes, words in (
        ({"optimizer": optax.adam(0.02)}, "program of loss, optimizer and augmentation: .* saved, .* now"),
        ({"seed": 6}, "  seed: 5 saved, 6 now"),
        ({"batch_size": 8}, "  batch_size: 16 saved, 8 now"),
        ({"checkpoints": Checkpoints(tmp_path, configuration={"note": "other"})}, "  note: first saved, other now"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            run(network, digits, **{"checkpoints": kept, "epochs": 1, **changes})
    with pytest.raises(ConfigurationError, match=r"network\.c1: .*'relu'.* saved, .*'tanh'.* now"):
        run(other, digits, checkpoints=kept)
    with pytest.raises(ConfigurationError, match=re.escape("  data: ")):
        run(network, (digits[0], digits[1][::-1]), checkpoints=kept)
    assert [epoch.number for epoch in run(network, digits, epochs=2, checkpoints=kept)] == [1, 2]  # longer is no other


def test_differences_are_those_of_the_values():
    assert differences({"a": 1, "b": np.float64(2)}, {"a": 1, "b": 2.0}) == []

"""What identifies a run, and the differences between two configurations."""

import re

import numpy as np
import optax
import pytest
from toy_runs import run

from cnnjax.errors import ConfigurationError
from cnnjax.layers import Conv2D, Dense, Input, Network
from cnnjax.operator.choice import default_platform
from cnnjax.training.checkpoints import Checkpoints
from cnnjax.training.configuration import differences, run_configuration

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


def test_a_run_is_resumed_after_the_compilation_cache_is_switched_on(network, digits, tmp_path, monkeypatch):
    kept = Checkpoints(tmp_path)
    run(network, digits, epochs=1, checkpoints=kept)
    before, now = default_platform(), "stored cpu"
    monkeypatch.setattr("cnnjax.training.configuration.default_platform", lambda: now)
    with pytest.warns(RuntimeWarning, match=f"may not be bitwise .*platform: {before} saved, {now} now"):
        assert [epoch.number for epoch in run(network, digits, epochs=2, checkpoints=kept)] == [1, 2]


def test_differences_are_those_of_the_values():
    assert differences({"a": 1, "b": np.float64(2)}, {"a": 1, "b": 2.0}) == []


def test_what_a_layer_reads_is_part_of_a_run():
    image, label = np.zeros((1, 2, 2), np.uint8), np.zeros(1, np.uint8)
    layers = [("a", Dense(2)), ("b", Dense(2))]
    found = [
        run_configuration(Network("n", Input((2, 2, 1)), given), image, label, batch_size=1, seed=0, program="")
        for given in (layers, [layers[0], (*layers[1], "input")])
    ]
    assert differences(*found) == ["network.branches: nothing saved, (('b', ('input',)),) now"]

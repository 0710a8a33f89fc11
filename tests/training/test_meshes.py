"""Many devices: eight simulated on one CPU, and two processes that communicate over the loopback interface."""

import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from cnnjax.errors import ArgumentTypeError
from cnnjax.training import meshes

COMMON = """
import json, os, signal, sys
import jax, numpy as np, optax
from cnnjax import training
from cnnjax.training import meshes
from cnnjax.training.checkpoints import Checkpoints
from cnnjax.layers import BatchNorm, Conv2D, Dense, Dropout, Input, MaxPool2D, Network

random = np.random.default_rng(0)
images = random.integers(0, 256, (64, 12, 12)).astype(np.uint8)
labels = random.integers(0, 4, 64).astype(np.uint8)
layers = {"c1": Conv2D(4, 3), "n1": BatchNorm(activation="tanh"), "s1": MaxPool2D(2), "c2": Conv2D(6, 3),
          "drop": Dropout(0.3), "out": Dense(4)}
network = Network("toy", Input((12, 12, 1)), layers)
settings = {"optimizer": optax.sgd(0.05, momentum=0.9), "batch_size": 16, "augment": training.random_shift}

def train(axes, epochs, folder=None):
    return training.fit(network, images, labels, **settings, epochs=epochs,
                        mesh=meshes.make_mesh(axes) if axes else None,
                        checkpoints=Checkpoints(folder, every=3) if folder else None)

def told(epochs):
    flat = [np.ravel(leaf) for leaf in jax.tree.leaves(meshes.gather_to_host(epochs[-1].state.params))]
    return {"numbers": [epoch.number for epoch in epochs], "losses": [epoch.loss for epoch in epochs],
            "errors": [epoch.error for epoch in epochs], "params": np.concatenate(flat).tolist()}
"""

EIGHT = """
found = {"alone": told(list(train(None, 2)))}
for axes, epochs in (("data=8", 1), ("data=4,model=2", 2)):
    done = list(train(axes, epochs, sys.argv[1]))
    w = done[-1].state.params["c2"]["w"]
    found[axes] = told(done) | {"shards": [list(w.sharding.shard_shape(w.shape)), len(w.sharding.device_set)]}
odd = meshes.shardings({"w": np.zeros((2, 5))}, meshes.make_mesh("model=2"))
found["odd"] = list(odd["w"].spec)
settings["batch_size"] = 12
try:
    list(train("data=8", 1))
except ValueError as error:
    found["refused"] = str(error)
print(json.dumps(found))
"""

TWO = """
folder, coordinator, process, epochs, stop = sys.argv[1:]
jax.distributed.initialize(coordinator, 2, int(process))
done = []
for epoch in train("data=2", int(epochs), folder):
    done.append(epoch)
    if process == stop and epoch.number == 1:
        os.kill(os.getpid(), signal.SIGTERM)
print(json.dumps({"together": told(done), "alone": told(list(train(None, int(epochs))))}))
"""


def python(code, *arguments, devices=1):
    # Compiling is most of the time, and what is compared is the same at every level.
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    return subprocess.Popen(
        [sys.executable, "-c", COMMON + code, *map(str, arguments)],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(process):
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


def assert_same_to_rounding(found, alone):
    """The epochs that were found, and the parameters if the last is among them."""
    for number, *values in zip(found["numbers"], found["losses"], found["errors"], strict=True):
        expected = alone["losses"][number - 1], alone["errors"][number - 1]
        np.testing.assert_allclose(values, expected, rtol=1e-5)
    if found["numbers"][-1] == alone["numbers"][-1]:
        np.testing.assert_allclose(found["params"], alone["params"], rtol=1e-4, atol=1e-5)


def test_eight_devices_compute_what_one_does_and_a_checkpoint_goes_on_on_another_mesh(tmp_path):
    found = answer(python(EIGHT, tmp_path, devices=8))
    assert (found["data=8"]["numbers"], found["data=4,model=2"]["numbers"]) == ([1], [1, 2])
    for axes in ("data=8", "data=4,model=2"):
        assert_same_to_rounding(found[axes], found["alone"])
    assert found["data=8"]["shards"] == [[3, 3, 4, 6], 8]
    assert found["data=4,model=2"]["shards"] == [[3, 3, 4, 3], 8]
    assert found["odd"] == []
    assert "`batch_size` is 12; expected a multiple of 8" in found["refused"]


def test_two_processes_stop_at_one_step_and_go_on_to_what_one_computes(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]

    def both(epochs, stop):
        return [python(TWO, tmp_path, f"localhost:{port}", number, epochs, stop) for number in (0, 1)]

    stopped = both(200, 1)
    errors = [process.communicate(timeout=300)[1] for process in stopped]
    assert [process.returncode for process in stopped] == [128 + signal.SIGTERM] * 2, errors
    step = int(errors[0].partition("saved after step ")[2].partition(":")[0])
    assert (tmp_path / f"{step}").exists()
    first, second = map(answer, both(step // 4 + 2, None))
    assert first["together"] == second["together"]
    assert first["together"]["numbers"][-1] == step // 4 + 2
    assert_same_to_rounding(first["together"], first["alone"])


@pytest.mark.parametrize("axes", ["data=1", " data=1,model=1", {"model": 1}, {}])
def test_axes_are_a_text_or_a_mapping(axes):
    mesh = meshes.make_mesh(axes)
    assert dict(mesh.shape) == {"data": 1, "model": 1}


@pytest.mark.parametrize("axes", ["data", "data=0", "data=x", "rows=1", "data=1,data=1", {"data": 0}, {"data": 1.0}])
def test_other_axes_are_refused(axes):
    with pytest.raises(ValueError, match=r'make_mesh: `axes` is .* Fix: write "data=8" or "data=4,model=2"'):
        meshes.make_mesh(axes)


def test_no_text_and_no_mapping_is_refused():
    with pytest.raises(ArgumentTypeError, match="`axes` is 8"):
        meshes.make_mesh(8)


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(ValueError, match=r"takes 9999 devices; expected at most the .* that are here"):
        meshes.make_mesh({"data": 9999})

"""Programs that outlive their process: JAX's persistent compilation cache, and `serialize_executable`."""

import ast
import os
import subprocess
import sys

import pytest

CACHE = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}

COUNT = """
import collections, jax
counted = collections.Counter()
jax.monitoring.register_event_listener(lambda name, **_: counted.update([name.rpartition("/")[2]]))
"""

TRAIN_LENET5 = """
import numpy as np, optax, cnnjax
random = np.random.default_rng(0)
images, labels = random.integers(0, 256, (64, 28, 28), np.uint8), random.integers(0, 10, 64)
run = cnnjax.training.fit(
    cnnjax.models.lenet5(), images, labels, optimizer=optax.adam(1e-3), epochs=1, batch_size=16
)
losses = [epoch.loss for epoch in run]
"""

TRAIN_BY_HAND = """
import jax.numpy as jnp, numpy as np, cnnjax
from cnnjax.layers import AvgPool2D, Conv2D, Dense, Input, Network
network = Network(
    "strided, padded, depthwise",
    Input((20, 20, 3)),
    (
        ("c1", Conv2D(16, 3, padding="SAME", activation="tanh")),
        ("c2", Conv2D(16, 3, groups=16)),
        ("s3", AvgPool2D(2)),
        ("c4", Conv2D(24, 3, stride=2)),
        ("output", Dense(4)),
    ),
)
params = network.init(jax.random.key(0))
images = jnp.asarray(np.random.default_rng(0).standard_normal((8, 20, 20, 3)), jnp.float32)

@jax.jit
def step(params):
    loss = lambda params: jnp.mean(network.apply(params, images) ** 2)
    value, gradient = jax.value_and_grad(loss)(params)
    return jax.tree.map(lambda p, g: p - 0.01 * g, params, gradient), value

losses = []
for _ in range(3):
    params, loss = step(params)
    losses.append(float(loss))
"""


def run(code, **environment):
    """What a process prints, as a Python value; a warning is an error, such as that of a program not written."""
    command = [sys.executable, "-W", "error::UserWarning", "-c", code]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return ast.literal_eval(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("train", [TRAIN_LENET5, TRAIN_BY_HAND], ids=["LeNet-5 by fit", "a step of one's own"])
def test_a_second_process_trains_without_compiling(tmp_path, train):
    report = 'print((counted["compile_requests_use_cache"], counted["cache_hits"], losses))'
    first, second = (run(COUNT + train + report, JAX_COMPILATION_CACHE_DIR=str(tmp_path), **CACHE) for _ in range(2))
    (requests, hits, losses), again = first, second
    assert hits < requests
    assert again == (requests, requests, losses)


CONVOLUTIONS = """
import pickle, sys, jax, jax.numpy as jnp, numpy as np, cnnjax
from jax.experimental import serialize_executable
random = np.random.default_rng(0)
normal = lambda *shape: jnp.asarray(random.standard_normal(shape), jnp.float32)
CASES = {
    "ordinary": (normal(2, 12, 12, 8), normal(3, 3, 8, 24), cnnjax.conv2d, {}),
    "padded": (normal(2, 12, 12, 8), normal(3, 3, 8, 24), cnnjax.conv2d, {"padding": "SAME"}),
    "strided": (normal(2, 12, 12, 8), normal(3, 3, 8, 24), cnnjax.conv2d, {"stride": 2}),
    "depthwise": (normal(2, 12, 12, 16), normal(3, 3, 1, 16), cnnjax.conv2d, {"groups": 16}),
    "grouped": (normal(2, 12, 12, 16), normal(3, 3, 4, 16), cnnjax.conv2d, {"groups": 4}),
    "one axis": (normal(2, 40, 8), normal(5, 8, 16), cnnjax.conv1d, {}),
    "three axes": (normal(2, 6, 6, 6, 4), normal(3, 3, 3, 4, 16), cnnjax.conv3d, {}),
    "transposed": (normal(2, 6, 6, 16), normal(4, 4, 8, 16), cnnjax.conv2d_transpose, {"stride": 2}),
    "by name": (normal(2, 12, 12, 8), normal(3, 3, 8, 24), cnnjax.conv2d, {"method": "onednn"}),
}
"""

WRITE = """
kept = {}
for name, (x, w, convolve, settings) in CASES.items():
    call = lambda x, w: convolve(x, w, **settings)
    step = jax.jit(jax.value_and_grad(lambda x, w: jnp.sum(jnp.tanh(call(x, w))), (0, 1)))
    kept[name] = [
        (serialize_executable.serialize(program), jax.tree.map(np.asarray, program(x, w)))
        for program in (jax.jit(call).lower(x, w).compile(), step.lower(x, w).compile())
    ]
with open(sys.argv[1], "wb") as file:
    pickle.dump(kept, file)
print(len(kept))
"""

LOAD = """
with open(sys.argv[1], "rb") as file:
    kept = pickle.load(file)
for name, (x, w, *_) in CASES.items():
    for program, expected in kept[name]:
        load = serialize_executable.deserialize_and_load
        jax.tree.map(np.testing.assert_array_equal, load(*program)(x, w), expected)
print(len(kept))
"""


def test_compiled_convolutions_are_serialized_and_loaded_by_another_process(tmp_path):
    written, loaded = (
        run(f"import sys; sys.argv.append({str(tmp_path / 'programs')!r})" + CONVOLUTIONS + code)
        for code in (WRITE, LOAD)
    )
    assert written == loaded == 9


def test_a_cache_that_was_opened_is_in_use_whatever_its_settings(tmp_path):
    """JAX goes on writing to a cache that it has opened after its directory is unset and it is disabled."""
    convolve = (
        "x, w = jax.numpy.ones((2, 12, 12, 8)), jax.numpy.ones((3, 3, 8, 24)); import os, cnnjax\n"
        "jax.jit(lambda x: x * 3)(x)\n"
        'jax.config.update("jax_compilation_cache_dir", None)\n'
        'jax.config.update("jax_enable_compilation_cache", False)\n'
        f"before = len(os.listdir({str(tmp_path)!r}))\n"
        "jax.jit(lambda x, w: cnnjax.conv2d(x, w))(x, w)\n"
        f"print(len(os.listdir({str(tmp_path)!r})) - before)"
    )
    assert run("import jax\n" + convolve, JAX_COMPILATION_CACHE_DIR=str(tmp_path), **CACHE) == 1

"""The networks benchmark measures the same network in every library, with drop_in and without it."""

import importlib
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import timing
from benchmarks.networks import __main__ as main
from benchmarks.networks import measure, page, programs
from benchmarks.networks.network import NETWORKS, Model, Network

sys.path.pop(0)

DOCS = Path(__file__).parents[2] / "docs"
EVERY = [(name, library) for name, of in NETWORKS.items() for library in of.libraries]


@pytest.fixture(autouse=True)
def as_users_have_it(float32_world):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def built(name, library):
    if library not in timing.versions(library):
        pytest.skip(f"{library} is not installed")
    module = importlib.import_module(f"benchmarks.networks.{library}_networks")
    return module.build(name, NETWORKS[name].shape(quick=True), 0)


@pytest.mark.filterwarnings("ignore")  # what other libraries warn of
@pytest.mark.parametrize(("name", "library"), EVERY)
def test_a_network_is_that_of_pytorch(name, library):
    pytest.importorskip("torch")
    from benchmarks.networks import torch_networks

    model, module = built(name, library), torch_networks.build(name, library, 0)
    assert measure.parameters(model.params) == sum(p.numel() for p in module.parameters())
    x, targets = programs.data(NETWORKS[name], model, NETWORKS[name].shape(quick=True), 0)
    outputs = jax.eval_shape(model.evaluate, model.params, model.state, model.inputs(x)).shape
    calls = torch_networks.programs(module, x, targets, rate=0.0, momentum=0.0)
    shape = tuple(calls["inference"]().shape)
    assert shape == (outputs if model.channels_first else tuple(np.moveaxis(np.empty(outputs), -1, 1).shape))
    assert shape[1] == NETWORKS[name].outputs
    assert np.isfinite(calls["training"]())


@pytest.mark.parametrize(("regression", "channels_first"), [(False, False), (False, True), (True, False)])
def test_a_step_descends_along_the_gradient_that_is_compared(regression, channels_first):
    axis = 1 if channels_first else -1
    evaluate = lambda w, state, x: jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ w, -1, axis)  # noqa: E731
    w = jax.random.normal(jax.random.key(0), (3, 5))
    model = Model(w, (), evaluate, lambda w, state, x: (evaluate(w, state, x), state), channels_first)
    network = Network(("flax",), 2, (4, 3), 5, (2, 4), regression)
    x, targets = programs.data(network, model, network.shape(), 0)
    assert targets.shape == ((2, 4, 5) if regression else (2, 4))
    arguments, step, compared = programs.training(model, x, targets)
    results = step(*arguments)
    gradient, value = jax.tree.leaves(compared(results))
    np.testing.assert_allclose(results[0], w - programs.RATE * gradient, rtol=1e-6)
    assert step(results[0], *arguments[1:])[-1] < value


@pytest.mark.parametrize(
    ("found", "expected"), [((1.0, 0.0), 0), ((1.5, 0.0), 0.5), ((1.0, 1e-4), 0.1), ((float("nan"), 0.0), np.nan)]
)
def test_a_difference_is_relative_to_its_array(found, expected):
    arrays = [np.full(4, value) for value in found]
    np.testing.assert_allclose(measure.difference(arrays, [np.ones(4), np.zeros(4)]), expected)


@pytest.mark.parametrize(("difference", "wrong"), [(1e-6, False), (1e-4, False), (1e-2, True), (float("nan"), True)])
def test_a_difference_beyond_rounding_is_found(difference, wrong):
    assert measure.differs({"difference": {"training": difference}, "sensitivity": {"training": 1e-5}}) is wrong


@pytest.mark.filterwarnings("ignore")
def test_small_inputs_give_the_same_with_and_without(tmp_path):
    pytest.importorskip("flax")
    record, text = tmp_path / "record.json", tmp_path / "page.md"
    to = ["--quick", "--record", str(record), "--page", str(text)]
    assert main.main(["--only", "LeNet-5", *to]) == 0
    assert list(json.loads(record.read_text())["rows"]) == ["LeNet-5, flax"]
    assert "| LeNet-5, flax | 61,706 |" in text.read_text()


def program(ms):
    return {"first_s": 1.0, "memory": 2**20, "ms": ms, "fastest": ms, "calls": 1}


def test_the_page_says_who_is_ahead():
    row = {"shape": [2, 8, 8, 3], "parameters": 1000}
    row |= {key: {"inference": 1e-6, "training": 1e-6} for key in ("difference", "sensitivity")}
    times = {"plain": 4.0, "drop_in": 1.0, "torch": 2.0}
    row |= {name: {"inference": program(ms), "training": program(2 * ms)} for name, ms in times.items()}
    record = {
        "machine": "M",
        "versions": {},
        "date": "today",
        "seed": 0,
        "others_percent": 0.0,
        "rows": {"N, flax": row},
    }
    text = page.page(record)
    assert "- inference: 0.250 of JAX (1), 0.500 of PyTorch (1)" in text
    assert "| N, flax | 2x8x8x3 | 4 | 1 | 2 | 0.25 | 0.50 |" in text
    assert "ratio 0.25" in page.line("N, flax", row)
    huge = page.page(record | {"allocator": "glibc.malloc.hugetlb=1"})
    assert "GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python -m benchmarks.networks --record docs/records/" in huge
    assert "benchmarks-networks-huge-pages.json" in huge
    assert "huge" not in text


@pytest.mark.parametrize("name", ["benchmarks-networks", "benchmarks-networks-huge-pages"])
def test_the_page_is_that_of_the_record(name):
    record = json.loads((DOCS / "records" / f"{name}.json").read_text())
    assert page.page(record) == (DOCS / "results" / f"{name}.md").read_text()

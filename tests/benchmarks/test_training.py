"""The training benchmark runs the same network in every library."""

import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.training.__main__ import losses
from benchmarks.training.networks import IMPLEMENTATIONS, batch, network, weights
from benchmarks.training.page import page

sys.path.pop(0)


@pytest.fixture(autouse=True)
def as_users_have_it(float32_world):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def of_cnnjax():
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return losses("cnnjax", steps=2, size=4)


@pytest.mark.filterwarnings("ignore")  # what other libraries warn of
@pytest.mark.parametrize(
    "name", [name for name in IMPLEMENTATIONS if "compiled" not in name]
)  # that one takes a minute
def test_all_compute_the_same_losses(name, of_cnnjax):
    pytest.importorskip(name.split(",")[0])
    found = losses(name, steps=2, size=4)
    assert found[1] < found[0]
    np.testing.assert_allclose(found, of_cnnjax, rtol=1e-5)


def test_the_network_is_lenet5():
    shapes = network().shapes()
    assert [shapes[name] for name in ("c1", "s2", "c3", "s4", "c5", "f6", "output")] == [
        *((28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (1, 1, 120), (84,), (10,)),
    ]
    like = jax.eval_shape(network().init, jax.random.key(0))
    assert jax.tree.map(np.shape, weights()) == jax.tree.map(lambda a: a.shape, like)
    assert [a.shape for a in batch(3)] == [(3, 32, 32, 1), (3,)]


def test_the_page_is_that_of_the_record():
    docs = Path(__file__).parents[2] / "docs"
    record = json.loads((docs / "records" / "benchmarks-training.json").read_text())
    assert page(record) == (docs / "results" / "benchmarks-training.md").read_text()


def test_the_page_says_who_is_ahead():
    record = {
        "machine": "M",
        "versions": {"jax": "1"},
        "date": "today",
        "seed": 0,
        "others_percent": 0.0,
        "missing": {"torch": "ImportError: no"},
        "images_per_second": {"32": {"cnnjax": 3000.0, "flax": 1500.0}},
        "overhead": {
            "import_ms": 5.0,
            "trace_ms": {"cnnjax": {"trace": 2.0, "lower": 3.0}, "lax": {"trace": 1.0, "lower": 1.5}},
            "compile_s": {"32": {"auto": 0.3, "lax": 0.2}},
        },
    }
    text = page(record)
    assert "| flax | 1,500 (2.00) |" in text
    assert "not measured: torch (ImportError: no)" in text
    assert 'at batch 32: 0.3 s, with method="lax" 0.2 s (ratio 1.50)' in text

"""The published networks benchmark measures the same network in flax: every rule of the translation, and the page."""

import dataclasses
import itertools
import json
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import normal
from published import run

from cnnjax import Input, Network, layers, models
from cnnjax.init import Constant

sys.path.insert(0, str(Path(__file__).parents[2]))
pytest.importorskip("flax", reason="flax, whose layers are the other side, is not installed")
from benchmarks.networks.measure import difference
from benchmarks.published import __main__ as main
from benchmarks.published import flax_network, measure, page

sys.path.pop(0)

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def as_users_have_it():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def every_layer(classes=10, size=24):
    """A network with each kind of layer that a published one has."""
    entries = [
        ("conv", layers.Conv2D(8, 3, stride=2, padding=1, activation="silu")),
        ("norm", layers.BatchNorm(eps=1e-3, momentum=0.2, activation="relu6")),
        ("lrn", layers.LocalResponseNorm(size=3, alpha=0.1)),
        ("pool", layers.MaxPool2D(3, stride=2, ceil_mode=True)),
        ("squeeze", layers.AdaptiveAvgPool2D()),
        ("excite", layers.Conv2D(8, 1, bias=False, activation="sigmoid")),
        ("weigh", layers.Multiply(), ("pool", "excite")),
        ("kept", layers.SelectMaps(0, 4), "pool"),
        ("grouped", layers.Conv2D(8, 3, padding=2, dilation=2, groups=4, activation="relu"), "weigh"),
        ("both", layers.Concatenate(), ("kept", "grouped")),
        ("shuffle", layers.ChannelShuffle(3)),
        ("layer norm", layers.LayerNorm()),
        ("pixels", layers.PixelDense(12, activation="gelu_exact")),
        ("scale", layers.LayerScale(Constant(0.3))),
        ("depth", layers.StochasticDepth(0.5)),
        ("add", layers.Add(activation="relu"), ("depth", "both")),
        ("average", layers.AvgPool2D(3, stride=1)),
        ("to 2", layers.AdaptiveAvgPool2D(2)),
        ("flat", layers.Flatten()),
        ("drop", layers.Dropout(0.5)),
        ("out", layers.Dense(classes)),
    ]
    return Network("every", Input((size, size, 3)), entries)


def test_outputs_gradients_and_running_means_are_the_same():
    network = measure.without_noise(every_layer())
    ours = measure.cnnjax_model(network, 0)
    numbers = itertools.count()
    wide = lambda tree: jax.tree.map(lambda a: jnp.asarray(np.abs(normal(a.shape, f"{next(numbers)}"))), tree)  # noqa: E731
    ours = dataclasses.replace(ours, params=wide(ours.params), state=wide(ours.state))
    theirs = flax_network.build(network, ours.params, ours.state)
    x = normal((3, *network.input.shape), "x")
    np.testing.assert_allclose(*(m.evaluate(m.params, m.state, x) for m in (ours, theirs)), rtol=1e-10)

    def loss(model, params):
        outputs, state = model.train(params, model.state, x)
        return jnp.sum(jnp.sin(outputs)), state

    (value, state), gradient = run(jax.value_and_grad(partial(loss, ours), has_aux=True), ours.params)
    expected, theirs_too = run(jax.value_and_grad(partial(loss, theirs), has_aux=True), theirs.params)
    np.testing.assert_allclose(value, expected[0], rtol=1e-10)
    np.testing.assert_allclose(state["norm"]["mean"], expected[1]["norm"]["mean"], rtol=1e-10)
    assert difference(gradient, theirs_too) < 1e-9
    assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient)) > 0


def test_what_flax_does_not_have_is_refused():
    network = Network("odd", Input((5, 5, 1)), {"pool": layers.AdaptiveAvgPool2D(2)})
    theirs = flax_network.build(network, {}, {})
    with pytest.raises(ValueError, match=r"pool: flax gives \(1, 1, 1\) instead of \(2, 2, 1\)"):
        theirs.evaluate({}, {}, jnp.ones((1, 5, 5, 1)))


def test_noise_is_passed_by():
    network = measure.without_noise(every_layer())
    assert not network.draws
    assert network.reads["add"] == ("scale", "both")
    assert network.reads["out"] == ("flat",)


@pytest.mark.filterwarnings("ignore")  # what flax warns of
def test_small_images_give_the_same_results(tmp_path, monkeypatch, float32_world):
    monkeypatch.setattr(models, "squeezenet1_1", every_layer)
    record, text = tmp_path / "record.json", tmp_path / "page.md"
    assert main.main(["--quick", "--record", str(record), "--page", str(text), "--only", "squeezenet1_1"]) == 0
    assert list(json.loads(record.read_text())["rows"]) == ["squeezenet1_1"]
    assert "| squeezenet1_1 |" in text.read_text()


def test_every_published_network_is_measured():
    historical = {"DIGIT_CODES", "lenet5", "lenet_tutorial", "four_to_six"}
    assert set(measure.NETWORKS) == set(models.__all__) - historical


def program(ms):
    return {"first_s": 1.0, "memory": 2**20, "ms": ms, "fastest": ms, "calls": 1}


def test_the_page_says_who_is_ahead():
    row = {"shape": [2, 8, 8, 3], "parameters": 1000, "others_percent": 1.5}
    row |= {key: {"inference": 1e-6, "training": 1e-6} for key in ("difference", "sensitivity")}
    times = {"flax": 4.0, "cnnjax": 1.0}
    row |= {name: {"inference": program(ms), "training": program(3 * ms)} for name, ms in times.items()}
    record = {"machine": "M", "versions": {}, "date": "today", "seed": 0, "rows": {"vgg11": row}}
    text = page.page(record)
    assert "- training: 0.25 of the time of flax (1), at most 0.25 (vgg11)" in text
    assert "| vgg11 | 2x8x8x3 | 4 | 1 | 0.25 | 12 | 3 | 0.25 |" in text
    assert "12 / 3 ms, ratio 0.25" in page.line("vgg11", row)


@pytest.mark.skipif(not (DOCS / "records" / "benchmarks-published.json").exists(), reason="not measured yet")
def test_the_page_is_that_of_the_record():
    record = json.loads((DOCS / "records" / "benchmarks-published.json").read_text())
    assert page.page(record) == (DOCS / "results" / "benchmarks-published.md").read_text()

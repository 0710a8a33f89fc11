"""The experiment of 1998 runs, keeps finished runs, and counts mistakes and rejections correctly."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import cnnjax
from cnnjax.layers import Subsample2D


@pytest.fixture
def old(experiment):
    return experiment("lenet5_1998")


@pytest.fixture
def recipes(experiment):
    return experiment("lenet5_1998_recipes")


def test_a_quick_run_learns_is_kept_and_writes_the_page(old, tmp_path, capsys, monkeypatch):
    row = {"start": "unit variance", "window": "sum", "least": 1e-4, "most": 2e-2}
    monkeypatch.setattr(old, "first_rates", lambda data: [row])  # it compiles four networks
    arguments = ["--quick", "--seeds", "0", "--out", str(tmp_path)]
    assert old.main(arguments) == 0
    kept = old.read_lines(tmp_path / "records" / "lenet5_1998.jsonl")
    assert [(r["recipe"]["kind"], r["seed"], r["trained_on"]) for r in kept] == [("Paper", 0, 600)]
    assert kept[0]["test_error"] < 60  # chance is 90
    assert len(kept[0]["mistakes"]) == round(kept[0]["test_error"] * kept[0]["tested_on"] / 100)
    assert [entry["pass"] for entry in kept[0]["history"]] == [1, 2]
    assert "jax" in kept[0]["environment"]["versions"]
    assert "Not all that is planned has been run" in (tmp_path / "results" / "lenet5_1998.md").read_text()
    capsys.readouterr()
    assert old.main(arguments) == 0
    assert "pass 1" not in capsys.readouterr().out
    assert old.read_lines(tmp_path / "records" / "lenet5_1998.jsonl") == kept


def test_every_recipe_has_sixty_thousand_parameters_but_for_trained_codes(old, recipes):
    for name, planned in old.PLANS["all"].items():
        network = recipes.network_of(planned.recipe)
        expected = 60_840 if "codes trained" in name else 60_000
        assert cnnjax.summary(network).num_parameters == expected, name


def test_where_sub_sampling_averages_it_is_the_sum_with_a_quarter_of_the_weight(recipes):
    whole, mean = (recipes.network_of(recipes.Paper(window=window)) for window in ("sum", "average"))
    params = whole.init(jax.random.key(0))
    scaled = {
        name: {**given, "w": given["w"] * 4} if isinstance(dict(whole.layers)[name], Subsample2D) else given
        for name, given in params.items()
    }
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 1)).astype(np.float32)
    np.testing.assert_allclose(mean.apply(scaled, images), whole.apply(params, images), rtol=1e-4)
    assert float(abs(mean.init(jax.random.key(0))["s2"]["w"]).max()) <= (3 / 4) ** 0.5


def test_mistakes_and_rejections_are_counted(old, experiment):
    distances = np.array([[1.0, 5.0, 9.0], [4.0, 3.0, 9.0], [2.0, 2.5, 9.0], [7.0, 8.0, 1.0]])
    wrong = old.mistakes(distances, np.array([0, 0, 1, 2]))
    assert [(m["digit"], m["label"], m["answer"], m["less_sure"]) for m in wrong] == [(1, 0, 1, 1), (2, 1, 0, 0)]
    curve = experiment("lenet5_1998_page").rejection_curve
    share, left = curve([{"less_sure": 0}, {"less_sure": 3}, {"less_sure": 15}], 20)
    np.testing.assert_allclose(share, [0, 5, 10, 15])
    np.testing.assert_allclose(left, [100 * 3 / 20, 100 * 2 / 19, 100 * 2 / 18, 100 * 2 / 17])


def test_what_is_held_out_is_not_trained_on(old):
    data = cnnjax.datasets.mnist()
    parts = old.validation_split(
        dataclasses.replace(data, train_images=data.train_images[:100], train_labels=np.arange(100))
    )
    assert (parts.train_labels.tolist(), parts.test_labels.tolist()) == (list(range(80)), list(range(80, 100)))


def test_digits_are_distorted_by_a_fraction_of_the_full_strength(recipes):
    images, key = cnnjax.datasets.mnist().train_images[:20, ..., None] / np.float32(255), jax.random.key(0)
    moved = [
        float(np.abs(recipes.augment_of(recipes.Paper(distorted=True, amount=amount))(key, images) - images).mean())
        for amount in (0.0, 0.4, 1.0)
    ]
    assert moved[0] < 1e-5 < moved[1] < moved[2]
    assert recipes.augment_of(recipes.Paper()) is None


def test_the_rates_are_the_papers(recipes):
    assert len(recipes.LEARNING_RATES) == 20
    assert [recipes.LEARNING_RATES.count(rate) for rate in (0.0005, 0.0002, 0.0001, 0.00005, 0.00001)] == [
        2,
        3,
        3,
        4,
        8,
    ]


def test_what_was_committed_is_what_the_page_says(old):
    docs = old.Path(old.__file__).parents[1] / "docs"
    runs = old.read_lines(docs / "records" / "lenet5_1998.jsonl")
    start = json.loads((docs / "records" / "lenet5_1998_rates.json").read_text())
    assert (docs / "results" / "lenet5_1998.md").read_text() == old.page(runs, start)

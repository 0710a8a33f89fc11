"""The schemes do what their names say, the runs can be stopped and continued, and the page says what they found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax


@pytest.fixture
def schemes(experiment):
    return experiment("connection_schemes")


@pytest.fixture
def networks(experiment):
    return experiment("connection_schemes_networks")


@pytest.fixture
def pages(experiment):
    return experiment("connection_schemes_page")


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_the_replicated_kernel_is_the_convolution_with_one_slice_for_all_maps(networks):
    layer = networks.Replicated2D(4, 5, activation="tanh")
    params = layer.init(jax.random.key(0), (8, 8, 6), jnp.float32)
    x, dense = normal(0, 2, 8, 8, 6), jnp.repeat(params["w"], 6, axis=2)
    np.testing.assert_allclose(layer.apply(params, x), jnp.tanh(cnnjax.conv2d(x, dense, params["b"])), atol=1e-5)
    counts = layer.counts((8, 8, 6))
    assert (counts.num_weights, counts.num_biases, counts.num_connections) == (4 * 25, 4, 4 * 16 * 151)


def test_the_kernel_that_slides_along_the_maps_is_a_three_dimensional_convolution(networks):
    layer = networks.OverMaps3D(8, 5, activation="identity")
    params = layer.init(jax.random.key(0), (8, 8, 6), jnp.float32)
    assert params["w"].shape == (5, 5, 3, 2)
    x = normal(1, 2, 8, 8, 6)
    deep = jnp.moveaxis(x, -1, 1)[..., None]
    y = cnnjax.conv3d(deep, jnp.moveaxis(params["w"], 2, 0)[:, :, :, None], params["b"])  # (N, places, H, W, kernels)
    expected = jnp.moveaxis(y, 1, -2).reshape(2, 4, 4, 8)
    np.testing.assert_allclose(layer.apply(params, x), expected, atol=1e-5)
    assert layer.counts((8, 8, 6)).num_weights == 5 * 5 * 3 * 2


def test_equal_width_and_equal_parameters_are_what_they_say(networks):
    for scheme in networks.SCHEMES:
        wide, budget = (networks.build(scheme, name, seed=0) for name in networks.BUDGETS)
        assert wide.shapes()["c3"][-1] == 16
        assert dict(wide.layers)["c5"].maps == 120
        assert networks.c3_counts(budget).num_parameters == pytest.approx(1516, rel=0.02)
        assert cnnjax.summary(budget).num_parameters == pytest.approx(60_838, rel=0.02)
    table = networks.c3_counts(networks.build("Table I", "width", 0))
    assert (table.num_parameters, table.num_connections, table.num_macs) == (1516, 151_600, 150_000)


def test_random_tables_have_sixty_links_and_differ_by_seed(networks):
    tables = [networks.random_table(16, seed) for seed in range(5)]
    assert {table.num_links for table in tables} == {60}
    assert min(min(table.fan_in) for table in tables) >= 1
    assert len(set(tables)) == 5


def test_no_weights_tell_the_six_images_of_a_bar_apart_by_a_replicated_kernel(schemes):
    data = schemes.which_map(2).data
    images = data.test_images.reshape(100, 6, 14, 14, 6)
    assert (images.sum(axis=-1) == images.sum(axis=-1)[:, :1]).all()
    network = schemes.build("2-D, replicated", "width", 0, whole=False)
    for seed in range(2):
        wrong = schemes.training.error_rate(network, network.init(jax.random.key(seed)), *list(data)[2:])
        assert wrong == pytest.approx(100 * 5 / 6)


@pytest.fixture
def few(schemes, networks, pages, monkeypatch):
    """Three schemes only."""
    kept = {name: networks.SCHEMES[name] for name in ("full", "Table I", "2-D, replicated")}
    for module in (networks, pages):
        monkeypatch.setattr(module, "SCHEMES", kept)
    return schemes


def test_a_quick_run_learns_goes_on_where_it_stopped_and_writes_the_page(few, tmp_path, monkeypatch, capsys):
    trained = few.run

    def stops(*arguments):
        if len(few.read_lines(tmp_path / "records" / "connection_schemes.jsonl")) == 4:
            raise KeyboardInterrupt
        return trained(*arguments)

    monkeypatch.setattr(few, "run", stops)
    assert few.main(["--quick", "--out", str(tmp_path)]) == 0
    assert "the runs that are done are kept" in capsys.readouterr().err
    with (tmp_path / "records" / "connection_schemes.jsonl").open("a") as file:
        file.write('{"task": "cut o')  # a line that was not finished
    monkeypatch.setattr(few, "run", trained)
    assert few.main(["--quick", "--out", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert "3 runs to do" in captured.out
    assert "not whole" in captured.err

    page = (tmp_path / "results" / "connection_schemes.md").read_text()
    assert "| Table I | 16 | 1,500 | 16 | 151,600 | 150,000 | 60,838 |" in page
    assert "83.33 %" in page
    assert (tmp_path / "figures" / "connection_schemes.png").stat().st_size > 1000
    runs = [line for line in few.read_lines(tmp_path / "records" / "connection_schemes.jsonl") if "scheme" in line]
    assert [run["test_error"] for run in runs if run["scheme"] == "2-D, replicated"] == [83.3333] * 2
    assert max(run["test_error"] for run in runs if run["scheme"] != "2-D, replicated") < 20


def test_the_comparison_is_that_of_scipy_in_pairs(pages):
    errors = {
        "full": (1.0, 1.2, 1.1, 1.0, 1.3),
        "Table I": (1.1, 1.2, 1.3, 0.9, 1.2),
        "2-D, replicated": (2.0, 2.3, 2.0, 2.1, 2.2),
    }
    runs = [
        {"task": "t", "scheme": scheme, "budget": "width", "seed": seed, "test_error": error}
        for scheme, values in errors.items()
        for seed, error in enumerate(values)
    ]
    rows = {row.scheme: row for row in pages.compare(runs, "t", "width")}
    gap = np.subtract(errors["2-D, replicated"], errors["full"])
    assert rows["2-D, replicated"].difference == pytest.approx(gap.mean())
    half = 2.776445 * gap.std(ddof=1) / np.sqrt(5)  # Student's t, four degrees of freedom
    assert rows["2-D, replicated"].high == pytest.approx(gap.mean() + half, rel=1e-5)
    assert np.isnan(rows["full"].p)
    words = pages.findings(runs)
    assert "worse than full: 2-D, replicated" in words
    assert "No significant difference from full: Table I" in words
    assert "4 of 5 seeds, so nothing was tested" in pages.findings([run for run in runs if run["seed"] < 4])


def test_a_page_without_all_planned_runs_says_so_first(pages):
    fields = ("scheme", "budget", "seed", "task")
    runs = [dict(zip(fields, choice, strict=True)) for choice in pages.planned(pages.TASKS, pages.SEEDS_FOR_A_TEST)]
    assert pages.unfinished(runs) == []
    (sentence,) = pages.unfinished(runs[:9])
    assert "not complete: 9 of the 180 planned runs" in sentence
    assert "MNIST, equal width: 9 of 40" in sentence


def test_runs_of_other_settings_are_not_mixed_in(schemes, tmp_path):
    line = {"task": "which map", "scheme": "full", "budget": "width", "seed": 0, "trained_on": 3000, "epochs": 16}
    (tmp_path / "records").mkdir()
    schemes.append_line(tmp_path / "records" / "connection_schemes.jsonl", line)
    with pytest.raises(SystemExit, match="on 3,000 images in 16 epochs, now asked for on 1,200 in 16"):
        schemes.main(["--quick", "--out", str(tmp_path)])


def test_a_report_without_runs_is_refused(schemes, tmp_path):
    with pytest.raises(SystemExit, match="has no runs yet"):
        schemes.main(["--report", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="which does not exist"):
        schemes.main(["--data", "no/such/folder", "--out", str(tmp_path)])


def test_what_was_committed_is_what_the_page_says(schemes, pages):
    docs = schemes.Path(schemes.__file__).parents[1] / "docs"
    found = schemes.read_lines(docs / "records" / "connection_schemes.jsonl")
    runs = [line for line in found if "scheme" in line]
    assert (docs / "results" / "connection_schemes.md").read_text() == pages.page(runs, found[0]["environment"])

"""The random configurations are what they claim to be, their values are compared, and their costs judged."""

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.configurations import __main__ as main
from benchmarks.configurations import limits, measure, page, programs
from benchmarks.configurations.configuration import KINDS, Convolution, Pool
from benchmarks.configurations.draw import FAMILIES, MOST_BYTES, MOST_PRODUCTS, MOST_SECONDS, draw
from cnnjax import reference

sys.path.pop(0)

DRAWN = draw(seed=0, count=300)
CONVOLUTIONS = [of for of in DRAWN if isinstance(of, Convolution)]
POOLS = [of for of in DRAWN if isinstance(of, Pool)]
TINY = Convolution("", 2, (6, 5), 4, (3, 2), 6, (2, 1), "SAME", (1, 2), groups=2)


@pytest.fixture(autouse=True)
def as_users_have_it(float32_world):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def test_a_seed_draws_the_same_configurations_whatever_their_number():
    assert draw(seed=0, count=20) == DRAWN[:20]
    assert draw(seed=1, count=20) != DRAWN[:20]


def test_the_draw_covers_the_space():
    assert {of.family for of in DRAWN} == set(FAMILIES)
    kinds = Counter(of.kind for of in DRAWN)
    assert min(kinds[kind] for kind in KINDS) >= 10
    for some in (CONVOLUTIONS, POOLS):
        assert {len(of.size) for of in some} == {1, 2, 3}
        assert {0, 1} < {of.batch for of in some}
    assert max(of.batch for of in DRAWN) > 128
    kernels = [k for of in CONVOLUTIONS for k in of.kernel]
    assert min(kernels) == 1
    assert 90 <= max(kernels) <= 101
    assert 10_000 < max(n for of in DRAWN for n in of.size) <= 16384
    assert any(of.window == of.size for of in POOLS)
    assert any(max(of.dilation) > 1 and of.groups > 1 for of in CONVOLUTIONS)
    assert {of.stride == of.kernel for of in CONVOLUTIONS} == {True, False}


@pytest.mark.parametrize("seed", range(3))
def test_every_configuration_is_valid_and_its_work_bounded(seed):
    for of in draw(seed, 300):
        assert of.products <= MOST_PRODUCTS
        assert of.bytes <= MOST_BYTES
        assert of.lax_seconds <= MOST_SECONDS
        assert min(of.geometry.output) >= 1
        if isinstance(of, Convolution) and of.transposed:
            assert all(0 <= extra < s for extra, s in zip(of.output_padding, of.stride, strict=True)), str(of)


def test_the_functions_of_both_libraries_are_the_directions_of_the_definition():
    settings = {"stride": TINY.stride, "padding": "SAME", "dilation": TINY.dilation, "groups": TINY.groups}
    loops = {
        "forward": lambda x, w: reference.convolve(x, w, **settings),
        "input_gradient": lambda w, y: reference.input_gradient(TINY.x, w, y, **settings),
        "weight_gradient": lambda x, y: reference.weight_gradient(x, TINY.w, y, **settings),
    }
    for direction, definition in loops.items():
        arrays = programs.arguments(TINY, direction)
        wanted = definition(*(np.asarray(a, np.float64) for a in arrays))
        for library in programs.LIBRARIES:
            found = programs.function(library, TINY, direction)(*arrays)
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_the_sum_of_an_element_has_as_many_terms_as_the_shapes_say():
    assert TINY.terms("forward") == 3 * 2 * 2
    assert TINY.terms("input_gradient") == 3 * 2 * 3
    assert TINY.terms("weight_gradient") == 2 * 3 * 5
    pool = Pool("", True, 1, (8,), 1, (3,), (2,), "VALID")
    assert (pool.terms("forward"), pool.terms("input_gradient")) == (3, 2)


def test_a_mean_of_lax_leaves_out_the_padding():
    pool = Pool("", True, 2, (5, 7), 3, (3, 2), (2, 1), "SAME")
    (x,) = programs.arguments(pool, "forward")
    ours, lax = (programs.function(library, pool, "forward")(x) for library in programs.LIBRARIES)
    np.testing.assert_allclose(ours, lax, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(programs.function("lax", pool, "forward")(x * 0 + 1), np.ones(pool.y), rtol=1e-6)


def test_wrong_values_are_found():
    right = np.ones((2, 3), np.float32)
    assert measure.error(right, right, 4) == 0
    assert measure.error(right[:0], right[:0], 0) == 0
    assert measure.error(right + 1e-7, right, 4) < measure.tolerance(4)
    assert measure.error(right + 1e-3, right, 4) > measure.tolerance(4)
    assert measure.error(right[:1], right, 4) == np.inf
    row = {"cnnjax": {}, "lax": {}, "tolerance": 1e-6}
    assert not limits.is_wrong(row | {"error": 1e-7})
    assert limits.is_wrong(row | {"error": 1e-5})
    assert limits.is_wrong(row | {"error": np.nan})
    assert limits.is_wrong({"cnnjax": {"failure": "ValueError"}, "lax": {}})
    assert not limits.is_wrong({"cnnjax": {}, "lax": {"failure": "XlaRuntimeError"}})


@pytest.mark.parametrize(
    ("measured", "ours", "lax", "expected"),
    [
        ("first_s", 1.0, 0.5, 2 / 3),
        ("run_us", 1100.0, 1000.0, 1.0),
        ("run_us", 25.0, 5.0, 1.0),
        ("memory", 48 * 2**20, 2**20, 2.0),
        ("memory", 2**23, 0, 1 / 3),
    ],
)
def test_a_fraction_of_a_limit(measured, ours, lax, expected):
    row = {"cnnjax": {measured: ours}, "lax": {measured: lax}}
    assert limits.fraction(row, measured) == pytest.approx(expected)


def test_a_failure_is_recorded(monkeypatch):
    monkeypatch.setattr(measure, "function", lambda library, of, which: {}[library])
    row = measure.direction(TINY, "forward")
    assert row["cnnjax"] == {"failure": "KeyError: 'cnnjax'"}
    assert "FAILED KeyError" in page.line(0, str(TINY), {"forward": row})


def test_small_configurations_of_every_kind_have_the_values_of_lax(tmp_path):
    file = tmp_path / "record.json"
    main.main(["--quick", "--record", str(file)])
    rows = json.loads(file.read_text())["rows"]
    assert Counter(of["kind"] for of in rows.values()) == dict.fromkeys(KINDS, 2)
    wrong = {of["text"]: row for of in rows.values() for row in of["directions"].values() if limits.is_wrong(row)}
    assert not wrong


def test_a_record_is_continued_and_becomes_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(main, "draw", lambda seed, count: (TINY,) * count)
    file, text = tmp_path / "record.json", tmp_path / "page.md"
    to = ["--record", str(file), "--page", str(text)]
    main.main(["--count", "2", "--direction", "forward", *to])
    first = json.loads(file.read_text())["rows"]
    main.main(["--count", "3", "--direction", "forward", *to])
    rows = json.loads(file.read_text())["rows"]
    assert list(rows) == ["0", "1", "2"]
    assert {index: rows[index] for index in first} == first
    main.main(["--only", "1", "--count", "3", *to])
    assert list(json.loads(file.read_text())["rows"]["1"]["directions"]) == list(TINY.directions)
    for heading in ("Run time, cnnjax / lax", "Worst ten: first call", "Worst ten: run time", "Worst ten: memory"):
        assert f"## {heading}" in text.read_text()
    changed = replace(TINY, batch=1)
    monkeypatch.setattr(main, "draw", lambda seed, count: (changed, TINY, TINY))
    main.main(["--direction", "forward", *to])
    assert [row["text"] for row in json.loads(file.read_text())["rows"].values()] == [str(changed), *[str(TINY)] * 2]
    with pytest.raises(SystemExit, match="was measured with other seed"):
        main.main(["--seed", "1", *to])


def test_the_page_is_that_of_the_record():
    docs = Path(__file__).parents[2] / "docs"
    record = docs / "records" / "benchmarks-configurations.json"
    assert page.page(json.loads(record.read_text())) == (docs / "results" / "benchmarks-configurations.md").read_text()

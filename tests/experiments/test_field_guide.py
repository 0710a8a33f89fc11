"""The field guide: its pages follow from the networks, and their totals are the published ones."""

import re
from pathlib import Path

import pytest

import cnnjax
from cnnjax.layers import Conv2D

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def guide(experiment):
    return experiment("field_guide")


def test_every_page_is_what_the_networks_say(guide):
    networks = {name: getattr(cnnjax.models, name)() for name in guide.IDEAS}
    for name, network in networks.items():
        assert (DOCS / "field_guide" / f"{name}.md").read_text(encoding="utf-8") == guide.page(name, network), (
            "run python experiments/field_guide.py --out docs"
        )
        assert (DOCS / "figures" / "field_guide" / f"{name}.png").exists()
    assert (DOCS / "field_guide.md").read_text(encoding="utf-8") == guide.overview(networks)
    assert {path.stem for path in (DOCS / "field_guide").iterdir()} == set(networks)


def test_every_published_network_has_a_page(guide):
    built = {name for name in cnnjax.models.__all__ if callable(getattr(cnnjax.models, name))}
    assert built - {"four_to_six", "lenet_tutorial"} == set(guide.IDEAS)


@pytest.mark.parametrize(
    ("name", "parameters", "giga_macs"),
    [("vgg16", 138_357_544, 15.47), ("resnet50", 25_557_032, 4.09), ("resnext50_32x4d", 25_028_904, 4.23)],
)
def test_the_totals_are_the_published_ones(name, parameters, giga_macs):
    page = (DOCS / "field_guide" / f"{name}.md").read_text(encoding="utf-8")
    last = next(line for line in page.splitlines() if line.startswith("| **all**"))
    numbers = [int(number.replace(",", "")) for number in re.findall(r"\*\*([\d,]+)\*\*", last)]
    assert numbers[1] == parameters
    assert numbers[2] / 1e9 == pytest.approx(giga_macs, abs=0.01)


def test_the_stages_and_readings_of_lenet5(experiment):
    facts = experiment("field_guide_facts")
    network = cnnjax.models.lenet5()
    found = facts.stages(network)
    assert [(stage.title, stage.maps) for stage in found] == [
        ("28 x 28", 6),
        ("14 x 14", 6),
        ("10 x 10", 16),
        ("5 x 5", 16),
        ("1 x 1", 120),
        ("values", 10),
    ]
    assert sum(stage.num_connections for stage in found) == 340_908
    ways = facts.readings(network)
    assert [way.title for way in ways] == ["5 x 5", "5 x 5, table", "dense"]
    assert sum(way.share for way in ways) == pytest.approx(0.995, abs=0.01)
    assert facts.sentence(ways[1]) == (
        "**5 x 5, table** (1 layer, 46 % of the multiply-accumulates): in `c3` each of the 16 maps reads 3, 4 or 6 of "
        "the 6 maps of `s2` through a kernel of 5 x 5 for each: 60 of 96 pairs of maps are connected."
    )


def test_groups_are_told_from_full_convolutions(experiment):
    facts = experiment("field_guide_facts")
    layers = {
        "full": Conv2D(8, 3),
        "halves": Conv2D(8, 3, groups=2),
        "depthwise": Conv2D(8, 3, groups=8),
        "mixed": Conv2D(4, 1),
    }
    network = cnnjax.Network("net", cnnjax.Input((12, 12, 3)), layers)
    sentences = {way.title: facts.sentence(way) for way in facts.readings(network)}
    assert set(sentences) == {"3 x 3", "3 x 3, 2 groups", "3 x 3, depthwise", "1 x 1"}
    assert "reads all 3 maps of the picture through one kernel of 3 x 3 x 3, 27 weights" in sentences["3 x 3"]
    assert "reads 4 of the 8 maps of `full`" in sentences["3 x 3, 2 groups"]
    assert "32 of 64 pairs of maps are connected" in sentences["3 x 3, 2 groups"]
    assert "reads one map of `halves` through a kernel of 3 x 3" in sentences["3 x 3, depthwise"]
    assert "is a weighted sum of all 8 maps of `depthwise`, pixel by pixel" in sentences["1 x 1"]


def test_a_figure_is_drawn(experiment):
    facts, figures = experiment("field_guide_facts"), experiment("field_guide_figure")
    network = cnnjax.models.lenet5()
    figure = figures.draw_network(network, facts.stages(network), facts.readings(network))
    links = [axes for axes in figure.axes if axes.get_title().startswith("5 x 5, table")]
    assert len(links[0].lines) == int(network.layers[2][1].connections.matrix[:, :12].sum())
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "10 x 10\n16 maps" in texts
    assert "60,000\nparameters" in texts

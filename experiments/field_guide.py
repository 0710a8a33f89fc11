"""How do the volumes of the published networks connect? A page for each: drawn, counted, and said in sentences.

Expected: docs/field_guide.md with an overview, and in docs/field_guide/ a page for each network with a figure of its
volumes, the ways in which its maps read maps, and the counts of each stage. They follow from the networks alone, so a
test compares the pages. Run time: half a minute, with or without --quick.

    python experiments/field_guide.py --out docs
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from field_guide_facts import Stage, percentage, readings, sentence, stages
from field_guide_figure import draw_network, draw_overview, in_words, save_small
from record import make_folder, make_folders

import cnnjax

QUESTION = (__doc__ or "").partition("\n")[0]

# What is special about a network, and where it is from.
IDEAS: dict[str, tuple[str, str]] = {
    "lenet5": (
        "Few maps, read by a table: no two maps of C3 read the same maps of S2, so they have to become different.",
        "LeCun, Bottou, Bengio and Haffner 1998",
    ),
    "alexnet_2012": (
        "The network that won ImageNet: in three of its layers the maps are in two groups, because they were "
        "on two graphics cards.",
        "Krizhevsky, Sutskever and Hinton 2012",
    ),
    "alexnet": (
        "One graphics card was enough later: the same idea with fewer maps and no groups.",
        "Krizhevsky 2014",
    ),
    "zfnet": (
        "AlexNet seen through its own feature maps: a smaller first kernel and stride keep what they lost.",
        "Zeiler and Fergus 2014",
    ),
    "vgg11": (
        "Only 3 x 3 kernels, one after the other: two of them see 5 x 5 pixels with fewer weights.",
        "Simonyan and Zisserman 2015",
    ),
    "vgg16": (
        "Only 3 x 3 kernels, one after the other: three of them see 7 x 7 pixels with fewer weights.",
        "Simonyan and Zisserman 2015",
    ),
    "vgg19": (
        "The deepest of the plain networks: sixteen 3 x 3 convolutions and three dense layers.",
        "Simonyan and Zisserman 2015",
    ),
    "googlenet": (
        "Four branches read the same volume with kernels of different size, and their maps are concatenated.",
        "Szegedy et al. 2015",
    ),
    "resnet18": (
        "Each block adds what it computes to what it read, so a block that computes nothing does no harm.",
        "He, Zhang, Ren and Sun 2016",
    ),
    "resnet34": (
        "Each block adds what it computes to what it read, sixteen times.",
        "He, Zhang, Ren and Sun 2016",
    ),
    "resnet50": (
        "The blocks narrow the volume by a 1 x 1 convolution, convolve it 3 x 3, and widen it again.",
        "He, Zhang, Ren and Sun 2016",
    ),
    "resnext50_32x4d": (
        "The 3 x 3 convolutions of ResNet-50 in 32 groups: more maps for as many weights.",
        "Xie et al. 2017",
    ),
    "squeezenet1_0": (
        "1 x 1 convolutions squeeze the volume before it is expanded by 1 x 1 and 3 x 3 kernels side by side: "
        "AlexNet's accuracy with a fiftieth of its parameters.",
        "Iandola et al. 2016",
    ),
    "squeezenet1_1": (
        "SqueezeNet with earlier pools: the same accuracy for less than half of the work.",
        "Iandola et al. 2016",
    ),
    "densenet121": (
        "Each layer reads the maps of all layers before it in its block, and adds 32 of its own.",
        "Huang, Liu, van der Maaten and Weinberger 2017",
    ),
    "mobilenetv1_100": (
        "Every convolution is split: a depthwise one that looks around within each map, and a 1 x 1 one that "
        "combines maps.",
        "Howard et al. 2017",
    ),
    "mobilenet_v2": (
        "The volume is widened, convolved depthwise, and narrowed; what is added up are the narrow volumes.",
        "Sandler et al. 2018",
    ),
    "shufflenet_v2_x1_0": (
        "Half of the maps pass by untouched; then the halves are shuffled, so that every map is read in the end.",
        "Ma, Zhang, Zheng and Sun 2018",
    ),
    "efficientnet_b0": (
        "MobileNet's blocks with 5 x 5 kernels among the 3 x 3 ones, and a small network in each that scales its maps.",
        "Tan and Le 2019",
    ),
    "convnext_tiny": (
        "A depthwise 7 x 7 convolution, then two dense layers at every pixel: a transformer's block without attention.",
        "Liu et al. 2022",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages and figures; return the exit status."""
    parser = argparse.ArgumentParser(description=QUESTION)
    parser.add_argument("--out", type=Path, default=Path("results/field_guide"), help="folder of pages and figures")
    parser.add_argument("--quick", action="store_true", help="does not change anything")
    options = parser.parse_args(arguments)
    figures = make_folders(options.out).figures / "field_guide"
    pages = options.out / "field_guide"
    for folder in (figures, pages):
        make_folder(folder)
    networks = {name: getattr(cnnjax.models, name)() for name in IDEAS}
    for name, network in networks.items():
        save_small(draw_network(network, stages(network), readings(network)), figures / f"{name}.png")
        (pages / f"{name}.md").write_text(page(name, network), encoding="utf-8")
    (options.out / "field_guide.md").write_text(overview(networks), encoding="utf-8")
    summaries = {network.name: cnnjax.summary(network) for network in networks.values()}
    totals = {name: (each.num_parameters, each.num_macs) for name, each in summaries.items() if name != "LeNet-5"}
    save_small(draw_overview(totals), figures / "overview.png")
    print(f"Written to {options.out}: field_guide.md, and a page and a figure for each of {len(networks)} networks")
    return 0


def page(name: str, network: cnnjax.Network) -> str:
    """The page of a network."""
    found, ways = stages(network), readings(network)
    idea, source = IDEAS[name]
    sentences = "\n".join(f"- {sentence(way)}" for way in ways)
    return f"""# {network.name}

{idea} *{source}*; `cnnjax.models.{name}`

```{{figure}} ../figures/field_guide/{name}.png
:alt: The volumes of {network.name}, where its parameters and multiply-accumulates are, and which map reads which

The volumes by size; where the parameters and multiply-accumulates are; and how maps read maps, with the share of the
multiply-accumulates: some maps of one layer of each kind, and in red one of them with those that it reads.
```

## How do maps become maps?

{sentences}

## From volume to volume

{table(found)}
"""


def table(found: Sequence[Stage]) -> str:
    """The stages of a network with their counts, and the totals."""
    head = (
        "volumes",
        "last",
        "layers with weights",
        "parameters",
        "multiply-accumulates",
        "connections",
        "field",
        "jump",
    )
    rows = [
        (
            stage.title,
            f"{stage.maps:,} maps" if stage.size else f"{stage.maps:,}",
            f"{sum(row.num_parameters > 0 and row.num_macs > 0 for row in stage.rows)}",
            *counts(stage.num_parameters, stage.num_macs, stage.num_connections),
            " x ".join(map(str, stage.rows[-1].receptive_field)),
            f"{stage.rows[-1].jump[0]}",
        )
        for stage in found
    ]
    totals = [sum(column) for column in zip(*(whole(stage) for stage in found), strict=True)]
    rows.append(("**all**", "", f"**{totals[0]}**", *(f"**{total:,}**" for total in totals[1:]), "", ""))
    lines = [head, ("---", "---", *["---:"] * 6), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def counts(*numbers: int) -> tuple[str, ...]:
    """Numbers as text."""
    return tuple(f"{number:,}" for number in numbers)


def whole(stage: Stage) -> tuple[int, int, int, int]:
    """The layers with weights and the counts of a stage."""
    layers = sum(row.num_parameters > 0 and row.num_macs > 0 for row in stage.rows)
    return layers, stage.num_parameters, stage.num_macs, stage.num_connections


def overview(networks: dict[str, cnnjax.Network]) -> str:
    """The page with all networks."""
    head = ("network", "parameters", "multiply-accumulates", "where most of them are", "how maps read maps there")
    lines = [head, ("---", "---:", "---:", "---", "---")]
    for name, network in networks.items():
        summary, found, way = cnnjax.summary(network), stages(network), readings(network)[0]
        most = max(found, key=lambda stage: stage.num_macs)
        where = f"{most.title}, {percentage(most.num_macs / summary.num_macs)}"
        link = f"[{network.name}](field_guide/{name}.md)"
        many = in_words(summary.num_parameters), in_words(summary.num_macs)
        lines.append((link, *many, where, f"{way.title}, {percentage(way.share)}"))
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"""# Field guide

Two questions about each published network: **how do the maps of one volume become those of the next**, and **how large
are the volumes and what do they cost**? A page for each network, written by `experiments/field_guide.py` from the
network itself.

```{{figure}} figures/field_guide/overview.png
:alt: Every network by its parameters and multiply-accumulates

Parameters and multiply-accumulates for one picture, on logarithmic scales; LeNet-5 is far below on the left.
```

{rows}

```{{toctree}}
:hidden:

{chr(10).join(f"field_guide/{name}" for name in networks)}
```
"""


if __name__ == "__main__":
    sys.exit(main())

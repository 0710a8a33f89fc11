"""Data- and model-parallel training steps: communication volume, and overhead on simulated devices.

    python -m benchmarks.training.scaling                       # three minutes on two cores
    python -m benchmarks.training.scaling --record docs/records/benchmarks-scaling.json \\
        --page docs/results/benchmarks-scaling.md

Expected: with data=N a device sends about twice the size of the parameters, whatever N, to exchange the gradients; on
devices simulated on one CPU the rate stays above half of that of one device. Seed 0.
"""

from __future__ import annotations

import argparse
import datetime
import re
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np
import optax

import cnnjax
from benchmarks import results, timing
from benchmarks.results import provenance, table
from cnnjax import training
from cnnjax.operator.tuning import machine
from cnnjax.training import meshes

MEASURED_MESHES = ("data=1", "data=2", "data=4", "data=8", "data=4,model=2")
"""Meshes of simulated CPU devices that are timed."""
COMPILED_MESHES = ("data=8", "data=64", "data=512", "data=4,model=2", "data=32,model=2", "data=256,model=2")
"""Meshes whose compiled program is analysed."""
IMAGES_PER_DEVICE = 32
"""Images per device along the axis "data"."""


@dataclass(frozen=True)
class Collective:
    """A collective in a compiled program: its kind, the bytes of its result per device, and the size of its group."""

    kind: str
    bytes: int
    group: int

    @property
    def sent(self) -> float:
        """Bytes that a device sends with a ring algorithm, the lower bound."""
        others = (self.group - 1) / self.group
        return {
            "all-reduce": 2 * others * self.bytes,
            "all-gather": others * self.bytes,
            "reduce-scatter": (self.group - 1) * self.bytes,  # the result is one shard of the sum
            "all-to-all": others * self.bytes,
            "collective-permute": self.bytes,
        }[self.kind]


_INSTRUCTION = re.compile(
    r"= (?P<result>.+?) (?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(-start)?\("
)
_ARRAY = re.compile(r"(?P<type>[a-z]+\d*)\[(?P<shape>[\d,]*)\]")
_GROUPS = re.compile(
    r"replica_groups=(\{\{(?P<listed>[\d,]+)\}|\[\d+,(?P<counted>\d+)\]|mesh\[(?P<axes>[^\]]+)\] \{(?P<among>[^}]*)\})"
)


def collectives(program: str) -> list[Collective]:
    """The collectives of a compiled program, from its text.

    >>> collectives("%x = f32[5,6]{1,0} all-reduce(f32[5,6]{1,0} %y), channel_id=1, replica_groups=[1,8]<=[8]")
    [Collective(kind='all-reduce', bytes=120, group=8)]
    >>> collectives("%y = s32[] all-reduce(%x), replica_groups=mesh['data'=4,'model'=2] {'data','model'}")[0].group
    8
    """
    found = []
    for line in program.splitlines():
        instruction = _INSTRUCTION.search(line)
        if instruction is None:
            continue
        size = sum(_bytes(array["type"], array["shape"]) for array in _ARRAY.finditer(instruction["result"]))
        found.append(Collective(instruction["kind"], size, _group(line)))
    return found


def _group(line: str) -> int:
    """The group size of a collective, in any of the three notations of XLA."""
    if "source_target_pairs=" in line:
        return 2
    groups = _GROUPS.search(line)
    if groups is None:
        raise ValueError(f"no groups that are known in {line}")
    if groups["listed"]:
        return len(groups["listed"].split(","))
    if groups["counted"]:
        return int(groups["counted"])
    sizes = dict(re.findall(r"('\w+')=(\d+)", groups["axes"]))
    return int(np.prod([int(sizes[axis]) for axis in groups["among"].split(",")]))


def _bytes(kind: str, shape: str) -> int:
    bits = 8 if kind == "pred" else int(re.sub(r"\D", "", kind))
    return int(np.prod([int(n) for n in shape.split(",") if n] or [1])) * bits // 8


def main() -> None:
    """Compile and analyse, measure, print and record."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.training.scaling", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--network", default="lenet5")
    parser.add_argument("--no-times", action="store_true", help="only analyse the compiled programs")
    results.add_options(parser)
    options = parser.parse_args()
    if results.report(options, page):
        return
    jax.config.update("jax_num_cpu_devices", 512)
    network = getattr(cnnjax.models, options.network)()
    record: dict[str, Any] = {
        "machine": machine(),
        "versions": {"cnnjax": cnnjax.__version__, **timing.versions("jax", "jaxlib", "optax", "numpy")},
        "date": f"{datetime.date.today()}",
        "seed": 0,
        "network": network.name,
        "parameters_bytes": 4 * cnnjax.summary(network).num_parameters,
        "images_a_device": IMAGES_PER_DEVICE,
        "on_paper": {axes: communication(network, axes) for axes in COMPILED_MESHES},
        "measured": {} if options.no_times else {axes: weak_scaling(network, axes) for axes in MEASURED_MESHES},
    }
    print(page(record))
    results.save(options, record, page)


def communication(network: cnnjax.Network, axes: str) -> dict[str, Any]:
    """What a device sends in one step on a mesh, from the collectives of the compiled program."""
    mesh = meshes.make_mesh(axes)
    optimizer = optax.adam(1e-3)
    step = training.make_step(network, training.default_loss(network), optimizer, training.random_shift, mesh)

    def initial_state() -> training.TrainState:
        params = network.init(jax.random.key(0))
        return training.TrainState(params, optimizer.init(params), jax.numpy.int32(0))

    def with_shardings(like: Any, sharding: Any) -> Any:
        return jax.tree.map(lambda of, s: jax.ShapeDtypeStruct(of.shape, of.dtype, sharding=s), like, sharding)

    state = jax.eval_shape(initial_state)
    batch = IMAGES_PER_DEVICE * mesh.shape["data"]
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    images = jax.ShapeDtypeStruct((batch, 28, 28), np.uint8, sharding=rows)
    labels = jax.ShapeDtypeStruct((batch,), np.uint8, sharding=rows)
    state = with_shardings(state, meshes.shardings(state, mesh))
    found = collectives(step.lower(state, images, labels, jax.random.key(0)).compile().as_text() or "")
    kinds = sorted({of.kind for of in found})
    return {
        "batch": batch,
        "sent_bytes": round(sum(of.sent for of in found)),
        "kinds": {kind: sum(of.kind == kind for of in found) for kind in kinds},
        "sent_bytes_by_kind": {kind: round(sum(of.sent for of in found if of.kind == kind)) for kind in kinds},
        "largest": asdict(max(found, key=lambda of: of.sent)),
    }


def weak_scaling(network: cnnjax.Network, axes: str, steps: int = 8, epochs: int = 4) -> dict[str, Any]:
    """Images per second on a mesh and on one device with the same global batch; medians over epochs."""
    mesh = meshes.make_mesh(axes)
    batch = IMAGES_PER_DEVICE * mesh.shape["data"]
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (steps * batch, 28, 28)).astype(np.uint8)
    labels = random.integers(0, 10, steps * batch).astype(np.uint8)
    settings: dict[str, Any] = {"optimizer": optax.adam(1e-3), "epochs": epochs + 1, "batch_size": batch}
    rates = {}
    for name, of in (("mesh", mesh), ("alone", None)):
        _, *done = training.fit(network, images, labels, mesh=of, **settings)  # the first epoch compiles
        rates[name] = float(f"{statistics.median(epoch.images_per_second for epoch in done):.3g}")
    return {"batch": batch, "devices": mesh.size, **rates, "part": round(rates["mesh"] / rates["alone"], 2)}


def page(record: Mapping[str, Any]) -> str:
    """The results page, from the record."""
    sections = [
        "# Data- and model-parallel training steps",
        provenance(record, "benchmarks.training.scaling", "benchmarks-scaling"),
        f"{record['network']}, Adam, float32, {record['images_a_device']} images per device along the data axis; the "
        f"parameters take {record['parameters_bytes'] / 1e3:,.0f} kB.",
        "## Communication volume of a step",
        "Read from the collectives in the compiled program. Bytes are those of ring algorithms, the lower bound (an "
        "all-reduce of n bytes over N devices sends 2 (N - 1) / N n bytes per device).",
        table(
            ["mesh", "devices", "batch", "sent per device", "relative to the parameters", "collectives"],
            [
                [
                    axes,
                    f"{np.prod([int(n) for n in re.findall(r'[0-9]+', axes)]):,}",
                    f"{of['batch']:,}",
                    f"{of['sent_bytes'] / 1e3:,.0f} kB",
                    f"{of['sent_bytes'] / record['parameters_bytes']:.2f}",
                    ", ".join(
                        f"{count} {kind} ({of['sent_bytes_by_kind'][kind] / 1e3:,.0f} kB)"
                        for kind, count in of["kinds"].items()
                    ),
                ]
                for axes, of in record["on_paper"].items()
            ],
        ),
    ]
    if record["measured"]:
        sections += [
            "## Weak scaling on simulated CPU devices",
            "Simulated devices share the same cores, so more of them cannot be faster. The ratio to one device with "
            "the same batch shows the overhead of distributing the step.",
            table(
                ["mesh", "devices", "batch", "images/s", "images/s, one device, same batch", "ratio"],
                [
                    [axes, *(f"{of[key]:,.0f}" for key in ("devices", "batch", "mesh", "alone")), f"{of['part']:.2f}"]
                    for axes, of in record["measured"].items()
                ],
            ),
        ]
    return "\n\n".join(sections) + "\n"


if __name__ == "__main__":
    main()

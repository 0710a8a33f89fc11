"""The networks that are measured, and the measurement of one: a plain dict, for JSON."""

from __future__ import annotations

from typing import Any

import jax

import cnnjax
from benchmarks import timing
from benchmarks.networks.measure import PROGRAMS, difference, first_call, parameters, perturbed, waiting
from benchmarks.networks.network import Model
from benchmarks.networks.network import Network as Task
from benchmarks.networks.programs import data, inference, training
from benchmarks.published import flax_network
from cnnjax import layers, models

__all__ = ["CONTENDERS", "NETWORKS", "cnnjax_model", "measure", "without_noise"]

CONTENDERS = ("flax", "cnnjax")
CLASSES = 1000
PERTURBATIONS = 3
"""One may miss that a rectifier's input is so close to zero that rounding switches it."""


def _task(batch: int, size: int, quick: int) -> Task:
    return Task(("flax",), batch, (size, size, 3), CLASSES, (2, quick))


NETWORKS = {
    "alexnet_2012": _task(8, 227, 67),
    "zfnet": _task(8, 224, 64),
    "alexnet": _task(8, 224, 224),
    "vgg11": _task(2, 224, 224),
    "vgg16": _task(2, 224, 224),
    "vgg19": _task(2, 224, 224),
    **{
        name: _task(8, 128, 64)
        for name in (
            *("googlenet", "resnet18", "resnet34", "resnet50", "squeezenet1_0", "squeezenet1_1", "mobilenetv1_100"),
            *("mobilenet_v2", "shufflenet_v2_x1_0", "densenet121", "efficientnet_b0", "convnext_tiny"),
        )
    },
    "resnext50_32x4d": _task(2, 128, 64),
}
"""{name in `cnnjax.models`: task}.

AlexNet and VGG need their own size: at others, their pool to 6x6 or 7x7 pixels has no equal in flax. Two images are
enough where a step takes flax seconds.
"""


def measure(name: str, *, seed: int, quick: bool, **protocol: float) -> dict[str, Any]:
    """{contender: {program: {"first_s", "memory", "ms", "fastest", "calls"}}} with "shape", "parameters", "difference".

    "first_s" is the time to trace, lower, compile and run a program for the first time, "memory" the bytes of its
    arguments, results and temporary buffers, as XLA assigned them. "difference" is that between the outputs, or the
    gradients and running means, of the two libraries, "sensitivity" the largest between those of flax and of the same
    with parameters perturbed by a rounding error, of PERTURBATIONS. Nothing is timed if `quick`.
    """
    task = NETWORKS[name]
    shape = task.shape(quick=quick)
    network = without_noise(getattr(models, name)(classes=CLASSES, size=shape[1]))
    ours = cnnjax_model(network, seed)
    contenders = {"flax": flax_network.build(network, ours.params, ours.state), "cnnjax": ours}
    x, targets = data(task, ours, shape, seed)
    row: dict[str, Any] = {"shape": shape, "parameters": parameters(ours.params), "difference": {}, "sensitivity": {}}
    row |= {contender: {} for contender in CONTENDERS}
    for which in PROGRAMS:
        found, calls = {}, {}
        for contender, model in contenders.items():
            arguments, function, compared = _program(which, model, x, targets)
            program, row[contender][which], results = first_call(function, arguments)
            calls[contender] = {which: waiting(program, arguments)}
            found[contender] = jax.device_get(compared(results))
            if contender == "flax":
                moved = [
                    difference(compared(program(perturbed(model.params, seed + i), *arguments[1:])), found["flax"])
                    for i in range(PERTURBATIONS)
                ]
        row["difference"][which] = float(f"{difference(found['cnnjax'], found['flax']):.2g}")
        row["sensitivity"][which] = float(f"{max(moved):.2g}")
        if not quick:
            for contender, times in timing.time_alternately(calls, **protocol).items():  # type: ignore[arg-type]
                row[contender][which].update(times[which])
    return row


def _program(which: str, model: Model, x: Any, targets: Any) -> tuple[Any, ...]:
    """A program, and what is compared of its results: in training also the running means.

    The running variances are left out: flax averages those of the batch with the divisor n instead of n - 1.
    """
    if which == "inference":
        return inference(model, x, targets)
    arguments, step, compared = training(model, x, targets)
    return arguments, step, lambda results: (compared(results), [own["mean"] for own in _values(results[1])])


def _values(state: Any) -> list[Any]:
    return [state[name] for name in sorted(state)]


def cnnjax_model(network: cnnjax.Network, seed: int) -> Model:
    """A network of cnnjax with random weights, the running statistics as state."""
    drawn = network.init(jax.random.key(seed))
    trained = network.trainable(drawn)

    def part(params: Any, *, of_training: bool) -> dict[str, Any]:
        kept = {name: {k: v for k, v in own.items() if trained[name][k] is of_training} for name, own in params.items()}
        return {name: own for name, own in kept.items() if own}

    def whole(params: Any, state: Any) -> dict[str, Any]:
        return {name: {**own, **state.get(name, {})} for name, own in params.items()}

    def evaluate(params: Any, state: Any, x: jax.Array) -> jax.Array:
        return network.apply(whole(params, state), x)

    def train(params: Any, state: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        outputs, fresh = network.apply_training(whole(params, state), x)
        return outputs, part(fresh, of_training=False)

    return Model(part(drawn, of_training=True), part(drawn, of_training=False), evaluate, train)


def without_noise(network: cnnjax.Network) -> cnnjax.Network:
    """The network without dropout and stochastic depth, whose random numbers differ from flax's."""
    noise = {name for name, layer in network.layers if isinstance(layer, (layers.Dropout, layers.StochasticDepth))}
    source = {name: name for name in ("input", *(name for name, _ in network.layers))}
    for name in noise:
        (source[name],) = network.reads[name]
    entries = [
        (name, layer, tuple(source[read] for read in network.reads[name]))
        for name, layer in network.layers
        if name not in noise
    ]
    return cnnjax.Network(network.name, network.input, entries)

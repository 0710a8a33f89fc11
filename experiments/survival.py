"""Does a training run killed at any moment, even during a save, finish bit-identical to an uninterrupted run?

Each run of train.py is killed twice by SIGKILL, once at a random time and once while a checkpoint is being written, and
is started again with the same command. Its history and parameters are then compared, byte by byte, with those of an
uninterrupted run. Expected: all are identical, as in docs/records/survival.json: 26 of 26 runs, 52 kills, 26 of them
during a save. Run time on two cores: 15 minutes; --quick, two runs: one minute.

    python experiments/survival.py --record docs/records/survival.json
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from record import configuration, environment, save_json

TRAIN = Path(__file__).with_name("train.py")
UNFINISHED = "*.orbax-checkpoint-tmp*"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; the exit status is 0 if every run finished bit-identical."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, help="number of runs to kill (26; with --quick 2)")
    parser.add_argument("--network", default="lenet5", help="network of train.py (lenet5)")
    parser.add_argument("--epochs", type=int, default=6, help="epochs of each run, of 125 steps (6)")
    parser.add_argument("--every", type=int, default=40, help="steps between checkpoints (40)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random times (0)")
    parser.add_argument("--data", type=Path, help="folder with the four IDX files of MNIST, for train.py")
    parser.add_argument("--parallel", type=int, default=1, help="concurrent runs (1)")
    parser.add_argument("--quick", action="store_true", help="two runs of two epochs")
    parser.add_argument("--record", type=Path, help="JSON file for the results")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs = 2
    options.runs = options.runs or (2 if options.quick else 26)

    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(options.parallel) as pool:
        reference = Path(scratch, "reference")
        began = time.perf_counter()
        finish(command(reference, options))
        duration = time.perf_counter() - began
        print(f"An uninterrupted run takes {duration:.1f} s.", flush=True)
        runs: list[dict[str, Any]] = []
        record = summary(options, runs)
        started = [
            pool.submit(
                kill_twice,
                Path(scratch, f"{number}"),
                reference,
                options,
                duration,
                random.Random(f"{options.seed} {number}"),
            )
            for number in range(options.runs)
        ]
        for done in as_completed(started):
            runs.append(done.result())
            print(f"run {len(runs):>2}: {described(runs[-1])}", flush=True)
            record = summary(options, runs)
            if options.record:
                save_json(options.record, record)
    print(
        f"{record['equal']} of {record['of']} runs finished bit-identical after {record['kills']} SIGKILLs, "
        f"{record['kills_during_a_save']} of them during a save."
    )
    return 0 if record["equal"] == record["of"] else 1


def kill_twice(
    folder: Path, reference: Path, options: argparse.Namespace, duration: float, times: random.Random
) -> dict[str, Any]:
    """Kill a run twice, let it finish and compare it with the reference; try again if it finished before a kill."""
    kills: list[dict[str, Any]] = []
    while len(kills) < 2 or not all(of["killed"] for of in kills):
        shutil.rmtree(folder, ignore_errors=True)
        kills = [kill(folder, options, duration * times.random()), kill(folder, options, None, times)]
        duration = min([duration, *(of["after_seconds"] for of in kills if not of["killed"])])
    finish(command(folder, options))
    return {"kills": kills, **compare(reference, folder)}


def summary(options: argparse.Namespace, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The record of the runs so far."""
    kills = [of for run in runs for of in run["kills"]]
    return {
        "question": (__doc__ or "").partition("\n")[0],
        "environment": environment(),
        "config": configuration(options, "record", "data"),
        "equal": sum(of["same_history"] and of["same_parameters"] for of in runs),
        "of": len(runs),
        "kills": len(kills),
        "kills_during_a_save": sum(of["saving"] for of in kills),
        "runs": runs,
    }


def command(folder: Path, options: argparse.Namespace) -> list[str]:
    """The command that starts a run and resumes it."""
    settings = {"--network": options.network, "--epochs": options.epochs, "--every": options.every, "--out": folder}
    settings |= {"--data": options.data} if options.data else {}
    return [sys.executable, str(TRAIN), "--resume", "--quick", *(f"{k}={v}" for k, v in settings.items())]


def finish(run: list[str]) -> None:
    """Let a run finish."""
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(run)} failed:\n{done.stdout}{done.stderr}")


def kill(
    folder: Path, options: argparse.Namespace, after: float | None, times: random.Random | None = None
) -> dict[str, Any]:
    """Start or resume a run and kill it after `after` seconds or, given `times`, during one of its next three saves."""
    began = time.perf_counter()
    process = subprocess.Popen(command(folder, options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if times is None:
        time.sleep(after or 0.0)
    else:
        for _ in range(times.randint(1, 3)):
            wait_for(process, folder, saving=True)
            wait_for(process, folder, saving=False)
        wait_for(process, folder, saving=True)
        time.sleep(0.15 * times.random())
    process.kill()
    killed = process.wait() < 0
    checkpoints = folder / "checkpoints"
    return {
        "killed": killed,
        "after_seconds": round(time.perf_counter() - began, 2),
        "saving": killed and any(checkpoints.glob(UNFINISHED)),
        "steps_saved": sorted(int(path.name) for path in checkpoints.glob("*") if path.name.isdecimal()),
    }


def wait_for(process: subprocess.Popen[bytes], folder: Path, *, saving: bool) -> None:
    """Wait until a save is in progress, or none is, or the process has ended."""
    while any((folder / "checkpoints").glob(UNFINISHED)) is not saving and process.poll() is None:
        time.sleep(0.002)


def compare(one: Path, other: Path) -> dict[str, bool]:
    """Whether two runs have the same history, byte by byte, and the same parameters, bit by bit."""
    first, second = (np.load(folder / "parameters.npz") for folder in (one, other))
    return {
        "same_history": (one / "history.jsonl").read_bytes() == (other / "history.jsonl").read_bytes(),
        "same_parameters": sorted(first) == sorted(second)
        and all(first[name].tobytes() == second[name].tobytes() for name in first),
    }


def described(run: dict[str, Any]) -> str:
    """A run as a line of text."""
    kills = ", ".join(f"after {of['after_seconds']} s{' during a save' * of['saving']}" for of in run["kills"])
    same = run["same_history"] and run["same_parameters"]
    return f"killed {kills}; {'bit-identical' if same else 'NOT bit-identical'}"


if __name__ == "__main__":
    sys.exit(main())

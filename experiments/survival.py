"""Does a run that is killed at any moment, also while it saves, end with the bits of a run that never stopped?

Expected: 25 of 25. Each run of train.py is killed twice by SIGKILL, at a random moment of its life and while a
checkpoint is being written, and is started again with the same command; then its history and its parameters are
compared with those of a run that was left alone, byte by byte. Run time on two cores: 15 minutes; --quick, two runs:
one minute.

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
from record import environment, save_json

TRAIN = Path(__file__).with_name("train.py")
UNFINISHED = "*.orbax-checkpoint-tmp*"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; the exit status is 0 where every run ended with the same bits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, help="how many runs are killed (25; with --quick 2)")
    parser.add_argument("--network", default="lenet5", help="of train.py (lenet5)")
    parser.add_argument("--epochs", type=int, default=6, help="of each run, of 125 steps (6)")
    parser.add_argument("--every", type=int, default=40, help="steps between checkpoints (40)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--data", type=Path, help="of train.py: a folder with the four IDX files of MNIST")
    parser.add_argument("--parallel", type=int, default=1, help="runs at a time (1)")
    parser.add_argument("--quick", action="store_true", help="two runs of two epochs")
    parser.add_argument("--record", type=Path, help="a JSON file for the results")
    options = parser.parse_args(arguments)
    if options.quick:
        options.epochs = 2
    options.runs = options.runs or (2 if options.quick else 25)

    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(options.parallel) as pool:
        alone = Path(scratch, "alone")
        began = time.perf_counter()
        finish(command(alone, options))
        life = time.perf_counter() - began
        print(f"A run that is left alone takes {life:.1f} s.", flush=True)
        runs: list[dict[str, Any]] = []
        record = summary(options, runs)
        started = [
            pool.submit(
                torture, Path(scratch, f"{number}"), alone, options, life, random.Random(f"{options.seed} {number}")
            )
            for number in range(options.runs)
        ]
        for done in as_completed(started):
            runs.append(done.result())
            print(f"run {len(runs):>2}: {told(runs[-1])}", flush=True)
            record = summary(options, runs)
            if options.record:
                save_json(options.record, record)
    print(
        f"{record['equal']} of {record['of']} runs ended with the same bits, after {record['kills']} SIGKILLs, "
        f"{record['kills_during_a_save']} of them during a save."
    )
    return 0 if record["equal"] == record["of"] else 1


def torture(
    folder: Path, alone: Path, options: argparse.Namespace, life: float, moments: random.Random
) -> dict[str, Any]:
    """Kill a run twice and compare its end with that of the one that was left alone; again if it ended too soon."""
    kills: list[dict[str, Any]] = []
    while len(kills) < 2 or not all(of["killed"] for of in kills):
        shutil.rmtree(folder, ignore_errors=True)
        kills = [kill(folder, options, life * moments.random()), kill(folder, options, None, moments)]
        life = min(life, *(of["after_seconds"] for of in kills if not of["killed"]), life)
    finish(command(folder, options))
    return {"kills": kills, **compare(alone, folder)}


def summary(options: argparse.Namespace, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The record of the runs so far."""
    kills = [of for run in runs for of in run["kills"]]
    return {
        "question": (__doc__ or "").partition("\n")[0],
        "environment": environment(),
        "config": {name: value for name, value in vars(options).items() if name not in ("record", "data")},
        "equal": sum(of["same_history"] and of["same_parameters"] for of in runs),
        "of": len(runs),
        "kills": len(kills),
        "kills_during_a_save": sum(of["saving"] for of in kills),
        "runs": runs,
    }


def command(folder: Path, options: argparse.Namespace) -> list[str]:
    """The one command, for the start and for going on."""
    settings = {"--network": options.network, "--epochs": options.epochs, "--every": options.every, "--out": folder}
    settings |= {"--data": options.data} if options.data else {}
    return [sys.executable, str(TRAIN), "--resume", "--quick", *(f"{k}={v}" for k, v in settings.items())]


def finish(run: list[str]) -> None:
    """Let a run end by itself."""
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(run)} failed:\n{done.stdout}{done.stderr}")


def kill(
    folder: Path, options: argparse.Namespace, after: float | None, moments: random.Random | None = None
) -> dict[str, Any]:
    """Start a run and kill it after so many seconds or, by `moments`, during one of its next saves; tell what was."""
    began = time.perf_counter()
    process = subprocess.Popen(command(folder, options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if moments is None:
        time.sleep(after or 0.0)
    else:
        for _ in range(moments.randint(1, 3)):
            wait_for(process, folder, saving=True)
            wait_for(process, folder, saving=False)
        wait_for(process, folder, saving=True)
        time.sleep(0.15 * moments.random())
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
    """Wait until a save is, or is no longer, in progress, or the process has ended."""
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


def told(run: dict[str, Any]) -> str:
    """A run in a line."""
    kills = ", ".join(f"after {of['after_seconds']} s{' during a save' * of['saving']}" for of in run["kills"])
    same = run["same_history"] and run["same_parameters"]
    return f"killed {kills}; {'the same bits' if same else 'NOT the same bits'}"


if __name__ == "__main__":
    sys.exit(main())

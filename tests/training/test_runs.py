"""Runs that are saved and resumed, each compared with an uninterrupted one; runs that diverge."""

import signal
import subprocess
import sys
import textwrap

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_runs import assert_resumes, run

from cnnjax import training
from cnnjax.errors import CheckpointError, DivergedError
from cnnjax.training.checkpoints import Checkpoints

pytestmark = pytest.mark.usefixtures("standard_promotion")


def test_a_diverging_run_stops_and_says_where(network, digits):
    with pytest.raises(DivergedError, match=r"epoch 1, batch \d+; try a smaller learning rate"):
        run(network, digits, optimizer=optax.sgd(1e30))


def test_the_tensor_that_diverges_is_named_and_the_checkpoint_from_before(network, digits, tmp_path):
    def rate(step):
        return jnp.where(step < 6, 0.1, jnp.inf)

    settings = {"optimizer": optax.sgd(rate), "checkpoints": Checkpoints(tmp_path, every=3)}
    with pytest.raises(DivergedError) as raised:
        run(network, digits, **settings)
    assert "c1.b became NaN or infinite in step 7, epoch 2, batch 2" in str(raised.value)
    assert f"The last good checkpoint is {tmp_path / '6'}." in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4", "6"]


def test_checkpoints_change_nothing_and_a_finished_run_ends_again(network, digits, tmp_path, uninterrupted):
    assert_resumes(network, digits, tmp_path, uninterrupted, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["12", "8", "9"]
    assert_resumes(network, digits, tmp_path, uninterrupted, 3)


KILLED = """
import os, signal, sys
import numpy as np, optax
from cnnjax import training
from cnnjax.training.runs import RunCheckpointer
from cnnjax.training.checkpoints import Checkpoints
from cnnjax.layers import Conv2D, Dense, Input, MaxPool2D, Network

save = RunCheckpointer.save
def save_and_die(checkpointer, step, *rest):
    save(checkpointer, step, *rest)
    if step == 6:
        os.kill(os.getpid(), signal.SIGKILL)
RunCheckpointer.save = save_and_die

images, labels = np.load(sys.argv[1]).values()
layers = {"c1": Conv2D(4, 3, activation="relu"), "s1": MaxPool2D(2), "out": Dense(4)}
settings = {"optimizer": optax.adam(0.01), "epochs": 3, "batch_size": 16, "seed": 5, "augment": training.random_shift}
list(training.fit(Network("toy", Input((12, 12, 1)), layers), images, labels, **settings,
                  checkpoints=Checkpoints(sys.argv[2], every=3)))
"""


@pytest.mark.usefixtures("float32_world")
@pytest.mark.filterwarnings("ignore:.* was never finished:RuntimeWarning")
def test_a_run_killed_within_an_epoch_while_it_saves_ends_with_the_same_bits(network, digits, tmp_path):
    uninterrupted = run(network, digits, augment=training.random_shift)
    np.savez(tmp_path / "digits.npz", images=digits[0], labels=digits[1])
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "digits.npz"), str(tmp_path / "run")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert_resumes(network, digits, tmp_path / "run", uninterrupted, 2 if (tmp_path / "run" / "6").exists() else 1)


def test_a_run_that_cannot_save_does_not_begin(network, digits, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="No checkpoint can be written"):
        run(network, digits, checkpoints=Checkpoints(tmp_path / "file"))

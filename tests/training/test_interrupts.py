"""Signals are deferred until the run is saved; the previous handlers are restored."""

import os
import signal

import optax
import pytest
from toy_runs import assert_resumes

from cnnjax import training
from cnnjax.training.checkpoints import Checkpoints

pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_saves_first(network, digits, tmp_path, uninterrupted, capsys, number, error):
    handlers = [signal.getsignal(of) for of in (signal.SIGTERM, signal.SIGINT)]
    settings = {"optimizer": optax.adam(0.01), "epochs": 3, "batch_size": 16, "seed": 5}
    settings |= {"augment": training.random_shift, "checkpoints": Checkpoints(tmp_path)}
    epochs = training.fit(network, *digits, **settings)
    next(epochs)
    os.kill(os.getpid(), number)
    with pytest.raises(error) as raised:
        next(epochs)
    assert error is KeyboardInterrupt or raised.value.code == 143
    assert "saved after step 5" in capsys.readouterr().err
    assert (tmp_path / "5").exists()
    assert [signal.getsignal(of) for of in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert_resumes(network, digits, tmp_path, uninterrupted, 2)


def test_a_consumer_that_stops_gets_its_signals_back_and_loses_nothing(network, digits, tmp_path):
    handler = signal.getsignal(signal.SIGTERM)
    epochs = training.fit(
        network, *digits, optimizer=optax.sgd(0.1), epochs=3, batch_size=16, checkpoints=Checkpoints(tmp_path)
    )
    next(epochs)
    assert signal.getsignal(signal.SIGTERM) != handler
    epochs.close()
    assert signal.getsignal(signal.SIGTERM) == handler
    assert [path.name for path in tmp_path.iterdir()] == ["4"]

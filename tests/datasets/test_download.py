"""Downloads from a server on the loopback interface, and every way in which they fail."""

import dataclasses
import gzip
import http.server
import re
import socket
import sys
import threading
from pathlib import Path

import pytest
from idx_files import NAMES, idx_bytes, published_as, same_arrays, small_arrays, write_folder

from cnnjax import datasets, errors
from cnnjax.datasets import published


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files``; a name in ``dropped`` breaks off half-way."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.dropped, self.asked = {}, set(), []
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, name = self.server, self.path.lstrip("/")
        server.asked.append(name)
        content = server.files.get(name)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if name in server.dropped else content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    pytest.importorskip("pooch")
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    with Server() as running:
        running.files = {
            f"{name}.gz": gzip.compress(idx_bytes(array), mtime=0)
            for name, array in zip(NAMES, small_arrays(), strict=True)
        }
        monkeypatch.setattr(published, "MNIST", published_as(published.MNIST, small_arrays(), mirrors=(running.url,)))
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_download_into_a_folder(server, tmp_path):
    data = datasets.mnist(tmp_path / "new" / "folder", download=True)
    assert same_arrays(data, small_arrays())
    assert "all four files have the published checksums" in data.source
    assert sorted(server.asked) == sorted(server.files)
    assert {file.name for file in (tmp_path / "new" / "folder").iterdir()} == set(server.files)
    assert same_arrays(datasets.mnist(tmp_path / "new" / "folder", download=True), small_arrays())
    assert len(server.asked) == 4  # nothing is fetched twice


def test_a_download_into_the_users_cache(server, tmp_path, monkeypatch):
    import pooch

    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    assert same_arrays(datasets.mnist(download=True), small_arrays())
    assert {file.name for file in (tmp_path / "cnnjax" / "mnist").iterdir()} == set(server.files)


def test_only_what_is_missing_is_fetched_and_nothing_is_replaced(server, tmp_path):
    own = small_arrays(train=5)
    write_folder(tmp_path, own)
    for name in NAMES[2:]:
        (tmp_path / name).unlink()
    data = datasets.mnist(tmp_path, download=True)
    assert same_arrays(data, [*own[:2], *small_arrays()[2:]])
    assert sorted(server.asked) == sorted(f"{name}.gz" for name in NAMES[2:])


def test_the_next_mirror_is_asked(server, tmp_path, monkeypatch):
    mirrors = (f"{server.url}moved/", server.url)
    monkeypatch.setattr(published, "MNIST", dataclasses.replace(published.MNIST, mirrors=mirrors))
    assert same_arrays(datasets.mnist(tmp_path, download=True), small_arrays())


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("fault", ["wrong bytes", "cut by the server", "dropped connection", "404", "no server"])
def test_a_failed_download_says_so_and_leaves_nothing_half_written(server, tmp_path, monkeypatch, fault):
    second = f"{NAMES[1]}.gz"
    if fault == "wrong bytes":
        server.files[second] = server.files[second][:-1] + b"?"
    elif fault == "cut by the server":
        server.files[second] = server.files[second][:20]
    elif fault == "dropped connection":
        server.dropped.add(second)
    elif fault == "404":
        del server.files[second]
    else:
        second, mirrors = f"{NAMES[0]}.gz", (f"http://127.0.0.1:{closed_port()}/",)
        monkeypatch.setattr(published, "MNIST", dataclasses.replace(published.MNIST, mirrors=mirrors))
    with pytest.raises(errors.DataError) as caught:
        datasets.mnist(tmp_path, download=True)
    message = str(caught.value)
    assert message.startswith(
        f"mnist: `download` is True, but {second} could not be fetched into {str(tmp_path)!r} (http"
    )
    assert re.search("expected a mirror .* Fix: check the network and call again .*mnist.'that/folder'", message)
    complete = set() if fault == "no server" else {f"{NAMES[0]}.gz"}
    assert {file.name for file in tmp_path.iterdir()} == complete


def test_a_download_that_failed_goes_on_where_it_stopped(server, tmp_path):
    server.dropped.add(f"{NAMES[2]}.gz")
    with pytest.raises(errors.DataError):
        datasets.mnist(tmp_path, download=True)
    server.dropped.clear()
    server.asked.clear()
    assert same_arrays(datasets.mnist(tmp_path, download=True), small_arrays())
    assert server.asked == [f"{name}.gz" for name in NAMES[2:]]


def test_an_interrupt_leaves_nothing_half_written(tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch")

    def interrupted(self, url, output_file, source, check_only=False):
        Path(output_file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        datasets.mnist(tmp_path, download=True)
    assert not list(tmp_path.iterdir())


def test_without_pooch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    message = r"^fashion_mnist: `download` is True, which needs the package pooch, .* pip install 'cnnjax\[exp"
    with pytest.raises(errors.MissingExtraError, match=message):
        datasets.fashion_mnist(tmp_path, download=True)
    assert same_arrays(
        datasets.fashion_mnist(write_folder(tmp_path), download=True), small_arrays()
    )  # all is there: pooch is not needed


@pytest.mark.parametrize("value", ["data", 1, None])
def test_download_is_a_bool(value):
    with pytest.raises(errors.ArgumentTypeError, match=r"mnist: `download` is .*; expected True or False"):
        datasets.mnist(download=value)

"""`--address`: a cluster that runs is joined and left as it was; one that is not is told soon."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from shop import command, contents, running, wait_until, with_rows

from influence_store.embedding.hashing import HashingEmbedder
from influence_store.errors import Unreachable, UsageError
from influence_store.execution import reach
from influence_store.jobs import embed as embed_job
from influence_store.jobs.embed import embed
from influence_store.store.store import Store
from influence_store.version import __version__

pytestmark = pytest.mark.xdist_group("ray")
ROWS = 60


@pytest.fixture
def check():
    """What the executor asks before it joins."""
    ray = pytest.importorskip("ray", reason="pip install 'influence-store[ray]'")
    return lambda address: reach.check_address(ray, address)


def test_an_address_where_nothing_listens_is_told_with_what_to_look_at(check):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match=r"(?s)no Ray cluster answers.*refused.*ray status"):
        check(f"127.0.0.1:{port}")


def test_what_listens_but_never_answers_is_not_waited_for(check, monkeypatch):
    monkeypatch.setattr(reach, "_SECONDS", 0.2)
    with (
        socket.create_server(("", 0)) as silent,
        pytest.raises(Unreachable, match="timed out"),
    ):
        check(f"localhost:{silent.getsockname()[1]}")


def test_a_page_of_the_web_is_no_cluster(check):
    with http.server.HTTPServer(("", 0), http.server.SimpleHTTPRequestHandler) as page:
        page.RequestHandlerClass.log_message = lambda *_: None
        thread = threading.Thread(target=page.serve_forever)
        thread.start()
        try:
            with pytest.raises(Unreachable, match="something else"):
                check(f"127.0.0.1:{page.server_port}")
        finally:
            page.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "address", ["", "head", "head:", ":6379", "head:x", "head:²", "ray://head:10001", "[::1]"]
)
def test_what_is_no_address_is_a_mistake_of_typing(check, address):
    with pytest.raises(UsageError, match="no address of a Ray cluster"):
        check(address)


def test_a_port_that_no_machine_has_is_unreachable(check):
    with pytest.raises(Unreachable, match="head:99999"):
        check("head:99999")


def test_without_ray_nothing_is_opened_before_that_is_said(tmp_path):
    code = "import sys; sys.modules['ray'] = None\nfrom influence_store.cli import main; main()"
    words = ["--store", str(tmp_path / "none"), "embed", "demo", "--embedder", "none"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--engine", "ray"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "error[IS801]: ray is not installed" in done.stderr
    assert "pip install 'influence-store[ray]'" in done.stderr
    assert done.returncode == 8


@contextmanager
def ray_head(folder, mark):
    """A cluster of two cores that somebody else has started; its address."""
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
    name, _, value = mark.partition("=")
    line = ["ray.scripts.scripts", "start", "--head", "--block", "--include-dashboard=false"]
    line += ["--num-cpus=2", "--node-ip-address=127.0.0.1", f"--port={port}"]
    line += [f"--object-store-memory={128 << 20}"]
    with (
        (folder / "head.log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", *line],
            env={**os.environ, name: value, "RAY_USAGE_STATS_ENABLED": "0"},
            stdout=log,
            stderr=log,
        ) as head,
    ):
        try:
            end = time.monotonic() + 60
            while "Ray runtime started" not in (folder / "head.log").read_text():
                assert head.poll() is None
                assert time.monotonic() < end
                time.sleep(0.1)
            yield head, f"127.0.0.1:{port}"
        finally:
            head.terminate()
            head.wait(60)
            for pid in running(mark):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="it looks at processes through /proc")
def test_a_cluster_that_runs_gives_the_same_blocks_and_goes_on_running(
    needs_ray, store, copy_store, tmp_path, monkeypatch
):
    monkeypatch.setattr(embed_job, "CHUNK_ROWS", 8)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with_rows(store, ROWS, tmp_path)
    copied = Store.open(copy_store(store.uri, tmp_path / "copy"), __version__)
    embed(store, store.version("demo"), HashingEmbedder(8), "hashing:8")
    mark = f"INFLUENCE_STORE_TEST_HEAD={tmp_path}"
    with ray_head(tmp_path, mark) as (head, address):
        words = ("embed", "demo", "--embedder", "hashing:8", "--engine", "ray")
        with command(copied, *words, "--address", address) as (process, _):
            _, told = process.communicate(timeout=120)
        assert (process.returncode, told) == (0, "")
        assert head.poll() is None
        wait_until(lambda: not any("_Worker" in line for line in running(mark).values()), 30)
        assert any("raylet" in line for line in running(mark).values())
    assert contents(store, "embedding") == contents(copied, "embedding")
    copied.database.close()

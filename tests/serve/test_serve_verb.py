"""`serve` and `token` as a shell sees them: addresses, signals, exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from influence_store.cli import cli

COMMAND = [sys.executable, "-m", "influence_store.cli"]


def shell(small, *arguments):
    return subprocess.run(
        [*COMMAND, "--store", small, *arguments], capture_output=True, text=True, timeout=120
    )


def token(small, *arguments):
    done = CliRunner().invoke(cli, ["--store", small, "token", *arguments], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout


@contextmanager
def running(small, *arguments):
    """The verb in a process of its own, once it has said where it is."""
    process = subprocess.Popen(
        [*COMMAND, "--store", small, "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_serves_and_stops_with_130(small, number):
    with running(small) as process:
        first, second = process.stderr.readline(), process.stderr.readline()
        assert "read-only; Ctrl-C ends it" in first
        (address,) = re.findall(r"open: (http://127\.0\.0\.1:\d+/login\?token=[\w-]{43})\s", second)
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(address, timeout=60) as answer:
            assert "token" not in answer.url
            assert "<h1>Datasets</h1>" in answer.read().decode()
        process.send_signal(number)
        out, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in told
    assert "To go on: influence-store" in told


def test_with_stored_tokens_no_other_is_made(small):
    secret = token(small, "new", "--name", "ann").splitlines()[0]
    with running(small) as process:
        lines = [process.stderr.readline(), process.stderr.readline()]
        assert "influence-store token list" in lines[1]
        assert "token=" not in "".join(lines)
        (address,) = re.findall(r"http://\S+", lines[0])
        asked = urllib.request.Request(address, headers={"Authorization": f"Bearer {secret}"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            assert answer.status == 200


def test_json_tells_the_same_on_stdout(small):
    with running(small, "--json") as process:
        told = ""
        while not told.rstrip().endswith("}"):
            told += process.stdout.readline()
        facts = json.loads(told)
    assert facts["login"].startswith(facts["url"])


def test_others_are_let_in_only_with_a_token(small):
    done = shell(small, "serve", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "influence-store token new --name NAME" in done.stderr
    token(small, "new", "--name", "ann")
    with running(small, "--host", "0.0.0.0", "--allow-host", "influence.example") as process:
        lines = [process.stderr.readline() for _ in range(3)]
        assert lines[1].startswith("warning: others can reach this")
        (port,) = re.findall(r":(\d+)/", lines[0])
        for host, status in (("influence.example", 200), ("evil.example", 421)):
            with socket.create_connection(("127.0.0.1", int(port)), timeout=60) as connection:
                connection.sendall(f"GET /login HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                assert connection.recv(99).split()[1] == str(status).encode()


def test_an_expired_token_lets_nobody_in(small, tmp_path):
    token(small, "new", "--name", "ann", "--days", "1")
    path = tmp_path / "config" / "serve-tokens.json"
    kept = json.loads(path.read_text())
    kept[0]["expires_at"] = 1.0
    path.write_text(json.dumps(kept))
    assert shell(small, "serve", "--host", "0.0.0.0", "--port", "0").returncode == 2
    assert "(expired)" in token(small, "list")


def test_a_port_that_is_taken_and_an_address_that_is_not(small):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = shell(small, "serve", "--port", str(port))
    assert done.returncode == 6
    assert "another --port" in done.stderr
    done = shell(small, "serve", "--host", "nowhere.invalid", "--port", "0")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_without_the_extra_it_says_what_to_install(small):
    code = "import sys; sys.modules['fastapi'] = None\nfrom influence_store.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--store", small, "serve"], capture_output=True, text=True
    )
    assert done.returncode == 8
    assert "pip install 'influence-store[serve]'" in done.stderr


def test_tokens_are_made_listed_and_revoked(small, tmp_path):
    planned = json.loads(token(small, "new", "--name", "ann", "--dry-run", "--json"))
    assert planned["dry_run"]
    assert "token" not in planned
    assert not (tmp_path / "config").exists()
    made = json.loads(token(small, "new", "--name", "ann", "--scope", "texts", "--json"))
    assert made["scope"] == "texts"
    listed = token(small, "list", "--json")
    assert [one["name"] for one in json.loads(listed)["tokens"]] == ["ann"]
    assert made["token"] not in listed
    assert os.listdir(tmp_path / "config")
    assert "opens nothing any more" in token(small, "revoke", "ann", "--dry-run")
    assert token(small, "list", "--json") == listed
    assert "opens nothing any more" in token(small, "revoke", "ann")
    assert "no tokens; make one" in token(small, "list")
    for arguments, code in ((["revoke", "ann"], 4), (["new", "--name", "A B"], 2)):
        assert shell(small, "token", *arguments).returncode == code

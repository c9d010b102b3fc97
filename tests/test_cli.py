"""Exit codes, streams and messages of the command line, as a shell sees them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from influence_store.cli import cli
from influence_store.output import plain, table_lines


def shell(*arguments, cwd, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "influence_store.cli", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        **kwargs,
    )


@pytest.fixture
def here(tmp_path):
    assert shell("init", cwd=tmp_path).returncode == 0
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ingest", "rows.jsonl", "--dataset", "../x"], 2, "cannot name a dataset"),
        (["ingest", "--dataset", "d"], 2, "nothing to ingest"),
        (["nonsense"], 2, "No such command"),
        (["query", "delete from x"], 2, "exactly one SELECT"),
        (["ingest", "bad.jsonl", "--dataset", "d"], 3, "bad.jsonl:1"),
        (["ingest", "absent.jsonl", "--dataset", "d"], 4, "absent.jsonl"),
        (["fill", "nothing"], 4, "no dataset named 'nothing'"),
        (["--store", "elsewhere", "status"], 4, "init"),
    ],
)
def test_exit_codes_name_who_can_mend_it(here, arguments, code, message):
    (here / "bad.jsonl").write_text("{not json\n")
    done = shell(*arguments, cwd=here)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_json_is_one_document_on_stdout_before_or_behind_the_verb(here):
    for arguments in (["--json", "status"], ["status", "--json"]):
        assert json.loads(shell(*arguments, cwd=here).stdout)["contents"] == 0


def test_ingest_reads_stdin(here):
    row = '{"question": "Why?", "answer": "Because."}\n'
    done = shell("ingest", "-", "--dataset", "piped", "--json", cwd=here, input=row)
    assert json.loads(done.stdout)["new"] == 1


def test_interrupt_exits_130_and_says_how_to_go_on(here):
    process = subprocess.Popen(
        [sys.executable, "-m", "influence_store.cli", "ingest", "-", "--dataset", "slow"],
        cwd=here,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write('{"instruction": "a", "output": "b"}\n')
    process.stdin.flush()
    time.sleep(6)  # it waits for the rest of stdin
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "To go on: influence-store ingest - --dataset slow" in told


def test_a_reader_that_has_enough_is_no_bug_and_a_full_disk_is_told(here):
    words = [sys.executable, "-m", "influence_store.cli", "methods"]
    with subprocess.Popen(
        words, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 141
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, cwd=here, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 6
    assert "the output cannot be written: No space left on device\n  make room" in done.stderr


def test_every_verb_has_help_and_every_option_says_something():
    for name, command in cli.commands.items():
        assert command.help, name
        for option in command.params:
            assert isinstance(option, click.Argument) or option.help, (name, option.name)
        result = CliRunner().invoke(cli, [name, "--help"])
        assert result.exit_code == 0, result.output


def test_control_characters_cannot_steer_the_terminal():
    assert plain("a\x1b[2Jb\r\nc\u202e") == "a\\x1b[2Jb\\r\\nc\\u202e"
    (_, _, row) = table_lines(["text"], [("x\x1b[31m",)])
    assert "\x1b" not in row

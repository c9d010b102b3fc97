"""Passwords and keys never reach a screen, a log or the store: §5 of the reliability study."""

from __future__ import annotations

import logging

import click
import pytest
from good_store import shell

from influence_store.errors import InfluenceStoreError
from influence_store.output import LogFormatter, message
from influence_store.redact import credentials_in, redact

CANARIES = {
    "PGPASSWORD": "c4nary-pg-password",
    "AWS_SECRET_ACCESS_KEY": "c4nary/aws+secret/key",
    "AWS_SESSION_TOKEN": "c4nary-session-token",
    "HF_TOKEN": "hf_c4naryhubtoken",
    "OPENAI_API_KEY": "sk-c4nary-api-key",
}
DATABASE = "postgresql+psycopg://team:c4nary%40in:url@127.0.0.1:1/none?sslpassword=c4nary-ssl"
SECRETS = (
    *CANARIES.values(),
    *("c4nary@in:url", "c4nary%40in:url", "c4nary-ssl", "c4nary%2Faws%2Bsecret%2Fkey"),
)


@pytest.fixture
def canaries(monkeypatch):
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)


def silent(said) -> None:
    for secret in (*SECRETS, "c4nary"):
        assert secret not in said.out + said.err, said


VERBS = (
    "status",
    "log",
    "methods",
    "query select_*_from_runs",
    "query bad_sql_c4nary",
    "select pool --budget 3",
    "embed pool --embedder /no/such",
    "ingest /no/such --dataset d",
    "top pool zz",
    "--help",
)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", ["-v", "--json"])
def test_no_verb_prints_a_secret_of_the_environment(trial, canaries, verb, flag):
    arguments = [word.replace("_", " ") if "_*_" in word else word for word in verb.split()]
    said = trial(*arguments, *([] if verb == "--help" else [flag]))
    for secret in SECRETS:
        assert secret not in said.out + said.err


def test_a_database_that_does_not_answer_is_named_without_its_password(
    trial, canaries, monkeypatch
):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("INFLUENCE_STORE_DATABASE", DATABASE)
    for verb in (("status",), ("-v", "status"), ("init",), ("ingest", "x", "--dataset", "d")):
        said = trial(*verb)
        assert said.code in (2, 4, 6), said
        silent(said)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--store", "s3://KEY:c4nary@bucket/x", "status"),
        ("--store", "https://me:c4nary@host/x", "init"),
        ("--store", "PLACE", "init", "--database", DATABASE),
        ("--store", "PLACE", "init", "--database=postgresql://u@h/d?password=c4nary"),
    ],
)
def test_a_password_on_the_command_line_is_refused_and_not_repeated(tmp_path, arguments):
    place = str(tmp_path / "store")
    said = shell(*[place if one == "PLACE" else one for one in arguments])
    assert said.code == 2
    assert "holds a password, which everybody on this machine can see" in said.err
    silent(said)
    assert not (tmp_path / "store").exists()


def test_an_unexpected_error_is_shown_without_secrets(trial, canaries, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError(f"cannot connect to {DATABASE} with {CANARIES['PGPASSWORD']}\x1b[31m")

    monkeypatch.setattr("influence_store.jobs.status.status", broken)
    said = trial("status")
    assert said.code == 1
    assert "RuntimeError: cannot connect to postgresql+psycopg://team:***@127.0.0.1" in said.err
    assert "\x1b" not in said.err
    silent(said)


def test_interrupting_does_not_repeat_a_secret_that_was_typed(trial, monkeypatch):
    def interrupted(*_: object) -> None:
        raise click.exceptions.Abort

    monkeypatch.setattr("influence_store.jobs.status.status", interrupted)
    said = trial("--store", trial.uri, "status")
    assert said.code == 130
    assert "To go on: influence-store" in said.err


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("to postgresql://me:pass:w/ord@host/db failed", "to postgresql://me:***@host/db failed"),
        ("postgresql://me:p@ss@host/db", "postgresql://me:***@host/db"),
        ("password=hunter22 host=db", "password=*** host=db"),
        ("sslpassword='a b' user=me", "sslpassword='***' user=me"),
        ("{'aws_secret_access_key': 'x\\'y', 'r': 1}", "{'aws_secret_access_key': '***', 'r': 1}"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("?X-Amz-Signature=ab12&x=1", "?X-Amz-Signature=***&x=1"),
        ("api-key: 12345", "api-key: ***"),
    ],
)
def test_a_secret_is_hidden_wherever_it_stands(text, hidden):
    assert redact(text) == hidden
    assert message(text) == hidden
    record = logging.LogRecord("x", logging.INFO, "f", 1, text, None, None)
    assert LogFormatter().format(record) == f"INFO: {hidden}"


@pytest.mark.parametrize(
    "text",
    [
        "read http://host:9000/pool@1 and a@b.c",
        "max_tokens=512, the token limit: 8, tokenizer=/x, pad_token=[PAD]",
        "budget 200k-tokens allows no token",
        "postgresql+psycopg://me@host/db",
        "key=value; primary_key: id",
        "C:\\data:x@y",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact(text) == text


def test_the_environments_secrets_are_hidden_in_every_spelling(canaries, monkeypatch):
    monkeypatch.setenv("INFLUENCE_STORE_DATABASE", DATABASE)
    monkeypatch.setenv("EMPTY_TOKEN", "")
    monkeypatch.setenv("SHORT_KEY", "a")
    told = redact(" ".join([*SECRETS, "a plain word"]))
    assert "c4nary" not in told
    assert told.endswith("a plain word")


@pytest.mark.parametrize(
    ("url", "held"),
    [
        ("postgresql://u:p@h/d", True),
        ("postgresql://u:@h/d", False),
        ("postgresql://u@h/d", False),
        ("postgresql://u@h/d?sslpassword=x", True),
        ("postgresql://u@h/d?password%3Dx", True),
        ("s3://KEY:secret@bucket/x", True),
        ("s3://bucket/team@x", False),
        ("http://host:9000/pool@1", False),
        ("./folder:a@b", False),
        ("", False),
    ],
)
def test_credentials_in_a_url_are_seen(url, held):
    assert credentials_in(url) is held


def test_errors_carry_what_they_were_given_and_the_shell_hides_it():
    """An exception may be handled; only what is shown is redacted."""
    error = InfluenceStoreError("no answer from postgresql://u:secret1@h/d", hint="PGPASSWORD=x")
    assert "secret1" in str(error)
    assert "secret1" not in message(str(error))

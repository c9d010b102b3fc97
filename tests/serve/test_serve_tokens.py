"""Tokens on a disk: hashes only, for this user only, and none is lost or brought back."""

from __future__ import annotations

import json
import os
import threading

import pytest

from influence_store.errors import Forbidden, IntegrityError, NotFound, UsageError
from influence_store.serve.tokens import TokenFile, make, matching


@pytest.fixture
def file(tmp_path):
    return TokenFile(tmp_path / "config" / "serve-tokens.json")


def test_a_secret_opens_its_own_token_until_it_ends():
    made = [make(f"t{k}", "read", "s", 2) for k in range(3)]
    tokens = [token for _, token in made]
    for secret, token in made:
        assert matching(secret, tokens, token.created_at) == token
        assert matching(secret, tokens, token.expires_at) is None
        assert matching(secret[:-1], tokens, token.created_at) is None
    assert len({secret for secret, _ in made}) == 3
    assert all(len(secret) == 43 for secret, _ in made)
    assert tokens[0].expires_at - tokens[0].created_at == 2 * 86_400


def test_two_tokens_of_one_secret_would_look_different():
    assert len({make("same", "read", "s", 1)[1].digest for _ in range(5)}) == 5


def test_the_file_holds_no_secret_and_is_for_its_user_alone(file):
    secret, token = make("ann", "texts", "store-a", 30)
    file.add(token)
    content = file.path.read_text()
    assert secret not in content
    assert json.loads(content)[0]["name"] == "ann"
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in file.of("store-a")] == ["ann"]
    assert file.of("store-b") == []
    assert sorted(os.listdir(file.path.parent)) == [".serve-tokens.json.lock", "serve-tokens.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_file_that_others_may_open_is_refused(file, mode):
    file.add(make("ann", "read", "s", 1)[1])
    file.path.chmod(mode)
    with pytest.raises(Forbidden, match="chmod 600"):
        file.of("s")


@pytest.mark.parametrize("content", ["{", "[1]", '[{"name": "a"}]', '{"a": 1}'])
def test_a_damaged_file_is_told(file, content):
    file.add(make("ann", "read", "s", 1)[1])
    file.path.write_text(content)
    with pytest.raises(IntegrityError, match="remove it"):
        file.of("s")


def test_names_are_unique_within_a_store(file):
    file.add(make("ann", "read", "a", 1)[1])
    file.add(make("ann", "read", "b", 1)[1])
    with pytest.raises(UsageError, match="token revoke ann"):
        file.add(make("ann", "texts", "a", 1)[1])
    with pytest.raises(UsageError, match="cannot name a token"):
        file.add(make("../ann", "texts", "a", 1)[1])
    with pytest.raises(NotFound, match="did you mean ann"):
        file.revoke("a", "anne")
    assert file.revoke("a", "ann").scope == "read"
    assert file.of("a") == []
    assert len(file.of("b")) == 1


def test_many_who_change_it_at_once_lose_nothing(file):
    """Each revokes one and adds another; without the lock some of it comes back."""
    for k in range(12):
        file.add(make(f"old-{k}", "read", "s", 1)[1])

    def work(k):
        file.revoke("s", f"old-{k}")
        file.add(make(f"new-{k}", "read", "s", 1)[1])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert {one.name for one in file.of("s")} == {f"new-{k}" for k in range(12)}

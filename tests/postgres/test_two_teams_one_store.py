"""Two teams share a store on PostgreSQL and S3: what one of them paid for, nobody pays for again.

Passes and embeddings are counted twice: by the ledgers of the runs, and at the model's own forward.
"""

from __future__ import annotations

import functools
import json
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from s3_server import BUCKET, environment, s3_server
from sqlmodel import select

from influence_store.cli import cli
from influence_store.embedding.hashing import HashingEmbedder
from influence_store.errors import NotFound
from influence_store.schema.catalog import Run
from influence_store.settings import profiles
from influence_store.store.objects import ObjectStorage
from influence_store.store.store import Store
from influence_store.version import __version__

PAIRS = 8 * 8
#: A and B have 30 rows in common; who pulls has 40 of their 50, and 5 that nobody else has.
A, B, PULLING = range(40), range(10, 50), [*range(5, 45), *range(90, 95)]
LABEL_PAIRS = ("--pairs", str(PAIRS))
LABEL_ROWS = ("--method", "ifd", "--rows", "all")


def text(k: int) -> str:
    return f"question {k} of many: what is {k} and {k * k % 17}?"


@dataclass
class Meter:
    """Texts that an embedder and sequences that an LLM was given in this process."""

    embeddings: int = 0
    llm_passes: int = 0

    def since(self, before: Meter) -> Meter:
        return Meter(self.embeddings - before.embeddings, self.llm_passes - before.llm_passes)


@pytest.fixture(scope="module")
def meter():
    from transformers.models.llama.modeling_llama import LlamaModel

    counted, forward, encode = Meter(), LlamaModel.forward, HashingEmbedder.encode

    @functools.wraps(forward)
    def forwarded(self, input_ids=None, *more, **options):
        counted.llm_passes += input_ids.shape[0]
        return forward(self, input_ids, *more, **options)

    @functools.wraps(encode)
    def encoded(self, texts):
        counted.embeddings += len(texts)
        return encode(self, texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LlamaModel, "forward", forwarded)
        patch.setattr(HashingEmbedder, "encode", encoded)
        yield counted


@dataclass(frozen=True)
class Done:
    """What a verb said, and what was counted meanwhile."""

    told: dict[str, Any]
    counted: Meter


@dataclass(frozen=True)
class Person:
    """Somebody with a configuration file; `store` is the profile, or the folder, of their store."""

    config: Path
    store: tuple[str, str]
    meter: Meter
    llm: Path

    def __call__(self, *arguments: str) -> Done:
        before = replace(self.meter)
        if arguments[0] == "label":
            arguments = (*arguments, "--model", str(self.llm))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("INFLUENCE_STORE_CONFIG", str(self.config))
            line = [*self.store, *arguments, "--json"]
            result = CliRunner().invoke(cli, line, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return Done(json.loads(result.stdout), self.meter.since(before))

    def ingest(self, dataset: str, numbers) -> Done:
        path = self.config.with_name(f"{dataset}.jsonl")
        rows = [{"instruction": text(k), "output": f"it is {k % 7}"} for k in numbers]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return self("ingest", str(path), "--dataset", dataset)

    def known(self) -> Known:
        """What their store holds at this moment."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("INFLUENCE_STORE_CONFIG", str(self.config))
            place = profiles().get(self.store[1])
        where = (place.uri, place.database) if place else (self.store[1], None)
        store = Store.open(where[0], __version__, where[1])
        try:
            (state,) = store.producers("llm-state")
            (pairs,) = store.producers("pairs")
            found = store.pairs(pairs).select("source", "target").rows()
            with store.database.read() as session:
                costs = [run.cost for run in session.exec(select(Run)).all()]
            ledger = (sum(one.get(key, 0) for one in costs) for key in vars(Meter()))
            return Known(len(store.covered(state.id)), frozenset(found), Meter(*ledger))
        finally:
            store.database.close()


@dataclass(frozen=True)
class Known:
    """How many samples have an LLM state, which pairs of sids a value, and what all runs paid."""

    states: int
    pairs: frozenset[tuple[int, int]]
    ledger: Meter

    @classmethod
    def nothing(cls) -> Known:
        return cls(0, frozenset(), Meter())

    def passes_since(self, before: Known) -> int:
        """One for each state, one for each source that was read, one for each pair."""
        new = self.pairs - before.pairs
        return self.states - before.states + len({source for source, _ in new}) + len(new)


@dataclass(frozen=True)
class Cast:
    """`ann` and `ben` log in under their own names and become one team; `dan` is another."""

    ann: Person
    ben: Person
    dan: Person
    cleo: Person
    prefix: str
    teams: dict[str, str]


@pytest.fixture(scope="module")
def people(server, new_role, meter, tiny_llm, tmp_path_factory):
    """A store in a bucket with a shared team and a stranger; nothing is in it."""
    base, name = tmp_path_factory.mktemp("people"), f"s{uuid.uuid4().hex}"
    prefix = f"s3://{BUCKET}/{name}"
    server.copy(server.empty_catalog(), name)
    server.sql(f"update store set id = '{name}'", name)
    shared, other, *logins = (new_role() for _ in range(5))
    for login in logins:
        server.sql(f"grant {shared} to {login}")

    def person(who: str, profile: dict[str, str], store: tuple[str, str]) -> Person:
        folder = base / who
        folder.mkdir()
        lines = [
            f'[profiles.{name}]\nstore = "{prefix}"\ndatabase = "{url}"\n'
            for name, url in profile.items()
        ]
        (folder / "config.toml").write_text("".join(lines))
        return Person(folder / "config.toml", store, meter, tiny_llm)

    def as_team(login: str) -> str:
        return f"{server.url(name, login)}&options=-crole%3D{shared}"

    with s3_server() as endpoint, pytest.MonkeyPatch.context() as patch:
        for key, value in environment(endpoint).items():
            patch.setenv(key, value)
        patch.delenv("INFLUENCE_STORE_DATABASE", raising=False)
        keeper = person("keeper", {"all": server.url(name)}, ("--profile", "all"))
        keeper("init")
        for role in (shared, other):
            keeper("team", "add", role)
        ann, ben, cleo = map(as_team, logins)
        yield Cast(
            person("ann", {"team": ann}, ("--profile", "team")),
            person("ben", {"team": ben}, ("--profile", "team")),
            person("dan", {"own": server.url(name, other), "team": ben}, ("--profile", "own")),
            person("cleo", {"team": cleo}, ("--store", str(base / "cleo" / "store"))),
            prefix,
            {"shared": shared, "other": other},
        )
        for login in logins:
            server.sql(f"revoke {shared} from {login}")


@pytest.fixture(scope="module")
def first(people) -> dict[str, Done]:
    """Team A pays for everything."""
    ann = people.ann
    return {
        "ingest": ann.ingest("a", A),
        "embed": ann("embed", "a", "--embedder", "hashing:32"),
        "pairs": ann("label", "a", *LABEL_PAIRS),
        "ifd": ann("label", "a", *LABEL_ROWS),
        "train": ann("train", "a", "--network", "additive-ridge", "--name", "tuned"),
        "fill": ann("fill", "a"),
    }


@pytest.fixture(scope="module")
def second(people, first) -> dict[str, Any]:
    """Team B brings rows of which three quarters are A's."""
    ben, before = people.ben, people.ben.known()
    done = {
        "ingest": ben.ingest("b", B),
        "embed": ben("embed", "b", "--embedder", "hashing:32"),
        "pairs": ben("label", "b", *LABEL_PAIRS),
        "ifd": ben("label", "b", *LABEL_ROWS),
        "fill": ben("fill", "b", "--estimator", "tuned"),
    }
    return {**done, "before": before, "after": ben.known()}


@pytest.fixture(scope="module")
def third(people, second) -> dict[str, Any]:
    """Somebody with a folder and SQLite pulls, then goes on with rows of her own."""
    cleo = people.cleo
    cleo("init")
    cleo.ingest("c", PULLING)
    return {
        "pull": cleo("pull", "team", "--estimator", "tuned"),
        "embed": cleo("embed", "c", "--embedder", "hashing:32"),
        "ifd": cleo("label", "c", *LABEL_ROWS),
        "fill": cleo("fill", "c", "--estimator", "tuned"),
    }


def test_the_first_team_pays_for_every_cell(first):
    assert first["ingest"].told["new_contents"] == 40
    assert (first["embed"].told["computed"], first["embed"].told["reused"]) == (40, 0)
    pairs, ifd = first["pairs"].told, first["ifd"].told["columns"][0]
    assert (pairs["scored"], pairs["reused"]) == (63, 0)  # of 64, one of a sample with itself
    assert (ifd["scored"], ifd["reused"]) == (40, 0)
    assert first["train"].counted == first["fill"].counted == Meter(0, 0)
    assert first["fill"].told["filled"] == 40


def test_the_second_team_pays_for_new_cells_only(second):
    assert (second["ingest"].told["new"], second["ingest"].told["new_contents"]) == (40, 10)
    assert (second["embed"].told["computed"], second["embed"].told["reused"]) == (10, 30)
    assert (second["pairs"].told["scored"], second["pairs"].told["reused"]) == (27, 35)
    (ifd,) = second["ifd"].told["columns"]
    assert (ifd["scored"], ifd["reused"]) == (10, 30)


def test_the_estimator_of_the_first_team_fills_the_new_rows_of_the_second(second):
    told = second["fill"].told
    assert (told["estimator"], told["filled"], told["reused"]) == ("tuned", 10, 30)
    assert second["fill"].counted == Meter(0, 0)


def test_every_pass_and_embedding_is_counted_where_it_happens(people, first, second):
    assert [first[verb].counted for verb in ("embed", "pairs", "ifd")] == [
        *(Meter(40, 0), Meter(0, 86), Meter(0, 80)),
    ]
    assert [second[verb].counted for verb in ("embed", "pairs", "ifd")] == [
        *(Meter(10, 0), Meter(0, 38), Meter(0, 20)),
    ]
    for done in (first, second):
        for verb in ("pairs", "ifd"):
            assert done[verb].counted.llm_passes == done[verb].told["llm_passes"]
        assert done["embed"].counted.embeddings == done["embed"].told["computed"]
    # What the pairs must have cost, by what is in the store since.
    nothing, after_first, after_second = Known.nothing(), second["before"], second["after"]
    assert after_first.passes_since(nothing) == first["pairs"].counted.llm_passes
    assert after_second.passes_since(after_first) == second["pairs"].counted.llm_passes
    assert after_second.ledger == Meter(40 + 10, 86 + 80 + 38 + 20)


def test_what_one_team_computed_costs_the_other_nothing(people, second):
    again = [
        people.ben("embed", "a", "--embedder", "hashing:32"),
        people.ben("label", "a", *LABEL_PAIRS),
        people.ben("label", "a", *LABEL_ROWS),
    ]
    assert (again[0].told["reused"], again[1].told["reused"]) == (40, 63)
    assert again[2].told["columns"][0]["reused"] == 40
    assert [one.counted for one in again] == 3 * [Meter(0, 0)]


def test_a_third_store_pulls_without_a_pass_or_an_embedding(third):
    told = third["pull"].told
    assert third["pull"].counted == Meter(0, 0)
    assert told["shared"] == 40
    pulled = {one["kind"]: one["pulled"] for one in told["columns"]}
    assert (pulled["embedding"], pulled["points"]) == (40, 40)
    assert [(one["name"], one["new"]) for one in told["estimators"]] == [("tuned", True)]
    assert told["saved"]["embeddings"] == 40


def test_after_the_pull_only_rows_that_nobody_had_are_paid_for(third):
    assert (third["embed"].told["computed"], third["embed"].told["reused"]) == (5, 40)
    assert third["embed"].counted == Meter(5, 0)
    (ifd,) = third["ifd"].told["columns"]
    assert (ifd["scored"], ifd["reused"]) == (5, 40)
    assert third["ifd"].counted == Meter(0, 10)
    assert (third["fill"].told["filled"], third["fill"].counted) == (45, Meter(0, 0))


def test_no_text_of_the_teams_comes_along(people, third):
    folder = people.cleo.config.with_name("store")
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    kept = ObjectStorage(f"{people.prefix}/{people.teams['shared']}")
    there = [kept.read(file.path) for file in kept.files()]
    for k in (0, 4, 45, 49):
        assert any(text(k).encode() in content for content in there)
        assert not any(text(k).encode() in content for content in files)
    assert any(text(5).encode() in content for content in files)


def test_another_team_of_the_same_database_sees_nothing_and_pulls_everything(people, second):
    dan = people.dan
    with pytest.raises(NotFound, match="no dataset named 'a'"):
        dan("embed", "a", "--embedder", "hashing:32")
    assert dan.ingest("d", A).told["new_contents"] == 40
    assert dan("pull", "team").told["shared"] == 40
    done = [
        dan("embed", "d", "--embedder", "hashing:32"),
        dan("label", "d", *LABEL_PAIRS),
        dan("label", "d", *LABEL_ROWS),
    ]
    assert (done[0].told["computed"], done[1].told["scored"]) == (0, 0)
    assert (done[1].told["reused"], done[2].told["columns"][0]["reused"]) == (63, 40)
    assert [one.counted for one in done] == 3 * [Meter(0, 0)]
    own = ObjectStorage(f"{people.prefix}/{people.teams['other']}")
    contents = [own.read(file.path) for file in own.files()]
    assert any(text(39).encode() in content for content in contents)
    assert not any(text(40).encode() in content for content in contents)

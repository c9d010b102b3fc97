"""The main job on PostgreSQL and S3, by two machines that share nothing but the two servers.

A machine is a home, a cache, a temporary folder and a working folder of its own; each of its verbs
is a process of its own. What they find is what one process finds in one folder.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import children
import own_process
import pytest
from click.testing import CliRunner
from s3_server import BUCKET, environment, s3_server
from tiny_llm import write_tiny_llm

from influence_store.cli import cli

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

# Before the first child starts, which is after all tests were collected.
children.preload("warm_torch")


@dataclass(frozen=True)
class Begun:
    """A verb at work, and where it says what it has to say."""

    process: BaseProcess
    said: Path


@dataclass(frozen=True)
class Machine:
    """Somebody's computer; `store` is how the store is named on its command line."""

    folder: Path
    store: str
    reach: dict[str, str]

    @classmethod
    def new(cls, folder: Path, store: str, reach: dict[str, str]) -> Machine:
        for name in ("home", "cache", "tmp", "work"):
            (folder / name).mkdir(parents=True)
        return cls(folder, store, reach)

    def begin(self, *arguments: str) -> Begun:
        """A verb in a process that sees this machine's folders and nothing of the other's."""
        known = {
            "PATH": os.environ["PATH"],
            "OMP_NUM_THREADS": "1",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "INFLUENCE_STORE_CACHE": str(self.folder / "cache"),
            **self.reach,
        }
        line = ["--store", self.store, "--json", *arguments]
        said = self.folder.with_name(f"{self.folder.name}-{uuid.uuid4().hex}")
        work = self.folder / "work"
        return Begun(children.start(own_process.verb, line, work, known, said), said)

    def __call__(self, *arguments: str) -> Any:
        return answer(self.begin(*arguments))

    def files(self) -> set[str]:
        """Everything on its disk that is not in the cache."""
        kept = (file for file in self.folder.rglob("*") if file.is_file())
        here = {str(file.relative_to(self.folder)) for file in kept}
        return {file for file in here if not file.startswith("cache/")}


@dataclass(frozen=True)
class Alone:
    """The same verbs in this process, on a store in a folder."""

    folder: Path

    def __call__(self, *arguments: str) -> Any:
        line = ["--store", str(self.folder / "store"), "--json", *arguments]
        result = CliRunner().invoke(cli, line, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout)


def answer(begun: Begun) -> Any:
    code = children.finish(begun.process)
    assert code == 0, Path(f"{begun.said}.err").read_text()
    return json.loads(Path(f"{begun.said}.out").read_text())


@pytest.fixture(scope="module")
def servers(postgres_server):
    """Environment of the bucket, URL of an empty database."""
    with s3_server() as endpoint:
        yield environment(endpoint), postgres_server.create("two_machines")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("torch")
    return str(write_tiny_llm(tmp_path_factory.mktemp("model") / "llama"))


def rows(path: Path, numbers) -> str:
    lines = (
        {"instruction": f"question {k}: what is {k} and {k * k % 17}?", "output": f"it is {k % 7}"}
        for k in numbers
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def first_half(machine: Machine | Alone, tmp_path: Path, model: str) -> None:
    """Rows, embeddings, labels of some by a model, and an estimator of them."""
    machine("ingest", "--dataset", "pool", rows(tmp_path / "pool.jsonl", range(60)))
    machine("embed", "pool", "--embedder", "hashing:64")
    machine("label", "pool", "--method", "perplexity", "--rows", "40", "--model", model)
    machine("train", "pool", "--method", "perplexity")


def second_half(machine: Machine | Alone) -> dict[str, Any]:
    """Estimates of the rest, what SQL says of them, and a selection with its export."""
    filled = machine("fill", "pool", "--estimator", "perplexity")
    values = machine("query", "select sample_id, est_perplexity from pool order by sample_id")
    work = machine.folder / "work"
    lock_file, out = work / "selection.lock", work / "out"
    chosen = machine("select", "pool", "--budget", "12", "--lock", str(lock_file))
    machine("export", str(chosen["id"]), "-o", str(out))
    lock = json.loads(lock_file.read_text())
    return {
        "filled": filled["filled"],
        "values": values,
        "samples": lock["samples"],
        "gains": lock["gains"],
        "exported": (out / "train.jsonl").read_bytes(),
    }


def test_the_main_job_by_two_machines_is_the_one_of_a_single_folder(servers, model, tmp_path):
    reach, database = servers
    alone = Alone(tmp_path / "alone")
    (alone.folder / "work").mkdir(parents=True)
    alone("init")
    first_half(alone, tmp_path, model)
    expected = second_half(alone)

    where = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    a, b = (Machine.new(tmp_path / name, where, reach) for name in ("a", "b"))
    a("init", "--database", database)
    first_half(a, tmp_path, model)
    assert second_half(b) == expected

    # Nothing of the store is left on a disk, and a cache that is lost costs nothing but time.
    assert a.files() == set()
    assert {Path(file).parts[:2] for file in b.files()} == {
        ("work", "selection.lock"),
        ("work", "out"),
    }
    shutil.rmtree(b.folder / "cache")
    again = b("query", "select sample_id, est_perplexity from pool order by sample_id")
    assert again == expected["values"]

    # Both at once: a new version by one, another dataset with common rows by the other.
    new = a.begin("ingest", "--dataset", "pool", rows(tmp_path / "new.jsonl", range(60, 75)))
    other = b.begin("ingest", "--dataset", "mine", rows(tmp_path / "mine.jsonl", range(50, 70)))
    assert answer(new)["new"] == 15
    assert answer(other)["rows"] == 20
    paid = b("embed", "mine", "--embedder", "hashing:64")
    assert (paid["computed"], paid["reused"]) == (0, 20)
    assert a("query", "select count(*) n from pool") == b("query", "select count(*) n from pool")
    assert b("verify", "--deep")["clean"]

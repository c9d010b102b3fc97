"""`--dry-run` tells what a verb would do, and leaves no trace of having been asked."""

from __future__ import annotations

import json

import click
import numpy as np
import pytest
from foreign_scores import imported, table
from good_store import alpaca
from raw_path import checksums, raw_path
from sqlmodel import SQLModel

from influence_store.cli import cli
from influence_store.shell import DRY_RUN, Verb

NEW_ROWS = alpaca((f"Say something new ({k})", f"new {k}") for k in range(7))


def _rows(trial):
    return trial.file("new.jsonl", NEW_ROWS)


def _other_store(trial):
    """Its rows are here too, with vectors that are not."""
    exported, other = trial.folder / "exported", trial.folder / "other"
    trial("export", trial.selection, "-o", exported)
    (rows,) = [path for path in exported.glob("*.jsonl") if path.stem not in BESIDE]
    for command in (
        ("init",),
        ("ingest", rows, "--dataset", "theirs"),
        ("embed", "theirs", "--embedder", "hashing:8"),
    ):
        assert trial("--store", other, *command).code == 0
    return other


def _labels_it_was_not_taught_on(trial):
    values = np.random.default_rng(1).normal(size=(len(trial.ids),) * 2).astype(np.float32)
    assert trial(*imported(trial, "pairwise", values, method="foreign")).code == 0


BESIDE = {"provenance", "left_out"}

#: Verb → its arguments, given a trial.
ASKED = {
    "init": lambda _: (),
    "ingest": lambda t: (_rows(t), "--dataset", "pool"),
    "embed": lambda _: ("pool", "--embedder", "hashing:8"),
    "import": lambda t: imported(
        t, "pointwise", table(t.ids, value=[0.5] * len(t.ids)), method="fresh"
    )[1:],
    "pull": lambda t: (_other_store(t),),
    "export": lambda t: (t.selection, "-o", t.folder / "out"),
    "train": lambda _: (
        *("pool", "--method", "foreign", "--network", "cosine"),
        *("--name", "another", "--seed", "3"),
    ),
    "fill": lambda _: ("hostile", "--estimator", "guess"),
    "evaluate": lambda t: (
        _labels_it_was_not_taught_on(t) or ("guess", "--on", "pool", "--method", "foreign")
    ),
    "select": lambda t: ("pool", "--budget", "7", "--lock", t.folder / "selection.lock"),
    "trial": lambda t: ("pool", "--selection", t.selection, "--probe", "--keep-leaks"),
    "duplicates": lambda _: ("pool",),
    "leaks": lambda _: ("pool", "--target", "hostile"),
    "receipt": lambda t: (t.selection, "-o", t.folder / "selection.lock"),
    "report": lambda t: ("pool", "-o", t.folder / "report.html"),
    "tag": lambda _: ("pool", "first"),
    "delete": lambda _: ("hostile",),
    "forget": lambda t: (t.ids[0], "--reason", "asked to"),
    "compact": lambda _: (),
    "repair": lambda _: ("--quarantine",),
    "gc": lambda _: ("--yes", "--grace", "0s"),
    "backup": lambda t: (t.folder / "backup",),
    "migrate": lambda _: (),
}
#: What no two runs have in common. Notes may speak of PostgreSQL, and the copy is SQLite.
NEVER_THE_SAME = {
    "seconds",
    "cpu_seconds",
    "dry_run",
    "plan",
    "costs",
    "done",
    "drift",
    "made_at",
    "rejects",
}
#: Those whose dry run tells a cost that was measured on a part, or is no run of the verb at all.
TOLD_OTHERWISE = {
    *("embed", "fill", "trial", "backup", "migrate", "compact", "repair", "gc", "init"),
}


def everything(trial):
    """All bytes and rows of the store, and the files of the folder that a verb may write to."""
    database = trial.watched.database
    with database.read() as session:
        rows = {
            one.name: sorted(tuple(map(repr, row)) for row in session.connection().execute(select))
            for one in SQLModel.metadata.sorted_tables
            if (select := one.select()) is not None
        }
    files = checksums(raw_path(trial.uri))
    # Readers, too, touch the journal of SQLite; what it says is compared row by row.
    files = {path: sum_ for path, sum_ in files.items() if not path.startswith("catalog.sqlite")}
    beside = sorted(str(path) for path in trial.folder.rglob("*"))
    return rows, files, beside


def same(told):
    """Facts without ids that are drawn, and without times."""
    if isinstance(told, dict):
        return {name: same(one) for name, one in told.items() if name not in NEVER_THE_SAME}
    return [same(one) for one in told] if isinstance(told, list) else told


def writing_verbs():
    return {name for name, one in cli.commands.items() if isinstance(one, Verb) and one.writes}


@pytest.mark.parametrize("verb", sorted(ASKED))
def test_dry_run_writes_nothing_and_says_so(trial, verb):
    arguments = ASKED[verb](trial)
    before = everything(trial)
    told = trial(verb, *arguments, "--dry-run")
    assert (told.code, told.out.splitlines()[:1]) == (0, [DRY_RUN]), told
    assert len(told.out.splitlines()) > 1
    assert everything(trial) == before


@pytest.mark.parametrize("verb", sorted(ASKED.keys() - TOLD_OTHERWISE))
def test_dry_run_tells_what_the_verb_then_does(trial, verb):
    arguments = ASKED[verb](trial)
    planned = trial(verb, *arguments, "--dry-run", "--json").json()
    assert planned["dry_run"] is True
    answer = ("--yes",) if verb == "forget" else ()
    done = trial(verb, *arguments, *answer, "--json").json()
    assert same(planned) == same(done)


def test_every_verb_that_writes_is_tried_here():
    # `label` has to be measured with a model, `restore` makes another store: both below.
    assert writing_verbs() == {*ASKED, "label", "restore"}
    team = cli.commands["team"]
    assert isinstance(team, click.Group)
    assert team.commands["add"].writes


def test_a_cost_is_measured_on_rows_of_the_dataset(trial):
    told = trial("embed", "pool", "--embedder", "hashing:8", "--dry-run", "--json").json()
    (part,) = told["parts"]
    assert (part["cells"], part["known"], part["measured"]) == (40, 0, 40)
    assert part["seconds"] > 0
    assert part["bytes"] == 40 * (8 + 8 * 4 + 1)
    told = trial("embed", "pool", "--embedder", "hashing:16", "--dry-run", "--json").json()
    assert told["parts"][0]["cells"] == 0
    told = trial("fill", "hostile", "--estimator", "guess", "--dry-run", "--json").json()
    assert told["parts"][0]["cells"] == told["parts"][0]["measured"] == 8


def test_a_dry_ingest_tells_rejects_and_the_cost_of_new_rows(trial):
    path = trial.file("bad.jsonl", NEW_ROWS + "{not json\n")
    command = ("ingest", path, "--dataset", "pool", "--on-error", "skip")
    rejects = trial.folder / "rejects.jsonl"
    told = trial(*command, "--rejects", rejects, "--dry-run", "--json").json()
    assert told["plan"] == {"embeddings": 7, "fills": 7, "llm_passes": 0, "waiting": {}}
    assert told["costs"][0]["parts"][0]["cells"] == 7
    assert not rejects.exists()
    done = trial(*command, "--rejects", rejects, "--json").json()
    assert (told["rejects"], done["rejects"]) == ("", str(rejects))
    assert same(told) == same(done)


def test_a_dry_run_refuses_what_the_verb_refuses(trial):
    out = trial.file("taken", "mine")
    for code, arguments in (
        (4, ("tag", "nobody", "first")),
        (4, ("fill", "pool", "--estimator", "nobody")),
        (2, ("export", trial.selection, "-o", out)),
        (2, ("restore", out.parent)),
        (8, ("team", "add", "somebody")),
    ):
        said = trial(*arguments, "--dry-run")
        expected = said.code if arguments[0] in ("restore", "team") else code
        assert said.code == expected != 0, said
        assert said.out == ""


def test_restore_tells_what_it_would_bring(trial, backend, tmp_path):
    trial("backup", trial.folder / "backup")
    uri, _ = backend.new(tmp_path / "restored")
    told = trial("--store", uri, "restore", trial.folder / "backup", "--dry-run", "--json")
    if backend.name == "s3":
        assert told.code == 2  # in a bucket a store needs a catalog of its own
        return
    seal = json.loads((trial.folder / "backup" / "backup.json").read_text())
    assert told.json()["files"] == seal["files"]
    assert not (tmp_path / "restored").exists()

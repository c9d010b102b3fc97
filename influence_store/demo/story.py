"""The main job on real text and real small models, told step by step, then summed up.

Every step calls the job behind a verb and shows the command line that does the same.
"""

from __future__ import annotations

import csv
import shlex
import textwrap
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from influence_store.demo.data import write_demo
from influence_store.demo.models import demo_embedder, demo_llm
from influence_store.embedding import open_embedder
from influence_store.ingest.spool import ReadSettings
from influence_store.jobs.budget import Budget
from influence_store.jobs.choose import Asked, choose
from influence_store.jobs.embed import embed
from influence_store.jobs.estimators import find_estimator
from influence_store.jobs.export import export
from influence_store.jobs.fill import fill
from influence_store.jobs.ingest import ingest
from influence_store.jobs.label import label
from influence_store.jobs.label_pairs import PairsReport
from influence_store.jobs.methods import ModelChoice
from influence_store.jobs.refresh import refresh
from influence_store.jobs.train import train
from influence_store.jobs.train_report import TrainOptions
from influence_store.output import table_lines
from influence_store.query import query
from influence_store.settings import cache_dir
from influence_store.store.store import Store
from influence_store.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from influence_store.demo.data import DemoFiles
    from influence_store.jobs.embed import EmbedReport
    from influence_store.jobs.fill import FillReport
    from influence_store.jobs.ingest import IngestReport
    from influence_store.jobs.refresh import Plan
    from influence_store.jobs.select_report import SelectReport
    from influence_store.jobs.train_report import TrainReport
    from influence_store.store.versions import Version

PAIRS = 400
RESPONSE_TOKENS = 12
BUDGET = "10%"
MODEL = "SmolLM2-135M-Instruct.gguf"

_BEST = "select est_delift_l2 influence, prompt from pool order by 1 desc limit 3"
_CHOSEN = """
select i.rank, round(i.gain, 2) gain, p.prompt
from selection_items i join pool p using (sample_id) where i.selection = $id order by 1 limit 5
"""


@dataclass(frozen=True)
class Demo:
    """What the steps reported, in their order; the closing story is told from these alone."""

    first: IngestReport
    embedded: EmbedReport
    labelled: PairsReport
    trained: TrainReport
    filled: FillReport
    selected: SelectReport
    second: IngestReport
    refreshed: Plan
    second_seconds: float
    seconds: float


@dataclass(frozen=True)
class Files:
    """What lies in the folder: texts with how many rows each has, and links to two models."""

    folder: str
    rows: dict[str, int]
    embedder: str
    model: str

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people."""
        files = [f"  {name}: {count:,} rows" for name, count in self.rows.items()]
        models = [f"  {self.embedder}: an embedder", f"  {self.model}: a small LLM"]
        return [f"{self.folder} holds", *files, *models]


def write_files(folder: Path) -> Files:
    """The demo's texts and links to its models, in the new folder `folder`."""
    files = write_demo(folder)
    embedder, model = demo_embedder(cache_dir()), demo_llm(cache_dir())
    for found, name in ((embedder, embedder.name), (model, MODEL)):
        (folder / name).symlink_to(found.resolve())
    texts = [*files.first, files.second, files.removed, files.target]
    rows = {path.name: _rows(path) for path in texts}
    return Files(str(folder), rows, embedder.name, MODEL)


def _rows(path: Path) -> int:
    """Records in the file, broken ones too; a CSV file has a head."""
    if path.suffix != ".csv":
        return path.read_bytes().count(b"\n")
    with path.open(newline="", encoding="utf-8") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def run_demo(folder: Path, say: Callable[[str], None]) -> Demo:
    """Do the main job in the new folder `folder`; `say` prints one line."""
    began = time.monotonic()
    files = write_demo(folder / "data")
    store, _ = Store.init(folder / "store", __version__)
    tell = _Teller(say, folder)
    say("Real text, made here from what is installed:")
    for source in files.sources:
        say(f"  {source.rows:>4} {source.name}: {source.origin} ({source.licence})")

    first = tell(
        f"ingest {_names(files.first)} --dataset pool --on-error skip",
        lambda: _ingest(store, files, folder),
    )
    pool = store.version("pool")
    model = str(demo_embedder(cache_dir()))
    embedded = tell(
        "embed pool --embedder all-MiniLM-L6-v2",
        lambda: embed(store, pool, open_embedder(model, cache=cache_dir()), model),
    )
    labelled = tell(
        f"label pool --model {_llm().name} --pairs {PAIRS} --max-response-tokens {RESPONSE_TOKENS}",
        lambda: _label(store, pool),
    )
    trained = tell("train pool", lambda: train(store, pool, pool, "delift", TrainOptions()))
    filled = tell("fill pool", lambda: fill(store, pool, find_estimator(store, None)))
    tell.query(store, _BEST)
    selected = tell(
        f"select pool --budget {BUDGET}",
        lambda: choose(store, "pool", Asked(BUDGET), {}),
    )
    tell.query(store, _CHOSEN, id=selected.id)
    tell(
        f"export {selected.id} --to trl -o export",
        lambda: export(store, selected.id, "trl", folder / "export"),
    )

    second_began = time.monotonic()
    removed = str(files.removed)
    second = tell(
        f"ingest {files.second.name} --dataset pool --removed {files.removed.name}",
        lambda: ingest(store, [str(files.second)], "pool", removed=removed),
    )
    refreshed = refresh(
        store, store.version("pool"), lambda spec: open_embedder(spec, cache=cache_dir())
    )
    for line in refreshed.lines("done"):
        say(line)
    now = time.monotonic()
    return Demo(
        first, embedded, labelled, trained, filled, selected, second, refreshed,
        second_seconds=now - second_began, seconds=now - began,
    )  # fmt: skip


def closing_lines(demo: Demo, folder: Path) -> list[str]:
    """The story, for a person who reads nothing else."""
    rows, labelled, card = demo.first.rows, demo.labelled, demo.trained.card
    unseen = card["figures"]["Q4"]
    told = demo.selected.stored["baselines"]
    random = told["random"]
    ahead = (told["value"] - random["mean"]) / random["sd"]
    paragraphs = {
        "Stored": f"{rows:,} distinct samples; {demo.first.duplicates} duplicates and "
        f"{demo.first.rejected} broken records left out, each with its reason.",
        "Spent": f"{labelled.llm_passes:,} LLM passes ({labelled.llm_tokens:,} tokens, "
        f"{labelled.seconds:.0f} s). Asking about every pair would take {rows * (rows - 1):,}.",
        "Estimate": "Rank correlation per target on pairs of unseen samples: "
        f"{_ranks(unseen)}. Kept: {_SHOWN.get(demo.trained.network, demo.trained.network)}. "
        f"Verdict: {demo.trained.verdict}.{_obeyed(demo)}",
        "Selected": f"{demo.selected.n_items} samples that cover the others best by "
        f"{demo.selected.kernel}: {ahead:.0f} standard deviations above {random['draws']} random "
        "draws of the same size.",
        "Version 2": f"{demo.second.new} new rows, {demo.second.removed} removed, "
        f"{demo.second.repeated} known: {demo.refreshed.line()}, {demo.second_seconds:.0f} s. "
        "Nothing stored before was touched.",
        "In all": f"{demo.seconds:.0f} s.",
    }
    told_lines = [line for name, text in paragraphs.items() for line in _paragraph(name, text)]
    commands = [f"  {command}" for command in _try_next(folder)]
    return ["", "What happened", *told_lines, "", "Try next", *commands]


def _paragraph(name: str, text: str) -> list[str]:
    return textwrap.wrap(text, 96, initial_indent=f"  {name:<10}", subsequent_indent=" " * 12)


def _obeyed(demo: Demo) -> str:
    if demo.trained.verdict == "trusted":
        return ""
    return (
        f" So selection did not rely on it and used {demo.selected.kernel}: a few hundred labels "
        "of a tiny LLM are enough to see the machinery, not to beat cosine."
    )


def _try_next(folder: Path) -> list[str]:
    tool = f".venv/bin/influence-store --store {shlex.quote(str(folder / 'store'))}"
    return [
        f"{tool} status",
        f'{tool} query "{_BEST}"',
        f"{tool} select pool --budget 50 --kernel cosine",
    ]


_SHOWN = {
    "ridge-and-cosine": "kernel ridge and cosine in equal parts",
    "two-step-kernel-ridge": "kernel ridge",
    "residual-on-cosine": "residual on cosine",
    "nn-cift": "the InfluenceNetwork as published",
    "cosine": "cosine",
    "mean": "the mean",
}


def _ranks(unseen: dict[str, Any]) -> str:
    ranks = {name: unseen[name]["spearman_per_target"] or 0.0 for name in _SHOWN if name in unseen}
    best_first = sorted(ranks, key=lambda name: -ranks[name])
    return ", ".join(f"{_SHOWN[name]} {ranks[name]:.2f}" for name in best_first)


def _ingest(store: Store, files: DemoFiles, folder: Path) -> IngestReport:
    return ingest(
        store,
        [str(path) for path in files.first],
        "pool",
        settings=ReadSettings(),
        skip_errors=True,
        rejects=folder / "rejects.jsonl",
    )


def _llm() -> Path:
    return demo_llm(cache_dir())


def _label(store: Store, pool: Version) -> PairsReport:
    choice = ModelChoice(str(_llm()), cache_dir(), max_response_tokens=RESPONSE_TOKENS)
    report = label(store, pool, ["delift"], choice, Budget(pairs=PAIRS))
    assert isinstance(report, PairsReport)
    return report


def _names(paths: tuple[Path, ...]) -> str:
    return " ".join(path.name for path in paths)


class _Teller:
    """Prints the command before a step and the report's lines after it."""

    def __init__(self, say: Callable[[str], None], folder: Path) -> None:
        self._say, self._folder = say, folder

    def __call__(self, command: str, work: Callable[[], Any]) -> Any:
        self._say(f"\n$ influence-store {command}")
        began = time.monotonic()
        report = work()
        for line in report.lines():
            self._say(line)
        self._say(f"  [{time.monotonic() - began:.1f} s]")
        return report

    def query(self, store: Store, sql: str, **params: Any) -> None:
        """Show a query and its rows."""
        shown = " ".join(sql.split())
        for name, value in params.items():
            shown = shown.replace(f"${name}", f"'{value}'")
        self._say(f'\n$ influence-store query "{shown}"')
        table = query(store, sql, params)
        rows = [tuple(row.values()) for row in table.to_pylist()]
        for line in table_lines(table.column_names, rows):
            self._say(line)

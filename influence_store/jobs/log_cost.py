"""`log --cost`: what the runs took by verb, and what was saved beside labelling everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlmodel import col, select

from influence_store.jobs.cost import duration
from influence_store.jobs.report_cost import about, by_verb
from influence_store.jobs.savings import Saving, savings
from influence_store.output import plain, table_lines
from influence_store.schema.catalog import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.report.facts import Spent
    from influence_store.store.store import Store

#: What NN-CIFT (arXiv 2502.09969, Table 7, seconds of valuation for Phi-3 on MixInstruct) says was
#: saved, and what its arithmetic allows. All its figures are 0.0025 of the teacher's and 47 s.
CLAIMS = {
    "delift": "99.7 % (67,379 s to 215 s) where a seed holds 0.25 % of the pairs",
    "less": "99.4 % (12,338 s to 78 s); a 5 % seed of rows costs 5 %, so at most about 95 %",
    "selectit": "99.1 % (7,047 s to 65 s); a 5 % seed of rows costs 5 %, so at most about 95 %",
}
CLAIM = "77 to 99 % for four methods"
_COLUMNS = {
    "runs": "runs",
    "seconds": "wall s",
    "cpu_seconds": "CPU s",
    "gpu_seconds": "GPU s",
    "llm_passes": "LLM passes",
    "llm_tokens": "LLM tokens",
    "embeddings": "embeddings",
    "fills": "fills",
}
_WORDS = {
    "cpu_seconds": "CPU seconds",
    "seconds": "wall seconds",
    "gpu_seconds": "GPU seconds",
    "llm_tokens": "LLM tokens",
}


@dataclass(frozen=True)
class CostReport:
    """The ledger of all runs, or of those about one dataset."""

    spent: tuple[Spent, ...]
    savings: tuple[Saving, ...]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        kinds = [{**one.facts(), "claimed": _claim(one)} for one in self.savings]
        return {"spent": [vars(one) for one in self.spent], "savings": kinds}

    def lines(self) -> list[str]:
        """For people."""
        if not self.spent:
            return ["no runs yet"]
        rows = [(one.verb, *(round(getattr(one, key)) for key in _COLUMNS)) for one in self.spent]
        sums = [round(sum(getattr(one, key) for one in self.spent)) for key in _COLUMNS]
        told = table_lines(["verb", *_COLUMNS.values()], [*rows, ("all", *sums)])
        if not sum(one.gpu_seconds for one in self.spent):
            told.append("GPU seconds are 0: no run had a model on a GPU")
        if not self.savings:
            told.append("nothing was labelled by these runs, so no saving can be told")
        return [*told, *(line for one in self.savings for line in _told(one))]


def log_cost(store: Store, dataset: str | None = None) -> CostReport:
    """Of all runs that have ended; NotFound for a `dataset` that is not there."""
    if dataset is not None:
        dataset = store.version(dataset).dataset
    with store.database.read() as session:
        query = select(Run).where(Run.state != "writing").order_by(col(Run.started_at), col(Run.id))
        runs = list(session.exec(query).all())
    named = runs if dataset is None else [run for run in runs if about(run, dataset)]
    return CostReport(by_verb(named), tuple(savings(store, runs, dataset)))


def _claim(one: Saving) -> str:
    return CLAIMS.get(one.methods[0], CLAIM)


def _told(one: Saving) -> Iterator[str]:
    served = f" for {', '.join(one.targets)}" if one.targets else ""
    yield plain(f"{' + '.join(one.methods)} on {one.dataset}{served}")
    cpu = "cpu_seconds" if "cpu_seconds" in one.everything else "seconds"
    unit = "CPU time" if cpu == "cpu_seconds" else "time"
    yield (
        f"  labelling everything: {one.cells:,} {one.unit} would have taken {unit} of "
        f"{duration(one.everything[cpu])} (extrapolated from {one.measured:,} that these runs "
        f"measured, {one.each[cpu]:.3g} s each)"
    )
    parts = ", ".join(f"{name} {part[cpu]:.0f}" for name, part in one.spent.items() if part[cpu])
    yield f"  spent: {duration(one.total[cpu])} = {parts}"
    yield from (f"  no saving can be told: {plain(why)}" for why in one.missing)
    if one.saving:
        shares = [
            _share(one.saving[key], word) for key, word in _WORDS.items() if key in one.saving
        ]
        yield f"  {'; '.join(shares)}"
        had = ", ".join(f"{name} ({verdict!r})" for name, verdict in one.verdicts.items())
        yield plain(f"  what was had instead: estimates of {had}")
    yield f"  NN-CIFT claims {_claim(one)}; without embedding, selection and fine-tuning"


def _share(saving: float, word: str) -> str:
    if saving < 0:
        return f"cost {-saving:.0%} more {word} than labelling everything"
    return f"saved {saving:.1%} of {word}"

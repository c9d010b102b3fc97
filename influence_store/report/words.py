"""What do the facts say to somebody who reads only the sentences? One or a few per section."""

from __future__ import annotations

from typing import TYPE_CHECKING

from influence_store.counted import agree, counted
from influence_store.report.facts import Cost, Map
from influence_store.report.influence_facts import Influence, Overlap
from influence_store.report.selection_facts import SelectionFacts
from influence_store.report.texts import amount, number, seconds, share
from influence_store.report.values import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.report.facts import Contents, Everything, ReportFacts
    from influence_store.report.influence_facts import Card
    from influence_store.report.selection_facts import Knee, Reference

_MEANS = {
    "helpful": "higher means more helpful",
    "harder": "higher means harder for the model, not better",
    "neither": "higher is neither better nor worse by itself",
}


def means(higher_means: str) -> str:
    """How to read a column."""
    return _MEANS.get(higher_means, higher_means)


def summary(facts: ReportFacts) -> list[tuple[str, str]]:
    """The few numbers at the top: a figure and what it is."""
    rows = facts.contents.rows
    told = [(amount(rows), agree(rows, "row", "rows"))]
    if isinstance(facts.cost, Cost):
        told.append((amount(sum(one.llm_passes for one in facts.cost.spent)), "LLM passes spent"))
    if not isinstance(facts.accuracy, Missing):
        told.append((facts.accuracy[-1].verdict, f"verdict on {facts.accuracy[-1].estimator}"))
    if isinstance(facts.selection, SelectionFacts):
        picks = facts.selection.picks
        told.append((amount(picks), agree(picks, "sample selected", "samples selected")))
    return told


def of_contents(told: Contents) -> str:
    """Rows, where from, and what was left out on the way."""
    newest = told.versions[-1] if told.versions else None
    out = [
        f"{counted(told.rows, 'row')} from {counted(len(told.sources), 'source')}, the largest of "
        f"them {share(told.sources[0].rows / told.rows)}."
    ]
    if newest is not None:
        left = sum(one.rejected for one in told.versions)
        repeated = sum(one.duplicates for one in told.versions)
        out.append(
            f"On the way here {counted(left, 'record was', 'records were')} rejected and "
            f"{counted(repeated, 'exact duplicate was', 'exact duplicates were')} left out."
        )
    return " ".join(out)


def of_influence(told: Influence) -> str:
    """How many columns of which kind, and whether estimates may be believed."""
    by_kind = [sum(one.kind == kind for one in told.columns) for kind in _KINDS]
    out = ", ".join(f"{n:,} {name}" for n, name in zip(by_kind, _KINDS.values(), strict=True) if n)
    pairs = sum(one.pairs for one in told.pairs)
    parts = [f"Columns: {out}." if out else "No column of rows."]
    if pairs:
        parts.append(f"{counted(pairs, 'value')} of pairs that a teacher was asked about.")
    doubtful = [one.name for one in told.columns if one.verdict not in ("", "trusted")]
    if doubtful:
        parts.append(
            "Not every estimate is good enough to act on; its verdict stands beside its name."
        )
    return " ".join(parts)


_KINDS = {"measured": "measured", "imported": "imported", "estimate": "estimated by a network"}


def of_card(card: Card) -> str:
    """What was judged, who is best, and by how much."""
    return " ".join(_of_card(card))


def _of_card(card: Card) -> Iterator[str]:
    own = next(one for one in card.rivals if one.name == card.network)
    what = "pairs of which neither sample was seen" if card.of_pairs else "samples it had not seen"
    per = " per target" if card.of_pairs else ""
    sure = own.interval
    yield (
        f"Of {card.output} by {card.method}, taught on {card.trained_on}; the network that was "
        f"kept is {card.network}. Judged on {amount(card.judged)} predictions for {what}, its rank "
        f"correlation{per} is {number(own.rank)}"
        + (f" (95 % interval {_range(sure.low, sure.high)})" if sure else "")
        + "."
    )
    best = card.rivals[0]
    if best.name != card.network:
        yield f"The best rank has {best.name}, {number(best.rank)}."
    for one in card.differences:
        if one.interval.low < one.interval.high:  # it is not that rival itself
            yield _difference(one.over, one.interval.mean, one.interval.low, one.interval.high)


def of_verdict(verdict: str) -> str:
    """What to do about it."""
    return {
        "trusted": "Verdict: trusted. Its order may be acted on.",
        "weak": "Verdict: weak. Better than its rivals, with doubts; read them first.",
    }.get(verdict, f"Verdict: {verdict}. Do not select by it.")


def _difference(over: str, mean: float, low: float, high: float) -> str:
    said = "ahead of" if low > 0 else "behind" if high < 0 else "not shown to differ from"
    return f"It is {said} {over}: difference {number(mean)} {_range(low, high)}."


def _range(low: float, high: float) -> str:
    return f"[{number(low)}, {number(high)}]"


def of_cost(told: Cost) -> str:
    """What was spent in all."""
    passes = sum(one.llm_passes for one in told.spent)
    tokens = sum(one.llm_tokens for one in told.spent)
    time = sum(one.seconds for one in told.spent)
    return (
        f"{counted(passes, 'LLM pass')} over {counted(tokens, 'token')}, and "
        f"{seconds(time)} of runs in all, as the runs wrote down themselves."
    )


def of_everything(one: Everything) -> str:
    """One method: labelled, all, and how long all would take."""
    told = (
        f"{one.method}: {amount(one.labelled)} of {amount(one.cells)} {one.unit} are labelled "
        f"({share(one.labelled / one.cells if one.cells else None)})."
    )
    if one.seconds_per_cell is None or one.seconds is None:
        return f"{told} No run took its time down, so nothing is extrapolated."
    return (
        f"{told} Runs took {number(one.seconds_per_cell)} s for each; at that pace all would take "
        f"about {seconds(one.seconds)} (extrapolated, on that machine)."
    )


def of_selection(told: SelectionFacts) -> str:
    """How many, by what, and whether it was worth it."""
    return " ".join(_of_selection(told))


def _of_selection(told: SelectionFacts) -> Iterator[str]:
    on = "" if told.kernel == "none" else f" on {told.kernel}"
    yield (
        f"Selection {told.id}: {amount(told.picks)} of {amount(told.rows)} rows of {told.dataset} "
        f"by {told.objective}{on}, budget {told.budget}."
    )
    if not told.same_version:
        yield "It was made of an earlier version; rows that came later could not be chosen."
    if told.knee is not None:
        yield _knee(told.knee)
    if told.random is not None and told.value is not None and told.random.sd > 0:
        ahead = (told.value - told.random.mean) / told.random.sd
        where = "above" if ahead >= 0 else "below"
        yield (
            f"Its {told.measure} is {number(told.value)}, {number(abs(ahead))} standard deviations "
            f"{where} {told.random.draws} random sets under the same limits "
            f"({number(told.random.mean)} ± {number(told.random.sd)})."
        )
    yield from _of_trials(told)
    if told.gained is not None and told.gained < told.picks:
        yield f"Only {amount(told.gained)} of the picks gained something."
    better = [one.name for one in told.references if _beats(told, one)]
    if better:
        yield f"As good or better by the same measure, and cheaper: {', '.join(better)}."


def _of_trials(told: SelectionFacts) -> Iterator[str]:
    """What trials say of it and random rows; nothing where it was not tried."""
    for one in told.trials:
        if one.baseline == "random":
            yield f"Trained on ({one.learner}, {amount(one.held)} held-out rows): {one.words}."


def _knee(knee: Knee) -> str:
    picks = counted(knee.picks, "pick, which holds", "picks, which hold")
    return f"The gain bends after {picks} {share(knee.share)} of it."


def _beats(told: SelectionFacts, one: Reference) -> bool:
    """Whether a rival is as good; what covers by cosine is no rival of itself."""
    assert told.value is not None
    by_cosine = told.kernel.partition(":")[0] == "cosine"
    itself = told.objective == "facility-location" and by_cosine
    return one.value >= told.value and not (itself and one.name == "cosine facility location")


def of_overlap(told: Overlap) -> str:
    """Which two agree most and least."""
    known = [one for one in told.agreements if one.rank is not None]
    if not known:
        return "No two columns have ten rows in common, or none of them has an order."
    most = max(known, key=lambda one: one.rank or 0.0)
    least = min(known, key=lambda one: one.rank or 0.0)
    out = f"{most.a} and {most.b} order the rows most alike ({number(most.rank)})"
    if least is most:
        return f"{out}."
    return f"{out}, {least.a} and {least.b} least ({number(least.rank)})."


def of_map(told: Map) -> str:
    """What is drawn, how much of the whole it is, and how far to trust it."""
    held = share(sum(told.explained))
    shown = (
        f"All {counted(told.rows, 'row')}"
        if told.points == told.rows
        else f"{amount(told.points)} of {amount(told.rows)} rows, drawn with seed {told.seed} so "
        "that selected ones come first,"
    )
    return (
        f"{shown} by {told.embedder}. The two directions hold {held} of the variance: points that "
        "lie apart differ, points that lie together may differ in other directions."
    )

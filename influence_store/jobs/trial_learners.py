"""What learns in a trial: a causal LM that is fine-tuned, or the probe on embeddings."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pyroaring import BitMap

from influence_store.errors import NotComputed
from influence_store.jobs.samples import read_samples
from influence_store.progress import progress
from influence_store.trial.budget import Budget, schedule
from influence_store.trial.measure import Measured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.influence.llm import Llm
    from influence_store.protocols import Doubles, Embedder, Floats, Ids
    from influence_store.schema.sample import Sample
    from influence_store.store.store import Store
    from influence_store.store.versions import Version
    from influence_store.trial.budget import Schedule
    from influence_store.trial.collate import Encoded
    from influence_store.trial.recipe import Recipe


@dataclass(frozen=True)
class Work:
    """One model to make: the rows (sids, in the order of their contents), seed and budget.

    No rows = the model as it is. `budget` None = what the learner needs none for.
    """

    rows: Ids
    seed: int
    budget: Budget | None


class Learner(Protocol):
    """Trains on rows and is measured on others; `unit` is what its loss is counted in.

    `seeded` = two trainings on the same rows may differ.
    """

    name: str
    unit: str
    seeded: bool
    tuned: bool

    @property
    def facts(self) -> Mapping[str, Any]:
        """All that decides a loss besides rows, seed and budget."""
        ...

    def usable(self, sids: Ids) -> Ids:
        """Those that can be learned from and measured."""
        ...

    def tokens(self, sids: Ids) -> Ids:
        """What reading each costs, (n,)."""
        ...

    def budget(self, tokens: int, longest: int) -> Budget | None:
        """Steps for so many tokens; None where there are none."""
        ...

    def reads(self, work: Work) -> tuple[int, int, int] | None:
        """Different rows, tokens and response tokens that are read; None where nothing is."""
        ...

    def told(self) -> dict[str, Any]:
        """The settings that a reader wants to see."""
        ...

    def measure(self, work: Work, held: Ids) -> Measured:
        """Train and judge by `held` (sids)."""
        ...

    def rehearse(self, work: Work, held: Ids) -> tuple[float, float]:
        """Seconds of one optimizer step, and of judging by `held`, measured on a part."""
        ...


class FineTuner:
    """A causal LM and how to tune it; `answers` held-out rows are also answered in words."""

    name, unit, seeded, tuned = "fine-tune", "nats per token", True, True

    def __init__(
        self,
        store: Store,
        llm: Llm,
        recipe: Recipe,
        *,
        max_tokens: int,
        answers: int = 0,
        answer_tokens: int = 128,
    ) -> None:
        from influence_store.trial.collate import Collator

        self.llm, self.recipe = llm, recipe
        self.collator = Collator(llm, min(max_tokens, llm.max_len))
        self.max_tokens = self.collator.max_tokens
        self._answers, self._answer_tokens = answers, answer_tokens
        self._samples = _Samples(store)
        self._encoded: dict[int, Encoded] = {}

    @property
    def facts(self) -> Mapping[str, Any]:
        """The model, how samples are written, and the recipe."""
        return {
            "version": 1,
            "llm": dict(self.llm.facts),
            "collator": self.collator.facts,
            "recipe": self.recipe.facts(),
            "answers": [self._answers, self._answer_tokens if self._answers else 0],
        }

    def usable(self, sids: Ids) -> Ids:
        """Rows with a prompt and at least one response token within the limit."""
        return sids[[one.usable for one in self._all(sids)]]

    def tokens(self, sids: Ids) -> Ids:
        """Prompt and response together, as they are read."""
        return np.array([one.length for one in self._all(sids)], np.int64)

    def budget(self, tokens: int, longest: int) -> Budget:
        """Steps of about as many tokens as the recipe says."""
        return Budget.of(tokens, step_tokens=self.recipe.step_tokens, longest=longest)

    def schedule(self, work: Work) -> Schedule:
        """Which rows are read in which step."""
        assert work.budget is not None
        return schedule(self.tokens(work.rows), work.budget, work.seed)

    def reads(self, work: Work) -> tuple[int, int, int] | None:
        """As scheduled."""
        if not len(work.rows):
            return None
        plan = self.schedule(work)
        learned = np.array([len(one.response) for one in self._all(work.rows)])
        return plan.rows_seen, plan.tokens, int(learned[plan.reads].sum())

    def told(self) -> dict[str, Any]:
        """Model, recipe, limit."""
        name = Path(self.llm.name).name
        return {"model": name, **self.recipe.facts(), "max_tokens": self.max_tokens}

    def measure(self, work: Work, held: Ids) -> Measured:
        """Fine-tune on the rows, then read the held-out ones, and answer some, evenly spread."""
        from influence_store.trial.finetune import train, tuned
        from influence_store.trial.measure import answers, response_losses

        judged = self._all(held)
        with tuned(self.collator, self.recipe if len(work.rows) else None, work.seed) as model:
            if len(work.rows):
                rows, steps = self._all(work.rows), self.schedule(work).steps
                with progress("fine-tuning", len(steps), "steps") as advance:
                    train(model, [[rows[k] for k in step] for step in steps], self.recipe, advance)
            loss = response_losses(model, judged)
            rouge, right = np.full((2, len(held)), np.nan)
            if n := min(self._answers, len(held)):
                asked = np.linspace(0, len(held) - 1, n).round().astype(np.int64)
                expected = [one.response for one in self._samples(held[asked])]
                rouge[asked], right[asked] = answers(
                    model, [judged[k] for k in asked], expected, max_tokens=self._answer_tokens
                )
        return Measured(loss, rouge, right)

    def rehearse(self, work: Work, held: Ids) -> tuple[float, float]:
        """One step is trained and some held-out rows are read; both are thrown away."""
        from influence_store.trial.finetune import train, tuned
        from influence_store.trial.measure import answers, response_losses

        rows, step = self._all(work.rows), self.schedule(work).steps[0]
        some = held[:: max(1, len(held) // 16)]
        judged = self._all(some)
        with tuned(self.collator, self.recipe, work.seed) as model:
            began = time.monotonic()
            train(model, [[rows[k] for k in step]], self.recipe)
            trained = time.monotonic()
            response_losses(model, judged)
            seconds = (time.monotonic() - trained) * len(held) / len(some)
            if n := min(self._answers, len(held)):
                few = judged[: min(4, n)]
                said = time.monotonic()
                answers(model, few, [""] * len(few), max_tokens=self._answer_tokens)
                seconds += (time.monotonic() - said) * n / len(few)
        return trained - began, seconds

    def _all(self, sids: Ids) -> list[Encoded]:
        new = np.array([sid for sid in sids.tolist() if sid not in self._encoded], np.int64)
        for sid, sample in zip(new.tolist(), self._samples(new), strict=True):
            self._encoded[sid] = self.collator.encode(sample)
        return [self._encoded[sid] for sid in sids.tolist()]


class Probe:
    """The linear probe on what `embedder` makes of prompts and responses."""

    name, unit, seeded, tuned = "probe", "squared distance", False, False

    def __init__(self, store: Store, embedder: Embedder) -> None:
        self._samples, self._embedder = _Samples(store), embedder
        self._vectors: dict[int, tuple[Floats, Floats]] = {}

    @property
    def facts(self) -> Mapping[str, Any]:
        """The embedder; its template is not used, since both sides are embedded apart."""
        return {"version": 1, "embedder": dict(self._embedder.facts)}

    def usable(self, sids: Ids) -> Ids:
        """Rows with words on both sides."""
        samples = self._samples(sids)
        return sids[[bool(one.prompt.strip() and one.response.strip()) for one in samples]]

    def tokens(self, sids: Ids) -> Ids:
        """Every row counts as one."""
        return np.ones(len(sids), np.int64)

    def budget(self, tokens: int, longest: int) -> None:
        """There are no steps."""

    def reads(self, work: Work) -> None:
        """All rows at once."""

    def told(self) -> dict[str, Any]:
        """The embedder."""
        return {"embedder": self._embedder.name}

    def measure(self, work: Work, held: Ids) -> Measured:
        """Fit the map on the rows, and its errors on the held-out ones."""
        from influence_store.trial.probe import probe_errors

        prompts, responses = self._both(work.rows)
        errors = probe_errors(prompts, responses, self._both(held))
        return Measured(errors, *np.full((2, len(held)), np.nan))

    def rehearse(self, work: Work, held: Ids) -> tuple[float, float]:
        """All of it: it takes no time worth planning for."""
        began = time.monotonic()
        self.measure(work, held)
        return 0.0, time.monotonic() - began

    def _both(self, sids: Ids) -> tuple[Doubles, Doubles]:
        new = np.array([sid for sid in sids.tolist() if sid not in self._vectors], np.int64)
        if len(new):
            samples = self._samples(new)
            pairs = zip(
                self._embedder.encode([one.prompt for one in samples]).vectors,
                self._embedder.encode([one.response for one in samples]).vectors,
                strict=True,
            )
            self._vectors |= dict(zip(new.tolist(), pairs, strict=True))
        found = [self._vectors[sid] for sid in sids.tolist()]
        prompts, responses = (np.stack([one[side] for one in found]) for side in (0, 1))
        return prompts.astype(np.float64), responses.astype(np.float64)


def embedder_of(store: Store, version: Version) -> str:
    """Where to load the dataset's newest embedder from; NotComputed if it has none."""
    active = [spec for one, spec in store.active(version.dataset_id) if one.kind == "embedding"]
    if not active:
        raise NotComputed(
            f"{version.dataset} has no embedder, which the probe reads prompts and responses with",
            hint=f"run: influence-store embed {version} --embedder E",
        )
    return active[-1]


@dataclass
class _Samples:
    """Samples by sid, read from the store once."""

    store: Store
    _known: dict[int, Sample] = field(default_factory=dict)

    def __call__(self, sids: Ids) -> Sequence[Sample]:
        new = BitMap([sid for sid in sids.tolist() if sid not in self._known])
        if new:
            found, samples = read_samples(self.store, new)
            self._known |= dict(zip(found.tolist(), samples, strict=True))
        return [self._known[sid] for sid in sids.tolist()]

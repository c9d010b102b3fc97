"""How to count forgetting events in somebody's own transformers Trainer?

    watch = ForgettingCallback(rows, sample_ids, every=50)
    Trainer(..., callbacks=[watch]).train()
    polars.DataFrame(watch.table()).write_parquet("forgetting.parquet")     # then import it

The formulas are those of `forgetting.py`; the cadence is `every` optimizer steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.extras import require
from influence_store.influence.forgetting import check_threshold, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import TrainerCallback

    from influence_store.protocols import Doubles, Flags, Ids
else:
    TrainerCallback = require("transformers", extra="train").TrainerCallback

IGNORED = -100


class ForgettingCallback(TrainerCallback):  # type: ignore[misc]
    """Measures, every `every` steps and after the last one, which rows the model gets right.

    A row has `input_ids` (L,) and `labels` (L,) with −100 where there is nothing to learn, as a
    causal LM is trained on; a row without any label is never measured. `sample_ids` are 16 bytes
    or 32 hex digits each. A measurement reads all rows in evaluation mode, without gradients,
    `batch_size` at a time, and puts the mode back; it costs no random number. With several
    processes each of them measures all rows. Every call of `train` begins a new record, also one
    that resumes a run.
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Sequence[int]]],
        sample_ids: Sequence[bytes | str],
        *,
        every: int,
        threshold: float = 0.5,
        batch_size: int = 8,
    ) -> None:
        if len(rows) != len(sample_ids):
            raise ValueError(f"{len(rows)} rows, but {len(sample_ids)} sample ids")
        if every < 1:
            raise ValueError(f"every is {every}; at least 1 step")
        self.rows = [_row(k, row) for k, row in enumerate(rows)]
        self.sample_ids = [i.hex() if isinstance(i, bytes) else i for i in sample_ids]
        self.every = every
        self.threshold = check_threshold(threshold)
        self.batch_size = batch_size
        self.steps: list[int] = []
        self._correct: list[Flags] = []

    @property
    def correct(self) -> Flags:
        """What was right at each of `steps`, (K, n)."""
        return np.array(self._correct, np.bool_).reshape(len(self.steps), len(self.rows))

    def table(self) -> dict[str, list[Any]]:
        """Columns `sample_id`, `forgetting`, `forgetting-never-learned`; None where not known."""
        columns: dict[str, list[Any]] = {"sample_id": list(self.sample_ids)}
        labelled = np.array([bool((labels[1:] != IGNORED).any()) for _, labels in self.rows])
        for name, values in values_of(self.correct).items():
            column = values.astype(object)
            column[~labelled | np.isnan(values)] = None
            columns[name] = column.tolist()
        return columns

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin a new record."""
        self.steps.clear()
        self._correct.clear()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure where the cadence says so."""
        if state.global_step % self.every == 0:
            self._measure(kwargs["model"], state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure the finished model."""
        if state.global_step not in self.steps:
            self._measure(kwargs["model"], state.global_step)

    def _measure(self, model: Any, step: int) -> None:
        shares = gold_shares(model, self.rows, batch_size=self.batch_size)
        self.steps.append(step)
        # A comparison with NaN is False: a row without labels is never correct.
        self._correct.append(shares >= self.threshold)


def gold_shares(model: Any, rows: Sequence[tuple[Ids, Ids]], *, batch_size: int = 8) -> Doubles:
    """Share of labelled tokens (n,) whose argmax is right, under a causal LM; NaN without labels.

    A row is `input_ids` (L,) and `labels` (L,); the logits at t − 1 predict the label at t.
    """
    torch = require("torch", extra="train")
    device = next(model.parameters()).device
    shares = np.full(len(rows), np.nan)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(rows), batch_size):
                ids, labels, mask = _padded(rows[start : start + batch_size])
                logits = model(
                    input_ids=torch.from_numpy(ids).to(device),
                    attention_mask=torch.from_numpy(mask).to(device),
                ).logits
                right = logits[:, :-1].argmax(dim=-1).cpu().numpy() == labels[:, 1:]
                counted = labels[:, 1:] != IGNORED
                n = counted.sum(axis=1)
                some = n > 0
                hits = (right & counted).sum(axis=1)
                shares[start : start + len(n)][some] = hits[some] / n[some]
    finally:
        model.train(training)
    return shares


def _row(k: int, row: Mapping[str, Sequence[int]]) -> tuple[Ids, Ids]:
    ids, labels = np.asarray(row["input_ids"], np.int64), np.asarray(row["labels"], np.int64)
    if ids.ndim != 1 or ids.shape != labels.shape:
        raise ValueError(f"row {k} has {ids.shape} input_ids and {labels.shape} labels")
    return ids, labels


def _padded(rows: Sequence[tuple[Ids, Ids]]) -> tuple[Ids, Ids, Ids]:
    """Ids, labels and attention mask (B, W), padded on the right."""
    shape = (len(rows), max(len(ids) for ids, _ in rows))
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    labels = np.full(shape, IGNORED, np.int64)
    for k, (row, gold) in enumerate(rows):
        ids[k, : len(row)] = row
        labels[k, : len(gold)] = gold
        mask[k, : len(row)] = 1
    return ids, labels, mask

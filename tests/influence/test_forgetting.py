from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from influence_store.errors import Incompatible
from influence_store.influence.checkpoints import Checkpoint, Recipe
from influence_store.influence.forgetting import Forgetting, forgetting_events
from influence_store.influence.learner import GoldStats, Reading
from influence_store.protocols import Ledger
from influence_store.schema.identity import sample_id
from influence_store.schema.sample import Sample

SAMPLES = [Sample.of("Say a", "aaaa"), Sample.of("Say b", "bb"), Sample.of("2+2?", "It is 4.")]


def test_events_of_the_specification():
    correct = np.array([[0, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]], bool).T
    events, never = forgetting_events(correct)
    assert events.tolist() == [2, 0, 0]
    assert never.tolist() == [False, True, False]


def test_being_wrong_first_is_no_event_and_forgetting_at_the_end_is_one():
    events, never = forgetting_events(np.array([[0, 1], [1, 0]], bool))
    assert events.tolist() == [0, 1]
    assert never.tolist() == [False, False]


def test_a_flat_record_is_refused():
    with pytest.raises(ValueError, match=r"\(K, n\)"):
        forgetting_events(np.array([True, False]))


class Scripted:
    """A learner whose hits are written on the checkpoint: `step` picks a row of the script."""

    name = "scripted"
    n_parameters = 1
    facts = {"learner": "scripted"}  # noqa: RUF012

    def __init__(self, script):
        self.script = script
        self.ledger = Ledger()
        self.step = 0

    def read(self, sample):
        gold = np.arange(len(sample.response), dtype=np.int64)
        return Reading(np.array([int(sample.prompt)], np.int64), gold)

    def at(self, checkpoint):
        from contextlib import nullcontext

        self.step = checkpoint.step
        return nullcontext()

    def stats(self, readings, *, blind=False):
        hits = [np.array(self.script[self.step][int(r.context[0])], np.int64) for r in readings]
        return [GoldStats(np.zeros(len(h)), np.ones(len(h)), h) for h in hits]


def _checkpoint(step, n=1):
    zeros = np.zeros(n, np.float32)
    return Checkpoint(step, 1e-3, zeros, zeros, zeros)


def test_half_of_the_tokens_right_counts_as_learned():
    script = {
        1: [[1, 1, 0, 0], [1, 0, 0, 0]],
        2: [[1, 0, 0, 0], [0, 0, 0, 0]],
        3: [[1, 1, 1, 1], [1, 0, 0, 0]],
    }
    samples = [Sample.of("0", "four"), Sample.of("1", "four"), Sample.of("0", "")]
    checkpoints = [_checkpoint(step) for step in (1, 2, 3)]

    found = Forgetting(Scripted(script), checkpoints).score(samples)
    strict = Forgetting(Scripted(script), checkpoints, threshold=1.0).score(samples)

    np.testing.assert_array_equal(found.values["forgetting"], [1, np.nan, np.nan])
    np.testing.assert_array_equal(found.values["forgetting-never-learned"], [0, 1, np.nan])
    np.testing.assert_array_equal(strict.values["forgetting"], [0, np.nan, np.nan])
    assert found.n_tokens.tolist() == [4, 4, 0]


def test_checkpoints_must_be_two_in_training_order_and_fit():
    learner = Scripted({})
    with pytest.raises(ValueError, match="at least 2"):
        Forgetting(learner, [_checkpoint(1)])
    with pytest.raises(ValueError, match="training order"):
        Forgetting(learner, [_checkpoint(2), _checkpoint(1)])
    with pytest.raises(Incompatible):
        Forgetting(learner, [_checkpoint(1, 2), _checkpoint(2, 2)])
    with pytest.raises(ValueError, match="threshold"):
        Forgetting(learner, [_checkpoint(1), _checkpoint(2)], threshold=0.0)


def test_threshold_and_checkpoints_are_part_of_the_facts():
    learner = Scripted({})
    checkpoints = [_checkpoint(1), _checkpoint(2)]
    facts = Forgetting(learner, checkpoints).facts
    assert facts != Forgetting(learner, checkpoints, threshold=0.75).facts
    assert facts != Forgetting(learner, [*checkpoints, _checkpoint(3)]).facts


def test_a_learner_that_unlearns_is_caught(tiny):
    """First it is taught the sample, then another answer to the same question."""
    from influence_store.influence.lora import LoraLm

    learner = LoraLm(tiny)
    first, second = Sample.of("Say it", "aaaa"), Sample.of("Say it", "zzzz")
    recipe = Recipe(epochs=15, learning_rate=5e-2, n_checkpoints=1)
    (taught,) = learner.train([learner.read(first)], recipe)
    (untaught,) = learner.train([learner.read(second)], replace(recipe, epochs=20))

    found = Forgetting(learner, [taught, untaught]).score([first, second])

    np.testing.assert_array_equal(found.values["forgetting"], [1, 0])
    np.testing.assert_array_equal(found.values["forgetting-never-learned"], [0, 0])


# -- in somebody's own Trainer -------------------------------------------------------------------


def _row(llm, sample):
    prompt, response = llm.tokenize(sample.prompt), llm.tokenize(sample.response)
    ids = np.concatenate([prompt, response])
    labels = np.concatenate([np.full(len(prompt), -100), response])
    return {"input_ids": ids.tolist(), "labels": labels.tolist()}


@pytest.fixture
def train(tiny_llm, tmp_path):
    """Run a real Trainer over rows with callbacks; returns the trained model."""
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    def run(rows, callback, **options):
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=1,
            learning_rate=5e-2,
            lr_scheduler_type="constant",
            max_steps=9,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
            seed=0,
            **options,
        )
        model = AutoModelForCausalLM.from_pretrained(tiny_llm)
        Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[callback]).train()
        return model

    return run


def _right(model, row):
    """The share by hand, one unpadded row at a time."""
    import torch

    model.eval()
    ids, labels = torch.tensor([row["input_ids"]]), np.array(row["labels"])
    with torch.no_grad():
        guesses = model(ids).logits[0].argmax(dim=-1).numpy()
    scored = labels[1:] != -100
    return float((guesses[:-1] == labels[1:])[scored].mean())


def test_callback_measures_on_its_cadence_and_at_the_end(tiny, train):
    import transformers

    from influence_store.influence.forgetting_callback import ForgettingCallback

    rows = [_row(tiny, sample) for sample in SAMPLES]
    ids = [sample_id(sample) for sample in SAMPLES]
    watch = ForgettingCallback(rows, ids, every=4, batch_size=2)

    class ByHand(transformers.TrainerCallback):
        shares = []  # noqa: RUF012

        def on_step_end(self, args, state, control, **kwargs):
            assert kwargs["model"].training
            if state.global_step in (4, 8, 9):
                self.shares.append([_right(kwargs["model"], row) for row in rows])
                kwargs["model"].train()

    by_hand = ByHand()
    model = train(rows, watch)
    reference = train(rows, by_hand)

    # Watching changes nothing in the run watched.
    for p, q in zip(model.parameters(), reference.parameters(), strict=True):
        assert (p == q).all()
    assert watch.steps == [4, 8, 9]
    expected = np.array(by_hand.shares) >= 0.5
    np.testing.assert_array_equal(watch.correct, expected)
    assert expected.any()
    events, never = forgetting_events(expected)
    table = watch.table()
    assert table["sample_id"] == [i.hex() for i in ids]
    assert table["forgetting-never-learned"] == never.astype(float).tolist()
    assert table["forgetting"] == [
        None if n else float(e) for e, n in zip(events, never, strict=True)
    ]


def test_callback_sees_one_sample_driven_out_by_another(tiny, train):
    from influence_store.influence.forgetting_callback import ForgettingCallback

    old, new = (_row(tiny, Sample.of("Say it", text)) for text in ("aaaa", "zzzz"))
    silent = {"input_ids": old["input_ids"], "labels": [-100] * len(old["labels"])}
    watch = ForgettingCallback([old, new, silent], ["aa" * 16, "bb" * 16, "cc" * 16], every=1)

    import torch

    class Shift(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield from [old] * 4 + [new] * 5

    train(Shift(), watch)

    assert len(watch.steps) == 9
    table = watch.table()
    assert table["forgetting"][0] >= 1
    assert table["forgetting-never-learned"][:2] == [0.0, 0.0]
    assert table["forgetting"][2] is None
    assert table["forgetting-never-learned"][2] is None


def test_callback_table_is_what_the_parquet_importer_reads(tmp_path):
    import polars as pl

    from influence_store.influence.forgetting_callback import ForgettingCallback

    row = {"input_ids": [1, 2], "labels": [-100, 2]}
    watch = ForgettingCallback([row, row], [bytes(16), bytes([1] * 16)], every=1)
    watch.steps.extend([1, 2])
    watch._correct.extend([np.array([True, False]), np.array([False, False])])
    frame = pl.DataFrame(watch.table())

    assert frame.columns == ["sample_id", "forgetting", "forgetting-never-learned"]
    assert frame["sample_id"].to_list() == ["00" * 16, "01" * 16]
    assert frame["forgetting"].to_list() == [1.0, None]


def test_callback_refuses_what_it_cannot_measure():
    from influence_store.influence.forgetting_callback import ForgettingCallback

    row = {"input_ids": [1, 2], "labels": [-100, 2]}
    with pytest.raises(ValueError, match="2 rows, but 1 sample ids"):
        ForgettingCallback([row, row], ["00" * 16], every=1)
    with pytest.raises(ValueError, match="row 0 has"):
        ForgettingCallback([{"input_ids": [1], "labels": [1, 2]}], ["00" * 16], every=1)
    with pytest.raises(ValueError, match="every is 0"):
        ForgettingCallback([row], ["00" * 16], every=0)


@pytest.mark.parametrize("training", [True, False])
def test_a_measurement_puts_the_mode_of_the_model_back(tiny, training):
    import copy

    from influence_store.influence.forgetting_callback import gold_shares

    model = copy.deepcopy(tiny.model).train(training)
    ids = np.array([1, 2, 3])
    gold_shares(model, [(ids, ids)])
    assert model.training == training

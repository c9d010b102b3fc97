from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load, save

from influence_store.errors import IntegrityError
from influence_store.influence.checkpoints import Checkpoint, Recipe

VECTOR = np.array([1.5, -2.0, 0.25], np.float32)


@pytest.fixture
def checkpoint():
    return Checkpoint(7, 1e-5, VECTOR, VECTOR * 2, VECTOR**2, beta1=0.8, epsilon=1e-6)


def test_bytes_bring_back_every_field(checkpoint):
    back = Checkpoint.from_bytes(checkpoint.to_bytes())

    assert (back.step, back.learning_rate, back.beta1, back.beta2) == (7, 1e-5, 0.8, 0.999)
    assert back.epsilon == 1e-6
    np.testing.assert_array_equal(back.weights, VECTOR)
    np.testing.assert_array_equal(back.exp_avg, VECTOR * 2)
    np.testing.assert_array_equal(back.exp_avg_sq, VECTOR**2)
    assert back.to_bytes() == checkpoint.to_bytes()
    assert back.sha256 == checkpoint.sha256


def test_the_name_changes_with_any_weight_moment_or_number(checkpoint):
    names = {
        checkpoint.sha256,
        Checkpoint(8, 1e-5, VECTOR, VECTOR * 2, VECTOR**2, beta1=0.8, epsilon=1e-6).sha256,
        Checkpoint(7, 1e-5, VECTOR + 1, VECTOR * 2, VECTOR**2, beta1=0.8, epsilon=1e-6).sha256,
        Checkpoint(7, 1e-5, VECTOR, VECTOR * 3, VECTOR**2, beta1=0.8, epsilon=1e-6).sha256,
    }

    assert len(names) == 4


def _without_a_moment(content):
    tensors = load(content)
    del tensors["exp_avg"]
    return save(tensors, metadata={"checkpoint": "{}"})


def _with_a_short_moment(content):
    tensors = load(content) | {"exp_avg": VECTOR[:2]}
    return save(tensors, metadata={"checkpoint": '{"step":1,"learning_rate":0.1}'})


def _with_an_unknown_field(content):
    scalars = '{"step":1,"learning_rate":0.1,"colour":"red"}'
    return save(load(content), metadata={"checkpoint": scalars})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda _: b"not a checkpoint at all",
        lambda content: content[:-4],
        lambda content: save(load(content)),
        _without_a_moment,
        _with_a_short_moment,
        _with_an_unknown_field,
    ],
)
def test_garbage_is_an_integrity_error(checkpoint, spoil):
    with pytest.raises(IntegrityError, match="checkpoint"):
        Checkpoint.from_bytes(spoil(checkpoint.to_bytes()))


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0.0}, {"batch_size": 0}, {"n_checkpoints": 0}, {"warmup_ratio": 1.5}]
)
def test_a_recipe_that_cannot_be_followed_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Recipe(**wrong)

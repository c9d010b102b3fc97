from __future__ import annotations

import numpy as np
import pytest

from influence_store.errors import Incompatible, InputError
from influence_store.network.features import Features, lengths, scaling

RNG = np.random.default_rng(0)
BLOCKS = {
    "embedding": RNG.normal(size=(50, 8)).astype(np.float32),
    "lengths": RNG.normal(5, 3, size=(50, 2)).astype(np.float32),
}


def test_blocks_lie_side_by_side_in_the_order_given():
    features = Features.of(BLOCKS)
    assert features.names == ("embedding", "lengths")
    assert features.dims == (8, 2)
    np.testing.assert_array_equal(features.block("lengths"), BLOCKS["lengths"])
    swapped = features.select(["lengths", "embedding"])
    np.testing.assert_array_equal(swapped.values[:, :2], BLOCKS["lengths"])


def test_a_block_that_is_missing_is_named():
    with pytest.raises(Incompatible, match="llm-hidden"):
        Features.of(BLOCKS).select(["llm-hidden"])


def test_a_value_that_is_not_finite_is_located():
    bad = BLOCKS["embedding"].copy()
    bad[7, 3] = np.nan
    with pytest.raises(InputError, match=r"'embedding' .* first at row 7"):
        Features.of({"embedding": bad})


def test_blocks_of_different_length_are_refused():
    with pytest.raises(InputError, match=r"expected \(50, d\)"):
        Features.of({**BLOCKS, "lengths": BLOCKS["lengths"][:9]})


def test_every_block_gets_mean_squared_norm_one_over_the_seen_rows():
    features = Features.of(BLOCKS)
    seen = np.arange(30)
    x = scaling(features, seen)(features.values)[seen]
    for part in (x[:, :8], x[:, 8:]):
        assert (part**2).sum(1).mean() == pytest.approx(1.0, abs=1e-5)
        np.testing.assert_allclose(part.mean(0), 0.0, atol=1e-5)


def test_scaling_keeps_the_shape_of_the_embedding():
    features = Features.of({"embedding": BLOCKS["embedding"] * np.arange(1, 9, dtype=np.float32)})
    weight = scaling(features, np.arange(50)).weight
    assert np.ptp(weight) == 0.0


def test_a_constant_column_is_switched_off():
    flat = BLOCKS["lengths"].copy()
    flat[:, 1] = 3.0
    layer = scaling(Features.of({"lengths": flat}), np.arange(50))
    assert layer.weight[1] == 0.0
    assert layer.weight[0] > 0.0


def test_lengths_are_log_of_one_plus_length():
    np.testing.assert_allclose(lengths([0, 9], [1, 99]), np.log([[1, 2], [10, 100]]), rtol=1e-6)

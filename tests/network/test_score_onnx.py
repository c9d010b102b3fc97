from __future__ import annotations

import numpy as np
import pytest

from influence_store.errors import Incompatible
from influence_store.network.features import Features
from influence_store.network.score_fits import fit_mean
from influence_store.network.score_onnx import OnnxScores
from influence_store.network.score_train import SCORE_FITS

pytest.importorskip("onnx")
from influence_store.exporters.onnx import export_onnx, export_scores

FINGERPRINTS = {"embedding": "e" * 32}


def trained(planter, name="kernel-ridge", power=1.0):
    e = planter.embedding.astype(float)
    score = np.exp(power * (3 * e[:, 0] + np.sin(5 * e[:, 1])))
    estimator = SCORE_FITS[name](score, planter.features, seed=0)
    used = {block: FINGERPRINTS[block] for block in estimator.features if block in FINGERPRINTS}
    probe = planter.features.select(estimator.features).values
    content = export_scores(estimator, fingerprints=used, probe=probe)
    return estimator, OnnxScores(content, device="cpu"), planter.features


@pytest.mark.parametrize("name", SCORE_FITS)
def test_the_file_scores_what_the_estimator_scores(planter, name):
    if name == "score-net":
        pytest.importorskip("torch")
    estimator, loaded, features = trained(planter, name)
    told = loaded.scores(features)
    expected = estimator.predict(features.select(estimator.features).values)
    assert told.shape == (120,)
    np.testing.assert_allclose(told, expected, rtol=1e-3, atol=1e-4)


def test_a_score_does_not_depend_on_its_neighbours_by_one_bit(planter):
    _, loaded, features = trained(planter)
    many = Features(np.tile(features.values, (3, 1)), features.names, features.dims)
    whole = loaded.scores(many)
    np.testing.assert_array_equal(whole[:120], whole[240:])
    order = np.random.default_rng(0).permutation(120)
    moved = Features(features.values[order], features.names, features.dims)
    np.testing.assert_array_equal(loaded.scores(moved), whole[:120][order])
    alone = Features(features.values[7:8], features.names, features.dims)
    assert loaded.scores(alone)[0] == whole[7]
    none = Features(features.values[:0], features.names, features.dims)
    assert loaded.scores(none).shape == (0,)


def test_another_embedder_is_refused_with_the_way_out(planter):
    _, loaded, features = trained(planter)
    loaded.check(features, FINGERPRINTS)
    with pytest.raises(Incompatible, match=r"(?s)'embedding' with fingerprint eee.*train again"):
        loaded.check(features, {"embedding": "f" * 32})
    wide = Features.of({"embedding": np.eye(13, dtype="f"), "lengths": np.ones((13, 2), "f")})
    with pytest.raises(Incompatible, match="12 columns, found 13"):
        loaded.check(wide, FINGERPRINTS)


def test_files_of_pairs_and_of_scores_are_not_taken_for_each_other(planter):
    from influence_store.network.baselines import fit_cosine
    from influence_store.network.onnx_estimator import OnnxEstimator

    pairs = export_onnx(
        fit_cosine(planter.cosine().pairs, planter.features, seed=0), fingerprints={}
    )
    scores = export_scores(fit_mean(np.arange(120.0), planter.features, seed=0), fingerprints={})
    with pytest.raises(Incompatible, match="pair-estimator/1"):
        OnnxScores(pairs)
    with pytest.raises(Incompatible, match="score-estimator/1"):
        OnnxEstimator(scores)

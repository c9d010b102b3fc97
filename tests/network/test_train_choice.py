"""On labels with planted structure the card must name the truth."""

from __future__ import annotations

import json

import numpy as np
import pytest

from influence_store.errors import InputError, NotFound
from influence_store.network.figures import figures
from influence_store.network.intervals import interval
from influence_store.network.labels import SeedPairs
from influence_store.network.train import choose, train

KERNEL = ("two-step-kernel-ridge",)


def test_interaction_is_trusted_to_kernel_ridge(planter):
    planted = planter.interaction(noise=0.3)
    trained = train(planted.pairs, planted.features, networks=KERNEL, seed=0)
    assert trained.estimator.network == "two-step-kernel-ridge"
    assert trained.card.verdict == "trusted"
    assert trained.card.own.additivity < 0.9
    assert trained.card.over_cosine.low > 0
    assert trained.card.own.interaction_r2 > 0.1


def test_additive_labels_are_flagged_as_blind_for_facility_location(planter):
    planted = planter.additive(noise=0.1)
    trained = train(planted.pairs, planted.features, networks=KERNEL, seed=0)
    assert trained.estimator.network == "additive-ridge"
    assert trained.card.own.additivity > 0.99
    assert trained.card.verdict == "weak"
    assert any("facility location is blind" in doubt for doubt in trained.card.doubts)
    assert trained.card.own.label_additivity > 0.9


def test_cosine_labels_choose_cosine(planter):
    planted = planter.cosine(noise=0.3)
    trained = train(planted.pairs, planted.features, networks=KERNEL, seed=0)
    assert trained.estimator.network == "cosine"
    assert trained.card.verdict == "no better than cosine"
    assert trained.card.own.r2 > 0.5


def test_noise_is_no_better_than_the_mean(planter):
    planted = planter.noise()
    trained = train(planted.pairs, planted.features, networks=KERNEL, seed=0)
    assert {card.verdict for card in trained.cards.values()} == {"no better than mean"}
    assert trained.card.own.r2 < 0.02


def test_published_network_is_judged_beside_the_others(planter):
    pytest.importorskip("torch")
    planted = planter.interaction(noise=0.3)
    trained = train(planted.pairs, planted.features, networks=["nn-cift"], seed=0)
    assert trained.cards["nn-cift"].own.additivity > 0.9  # the collapse: methods (b)
    assert trained.cards["nn-cift"].verdict != "trusted"


def test_every_number_of_the_card_is_recomputed_from_the_evidence(planter):
    planted = planter.interaction(noise=0.3)
    trained = train(planted.pairs, planted.features, networks=KERNEL, seed=5)
    held_out, card = trained.held_out, trained.card
    assert set(card.figures) == {"Q1", "Q2", "Q3", "Q4"}
    for quadrant, named in card.figures.items():
        for name, shown in named.items():
            assert shown == figures(held_out.pairs[quadrant], held_out.predicted[quadrant][name]), (
                quadrant,
                name,
            )
    gap = held_out.spearman(card.network) - held_out.spearman("cosine")
    assert card.over_cosine == interval(gap, seed=5)
    assert card.over_cosine.mean == pytest.approx(
        card.own.spearman_per_target - card.figures["Q4"]["cosine"].spearman_per_target
    )


def test_all_predictors_are_judged_on_the_very_same_labels(planter):
    planted = planter.interaction(noise=0.3)
    held_out = train(planted.pairs, planted.features, networks=KERNEL, seed=0).held_out
    judged = held_out.pairs["Q4"]
    assert len(judged.truth) == 3 * len(planted.pairs)  # few labels are kept back in 3 ways
    label = {
        (t, s): v
        for t, s, v in zip(
            planted.pairs.targets, planted.pairs.sources, planted.pairs.values, strict=True
        )
    }
    assert all(
        label[t, s] == v
        for t, s, v in zip(judged.targets, judged.sources, judged.truth, strict=True)
    )
    for predicted in held_out.predicted["Q4"].values():
        assert predicted.shape == judged.truth.shape
        assert np.isfinite(predicted).all()


def test_card_is_json_and_tells_its_verdict_first(planter):
    planted = planter.interaction(noise=0.3)
    card = train(planted.pairs, planted.features, networks=KERNEL, seed=0).card
    facts = json.loads(json.dumps(card.facts()))
    assert facts["verdict"] == card.verdict
    assert facts["figures"]["Q4"]["cosine"]["r2"] == card.figures["Q4"]["cosine"].r2
    lines = card.lines()
    assert lines[0] == f"{card.network}: {card.verdict}"
    assert any(line.startswith("→ two-step-kernel-ridge") for line in lines)


def test_the_same_seed_tells_the_same_story(planter):
    planted = planter.interaction(noise=1.0)
    one, other = (
        train(planted.pairs, planted.features, networks=KERNEL, seed=3).card.facts()
        for _ in range(2)
    )
    assert one == other


class Ranks:
    """Spearman and selection gain per target by name, in place of held-out predictions."""

    def __init__(self, gains: dict[str, list[float]] | None = None, **ranks: list[float]) -> None:
        self.ranks = {name: np.array(values) for name, values in ranks.items()}
        self.gains = {name: np.array(values) for name, values in (gains or {}).items()}
        self.errors: dict[str, np.ndarray] = {}
        self.label_additivity = 0.5

    def spearman(self, name: str) -> np.ndarray:
        return self.ranks[name]

    def gain(self, name: str, share: float) -> np.ndarray | None:
        return self.gains.get(name)

    def interaction_error(self, name: str) -> np.ndarray:
        return self.errors[name]


def test_simplest_within_one_standard_error_of_the_paired_difference_wins():
    near = Ranks(simple=[0.1, 0.5, 0.2, 0.6], rich=[0.2, 0.4, 0.3, 0.6])  # +.025 ± .048
    assert choose(near, ["simple", "rich"]) == "simple"
    far = Ranks(simple=[0.1, 0.5, 0.2, 0.6], rich=[0.3, 0.6, 0.4, 0.8])  # +.175 ± .025
    assert choose(far, ["simple", "rich"]) == "rich"


def test_network_that_selects_worse_than_cosine_is_not_considered():
    ranks = {"cosine": [0.1, 0.2, 0.1, 0.2], "rich": [0.5, 0.6, 0.4, 0.8]}
    names = ["cosine", "rich"]
    better = {"cosine": [0.2, 0.1, 0.2, 0.1], "rich": [0.3, 0.1, 0.3, 0.1]}
    assert choose(Ranks(better, **ranks), names) == "rich"
    worse = {"cosine": [0.2, 0.1, 0.2, 0.1], "rich": [-0.1, 0.0, -0.1, 0.1]}
    assert choose(Ranks(worse, **ranks), names) == "cosine"
    unclear = {"cosine": [0.2, 0.1, 0.2, 0.1], "rich": [0.9, -0.9, 0.8, -0.3]}
    assert choose(Ranks(unclear, **ranks), names) == "rich"


def test_selection_gain_decides_between_equal_ranks():
    ranks = {"cosine": [0.1] * 4, "simple": [0.4] * 4, "rich": [0.4] * 4}
    gains = {"cosine": [0.1] * 4, "simple": [0.1, 0.2, 0.1, 0.2], "rich": [0.5, 0.6, 0.5, 0.6]}
    assert choose(Ranks(gains, **ranks), ["cosine", "simple", "rich"]) == "rich"


def test_rank_alone_decides_where_labels_are_nearly_additive():
    ranks = {"cosine": [0.1] * 4, "additive-ridge": [0.5] * 4, "rich": [0.4, 0.3, 0.4, 0.3]}
    gains = {"cosine": [0.1] * 4, "additive-ridge": [0.1] * 4, "rich": [0.6] * 4}
    held_out = Ranks(gains, **ranks)
    held_out.errors = {name: np.full(4, 1.0) for name in ranks}
    assert choose(held_out, list(ranks)) == "rich"
    held_out.label_additivity = 0.97
    assert choose(held_out, list(ranks)) == "additive-ridge"


def test_one_score_per_sample_gives_way_where_interaction_is_seen():
    ranks = Ranks(**{"additive-ridge": [0.4] * 4, "rich": [0.4] * 4})
    names = ["additive-ridge", "rich"]
    ranks.errors = {"additive-ridge": np.array([1.0, 1.2, 1.1, 0.9]), "rich": np.full(4, 1.05)}
    assert choose(ranks, names) == "additive-ridge"
    ranks.errors["rich"] = np.array([0.8, 0.9, 0.9, 0.8])
    assert choose(ranks, names) == "rich"


def test_labels_of_one_target_are_refused_before_training(planter):
    pairs = SeedPairs(np.zeros(30, int), np.arange(60, 90), np.arange(30.0))
    with pytest.raises(InputError, match="1 target and 30 sources, expected at least 2"):
        train(pairs, planter.features, seed=0)


def test_no_labels_are_refused(planter):
    none = SeedPairs(np.zeros(0, int), np.zeros(0, int), np.zeros(0), {"unlabelled": 12})
    with pytest.raises(InputError, match="'unlabelled': 12"):
        train(none, planter.features, seed=0)


def test_equal_labels_are_refused(planter):
    planted = planter.block(np.full((120, 120), 0.25))
    with pytest.raises(InputError, match=r"all 1600 labels are 0\.25"):
        train(planted.pairs, planted.features, seed=0)


def test_too_few_pairs_to_judge_are_refused(planter):
    planted = planter.interaction()
    few = planted.pairs.take(planted.pairs.sources < 64)
    with pytest.raises(InputError, match="expected 8"):
        train(few, planted.features, seed=0)


def test_unknown_network_names_the_known_ones(planter):
    planted = planter.interaction()
    with pytest.raises(NotFound, match="two-step-kernel-ridge"):
        train(planted.pairs, planted.features, networks=["two-step-kernel"], seed=0)

"""How good is an estimator from another store, beside what the labels here alone could teach?

What it learned from is not here, so the baselines cannot be fitted to that. They are fitted to the
labels here, fold by fold as `train` does, and asked for samples kept back: the estimator has to
beat what one would get by training on these labels, which is the choice at hand. Pairs with a
sample that it was taught on are left out; near-duplicates of such samples are not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from influence_store.network import NETWORKS
from influence_store.network.evaluate import predict_held_out
from influence_store.network.features import Features
from influence_store.network.train import BASELINES, splits_of

if TYPE_CHECKING:
    from influence_store.network.evaluate import Fit, HeldOut
    from influence_store.network.labels import SeedPairs
    from influence_store.network.onnx_estimator import OnnxEstimator
    from influence_store.protocols import Floats


def held_out_of_pulled(
    name: str, estimator: OnnxEstimator, fresh: SeedPairs, features: Features, *, seed: int
) -> HeldOut:
    """What the file `estimator`, called `name`, and the baselines say of `fresh` pairs."""

    def as_it_is(_pairs: SeedPairs, _features: Features, *, seed: int) -> Any:
        return _Stored(estimator)

    fits: dict[str, Fit] = {one: NETWORKS.get(one) for one in BASELINES}
    fits[name] = as_it_is
    return predict_held_out(fresh, features, splits_of(fresh, seed), fits, seed=seed)


class _Stored:
    """The stored file where a fitted network is expected."""

    def __init__(self, estimator: OnnxEstimator) -> None:
        self.features, self._estimator = estimator.features, estimator

    def predict(self, targets: Floats, sources: Floats) -> Floats:
        """(n_targets, n_sources), of rows of the features that it reads."""
        sides = [Features(rows, self.features, self._estimator.dims) for rows in (targets, sources)]
        return self._estimator.influence(
            self._estimator.target_vectors(sides[0]), self._estimator.source_vectors(sides[1])
        )

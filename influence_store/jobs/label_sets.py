"""How far do label sets of one method agree, where models, revisions, templates or cuts differ?

Only pairs that both have measured are compared. Nothing is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from influence_store.network.agreement import Agreement, agreement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Doubles
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store
    from influence_store.store.versions import Version


@dataclass(frozen=True)
class LabelSet:
    """Another label set of the method: what its facts say otherwise, and agreement per output."""

    fingerprint: str
    differs: tuple[str, ...]
    outputs: Mapping[str, Agreement]

    def facts(self) -> dict[str, Any]:
        """As stored; JSON-able."""
        outputs = {name: one.facts() for name, one in self.outputs.items()}
        return {**vars(self), "differs": list(self.differs), "outputs": outputs}

    def lines(self) -> list[str]:
        """For people."""
        told = f"  against labels {self.fingerprint[:12]} (other {', '.join(self.differs)}):"
        return [told, *[f"    {name}: {one.line()}" for name, one in self.outputs.items()]]


def compare_label_sets(
    store: Store, version: Version, targets: Version, producer: Producer, *, seed: int
) -> list[LabelSet]:
    """Every other label set of the method of `producer` that shares pairs with it, oldest first.

    Agreement is that of the other's value with the value of `producer`.
    """
    own = known_labels(store, producer, version, targets)
    found = []
    for other in store.producers("pairs"):
        if other.name != producer.name or other.id == producer.id:
            continue
        outputs = agreements(own, known_labels(store, other, version, targets), seed=seed)
        if outputs:
            differs = tuple(_differing(producer.facts, other.facts))
            found.append(LabelSet(other.fingerprint, differs, outputs))
    return found


def known_labels(
    store: Store, producer: Producer, version: Version, targets: Version
) -> pl.DataFrame:
    """Labelled pairs between the versions: source, target and a column per output, if any."""
    return store.pairs(producer).filter(
        pl.col("source").is_in(version.bits.to_array())
        & pl.col("target").is_in(targets.bits.to_array())
    )


def agreements(first: pl.DataFrame, second: pl.DataFrame, *, seed: int) -> dict[str, Agreement]:
    """Per output of both, over the pairs that both have measured; without those that have none."""
    both = first.join(second, on=["source", "target"], suffix=" again", maintain_order="left")
    targets, sources = both["target"].to_numpy(), both["source"].to_numpy()
    found = {}
    for name in (column for column in first.columns if f"{column} again" in both.columns):
        ours, theirs = _floats(both[name]), _floats(both[f"{name} again"])
        if (one := agreement(ours, theirs, targets, sources, seed=seed)) is not None:
            found[name] = one
    return found


def _floats(values: pl.Series) -> Doubles:
    out: Doubles = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return out


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any], within: str = "") -> list[str]:
    """Names of the facts that are not the same, `outer.inner`."""
    names = []
    for key in sorted({*ours, *theirs}):
        a, b = ours.get(key), theirs.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            names += _differing(a, b, f"{within}{key}.")
        elif a != b:
            names.append(f"{within}{key}")
    return names

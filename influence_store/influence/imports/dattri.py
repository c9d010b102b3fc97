"""dattri: what `attribute()` and `self_attribute()` return, saved by the user as `.pt` or `.npy`.

`attribute` gives (n_train, n_test) (dattri 0.3, `algorithm/trak.py`, `algorithm/tracin.py`), that
is source × target, so it is transposed; `self_attribute` gives (n_train,). Loaders must not have
been shuffled, which dattri checks itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from influence_store.influence.imports.arrays import numpy_array, torch_tensor
from influence_store.influence.imports.matrices import read_source_by_target

if TYPE_CHECKING:
    from pathlib import Path

    from influence_store.influence.imports.identity import Manifest
    from influence_store.influence.imports.scores import Read


def read(path: Path, manifest: Manifest) -> Read:
    """Pairs from a matrix, points from a vector."""
    array = numpy_array(path) if path.suffix == ".npy" else torch_tensor(path)
    return read_source_by_target(path, array, manifest)

"""How is an exported estimator of scores run? Through ONNX Runtime, in runs of one shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from influence_store.network.onnx_estimator import BATCH_ROWS, filled
from influence_store.network.onnx_file import check_finite, check_inputs, open_onnx, run_onnx
from influence_store.schema.estimator import SCORE_FORMAT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.network.features import Features
    from influence_store.network.onnx_file import Device
    from influence_store.protocols import Floats


class OnnxScores:
    """The estimator of scores in one ONNX file; `metadata` and `provider` as of OnnxEstimator.

    A short batch is filled up, so a sample's score does not depend on its neighbours.
    """

    def __init__(self, content: bytes, *, device: Device = "auto") -> None:
        self._session, self.provider, self.metadata = open_onnx(content, device, SCORE_FORMAT)
        self.features = tuple(self.metadata["features"])

    def check(self, features: Features, fingerprints: Mapping[str, str]) -> None:
        """Incompatible unless blocks, widths and producers are those it was trained on."""
        check_inputs(self.metadata, features, fingerprints)

    def scores(self, features: Features) -> Floats:
        """One score per row, (n,), in the teacher's own units; higher as in its values.

        Incompatible where the graph fails or gives NaN.
        """
        reader = f"estimator {self.metadata['network']!r}"
        rows = features.select(self.features).values
        out = np.empty(len(rows), np.float32)
        for k in range(0, len(rows), BATCH_ROWS):
            part = rows[k : k + BATCH_ROWS]
            fed = {"features": filled(part, BATCH_ROWS)}
            scores = run_onnx(self._session, "score", fed, reader)
            out[k : k + BATCH_ROWS] = check_finite(scores, (BATCH_ROWS,), reader)[: len(part)]
        return out

"""The quick form of a trial: a linear map from the prompt's embedding to the response's.

    W, b = argmin Σ_j ‖e(y_j) − W e(x_j) − b‖² + λ ‖W‖²,      error_i = ‖e(y_i) − W e(x_i) − b‖²

Prompt and response are embedded apart, each to length 1, so an error is a squared distance in
[0, 4]. λ is chosen by leave-one-out error, in closed form, on the training rows alone (per output
dimension). Like fine-tuning it learns what to answer from pairs of prompt and answer: wrong answers
and repetitions cost it, and length, style and difficulty of the texts hardly matter to it. It says
nothing of what a language model would learn beyond that, and takes seconds.

There is nothing random in it: the same rows give the same map. What is equal between arms is the
number of rows; there are no tokens and no steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from influence_store.errors import UsageError
from influence_store.network.ridge import left_out_ridge

if TYPE_CHECKING:
    from influence_store.protocols import Doubles

#: Fewer rows have no left-out error to choose λ by.
MIN_ROWS = 3


def probe_errors(prompts: Doubles, responses: Doubles, held: tuple[Doubles, Doubles]) -> Doubles:
    """Squared distance to each held-out response, (m,), after fitting on (n, d) rows.

    `held` are prompts (m, d) and responses (m, d). UsageError for fewer than MIN_ROWS rows.
    """
    if len(prompts) < MIN_ROWS:
        raise UsageError(
            f"{len(prompts)} rows are too few for the probe, which needs {MIN_ROWS}",
            hint="select more rows",
        )
    weights, bias, _, _ = left_out_ridge(_unit(prompts), _unit(responses))
    found = _unit(held[0]) @ weights + bias
    errors: Doubles = ((_unit(held[1]) - found) ** 2).sum(axis=1)
    return errors


def _unit(vectors: Doubles) -> Doubles:
    whole = np.asarray(vectors, np.float64)
    norms: Doubles = np.linalg.norm(whole, axis=1, keepdims=True)
    return whole / norms

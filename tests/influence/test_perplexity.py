from __future__ import annotations

import numpy as np
import pytest

from influence_store.influence.perplexity import Perplexity
from influence_store.influence.response_pass import ResponseRead


def test_perplexity_of_the_worked_example_in_both_scales(tiny):
    # methods.md §0.2
    values = Perplexity(tiny).values(ResponseRead(np.log([0.5, 0.25])))
    assert values["perplexity"] == pytest.approx(2.828427, abs=1e-6)
    assert values["perplexity-nll"] == pytest.approx(np.log(8) / 2)


def test_certain_response_has_the_least_perplexity(tiny):
    method = Perplexity(tiny)
    values = method.values(ResponseRead(np.zeros(3)))
    assert values["perplexity"] == method.spec.bounds[0]
    assert values["perplexity-nll"] == 0.0


def test_uniform_guess_among_v_words_has_perplexity_v(tiny):
    values = Perplexity(tiny).values(ResponseRead(np.full(5, -np.log(17))))
    assert values["perplexity"] == pytest.approx(17)


def test_direction_is_declared_as_none(tiny):
    assert Perplexity(tiny).spec.higher_means == "neither"

from __future__ import annotations

import math

import numpy as np
import pytest

from influence_store.influence.ifd import Ifd
from influence_store.influence.response_pass import ResponseRead

GIVEN, ALONE = np.log([0.5, 0.25]), np.log([0.25, 0.25])


def test_ifd_of_the_worked_example_is_kept(tiny):
    # methods.md §0.2
    values = Ifd(tiny).values(ResponseRead(GIVEN, ALONE))
    assert values["ifd"] == pytest.approx(0.707107, abs=1e-6)
    assert values["ifd-below-1"] == values["ifd"]


def test_prompt_that_misleads_has_an_ifd_but_is_discarded(tiny):
    values = Ifd(tiny).values(ResponseRead(ALONE, GIVEN))
    assert values["ifd"] == pytest.approx(1 / 0.707107, abs=1e-6)
    assert math.isnan(values["ifd-below-1"])


def test_prompt_that_changes_nothing_is_discarded_too(tiny):
    values = Ifd(tiny).values(ResponseRead(GIVEN, GIVEN))
    assert values["ifd"] == 1.0
    assert math.isnan(values["ifd-below-1"])


def test_ratio_of_mean_losses_follows_from_stored_columns():
    from influence_store.influence.formulas import ifd, mean_logp

    nll, ratio = -mean_logp(GIVEN), ifd(GIVEN, ALONE)
    assert nll / (nll - math.log(ratio)) == pytest.approx(mean_logp(GIVEN) / mean_logp(ALONE))

from __future__ import annotations

import math

import numpy as np
import pytest

from influence_store.influence.formulas import (
    el2n_token,
    ifd,
    mean_logp,
    perplexity,
    pvi_bits,
    rms_miss,
)

# methods.md §0.2: p(y | x) and p(y | ∅) of a response of two tokens
GIVEN = np.log([0.5, 0.25])
ALONE = np.log([0.25, 0.25])
# methods.md §2.6: the same response without and with an example
P0 = np.log([0.5, 0.25, 0.8])
P1 = np.log([0.7, 0.25, 0.9])


def test_perplexity_of_the_worked_example():
    assert perplexity(GIVEN) == pytest.approx(2.828427, abs=1e-6)


def test_ifd_of_the_worked_example():
    assert ifd(GIVEN, ALONE) == pytest.approx(0.707107, abs=1e-6)


def test_pvi_of_the_worked_example_is_one_bit():
    assert pvi_bits(GIVEN, ALONE) == pytest.approx(1.0)


def test_ifd_is_two_to_the_minus_pvi_per_token():
    assert ifd(P1, P0) == pytest.approx(2 ** (-pvi_bits(P1, P0) / 3))


def test_delift_distances_of_the_worked_example():
    assert rms_miss(P0) == pytest.approx(0.533073, abs=1e-6)
    assert rms_miss(P1) == pytest.approx(0.469929, abs=1e-6)
    assert rms_miss(P0) - rms_miss(P1) == pytest.approx(0.063144, abs=1e-6)


def test_delift_kl_sum_of_the_worked_example_is_three_means():
    assert 3 * (mean_logp(P1) - mean_logp(P0)) == pytest.approx(0.454255, abs=1e-6)


def test_el2n_equals_the_norm_of_the_whole_error_vector():
    p = np.array([[0.2, 0.5, 0.3], [0.9, 0.05, 0.05]])
    gold = np.array([1, 2])
    error = p - np.eye(3)[gold]
    logp = np.log(p[[0, 1], gold])
    np.testing.assert_allclose(
        el2n_token(logp, (p**2).sum(1)), np.linalg.norm(error, axis=1), rtol=1e-12
    )


def test_el2n_of_a_certain_token_is_zero_despite_rounding():
    assert el2n_token(np.zeros(1), np.array([1.0 - 1e-12])) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("miss", [1e-3, 1e-5, 1e-7])
def test_el2n_of_an_easy_token_is_right_to_a_factor_despite_float32(miss):
    # Σ p² − 2 p + 1 in float32 has an error of 1e-7, which would be 3e-4 in its root.
    p = np.array([1.0 - miss, 0.7 * miss, 0.3 * miss])
    true = np.linalg.norm(p - [1, 0, 0])
    for rounding in (-1e-7, 0.0, 1e-7):
        (got,) = el2n_token(np.log1p([-miss]), np.array([(p**2).sum() + rounding]))
        assert true / np.sqrt(2) <= got <= true * np.sqrt(2)


def test_el2n_never_leaves_its_bounds_whatever_the_rounding():
    errors = el2n_token(np.array([-1e3, 1e-7, 0.0]), np.array([1.0 + 1e-6, 1.0 + 1e-6, 0.99]))
    assert (errors >= 0.0).all()
    assert (errors <= np.sqrt(2.0)).all()


def test_ifd_of_two_hopeless_responses_does_not_overflow():
    assert ifd(np.full(2, -1000.0), np.full(2, -1001.0)) == pytest.approx(math.exp(-1.0))


def test_distance_stays_between_zero_and_one():
    assert rms_miss(np.array([0.0])) == 0.0
    assert rms_miss(np.array([-800.0])) == 1.0


@pytest.mark.parametrize("of", [rms_miss, mean_logp, perplexity])
def test_nothing_scored_is_nan_not_zero(of):
    assert math.isnan(of(np.zeros(0)))


@pytest.mark.parametrize("of", [ifd, pvi_bits])
def test_comparison_of_nothing_is_nan(of):
    assert math.isnan(of(np.zeros(0), np.zeros(0)))

from __future__ import annotations

import numpy as np
import pytest
from regression_learner import LinearRegression, LogisticRegression, checkpoint, sample, samples

from influence_store.errors import InputError
from influence_store.influence.dealrec import DealRec, combined
from influence_store.schema.identity import fingerprint
from influence_store.schema.sample import Sample


def ridge(X, y, penalty):
    n = len(X)
    return np.linalg.solve(X.T @ X / n + penalty * np.eye(X.shape[1]), X.T @ y / n)


def dealrec(X, y, targets, penalty, **more):
    """At the ridge solution; the recursion's ridge is the penalty of the fit."""
    learner = LinearRegression(X.shape[1])
    rows = samples(X, y)
    top = float(np.linalg.eigvalsh(X.T @ X / len(X))[-1])
    scale = max(1.05 * top, 2.0 * penalty)
    solver = {"scale": scale, "damping": penalty / scale, "steps": 20000, "tolerance": 1e-6}
    theta = ridge(X, y, penalty)
    made = DealRec(learner, [checkpoint(theta)], targets=targets, fit=rows, **{**solver, **more})
    return made, rows, theta


def test_three_row_ridge_oracle_on_the_training_risk():
    X, y = np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 3.0, 2.0])
    made, rows, theta = dealrec(X, y, samples(X, y), penalty=0.5)
    assert theta == pytest.approx(0.838710, abs=1e-6)
    influence = made.score(rows).values["dealrec-influence"]
    assert influence == pytest.approx([0.004364, 0.071565, -0.041892], abs=2e-6)


def test_influence_is_the_rise_of_the_held_out_risk_when_a_row_is_left_out():
    rng = np.random.default_rng(0)
    X, truth = rng.standard_normal((200, 5)), rng.standard_normal(5)
    y = X @ truth + 0.5 * rng.standard_normal(200)
    held_x = rng.standard_normal((50, 5))
    held_y = held_x @ truth + 0.5 * rng.standard_normal(50)

    made, rows, theta = dealrec(X, y, samples(held_x, held_y), penalty=0.1)
    influence = made.score(rows).values["dealrec-influence"]

    def risk(at):
        return 0.5 * np.mean((held_x @ at - held_y) ** 2)

    # Leaving a row out keeps the weight 1/n of the others, as the derivation does.
    A, b = X.T @ X / 200 + 0.1 * np.eye(5), X.T @ y / 200
    exact = np.array(
        [
            risk(np.linalg.solve(A - np.outer(x, x) / 200, b - x * value / 200)) - risk(theta)
            for x, value in zip(X, y, strict=True)
        ]
    )
    assert np.corrcoef(influence, exact)[0, 1] >= 0.99
    assert np.polyfit(exact, influence, 1)[0] == pytest.approx(1.0, abs=0.1)


def test_unpenalised_training_risk_has_no_influence_but_a_held_out_risk_has():
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((40, 2)), rng.standard_normal(40)
    learner = LinearRegression(2)
    rows = samples(X, y)
    here = [checkpoint(np.linalg.lstsq(X, y)[0])]
    own = DealRec(learner, here, targets=rows, fit=rows).score(rows)
    held = DealRec(learner, here, targets=rows[:5], fit=rows).score(rows)
    largest = np.abs(held.values["dealrec-influence"]).max()
    assert np.abs(own.values["dealrec-influence"]).max() < 1e-5 * largest


def test_effort_is_the_gradient_norm():
    X, y = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([2.0, 0.0])
    made, rows, theta = dealrec(X, y, samples(X, y), penalty=0.5)
    expected = np.abs(X @ theta - y) * np.linalg.norm(X, axis=1)
    assert made.score(rows).values["dealrec-effort"] == pytest.approx(expected, rel=1e-5)


def test_last_checkpoint_counts_and_weights_are_put_back():
    X, y = np.array([[1.0], [2.0]]), np.array([1.0, 1.0])
    learner, rows = LinearRegression(1), samples(X, y)
    before = learner.theta.copy()
    values = [
        DealRec(learner, checkpoints, targets=rows, fit=rows).score(rows).values
        for checkpoints in ([checkpoint([0.5])], [checkpoint([9.0]), checkpoint([0.5])])
    ]
    assert np.array_equal(values[0]["dealrec-influence"], values[1]["dealrec-influence"])
    assert np.array_equal(learner.theta, before)


def test_row_does_not_depend_on_the_others_of_the_call():
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((30, 3)), rng.standard_normal(30)
    made, rows, _ = dealrec(X, y, samples(X[:4], y[:4]), penalty=0.3)
    together = made.score(rows)
    apart = made.score(rows[7:8])
    for name in made.spec.outputs:
        assert apart.values[name][0] == together.values[name][7]


def test_hessian_is_solved_once():
    X, y = np.array([[1.0], [2.0]]), np.array([1.0, 3.0])
    made, rows, _ = dealrec(X, y, samples(X, y), penalty=0.5)
    made.score(rows)
    before = made.ledger.llm_passes
    made.score(rows)
    assert made.ledger.llm_passes - before == 2


def test_row_that_does_not_fit_or_has_no_response_is_nan_not_zero():
    X, y = np.array([[1.0], [2.0]]), np.array([1.0, 3.0])
    made, rows, _ = dealrec(X, y, samples(X, y), penalty=0.5)
    found = made.score([sample([1.0, 2.0], 1.0), Sample.of("1.0", ""), rows[0]])
    assert np.isnan(found.values["dealrec-influence"]).tolist() == [True, True, False]
    assert np.isnan(found.values["dealrec-effort"]).tolist() == [True, True, False]
    assert found.truncated.tolist() == [True, False, False]
    assert found.n_tokens.tolist() == [0, 0, 1]


def test_unreadable_targets_are_refused_and_some_are_counted(caplog):
    learner, rows = LinearRegression(1), samples([[1.0], [2.0]], [1.0, 3.0])
    long = sample([1.0, 2.0], 1.0)
    with pytest.raises(InputError, match=r"0 of 1 targets can be read \(1 do not fit\)"):
        DealRec(learner, [checkpoint([0.5])], targets=[long], fit=rows)
    DealRec(learner, [checkpoint([0.5])], targets=[long, rows[0]], fit=rows)
    assert "1 of 2 targets can be read (1 do not fit)" in caplog.text


def test_unconverged_recursion_is_told(caplog):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((30, 3)) * [10.0, 1.0, 0.3], rng.standard_normal(30)
    made, rows, _ = dealrec(X, y, samples(X, y), penalty=0.01, steps=2)
    made.score(rows)
    assert "residual" in caplog.text


def test_everything_that_decides_a_value_is_in_the_facts():
    learner, rows = LinearRegression(1), samples([[1.0], [2.0], [3.0]], [1.0, 3.0, 2.0])

    def name(theta=0.5, **more):
        given = {"targets": rows[:1], "fit": rows, **more}
        return fingerprint(DealRec(learner, [checkpoint([theta])], **given).facts)

    changes = [
        {"theta": 0.6},
        {"targets": rows[1:2]},
        {"fit": rows[:2]},
        {"damping": 0.02},
        {"scale": 30.0},
        {"steps": 9},
        {"hessian_batch": 2},
        {"tolerance": 1e-2},
        {"seed": 1},
    ]
    names = [name()] + [name(**change) for change in changes]
    assert len(set(names)) == len(names)
    assert name() == names[0]


def test_rows_with_a_wrong_label_have_negative_influence():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((120, 3))
    y = np.sign(X @ [1.0, -2.0, 0.5])
    planted = y.copy()
    planted[:12] *= -1.0
    learner, rows = LogisticRegression(3), samples(X, planted)
    here = [checkpoint([0.8, -1.6, 0.4])]
    held = samples(X[60:], y[60:])
    made = DealRec(learner, here, targets=held, fit=rows, damping=0.05)
    influence = made.score(rows).values["dealrec-influence"]
    assert np.mean(influence[:12] < 0.0) > 0.8
    assert influence[:12].mean() < 0.0 < influence[12:].mean()


def test_combined_scales_both_sides_to_one_and_keeps_nan():
    influence = np.array([-1.0, 0.0, 3.0, np.nan])
    effort = np.array([5.0, 1.0, 3.0, 2.0])
    assert combined(influence, effort, 0.5)[:3] == pytest.approx([0.5, 0.25, 1.25])
    assert np.isnan(combined(influence, effort)[3])
    assert combined(np.ones(2), np.array([1.0, 2.0]), 2.0).tolist() == [0.0, 2.0]


@pytest.mark.llm
def test_real_llm_is_helped_most_by_the_held_out_row_itself(small, short_samples):
    from influence_store.influence.lora import LoraLm

    learner = LoraLm(small, trainable="last-layer", max_response_tokens=8)
    rows = short_samples[:3]
    here = [checkpoint(learner.weights())]
    solver = {"scale": 500.0, "damping": 0.9, "steps": 4, "hessian_batch": 1}
    made = DealRec(learner, here, targets=rows[1:2], fit=rows, **solver)
    found = made.score(rows).values
    assert found["dealrec-influence"].argmax() == 1
    assert found["dealrec-influence"][1] > 0.0
    assert (found["dealrec-effort"] > 0.0).all()
    assert made.solution.residual < 0.5

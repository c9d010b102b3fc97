"""The verdict and the interval of an estimate stand beside it in SQL."""

from __future__ import annotations

import json

import pytest


def rows(run, sql):
    return json.loads(run("query", "--format", "json", sql))


def test_verdict_and_interval_of_every_estimate_are_those_of_its_card(stages, tmp_path):
    run = stages.copy_after("fill", tmp_path / "store")
    (card,) = rows(run, "select name, verdict, card from estimators")
    column = "est_" + card["name"].replace("-", "_")
    names = (
        f"{column} as est, {column}_verdict as verdict, {column}_low as low, {column}_high as high"
    )
    told = rows(run, f"select {names} from demo where {column} is not null")
    assert {row["verdict"] for row in told} == {card["verdict"]}
    half = json.loads(card["card"])["scalar_interval"]["half_width"]
    assert half is not None
    for row in told:
        assert row["high"] - row["est"] == pytest.approx(half, rel=1e-5)
        assert row["est"] - row["low"] == pytest.approx(half, rel=1e-5)
    # `*` has them side by side; a selection's table, too, and either can be named without the rest.
    star = list(rows(run, "select * from demo limit 1")[0])
    k = star.index(column)
    assert star[k : k + 4] == [column, f"{column}_verdict", f"{column}_low", f"{column}_high"]
    best = f"select {column}_low from demo order by {column}_low desc limit 3"
    lows = sorted((row["low"] for row in told), reverse=True)[:3]
    assert [row[f"{column}_low"] for row in rows(run, best)] == pytest.approx(lows)


def test_a_row_without_an_estimate_has_no_verdict(stages, tmp_path, write_rows):
    run = stages.copy_after("fill", tmp_path / "store")
    more = write_rows(tmp_path / "more.jsonl", range(500, 503))
    run("ingest", str(more), "--dataset", "demo", "--no-fill")
    (card,) = rows(run, "select name from estimators")
    column = "est_" + card["name"].replace("-", "_")
    bare = rows(run, f"select {column}_verdict v, {column}_low l from demo where {column} is null")
    assert bare == [{"v": None, "l": None}] * 3

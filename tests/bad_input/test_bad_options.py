"""Budgets, seeds, settings and SQL that make no sense: rows 38, 39 and 57."""

from __future__ import annotations

import pytest

BUDGETS = {
    "0": "budget 0 of 40 samples is less than one",
    "0%": "budget 0% of 40 samples is less than one",
    "-1": "budget -1 allows no sample",
    "-5%": "'-5%' is not a budget",
    "nan": "'nan' is not a budget",
    "inf": "'inf' is not a budget",
    "1.5": "budget 1.5 is not a whole number of samples",
    "1e1": "budget 1e1 is not a whole number of samples",
    "0.1": "budget 0.1 is neither a count nor a share\n  for that share of .*: --budget 10%",
    "41": "budget 41 asks for 41 of 40 samples\n  to take all of them",
    "200%": "budget 200% asks for 80 of 40 samples\n  to take all of them",
    "9" * 30: "asks for 9{30} of 40 samples",
    "": "'' is not a budget\n  give a number",
    "ten": "'ten' is not a budget",
    "１０": "'１０' is not a budget",
    "1_0": "'1_0' is not a budget",
    "0-tokens": "budget 0-tokens allows no token",
    "5\x1b[31m": r"'5\\x1b\[31m' is not a budget",
}


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_budget_that_is_unclear_or_impossible_is_refused(trial, budget):
    trial.refused(2, BUDGETS[budget], "select", "pool", f"--budget={budget}")


SELECT = {
    "--seed=-1": (2, "'--seed': -1 is not in the range"),
    "--seed=x": (2, r"'--seed': 'x' is not a valid integer\."),
    "--seed=1.5": (2, "'--seed': '1.5' is not a valid integer"),
    "--seed=" + "9" * 20: (2, "'--seed': 9{20} is not in the range"),
    "--objective=flqmmi": (4, "no set function named 'flqmmi'; did you mean flqmi"),
    "--objective=flqmi": (2, "objective flqmi needs --target D"),
    "--objective=top": (2, "this selector needs a score\n  say which: --by est_guess"),
    "--kernel=gues": (4, "no kernel named 'gues'; did you mean guess"),
    "--by=est_guess": (2, "--by means nothing to a set function\n  add: --objective top"),
    "--optimizer=greedyy": (4, "no set optimizer named 'greedyy'"),
    "--path=zz": (2, "'zz' is no way to compute\n  --path memory"),
    "--memory=0": (2, "'0' is no amount of memory"),
    "--duplicates=zz": (2, "'zz' is no policy for duplicates\n  say one of: keep-first"),
    "--duplicates=highest:zz": (4, "no column named 'zz'"),
    "--target=exam": (4, "no dataset named 'exam'"),
    "--target=pool=nan": (2, "'nan' is no weight"),
    "--given=zz": (4, "no dataset named 'zz'"),
    "--quota=zz": (2, "'zz' is not a quota\n  say --quota"),
    "--from=zz": (4, "no selection named 'zz'"),
    "--tokenizer=/no/such": (4, "no tokenizer at /no/such"),
    "--by=zz": (2, "--by means nothing to a set function"),
    "--set=zz": (2, "--set 'zz' is not of the form NAME=VALUE"),
    "--set=zz=1": (2, "objective facility-location has no option 'zz'"),
    "--budjet=1": (2, "No such option.*--bud"),
}


@pytest.mark.parametrize("option", SELECT)
def test_an_option_of_select_that_makes_no_sense_is_refused(trial, option):
    code, told = SELECT[option]
    trial.refused(code, told, "select", "pool", "--budget", "5", option)


@pytest.mark.parametrize("weight", ["nan", "x", "-1", "null", "[1]", "true", "1e999"])
def test_a_weight_must_be_a_number(trial, weight):
    told = "(lam is .*; expected a finite number ≥ 0|not a number)"
    command = ("select", "pool", "--budget", "5", "--objective", "graph-cut")
    trial.refused(2, told, *command, f"--set=lam={weight}")


OTHERS = {
    "top pool -k 0": (2, "'-k': 0 is not in the range"),
    "top pool --method zz": (4, "no bilinear method with vectors named 'zz'; known: deli"),
    "duplicates pool --jaccard nan": (2, "--jaccard nan is not above 0 and at most 1"),
    "duplicates pool --cosine 2": (2, "--cosine 2 is not above 0 and at most 1"),
    "leaks pool --target zz": (4, "no dataset named 'zz'"),
    "leaks pool --target hostile --share -1": (2, "--share -1 is not above 0 and at most 1"),
    "label pool --pairs 0": (2, "'--pairs': 0 is not in the range"),
    "label pool --rows -1": (2, "--rows '-1' is no number of rows\n  for example 500"),
    "label pool --share 0%": (2, "'0%' is not a share\n  for example: 5%"),
    "label pool --share nan": (2, "'nan' is not a share"),
    "label pool --minutes 0": (2, "'--minutes': 0.0 is not in the range"),
    "label pool --rows 5 --pairs 5": (2, "say how much to label\n  one of --rows 500"),
    "label pool --pairs 5": (2, "delift asks a model\n  say which: --model PATH"),
    "label pool --pairs 5 --method delft": (4, "no influence method named 'delft'; did you"),
    "label pool --pairs 5 --model /no/such": (4, "no file or folder /no/such"),
    "train pool --method zz": (4, "no label set named 'zz'; known: foreign, grads, quality"),
    "train pool --method quality --network zz": (4, "no network named 'zz'; known: kernel-ridge"),
    "train pool --method foreign --output zz": (2, "foreign has no output 'zz'\n  it has foreign"),
    "train pool --method foreign --seed -5": (2, "'--seed': -5 is not in the range"),
    "fill pool --estimator zz": (4, "no estimator named 'zz'; known: guess"),
    "evaluate zz --on pool": (4, "no estimator named 'zz'"),
    "embed pool --embedder zz": (4, "no embedder named 'zz'; known: hashing, onnx"),
    "embed pool --embedder onnx:": (2, "'onnx' needs a model"),
    "log --limit 0": (2, "'--limit': 0 is not in the range"),
    "log --limit 99999999999999999999": (2, "'--limit': 9{20} is not in the range"),
    "ingest --dataset d": (2, "nothing to ingest\n  name files"),
    "statsu": (2, "No such command 'statsu'"),
    "frontier pool --target pool": (2, "two targets need a --budget"),
}  # fmt: skip


@pytest.mark.parametrize("command", OTHERS)
def test_an_option_that_makes_no_sense_is_refused_by_every_verb(trial, command):
    code, told = OTHERS[command]
    verb, *rest = command.split()
    middle = [trial.ids[0]] if verb == "top" else []
    trial.refused(code, told, verb, *rest[:1], *middle, *rest[1:])


def test_ingest_options_that_contradict_each_other_are_refused(trial):
    path = trial.file("a.jsonl", '{"instruction": "a", "output": "b"}\n')
    ingest = ("ingest", path, "--dataset", "new")
    trial.refused(2, "--map 'zz' is not of the form NAME=VALUE", *ingest, "--map", "zz")
    trial.refused(2, "--map: 'zz' is not a field; known: instr", *ingest, "--map", "zz=a")
    both = ("--snapshot", "--removed", path)
    trial.refused(2, "--removed and --snapshot exclude each other", *ingest, *both)
    trial.refused(2, "'--max-record-bytes': '0' is no size", *ingest, "--max-record-bytes", "0")
    trial.refused(
        2, r"standard input \('-'\) can be read only once", "ingest", "-", "-", "--dataset=n"
    )


SQL = {
    "select * from nope": (4, "no view named 'nope'; known: "),
    "select nope from pool": (4, "no column named 'nope'"),
    "select": (2, "the SQL cannot be read"),
    "": (2, "query takes exactly one SELECT"),
    "select 1; drop table x": (2, "query takes exactly one SELECT"),
    "select " + "(" * 3000 + "1" + ")" * 3000: (2, "the SQL cannot be read"),
    "select * from pool where regexp_matches(prompt, '(((((')": (2, "missing \\)"),
    "select $x": (2, "\\$x of the statement has no value"),
}


@pytest.mark.parametrize("sql", SQL, ids=[sql[:40] or "empty" for sql in SQL])
def test_sql_that_is_none_is_refused(trial, sql):
    code, told = SQL[sql]
    trial.refused(code, told, "query", sql)


def test_a_quote_in_a_parameter_is_a_text(trial):
    asked = "select count(*) as n from pool where prompt = $p"
    said = trial("query", "--format", "json", asked, "--param", "p=x' OR '1'='1")
    assert said.json() == [{"n": 0}]

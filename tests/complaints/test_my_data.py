"""What people could not do with other tools: run them on their own data, and read the answer."""

from __future__ import annotations

import json

import pytest


def test_any_dataset_is_a_target_without_a_line_of_code(mine, alpaca):
    mine.done("ingest", mine.lines("pool.jsonl", alpaca(40)), "--dataset", "pool")
    exam = [{"question": f"What is topic {k}?", "answer": f"topic {k}"} for k in range(9)]
    mine.done("ingest", mine.lines("exam.jsonl", exam), "--dataset", "exam")
    for name in ("pool", "exam"):
        mine.done("embed", name, "--embedder", "hashing:32")
    told = mine.done("select", "pool", "--budget", "5", "--target", "exam", "--json").json()
    assert told["objective"] == "flqmi"
    assert told["items"] == 5


def test_files_of_several_layouts_make_one_pool(mine):
    chat = [{"from": "human", "value": "Say a"}, {"from": "gpt", "value": "a"}]
    open_ai = [{"role": "user", "content": "Say b"}, {"role": "assistant", "content": "b"}]
    mixed = [
        {"conversations": chat},
        {"messages": open_ai},
        {"prompt": "Say c", "completion": "c"},
        {"question": "Say d", "answer": "d"},
    ]
    (mine.folder / "more.csv").write_text("instruction,output\nSay e,e\n")
    files = mine.lines("mixed.jsonl", mixed), mine.folder / "more.csv"
    mine.done("ingest", *files, "--dataset", "pool")
    rows = mine.rows("select prompt, response from pool order by prompt")
    assert [(row["prompt"], row["response"]) for row in rows] == [
        (f"Say {one}", one) for one in "abcde"
    ]


def test_every_step_runs_with_its_defaults(mine, alpaca, tiny_llm):
    mine.done("ingest", mine.lines("pool.jsonl", alpaca(60)), "--dataset", "pool")
    mine.done("embed", "pool", "--embedder", "hashing")
    mine.done("label", "pool", "--model", tiny_llm, "--pairs", "400")
    mine.done("train", "pool")
    mine.done("fill", "pool")
    chosen = mine.done("select", "pool", "--budget", "10%", "--json").json()
    mine.done("explain", chosen["id"], mine.rows("select sample_id from pool")[0]["sample_id"])
    mine.done("export", chosen["id"], "-o", mine.folder / "out")
    for verb in ("status", "plan", "log", "methods", "verify", "gc", "compact"):
        mine.done(verb)


def test_a_chat_of_many_turns_goes_all_the_way(mine, tiny_llm):
    def chat(k):
        turns = [("user", f"Name {k}"), ("assistant", f"It is {k}"), ("user", "And next?")]
        said = [{"role": role, "content": text} for role, text in turns]
        return {"messages": [*said, {"role": "assistant", "content": f"Then {k + 1}"}]}

    mine.done("ingest", mine.lines("chat.jsonl", map(chat, range(12))), "--dataset", "chat")
    mine.done("embed", "chat", "--embedder", "hashing:16")
    told = mine.done(
        *("label", "chat", "--method", "perplexity", "--model", tiny_llm, "--rows", "all", "--json")
    ).json()
    assert told["columns"][0]["scored"] == 12
    chosen = mine.done("select", "chat", "--budget", "3", "--json").json()["id"]
    mine.done("export", chosen, "--to", "trl-messages", "-o", mine.folder / "out")
    (data,) = (mine.folder / "out").glob("train*.jsonl")
    for line in data.read_text().splitlines():
        record = json.loads(line)
        assert len(record.get("messages") or record["prompt"] + record["completion"]) == 4


def test_every_number_says_what_higher_means(mine, alpaca, tiny_llm):
    told = mine.done("methods", "--json").json()["methods"]
    assert {one["higher_means"] for one in told} <= {
        "helpful",
        "harmful",
        "easier",
        "harder",
        "neither",
    }
    mine.done("ingest", mine.lines("pool.jsonl", alpaca(8)), "--dataset", "pool")
    mine.done("label", "pool", "--method", "ifd", "--model", tiny_llm, "--rows", "all")
    (known,) = mine.rows("select name, higher_means from producers where kind = 'points'")
    assert known == {
        "name": "ifd",
        "higher_means": next(one["higher_means"] for one in told if one["name"] == "ifd"),
    }


def test_a_raw_score_has_its_percentile_beside_it(mine, alpaca, tiny_llm):
    mine.done("ingest", mine.lines("pool.jsonl", alpaca(11)), "--dataset", "pool")
    mine.done("label", "pool", "--method", "perplexity", "--model", tiny_llm, "--rows", "all")
    sql = "percent_rank() over (order by inf_perplexity) p from pool order by inf_perplexity"
    rows = mine.rows(f"select inf_perplexity v, {sql}")
    assert [row["p"] for row in rows] == pytest.approx([k / 10 for k in range(11)])
    assert sorted(row["v"] for row in rows) == [row["v"] for row in rows]


def test_a_broken_turn_is_named_by_file_line_and_place(mine):
    good = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    bad = [{"from": "human", "value": "q"}, {"from": "robot", "value": "a"}]
    rows = mine.lines("chat.jsonl", [{"conversations": good}] * 3 + [{"conversations": bad}])
    said = mine("ingest", rows, "--dataset", "chat")
    assert said.code == 3
    assert "chat.jsonl:4: conversations[1].from" in said.err
    assert "'robot'" in said.err
    assert "KeyError" not in said.err


def test_rows_need_not_have_the_same_keys(mine):
    rows = [
        {"instruction": "a", "output": "b"},
        {"instruction": "c", "input": "", "output": "d", "topic": "t", "score": 4},
        {"instruction": "e", "output": "f", "score": "high"},
    ]
    mine.done("ingest", mine.lines("rows.jsonl", rows), "--dataset", "pool")
    kept = mine.rows("select extra->>'score' score from pool order by line")
    assert [row["score"] for row in kept] == [None, "4", "high"]


def test_a_file_is_known_by_its_content_not_its_name(mine, alpaca):
    path = mine.lines("rows.txt", alpaca(3))
    assert mine.done("ingest", path, "--dataset", "pool", "--json").json()["rows"] == 3
    (mine.folder / "notes.txt").write_text("just some prose\n")
    said = mine("ingest", mine.folder / "notes.txt", "--dataset", "pool")
    assert said.code == 3
    assert "notes.txt" in said.err


def test_a_column_that_is_empty_in_one_file_harms_no_other(mine):
    empty = [{"instruction": f"a{k}", "input": None, "output": "x"} for k in range(1500)]
    full = [{"instruction": f"b{k}", "input": f"of {k}", "output": "y"} for k in range(5)]
    files = mine.lines("empty.jsonl", empty), mine.lines("full.jsonl", full)
    told = mine.done("ingest", *files, "--dataset", "pool", "--json").json()
    assert (told["rows"], told["rejected"]) == (1505, 0)
    assert mine.rows("select count(*) n from pool where prompt like 'b% of %'")[0]["n"] == 0
    assert mine.rows("select count(*) n from pool where prompt like 'b%of %'")[0]["n"] == 5


def test_a_value_of_another_type_is_named_by_its_row(mine):
    rows = [{"instruction": f"a{k}", "output": "x"} for k in range(1200)]
    rows[1100]["output"] = {"text": "x"}
    said = mine("ingest", mine.lines("rows.jsonl", rows), "--dataset", "pool")
    assert said.code == 3
    assert "rows.jsonl:1101: output" in said.err


def test_proportions_of_sources_are_kept(mine, alpaca):
    files = [mine.lines(f"{name}.jsonl", alpaca(30, name)) for name in ("web", "book")]
    mine.done("ingest", *files, "--dataset", "pool")
    mine.done("embed", "pool", "--embedder", "hashing:16")
    quota = f"file:{files[0]}=..30%"
    chosen = mine.done("select", "pool", "--budget", "20", "--quota", quota, "--json").json()["id"]
    rows = mine.rows(f"select file, count(*) n from selected('{chosen}') group by file")
    assert {row["file"]: row["n"] for row in rows} == {str(files[0]): 6, str(files[1]): 14}

"""Why records were left out is kept with the version, and nothing that stood in them is."""

from __future__ import annotations

import json

from influence_store.ingest.reasons import OTHER, count_reasons
from influence_store.ingest.rows import Rejected
from influence_store.jobs.ingest import ingest
from influence_store.query import query

SECRET = "Erika Mustermann, expected text (found: 0x2a"
GOOD = {"prompt": "a", "response": "b"}
CHAT = {"role": "assistant", "content": "x"}
#: What stands in a line, and the reason that is kept of it.
BAD = {
    json.dumps({SECRET: 1}): "no schema fits the keys",
    json.dumps({**GOOD, "prompt": {SECRET: SECRET}}): "prompt: found object, expected text",
    json.dumps({**GOOD, "response": 31415926}): "response: found number, expected text",
    json.dumps({"messages": SECRET}): "messages: found text, expected a list of messages",
    json.dumps({"messages": [{"role": SECRET, "content": "a"}, CHAT]}): (
        "messages[N].role: found role, expected one of "
    ),
    json.dumps({**GOOD, "response": " "}): "the response is blank, expected text",
    f'{{"{SECRET}": 1, "{SECRET}": 2}}': "a key appears twice in one object",
    json.dumps({**GOOD, "meta": {SECRET: "\0"}}): "contains NUL (N), which databases cannot store",
    f'{{"prompt": "a", "{SECRET}": 12345678901234567890123}}': "number N does not fit N bits",
    f"{SECRET}": "column N: not JSON: Expecting value",
    json.dumps([SECRET]): "found list of N, expected one object per record",
}


def test_counted_reasons_are_told_and_kept_with_the_version_without_values(store, tmp_path):
    path = tmp_path / "mixed.jsonl"
    bad = [line for line in BAD for _ in range(3)]
    path.write_text("\n".join([json.dumps(GOOD), *bad]) + "\n")
    rejects = tmp_path / "rejects.jsonl"
    report = ingest(store, [str(path)], "demo", skip_errors=True, rejects=rejects)
    told = "\n".join(report.lines())
    assert f"{3 * len(BAD)} rejected" in told
    assert "\n    3 × " in told
    assert told.endswith(f"\n    {3 * (len(BAD) - 5)} × other reasons")

    (row,) = query(store, "select rejected, reject_reasons from datasets").to_pylist()
    kept = json.loads(row["reject_reasons"])
    assert row["rejected"] == sum(kept.values()) == 3 * len(BAD)
    for reason in BAD.values():
        assert [count for why, count in kept.items() if why.startswith(reason)] == [3], reason
    for place in (told, row["reject_reasons"]):
        assert not [part for part in ("Erika", "Muster", "0x2a", "31415926") if part in place]


def test_many_kinds_of_reasons_are_cut_and_the_rest_is_counted():
    faults = [chr(97 + k) * 3 for k in range(26)] + ["aaa"]
    found = count_reasons(Rejected("f", 1, one, raw=b"") for one in faults)
    assert list(found.items())[:2] == [("aaa", 2), ("bbb", 1)]
    assert found[OTHER] == 6
    assert sum(found.values()) == 27

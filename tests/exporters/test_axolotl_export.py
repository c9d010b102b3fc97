"""axolotl reads types from the first block of a file: all rows must have the same."""

from __future__ import annotations

import json

import pytest
from export_samples import ALL, MULTI, ONE_CALL, PLAIN, TEXTS, exported, json_rows

from influence_store.exporters.messages import openai_messages, openai_tools, plain_messages


def test_texts_are_the_samples_own(tmp_path):
    rows = json_rows(exported(tmp_path / "out", "axolotl", TEXTS))
    assert rows == [{"messages": plain_messages(sample), "tools": "[]"} for sample in TEXTS]


@pytest.mark.parametrize("samples", [[PLAIN, ONE_CALL], [ONE_CALL, PLAIN], ALL])
def test_one_call_makes_the_messages_of_all_rows_json_text(tmp_path, samples):
    rows = json_rows(exported(tmp_path / "out", "axolotl", samples))
    for row, sample in zip(rows, samples, strict=True):
        assert json.loads(row["messages"]) == openai_messages(sample)
        assert json.loads(row["tools"]) == openai_tools(sample)


def test_the_stanza_is_a_file_of_its_own(tmp_path):
    out = exported(tmp_path / "out", "axolotl", [MULTI])
    assert "type: chat_template" in (out / "axolotl.yaml").read_text()

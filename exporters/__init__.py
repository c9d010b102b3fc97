"""Outbound: what the store has committed, in a format that another program owns.

A selection exporter is a function `(rows, out, provenance, *, overwrite=False) -> Path`: it takes
ExportRows in the order picked and writes a folder with the data, `provenance.jsonl` and
`manifest.json` (see `bundle`), and a file with the lines to paste into the trainer. Rows that its
format cannot hold it leaves out, by file and line. It never computes and never opens the store.
"""

from __future__ import annotations

from influence_store.registry import Entry, Registry

EXPORTERS = Registry(
    "exporter",
    "influence_store.exporters",
    {
        "axolotl": Entry(
            "influence_store.exporters.axolotl:export_axolotl", "axolotl chat_template messages"
        ),
        "hf": Entry("influence_store.exporters.hf:export_hf", "a folder for load_dataset"),
        "jsonl": Entry(
            "influence_store.exporters.jsonl:export_jsonl", "the source records, byte for byte"
        ),
        "llama-factory": Entry(
            "influence_store.exporters.llama_factory:export_llama_factory",
            "LLaMA-Factory sharegpt with dataset_info.json",
        ),
        "openai": Entry(
            "influence_store.exporters.openai:export_openai", "OpenAI fine-tuning messages"
        ),
        "parquet": Entry(
            "influence_store.exporters.parquet:export_parquet", "texts and origins as one table"
        ),
        "trl": Entry(
            "influence_store.exporters.trl:export_trl", "TRL prompt/completion, texts or messages"
        ),
        "trl-messages": Entry(
            "influence_store.exporters.trl:export_trl_messages", "TRL messages, whole conversations"
        ),
    },
)

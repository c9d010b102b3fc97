"""What stands for the names in the pages that mean something of the reader's own, and what cannot
run here, with the reason."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Pattern in a command or Python block → what it becomes; `{…}` is filled in by the world.
SUBSTITUTES = {
    r"(?<=--model )(?:M|…|PATH|HuggingFaceTB/SmolLM2-135M-Instruct)(?=\s|$)": "{llm}",
    r"(?<=--tokenizer )M(?=\s|$)": "{llm}",
    r"(?<=--embedder )(?:E|…|sentence-transformers/all-MiniLM-L6-v2)(?=\s|$)": "hashing:32",
    r"\bSELECTION\b": "{selection}",
    r"\bSAMPLE\.\.\.": "{sample}",
    r"\b3f2a\b": "{selection}",
    r"--to FORMAT\b": "--to jsonl",
    # Names that the pages give to one and the same estimator.
    r"\best_quality\b": "est_delift_l2",
    r"\btuned\b": "delift-l2",
    r"\b200k-tokens": "2k-tokens",
    # Amounts and candidates for minutes of work, where seconds show that the words are right.
    r"--minutes \d+": "--minutes 0.02",
    r"--pairs \d+ --design active": "--pairs 40 --design active",
    r"--pairs \d{3,}": "--pairs 150",
    r"--share 100%": "--share 20%",
    r"--again \d+": "--again 20",
    r"(?<=influence-store )(train \S+)": r"\1 --network cosine",
    r"(?<= )/mnt/b(?=\s|$)": "backup-of-the-page",
}


@dataclass(frozen=True)
class Apart:
    """A command or block that is not run: the beginning of its line, and why."""

    page: str
    begins: str
    why: str


POSTGRES = "PostgreSQL: a server; tests/postgres runs the verb against one"
S3 = "S3: a bucket; tests/s3 runs the verb against one"
SERVES = "never ends: tests/serve starts it, looks and stops it"
#: Why a line of this program may stand below; such a line is parsed all the same.
FOREIGN_NEEDS = ("PostgreSQL", "S3", "hub", "never ends")

APART = [
    Apart("docs/postgres.md", "influence-store --store s3://bucket/influence init", POSTGRES),
    Apart("docs/postgres.md", "influence-store team add support", POSTGRES),
    Apart("docs/postgres.md", "influence-store ingest chats.jsonl --dataset chats", POSTGRES),
    Apart("docs/postgres.md", "export INFLUENCE_STORE_DATABASE=", "sets up the line below it"),
    Apart("docs/postgres.md", "create role support login", "belongs to a server of PostgreSQL"),
    Apart("docs/object-storage.md", "influence-store --store s3://bucket/team init", S3),
    Apart("docs/object-storage.md", "export AWS_REGION=", "needs credentials of one's own"),
    Apart("docs/operations.md", "influence-store --store s3://bucket/store restore", S3),
    Apart("docs/sharing.md", "influence-store --profile team ingest", POSTGRES),
    Apart("docs/sharing.md", "influence-store --profile team embed", POSTGRES),
    Apart("docs/sharing.md", "influence-store pull s3://other-team/influence", S3),
    Apart("docs/scale.md", "python benchmarks/scale.py", "takes an hour and a model"),
    Apart("docs/scale.md", "python benchmarks/cost_model.py", "writes the page itself"),
    Apart("docs/how-to/team-store.md", "influence-store --store s3://bucket/influence init", S3),
    Apart("docs/how-to/team-store.md", "influence-store --profile team", POSTGRES),
    Apart("docs/how-to/team-store.md", "influence-store --profile keeper team", POSTGRES),
    Apart("README.md", "influence-store serve", SERVES),
    Apart("docs/serve.md", "influence-store serve", SERVES),
    Apart("docs/serve.md", "curl -H", "asks a server of one's own; tests/serve does it"),
    Apart(
        "docs/cli.md",
        'eval "$(_INFLUENCE_STORE_COMPLETE=bash_source',
        "for a shell's start file; tests/test_cli_reference.py completes words with it",
    ),
    Apart(
        "docs/cli.md",
        "_INFLUENCE_STORE_COMPLETE=fish_source",
        "for a shell's start file; tests/test_cli_reference.py completes words with it",
    ),
    Apart(
        "docs/exports.md",
        "from datasets import load_dataset\nfrom trl import SFTConfig, SFTTrainer",
        "a training run; tests/exporters/test_trl_training.py does it with these lines",
    ),
    Apart("docs/exports.md", "from openai import OpenAI", "asks a service, for money"),
    Apart(
        "docs/methods/README.md",
        "from influence_store.influence.forgetting_callback import ForgettingCallback",
        "belongs into a training run; tests/influence/test_forgetting.py has one",
    ),
]


#: Blocks that another test runs, by their first line.
RUN_ELSEWHERE = {"$ influence-store demo --files-only support": "tests/test_ten_minutes.py"}


def apart(page: str, text: str) -> Apart | None:
    """Why this command line or block is not run; None if it is."""
    for one in APART:
        if one.page == page and text.startswith(one.begins):
            return one
    return None


def substituted(text: str, names: dict[str, str]) -> str:
    """`text` with what stands for the reader's own things."""
    for pattern, value in SUBSTITUTES.items():
        text = re.sub(pattern, re.sub(r"\{(\w+)\}", lambda found: names[found[1]], value), text)
    return text

"""A `label` that keeps what it measures batch by batch, and tells what it asked the model."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from command_line import in_child

from influence_store.influence.delift import Delift
from influence_store.jobs import label_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from backends import Place


def label(place: Place, arguments: list[str], kill_at: str, asked: Path) -> None:
    """In a child: every source is a batch, published by itself; `asked` gets one line per batch."""
    label_pairs.LEAST_PAIRS = label_pairs.MOST_PAIRS = 1
    file = os.open(asked, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    score = Delift.score

    def telling(self, state, source, targets):
        os.write(file, json.dumps([source.prompt, len(targets)]).encode() + b"\n")
        return score(self, state, source, targets)

    Delift.score = telling
    in_child(place, arguments, {"INFLUENCE_STORE_KILL_AT": kill_at})

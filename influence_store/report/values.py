"""What do all sections of a report share? A gap, a count, a spread."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Missing:
    """Why a section is empty, in one sentence, and the command that would fill it."""

    missing: str
    command: str


@dataclass(frozen=True)
class Count:
    """How many rows have the value `name`."""

    name: str
    rows: int


@dataclass(frozen=True)
class Spread:
    """Where values lie: their number, mean, extremes and percentiles (linear between ranks)."""

    n: int
    mean: float
    low: float
    p5: float
    p25: float
    median: float
    p75: float
    p95: float
    high: float

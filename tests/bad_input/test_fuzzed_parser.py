"""A short run of the fuzzer; the long one is a command, see fuzz_parser.py."""

from __future__ import annotations

import fuzz_parser


def test_nothing_but_samples_and_refusals_comes_out_of_100_000_damaged_records():
    counts = fuzz_parser.fuzz(100_000, seed=0)
    assert sum(counts.inputs.values()) == 100_000
    assert set(counts.inputs) >= {"lines", "array", "csv"}
    # Damage that nothing survives, or that harms nothing, would test nothing.
    assert min(counts.outcomes[one] for one in ("accepted", "refused", "stopped")) > 2500

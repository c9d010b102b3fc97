"""The longest run of words that two texts share, against difflib."""

from __future__ import annotations

from difflib import SequenceMatcher

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from influence_store.overlap.jaccard import longest_run

WORDS = st.lists(st.integers(0, 3), max_size=30).map(lambda one: np.array(one, np.uint64))


@settings(deadline=None)  # the first call compiles
@given(WORDS, WORDS)
def test_it_is_as_long_and_stands_where_difflib_says(a, b):
    length, start = longest_run(a, b)
    match = SequenceMatcher(None, a.tolist(), b.tolist(), autojunk=False).find_longest_match()
    assert (length, start) == (match.size, match.a)

"""The README's first ten minutes happen as it tells them."""

from __future__ import annotations

import pytest
from ten_minutes import README, run, shape, steps


@pytest.mark.llm
@pytest.mark.slow
def test_the_first_ten_minutes_are_as_the_readme_tells_them(tmp_path, small_llm):
    told = steps(README.read_text())
    folder = tmp_path / "empty"
    folder.mkdir()
    for expected, found in zip(told, run(told, folder), strict=True):
        assert shape(found.output) == shape(expected.output), found.command


def test_a_word_that_changes_is_noticed():
    assert shape("12 rows, “Say a” (3f2a9c1e07bd)") == shape("9,112 rows, “Say b” (0123456789ab)")
    assert shape("12 rows") != shape("12 samples")
    assert shape("│ a │ 1.5 │") == shape("│  a │ 22.75  │")

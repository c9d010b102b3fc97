"""A large matrix lies in a file that nobody else sees; where there is no room, in memory, aloud."""

from __future__ import annotations

import mmap
import os

import numpy as np
import pytest

from influence_store.store import spill


def base_of(array):
    while getattr(array, "base", None) is not None:
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(spill, "SPILL_BYTES", 4000)


def test_only_a_large_matrix_is_mapped_and_it_is_zero_and_can_be_written(tmp_path):
    held, mapped = spill.zeros((10, 99), tmp_path / "new"), spill.zeros((10, 100), tmp_path / "new")
    assert isinstance(base_of(held), np.ndarray)
    assert isinstance(base_of(mapped), mmap.mmap)
    assert (type(mapped), mapped.dtype, mapped.shape) == (np.ndarray, np.float32, (10, 100))
    assert not mapped.any()
    mapped[3] = 7
    assert mapped.sum() == 700
    assert mapped.flags.c_contiguous


def test_no_file_can_be_seen(tmp_path):
    whole = spill.zeros((100, 100), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert whole.shape == (100, 100)


def test_without_room_it_is_held_in_memory_and_that_is_told(tmp_path, caplog, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    held = spill.zeros((100, 100), tmp_path)
    assert isinstance(base_of(held), np.ndarray)
    assert "No space left on device" in caplog.text


def test_a_folder_that_cannot_be_made_is_no_reason_to_fail(tmp_path, caplog):
    (tmp_path / "file").touch()
    assert spill.zeros((100, 100), tmp_path / "file" / "folder").shape == (100, 100)
    assert "held in memory" in caplog.text

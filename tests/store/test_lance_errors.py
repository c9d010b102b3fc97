"""Lance has one error for everything; what the system said of it decides what we say."""

from __future__ import annotations

import pytest

from influence_store.errors import Forbidden, StorageError, Unreachable
from influence_store.store.lance import _told


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("LanceError(IO): (os error 28)", StorageError, r"No space left on device\n  make room"),
        ("LanceError(IO): (os error 13)", Forbidden, "refused .Permission denied."),
        ("LanceError(IO): (os error 30)", Forbidden, "refused .Read-only file system."),
        ("LanceError(IO): (os error 5)", Unreachable, "cannot be reached"),
        ("HTTP error: status code: 503", Unreachable, "cannot be reached .status 503."),
        ("HTTP error: status code: 403", Forbidden, "refused .status 403."),
    ],
)
def test_what_the_system_said_is_told(text, kind, expected):
    with pytest.raises((StorageError, Forbidden), match=expected) as caught, _told("blocks/x"):
        raise OSError(text)
    assert type(caught.value) is kind

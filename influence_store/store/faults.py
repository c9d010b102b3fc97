"""Named steps of the commit protocol, at which a test can kill the process."""

from __future__ import annotations

import os
import signal

#: Of `init`.
INIT_STEPS = ("folders-made", "catalog-made")
#: Of every other writing verb, in the order it passes them.
STEPS = (
    "claimed",
    "block-written",
    "block-read-back",
    "block-synced",
    "block-hashed",
    "artifact-written",
    "publish-begun",
    "published",
    "finished",
)

#: Of the verbs that keep a store in order.
VERIFY_STEPS = ("inspecting",)
GC_STEPS = ("gc-listed", "gc-fenced", "gc-deleted")
REPAIR_STEPS = ("quarantined",)
BACKUP_STEPS = ("backup-snapshot", "backup-copied", "backup-catalog", "backup-sealed")
RESTORE_STEPS = ("restore-created", "restore-copied", "restore-catalog")

_VARIABLE = "INFLUENCE_STORE_KILL_AT"


def step(name: str) -> None:
    """Die here, as by `kill -9`, if the environment asks for it: `name` or `name:2` (2nd pass)."""
    wanted, _, nth = os.environ.get(_VARIABLE, "").partition(":")
    if wanted != name:
        return
    left = int(nth or 1) - 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    os.environ[_VARIABLE] = f"{name}:{left}"

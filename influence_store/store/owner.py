"""Who holds a run, and whether that process still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def this_process() -> str:
    """`host|boot|pid|start`: names one process for good, even after its pid is reused."""
    return f"{socket.gethostname()}|{_boot()}|{os.getpid()}|{_started(os.getpid())}"


def is_dead(owner: str) -> bool:
    """True only if the process surely ended: same host, and rebooted since or no such process.

    A process elsewhere cannot be seen from here; its lease decides.
    """
    host, boot, pid, started = owner.split("|")
    if host != socket.gethostname():
        return False
    if boot != _boot():
        return True
    return _started(int(pid)) != started


def describe(owner: str) -> str:
    """For people: `host, pid 123`."""
    host, _, pid, _ = owner.split("|")
    return f"{host}, pid {pid}"


def _boot() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else "-"


def _started(pid: int) -> str:
    """The kernel's start time of a process in clock ticks; empty when there is no such process."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        # A zombie has ended; only its parent has not looked yet.
        return "" if fields[0] == "Z" else fields[19]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "-"

"""Processes that end with the one that started them, and groups of processes that end together."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

END_WITH_PARENT = 1
"""Linux's PR_SET_PDEATHSIG."""


def end_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends, however that comes about. Linux only.

    Args:
        parent: Its id; where it has ended already, so does this process.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(END_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)


def outlive_parent() -> None:
    """Take `end_with` back: this process sees to its end by itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(END_WITH_PARENT, 0)


def kill_group(leader: int) -> None:
    """End a group of processes, named by the id of its leader; one that has ended already is no error."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)

"""Locks: one holder at a time, who is named, in a folder that another user cannot turn against this one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from litemill.benchmark.locks import device_lock
from litemill.errors import DeviceError, LitemillError
from litemill.process import locks

HOLD = """
import sys, time
from pathlib import Path
from litemill.process import locks
locks.SHARED = Path(sys.argv[1])
with locks.held(sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of locks of this test alone."""
    monkeypatch.setattr(locks, "SHARED", tmp_path / "locks")
    return tmp_path / "locks"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_device_is_held_by_one_task_at_a_time_and_the_other_one_is_named(shared: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, shared, "ssh://pi@host"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with device_lock("ssh://pi@other", wait=0.1), pytest.raises(DeviceError) as refused:
            device_lock("ssh://pi@host", wait=0.2).__enter__()
        assert f"another task has held it for 0.2 s by process {holder.pid} of " in str(refused.value)
        assert str(shared) in str(refused.value)
    finally:
        holder.kill()
        holder.wait()
    with device_lock("ssh://pi@host", wait=5.0):  # the kernel frees what a dead process held
        assert str(os.getpid()) in locks.lock_path("ssh://pi@host").read_text()
    assert not list(shared.iterdir())


def test_a_lock_is_waited_for(shared: Path) -> None:
    began = time.monotonic()
    short = HOLD.replace("60", "1")
    with subprocess.Popen([sys.executable, "-c", short, shared, "store"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        with locks.held("store", wait=30.0):
            assert time.monotonic() - began > 0.5


def test_a_linked_folder_is_not_followed(shared: Path, tmp_path: Path) -> None:
    """Another user's link at the known place must not open a folder of ours to everybody."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    shared.symlink_to(private)

    with locks.held("device"):
        assert mode(private) == 0o700
        assert not list(private.iterdir())
        own = locks.lock_path("device").parent
        assert own != shared
        assert mode(own) == 0o700


def test_a_linked_lock_file_is_refused(shared: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    victim.chmod(0o600)
    locks.lock_path("device").symlink_to(victim)

    with pytest.raises(LitemillError, match="is a symbolic link"):
        locks.held("device").__enter__()
    assert victim.read_text() == "kept"
    assert mode(victim) == 0o600


def test_users_share_the_folder_and_cannot_remove_each_other_s_locks(shared: Path) -> None:
    with locks.held("device") as path:
        assert mode(shared) == 0o1777
        assert mode(path) == 0o666


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_that_another_user_made_for_themselves_is_not_used(shared: Path) -> None:
    shared.mkdir(mode=0o755)
    os.chown(shared, 12345, 12345)
    with locks.held("device") as path:
        assert path.parent != shared
    assert not list(shared.iterdir())

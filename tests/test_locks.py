"""Locks of folders: refused with the name of the other process, gone with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from electra_zh import locks
from electra_zh.errors import UserError

HOLD = """
import sys, time
from electra_zh import locks
with locks.locked(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(600)
"""


def test_a_lock_names_its_process_and_ends_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    (folder / "config.json.partial-0123").touch()
    owner = rf"is writing to .*run: process {holder.pid} on {socket.gethostname()}\. Wait"
    with pytest.raises(UserError, match=owner), locks.locked(str(folder)):
        pass
    assert (folder / "config.json.partial-0123").exists()
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    # The file is left over, and so is what the process did not finish.
    assert (folder / locks.LOCK).exists()
    with locks.locked(str(folder)):
        assert (
            folder / locks.LOCK
        ).read_text() == f"process {os.getpid()} on {socket.gethostname()}"
        assert not (folder / "config.json.partial-0123").exists()


def test_a_lock_file_of_any_content_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / locks.LOCK).write_bytes(b"\xff\0" * 1000)
    with locks.locked(str(tmp_path)):
        pass


def test_a_link_to_a_folder_has_the_lock_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with (
        locks.locked(str(tmp_path / "run")),
        pytest.raises(UserError, match="Another process"),
        locks.locked(str(tmp_path / "link")),
    ):
        pass

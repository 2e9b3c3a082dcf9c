"""Files that appear complete or not at all."""

import os

import pytest

from nes2net.errors import InputError
from nes2net.machine.files import check_writable, replacing, write_text


@pytest.mark.skipif(os.name != "posix", reason="folders are written to disk on POSIX systems")
def test_what_is_durable_is_on_the_disk_in_order(tmp_path, monkeypatch):
    """The bytes come before the name, and the name before the return.

    Files that can be made again do not wait for the disk.
    """
    done, fsync, replace = [], os.fsync, os.replace

    def noted_fsync(opened):
        done.append(os.readlink(f"/proc/self/fd/{opened}") if os.path.exists("/proc/self/fd") else "synced")
        fsync(opened)

    def noted_replace(source, target):
        done.append("replaced")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_text(tmp_path / "history.json", "[]")
    assert (tmp_path / "history.json").read_text() == "[]" and len(done) == 3 and done[1] == "replaced"
    if done[0] != "synced":
        assert ".history.json." in done[0] and done[2] == str(tmp_path.resolve())
    done.clear()
    with replacing(tmp_path / "entry.npy") as temporary:
        temporary.write_bytes(b"1")
    assert done == ["replaced"]


def test_where_a_file_can_be_written_is_known_before(tmp_path):
    check_writable(tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"is a folder; name a file to write"):
        check_writable(tmp_path)
    with pytest.raises(InputError, match=r"cannot be written \(No such file or directory\); name a file in a folder"):
        check_writable(tmp_path / "none" / "report.html")

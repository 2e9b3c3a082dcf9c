"""Unpacking into one folder: what is refused, what is repeated, what is damaged."""

import io
import os
import resource
import signal
import tarfile
import zipfile

import pytest

from nes2net.errors import InputError, Unfinished
from nes2net.machine import unpacking
from nes2net.machine.unpacking import unpack

FILES = {"set/flac/a.flac": b"a" * 5000, "set/list.txt": b"a bonafide\n", "set/empty": b""}


def make_zip(path, files=FILES, mode=0o100644):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("set/flac/"), b"")
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def make_tar(path, files=FILES, kind=tarfile.REGTYPE, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        folder = tarfile.TarInfo("set/flac")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "/etc/passwd"
            archive.addfile(info, io.BytesIO(content))
    return path


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar"])
def test_unpacked_twice(tmp_path, name):
    make = make_zip if name.endswith("zip") else make_tar
    archive = make(tmp_path / name, **({"mode": "w"} if name.endswith("tar") else {}))
    out = tmp_path / "out"
    assert unpack(archive, out, "unpacking") == 3 and content_of(out) == FILES
    stamp = (out / "set/list.txt").stat().st_mtime_ns
    (out / "set/flac/a.flac").write_bytes(b"cut off")
    assert unpack(archive, out, "unpacking") == 3 and content_of(out) == FILES
    assert (out / "set/list.txt").stat().st_mtime_ns == stamp  # what is there is left


@pytest.mark.parametrize("name", ["../a.txt", "set/../../a.txt", "/a.txt", "..\\a.txt", "C:/a.txt", "\\\\host\\a.txt"])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_path_that_leads_out_is_refused(tmp_path, make, name):
    archive = make(tmp_path / "a.archive", {"ok.txt": b"1", name: b"2"})
    with pytest.raises(InputError, match=r"is a path that leads out of the folder: refused"):
        unpack(archive, tmp_path / "out", "unpacking")
    assert set(content_of(tmp_path)) <= {"a.archive", "out/ok.txt"}


@pytest.mark.parametrize(
    "make, options",
    [(make_tar, {"kind": kind}) for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)]
    + [(make_zip, {"mode": mode}) for mode in (0o120777, 0o020600)],
)
def test_links_and_devices_are_refused(tmp_path, make, options):
    with pytest.raises(InputError, match="'a' is a link or a device: refused"):
        unpack(make(tmp_path / "archive", {"a": b""}, **options), tmp_path / "out", "unpacking")
    assert content_of(tmp_path / "out") == {}


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_an_archive_that_grows_too_much_is_refused(tmp_path, make, monkeypatch):
    monkeypatch.setattr(unpacking, "_ALWAYS_ALLOWED", 100_000)
    archive = make(tmp_path / "a.archive", {str(n): bytes(3_000_000) for n in range(3)})
    with pytest.raises(InputError, match=r"refused to save .* of members, .*no archive of recordings grows like that"):
        unpack(archive, tmp_path / "out", "unpacking")


@pytest.mark.parametrize(
    "make, options", [(make_zip, {}), (make_tar, {"mode": "w:gz"}), (make_tar, {"mode": "w"}), (make_zip, None)]
)
def test_a_damaged_archive_is_named(tmp_path, make, options):
    """It was cut off, or holds another byte in a member, of which no file is left."""
    archive = make(tmp_path / "a.archive", {name: os.urandom(200_000) for name in ("b.bin", "a.bin")}, **options or {})
    content = bytearray(archive.read_bytes())
    content[300_000] ^= options is None
    archive.write_bytes(content if options is None else content[:250_000])
    with pytest.raises(InputError, match=r"a.archive: cannot be unpacked .*; remove it and run the same command again"):
        unpack(archive, tmp_path / "out", "unpacking")
    assert set(content_of(tmp_path / "out")) <= {"b.bin"}


def test_an_encrypted_zip_is_named(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a": b"secret"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the directory
    archive.write_bytes(content)
    with pytest.raises(InputError, match="is encrypted; unpack it by hand with its password"):
        unpack(archive, tmp_path / "out", "unpacking")


def test_a_full_disk_that_gets_room_again(tmp_path):
    """A limit on the size of files stands in for the disk."""
    archive = make_zip(tmp_path / "a.zip", {"set/a": b"1", "set/b": bytes(10_000)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(Unfinished, match=r"set/b: cannot be written \(.*\); make room, and run the same command"):
            unpack(archive, tmp_path / "out", "unpacking")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert content_of(tmp_path / "out") == {"set/a": b"1"}
    assert unpack(archive, tmp_path / "out", "unpacking") == 2
    assert content_of(tmp_path / "out") == {"set/a": b"1", "set/b": bytes(10_000)}

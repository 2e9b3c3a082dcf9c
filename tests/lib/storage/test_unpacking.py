"""Unpacking into one folder: what is refused, what is repeated, what is damaged."""

import gzip
import io
import os
import signal
import tarfile
import zipfile

import pytest
from builders import input_error
from builders.small_disk import small_disk

from nes2net.lib.errors import Unfinished
from nes2net.lib.storage import unpacking
from nes2net.lib.storage.unpacking import unpack

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


def unpack_beside(archive):
    """Unpack an archive into the folder ``out`` beside it."""
    return unpack(archive, archive.with_name("out"), "unpacking")


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("make, options", [(make_zip, {}), (make_tar, {"mode": "w:gz"}), (make_tar, {"mode": "w"})])
def test_unpacking_again_replaces_only_damaged_files(tmp_path, make, options):
    archive = make(tmp_path / "a.archive", **options)
    out = tmp_path / "out"
    unpack_beside(archive)
    stamp = (out / "set/list.txt").stat().st_mtime_ns
    (out / "set/flac/a.flac").write_bytes(b"cut off")
    unpack_beside(archive)
    assert content_of(out) == FILES
    assert (out / "set/list.txt").stat().st_mtime_ns == stamp  # what is there is left


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("name", ["../a.txt", "set/../../a.txt", "/a.txt", "..\\a.txt", "C:/a.txt", "\\\\host\\a.txt"])
def test_members_that_lead_out_of_the_folder_are_refused(tmp_path, make, name):
    archive = make(tmp_path / "a.archive", {"ok": b"1", name: b"2"})
    with input_error("is a path that leads out of the folder: refused"):
        unpack_beside(archive)
    assert set(content_of(tmp_path)) <= {"a.archive", "out/ok"}


GROWS = r"refused to save .*{}, .*no archive of recordings grows like that"


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_an_archive_that_grows_to_too_many_bytes_is_refused(tmp_path, make, monkeypatch):
    monkeypatch.setattr(unpacking, "_ALWAYS_ALLOWED", 1_000_000)
    archive = make(tmp_path / "a.archive", {str(n): bytes(3_000_000) for n in range(3)})
    with input_error(GROWS.format("of members")):
        unpack_beside(archive)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_an_archive_of_too_many_members_is_refused(tmp_path, make, monkeypatch):
    monkeypatch.setattr(unpacking, "_MEMBERS_ALWAYS_ALLOWED", 100)
    archive = make(tmp_path / "a.archive", {str(n): b"" for n in range(200)})
    with input_error(GROWS.format("101 members")):
        unpack_beside(archive)


@pytest.mark.parametrize(
    "make, options",
    [(make_tar, {"kind": kind}) for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)]
    + [(make_zip, {"mode": mode}) for mode in (0o120777, 0o020600)],
)
def test_members_that_are_no_regular_files_are_refused(tmp_path, make, options):
    with input_error("'a' is a link or a device: refused"):
        unpack_beside(make(tmp_path / "archive", {"a": b""}, **options))
    assert content_of(tmp_path / "out") == {}


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_nothing_is_unpacked_into_a_linked_folder(tmp_path, make):
    archive = make(tmp_path / "a.archive")
    linked = tmp_path / "out" / "set"
    for folder in (tmp_path / "elsewhere", linked.parent):
        folder.mkdir()
    linked.symlink_to(tmp_path / "elsewhere")
    with input_error("set: is a link"):
        unpack_beside(archive)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def header(name, kind=tarfile.REGTYPE, size=0):
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.size = size
    return entry.tobuf(tarfile.GNU_FORMAT)


def long_name(size):
    return [header("././@LongLink", tarfile.GNUTYPE_LONGNAME, size), b"a" * size, bytes(-size % 512), header("a")]


def tar_of(folder, entries):
    with gzip.open(folder / "a.tar.gz", "wb") as file:
        file.writelines([*entries, bytes(1024)])
    return folder / "a.tar.gz"


@pytest.mark.parametrize(
    "entries",
    [
        long_name(70_000),  # of gigabytes, which would be read
        # Some versions of Python take a time for them that is quadratic in their number.
        [header("pax", tarfile.XHDTYPE, 60_000), (b"1" * 60_000).ljust(60_416, b"\0"), header("a")],
    ],
    ids=["long header", "many digits"],
)
def test_a_tar_file_with_too_long_a_header_or_a_number_of_too_many_digits_is_refused(tmp_path, entries):
    with input_error("the header of a member has more than 65,536 bytes, or numbers of 100 digits"):
        unpack_beside(tar_of(tmp_path, entries))


def test_a_tar_file_that_announces_a_huge_member_is_refused(tmp_path):
    with input_error(r"8\.6 GB of members"):
        unpack_beside(tar_of(tmp_path, [header("a", size=(8 << 30) - 1)]))


def test_a_tar_file_with_a_file_in_place_of_a_folder_is_refused(tmp_path):
    with input_error("a file stands where a folder is needed.*Remove it; if .*a.tar.gz holds both"):
        unpack_beside(tar_of(tmp_path, [header("a"), header("a/b")]))


def cut_off(content):
    return content[:250_000]


def with_another_byte(content):
    return content[:300_000] + bytes([content[300_000] ^ 1]) + content[300_001:]


@pytest.fixture(
    params=[
        (make_zip, {}, cut_off),
        (make_zip, {}, with_another_byte),
        *((make_tar, {"mode": mode}, cut_off) for mode in ("w", "w:gz", "w:bz2", "w:xz")),
    ]
)
def damaged(request, tmp_path):
    """An archive whose second member is damaged."""
    make, options, damage = request.param
    archive = make(tmp_path / "a.archive", {name: os.urandom(200_000) for name in ("b.bin", "a.bin")}, **options)
    archive.write_bytes(damage(archive.read_bytes()))
    return archive


def test_a_damaged_archive_is_refused_and_no_file_of_its_damaged_member_is_left(damaged, tmp_path):
    with input_error(r"a.archive: cannot be unpacked .*; remove it and run the same command again"):
        unpack_beside(damaged)
    assert set(content_of(tmp_path / "out")) <= {"b.bin"}


def test_unpacking_continues_when_a_full_disk_has_room_again(tmp_path):
    """A limit on the size of files stands in for the disk."""
    archive = make_zip(tmp_path / "a.zip", {"set/a": b"1", "set/b": bytes(10_000)})
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    message = r"set/b: cannot be written \(.*\); make room, and run the same command"
    try:
        with small_disk(5000), pytest.raises(Unfinished, match=message):
            unpack_beside(archive)
    finally:
        signal.signal(signal.SIGXFSZ, handler)
    assert content_of(tmp_path / "out") == {"set/a": b"1"}
    assert unpack_beside(archive) == 2
    assert content_of(tmp_path / "out") == {"set/a": b"1", "set/b": bytes(10_000)}

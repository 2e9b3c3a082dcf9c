"""Files read within limits, and written whole or not at all, or through a device or a pipe."""

import json
import os
import signal
import socket
import stat
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from builders import PATIENCE, input_error

from nes2net.lib.storage import files
from nes2net.lib.storage.files import (
    FOLDER_LOCK,
    check_writable,
    exclusive_lock,
    json_text,
    never_linked,
    read_bounded,
    replacing,
    temporary_folder,
    write_output,
    write_text,
    writing_folder,
)


def device(path):
    """Make a device like /dev/null; only root may."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        path.write_text("")  # a file system may hold devices, but not open them
    except PermissionError:
        pytest.skip("this user or file system cannot make devices")
    return path


def pipe(path):
    os.mkfifo(path)
    return path


def linked_pipe(path):
    path.symlink_to(pipe(path.with_name("pipe")))


def bound_socket(path):
    socket.socket(socket.AF_UNIX).bind(str(path))


@pytest.fixture
def done(monkeypatch):
    """What was written to the disk or renamed, in this order."""
    done = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda opened: done.append(os.path.realpath(f"/dev/fd/{opened}")))
    monkeypatch.setattr(os, "replace", lambda source, target: done.append("replaced") or replace(source, target))
    return done


def test_a_file_is_flushed_before_it_is_renamed_and_its_folder_afterwards(tmp_path, done):
    write_text(tmp_path / "history.json", "[]")
    assert ".history.json." in done[0]
    assert done[1:] == ["replaced", str(tmp_path.resolve())]


def test_the_folder_of_a_file_in_a_series_is_flushed_only_with_a_file_outside_the_series(tmp_path, done):
    with replacing(tmp_path / "shard.parquet", durable=True, in_series=True) as temporary:
        temporary.write_bytes(b"1")
    assert ".shard.parquet." in done[0]
    assert done[1:] == ["replaced"]
    write_text(tmp_path / "scale.json", "{}")
    assert done[-1] == str(tmp_path.resolve())


def test_check_writable_writes_nothing(tmp_path):
    check_writable(tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_check_writable_refuses_a_folder(tmp_path):
    with input_error(r"is a folder; name a file to write"):
        check_writable(tmp_path)


def test_check_writable_refuses_a_file_in_a_missing_folder(tmp_path):
    with input_error(r"cannot be written \(No such file or directory\); name a file in a folder"):
        check_writable(tmp_path / "none" / "report.html")


@pytest.mark.parametrize("special", [device, linked_pipe, bound_socket])
def test_a_written_file_does_not_replace_a_device_a_pipe_or_a_socket(tmp_path, monkeypatch, special):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    special(Path("special"))
    path = tmp_path / "special"
    before = os.stat(path)
    names = set(os.listdir(tmp_path))
    for write in (lambda path: write_text(path, "[]"), files.check_no_device, check_writable):
        with input_error("is a device or a pipe, which cannot hold this output; name a file"):
            write(path)
    with input_error("is a device"), replacing(path, durable=True):
        raise AssertionError("nothing is written")
    assert os.path.samestat(before, os.stat(path))
    assert set(os.listdir(tmp_path)) == names


def test_text_is_written_to_a_pipe(tmp_path):
    path = pipe(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append(path.read_text(encoding="utf-8")))
    reader.start()
    check_writable(path, stream=True)
    write_output(path, "ä" * 100_000)
    reader.join(PATIENCE)
    assert read == ["ä" * 100_000]


@pytest.mark.parametrize("target", ["file", "missing"])
def test_only_an_output_that_a_person_names_is_written_through_a_link(tmp_path, target):
    """``write_text`` writes files that the program names: it replaces the link and leaves its target."""
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to(target)
    write_output(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / target).read_text() == "new"
    write_text(tmp_path / "link", "newer")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / target).read_text() == "new"
    assert (tmp_path / "link").read_text() == "newer"


def test_a_temporary_file_is_not_written_through_a_link(tmp_path, monkeypatch):
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "guessed")
    (tmp_path / ".a.guessed.tmp").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError), replacing(tmp_path / "a"):
        raise AssertionError("nothing is written")


@pytest.mark.parametrize("contents", [{"elsewhere": "old"}, {}])
def test_a_lock_and_a_log_are_not_written_through_a_link(tmp_path, contents):
    """The link leads to a file, or to nothing."""
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    link = tmp_path / "link"
    link.symlink_to("elsewhere")
    for mode in ("ab", "wb"):
        with input_error(r"link: is a link, so writing would change a file in another place: remove"):
            open(link, mode, opener=never_linked)
    with input_error("link: is a link"), exclusive_lock(link, ""):
        raise AssertionError("nothing is locked")
    link.unlink()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == contents


def write_a_file(path):
    with replacing(path, durable=True) as temporary:
        temporary.write_text("new")
        yield


def write_in_a_folder(path):
    with temporary_folder(path) as folder:
        (folder / "part").write_text("new")
        yield


def killed_while_writing(write, path):
    """The temporary file or folder of a killed process that was writing ``path``."""
    before = set(path.parent.iterdir())
    child = os.fork()
    if not child:
        killed = write(path)
        next(killed)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (temporary,) = set(path.parent.iterdir()) - before
    return temporary


has_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
each_writer = pytest.mark.parametrize("write", [write_a_file, write_in_a_folder])


@has_fork
@each_writer
def test_the_next_write_of_a_file_removes_only_its_own_temporary_files_of_killed_processes(tmp_path, write):
    """Not those of another file, nor a link with such a name."""
    temporary = killed_while_writing(write, tmp_path / "a.[1].pth")
    of_another_file = killed_while_writing(write, tmp_path / "a")
    link = tmp_path / ".a.[1].pth.12ab.tmp"
    link.symlink_to("a")
    list(write(tmp_path / "a.[1].pth"))
    assert not temporary.exists()
    assert of_another_file.exists()
    assert link.is_symlink()


@each_writer
def test_the_temporary_file_of_a_living_process_is_not_removed(tmp_path, write):
    living = write(tmp_path / "a.pth")
    next(living)
    (temporary,) = tmp_path.iterdir()
    list(write(tmp_path / "a.pth"))
    assert temporary.exists()


def test_json_has_null_in_place_of_nan_and_infinity():
    content = {"a": [float("nan"), {"b": float("-inf")}], "c": 1 / 3, "d": None, "ä": True}
    assert json.loads(json_text(content)) == {"a": [None, {"b": None}], "c": 1 / 3, "d": None, "ä": True}


ANY_NAME = "caf\udce9 \x1b[2J\x7f\x9b.wav"  # not UTF-8, and what a terminal obeys


@pytest.mark.parametrize("indent", [None, 1])
def test_json_of_any_file_name_is_printable_and_has_the_same_name_when_it_is_read(indent):
    """On one line, it is ASCII."""
    text = json_text({"file": ANY_NAME, "ä": "\n"}, indent=indent)
    assert text.replace("\n", "").isprintable()
    assert text.isascii() == (indent is None)
    assert json.loads(text) == {"file": ANY_NAME, "ä": "\n"}


@pytest.mark.parametrize("write", [write_text, write_output])
def test_text_with_a_name_that_is_not_utf8_is_written_with_the_name_escaped(tmp_path, write):
    write(tmp_path / "page.html", "caf\udce9.wav")
    assert (tmp_path / "page.html").read_text() == r"caf\udce9.wav"


def test_only_one_process_writes_to_a_folder(tmp_path):
    with writing_folder(tmp_path), ProcessPoolExecutor(1, get_context("fork")) as executor:
        with input_error("another process is writing to .*: wait for its end, or name another folder"):
            executor.submit(enter, tmp_path).result()
    enter(tmp_path)
    assert list(tmp_path.iterdir()) == []


def enter(folder):
    with writing_folder(folder):
        assert [path.name for path in folder.iterdir()] == [FOLDER_LOCK]


@has_fork
def test_what_a_process_that_was_killed_left_in_a_folder_is_known_and_removed(tmp_path):
    def write_files(path):
        with writing_folder(path.parent), replacing(path):
            yield

    child = os.fork()
    if not child:
        killed = write_files(tmp_path / "a")
        next(killed)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / FOLDER_LOCK).exists()
    enter(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_longer_than_the_limit_is_refused(tmp_path):
    """Also a device, which states no length."""
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    assert read_bounded(path, 1000) == bytes(1000)
    with input_error(r"file: is longer than 999 bytes, the most that is read here; give the path of a list"):
        read_bounded(path, 999, "give the path of a list")
    with input_error("is longer than 100 bytes"):
        read_bounded("/dev/zero", 100)


def test_files_that_cannot_be_read_are_refused_with_the_reason(tmp_path):
    with input_error("No such file"):
        read_bounded(tmp_path / "none", 100)
    with input_error("is a named pipe, not a file or /dev/stdin"):
        read_bounded(pipe(tmp_path / "pipe"), 100)


def test_a_pipe_of_the_shell_is_read():
    receiving, sending = os.pipe()  # of the shell
    os.write(sending, b"text")
    os.close(sending)
    assert read_bounded(f"/dev/fd/{receiving}", 10) == b"text"
    os.close(receiving)

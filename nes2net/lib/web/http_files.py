"""Read from HTTP servers that are not trusted: whole files, parts of files, and pages."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin

import httpx

from nes2net.lib.errors import (
    Explained,
    InputError,
    Unfinished,
    Unreachable,
    as_input_error,
    first_line,
    readable_size,
    short_repr,
)
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.storage.files import Budget, make_folder, never_linked, write_text
from nes2net.lib.storage.plain_data import read_small_text

T = TypeVar("T")

_CHUNK = 1 << 20
_MB = 1_000_000
_MAX_REDIRECTS = 10
#: Pages of a folder and its subfolders that are read.
MAX_PAGES = 1000
# The client gives up after this number of requests in a row with fewer than _MIN_PROGRESS_BYTES each.
MAX_TRIES = 6
_MIN_PROGRESS_BYTES = 100_000  # bytes
_PROGRESS_INTERVAL = 300.0  # seconds in which at least _MIN_PROGRESS_BYTES bytes must arrive: about 300 bytes/s
_LINK = re.compile(rb"""<a\s[^<>]*?href\s*=\s*["']?([^"'\s>?#]+)["'\s>]""", re.IGNORECASE)
_BUSY = (408, 429, 500, 502, 503, 504)  # HTTP status codes of a server that may answer later


@dataclass(frozen=True)
class RemoteFile:
    """The address of a file, and what its publisher states.

    Args:
        size: size of the file in bytes; None if unknown.
        digests: name of a digest in :mod:`hashlib` → the digest in hexadecimal.
        headers: of requests, such as a token, which no other host gets.
    """

    url: str
    size: int | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class DownloadRefused(InputError):
    """A server refuses or lacks a file."""


class TemporaryFailure(Exception):
    """A failed request may succeed later."""

    pause: int | None = None
    """Seconds to wait, if the server states them."""


class HttpFiles:
    """Downloads files from HTTP servers that are not trusted.

    Redirections from HTTPS to HTTP are refused. If a server is busy, breaks off or stalls, the
    request is repeated after 1, 2, 4 … seconds.

    Args:
        most_tries: give up after so many requests in a row with fewer than 100,000 new bytes each.
    """

    def __init__(self, sleep: Callable[[float], object] = time.sleep, most_tries: int = MAX_TRIES) -> None:
        self.sleep = sleep
        self.most_tries = most_tries
        timeout = httpx.Timeout(60.0, connect=30.0)  # seconds
        # "identity" asks the server not to compress the file: compressed bytes would have a different size and digest.
        headers = {"User-Agent": "nes2net", "Accept-Encoding": "identity"}
        self.client = httpx.Client(follow_redirects=False, timeout=timeout, headers=headers)

    def __enter__(self) -> HttpFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def read(self, url: str, max_bytes: int) -> bytes:
        """Download a page of at most ``max_bytes``, with the errors of :meth:`fetch`."""

        def ask() -> bytes:
            with self._request("GET", url) as answer:
                _check_found(answer)
                return b"".join(_chunks(answer, max_bytes))

        return self.persistently(ask, url)

    def read_range(self, url: str, start: int, size: int, headers: Mapping[str, str]) -> bytes:
        """Read ``size`` bytes from ``start`` on.

        Raises:
            InputError: if the server refuses or sends other bytes.
            Busy, httpx.TransportError: if another try may succeed.
        """
        end = start + size - 1
        with self._request("GET", url, headers={**headers, "Range": f"bytes={start}-{end}"}) as answer:
            _check_found(answer)
            length = _whole_number(answer.headers.get("content-length")) or 0
            # An answer that does not name its range is of the whole file.
            _check_range(answer.headers.get("content-range", f"bytes 0-{length - 1}/"), f"bytes {start}-{end}/")
            return b"".join(_chunks(answer, size))

    def ask_facts(self, url: str) -> dict[str, Any]:
        """Return ``size``, None if not stated, and all headers."""
        headers: dict[str, str] = {}
        for method in ("HEAD", "GET"):  # not every server knows HEAD
            with self._request(method, url, headers) as answer:
                if answer.is_success or answer.status_code in (404, 410, *_BUSY):
                    break
        _check_found(answer)
        return {**headers, "size": _size_of_whole_file(answer)}

    def list_files(self, pattern: str) -> list[str]:
        """List files by the links in the page of a folder and of its subfolders, or those that match a pattern with ``*``."""
        is_folder = "*" not in pattern
        if is_folder:
            pattern = f"{pattern.rstrip('/')}/*"
        folder = pattern.partition("*")[0].rpartition("/")[0]
        # Links may lead to folders without end.
        budget = Budget(f"the listing of {folder}", most_bytes=100 * _MB, most_steps=MAX_PAGES)
        folders = [f"{folder}/"]
        names = []
        for address in folders:
            page = self.read(address, 20 * _MB)
            budget.take("pages", bytes=len(page), steps=1)
            for link in {urljoin(address, link.decode(errors="replace")) for link in _LINK.findall(page)}:
                is_deeper = link.count("/") > pattern.count("/")
                if urljoin(link.rstrip("/"), ".") != address or (is_deeper and not is_folder):
                    continue
                if link.endswith("/"):
                    folders.append(link)
                else:
                    names.append(link)
        # Here "*" also matches a slash, but a name has no more slashes than the pattern.
        return fnmatch.filter(names, pattern)

    def ask_size_and_digest(self, file: RemoteFile) -> RemoteFile:
        """Add the size and, on the hub, the SHA-256 that the server states, if they are missing."""
        facts = self.persistently(lambda: self.ask_facts(file.url), file.url)
        # The hub states size and digest in the answer that redirects to its store.
        size = file.size or _whole_number(facts.get("x-linked-size")) or facts["size"]
        digest = re.fullmatch(r'"?([0-9a-f]{64})"?', facts.get("x-linked-etag", ""))
        stated = {"sha256": digest[1]} if digest else {}
        return replace(file, size=size, digests={**stated, **file.digests})

    def fetch(self, file: RemoteFile, path: Path, title: str, *, shown: bool = True) -> dict[str, str]:
        """Download ``file`` to ``path``, and check its size and its digests; ``shown`` with the progress.

        A partial download stays in ``{path}.part``, and is resumed unless the file has changed.

        Raises:
            InputError: if there is no such file, if the disk is too small, or if the size or a
                digest differs from the published one; then the file is removed.
            Unfinished: if the server breaks off too often, or if the disk is full.

        Returns:
            Name of each published digest → the computed one; ``sha256`` if none is published.
        """
        partial_path = path.with_name(f"{path.name}.part")
        make_folder(path.parent)
        total = None if file.size is None else max(1, file.size // _MB)
        start = size_of(partial_path) // _MB
        with ProgressDisplay[Any](title=title, unit="MB", total=total, start=start, shown=shown) as display:
            self.persistently(
                lambda: self._resume(file, partial_path, display),
                file.url,
                bytes_so_far=lambda: size_of(partial_path),
            )
        digests = digests_of(partial_path, file.digests or ("sha256",), f"checking {path.name}", shown=shown)
        for name, published in file.digests.items():
            if digests[name] != published.lower():
                _remove(partial_path)
                raise InputError(
                    f"the {name.upper()} of what came is {digests[name]}, not {published}",
                    subject=f"{file.url}:",
                    remedy="it was damaged on its way or replaced by its publisher, and is removed: run the same command again",
                )
        os.replace(partial_path, path)  # _remove below finds only the state
        _remove(partial_path)
        return digests

    def _resume(self, file: RemoteFile, partial_path: Path, display: ProgressDisplay[Any]) -> None:
        """Download what is missing from ``partial_path``, or all if the file may have changed."""
        validator = _saved_validator(partial_path, file.url)
        start = size_of(partial_path)
        # Without validator and digest, nothing can show whether the file on the server is still the same.
        if not (validator or file.digests) or (file.size is not None and start > file.size):
            start = 0
        if 0 < start == file.size:
            return
        headers = dict(file.headers)
        if start:
            headers["Range"] = f"bytes={start}-"
            if validator:
                headers["If-Range"] = validator
        with self._request("GET", file.url, headers=headers) as answer:
            code = answer.status_code
            total_bytes = _size_of_whole_file(answer)
            new_validator = _validator_of(answer)
            # A server that ignores If-Range sends a range of another file. There is no range behind the end of a file.
            # Only tags, which end with a quotation mark, or only times, which end with GMT, are compared.
            is_other_file = code == 206 and new_validator[-1:] == validator[-1:] and new_validator != validator
            if is_other_file or (code == 416 and total_bytes != start):
                _remove(partial_path)
                raise TemporaryFailure("the file has changed: downloading it again")
            if code == 416:
                return
            _check_found(answer)
            if code == 206:
                _check_range(answer.headers.get("content-range", ""), f"bytes {start}-")
            else:  # the server sends the whole file instead of the range
                start = 0
            if total_bytes is not None and file.size is not None and total_bytes != file.size:
                raise InputError(
                    f"the server announces {total_bytes:,} bytes, but {file.size:,} were published",
                    remedy="look on its publisher's page whether the file was replaced",
                )
            if start == 0:
                write_text(_state_of(partial_path), f"{new_validator}\n{file.url}")
            self._receive(answer, partial_path, start, total_bytes or file.size, display)

    def _receive(
        self,
        answer: httpx.Response,
        partial_path: Path,
        start: int,
        total_bytes: int | None,
        display: ProgressDisplay[Any],
    ) -> None:
        """Write the body of ``answer`` to ``partial_path`` from byte ``start`` on."""
        free = shutil.disk_usage(partial_path.parent).free
        if total_bytes is not None and total_bytes - start > free:
            raise InputError(
                f"needs {readable_size(total_bytes - start)}, and in {partial_path.parent} {readable_size(free)} are free",
                remedy="make room and run the same command again",
            )
        # A file of unknown size may be endless, and must not fill the disk.
        max_bytes = start + free // 2 if total_bytes is None else total_bytes
        done = start
        began = time.monotonic()
        display.update(start // _MB - display.done)
        try:
            mode = "r+b" if start else "wb"  # "ab" could not seek
            with open(partial_path, mode, opener=never_linked) as out:
                out.seek(start)
                out.truncate()
                try:
                    for chunk in _chunks(answer, max_bytes - start):
                        done += len(chunk)
                        out.write(chunk)
                        seconds = max(time.monotonic() - began, 0.1)
                        display.facts = [f"{readable_size((done - start) / seconds)}/s"]
                        display.update(done // _MB - display.done)
                except InputError:  # more bytes than announced
                    _remove(partial_path)
                    raise
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:
            raise Unfinished(
                f"{partial_path} cannot be written ({error.strerror})",
                remedy="make room, and run the same command again",
            ) from error
        if total_bytes is not None and done < total_bytes:
            raise TemporaryFailure(f"the connection ended after {done:,} of {total_bytes:,} bytes")

    @contextmanager
    def _request(
        self, method: str, url: str, all_headers: dict[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx.Response]:
        """Send a request, follow redirections, and yield the last answer.

        Args:
            all_headers: gets the headers of all answers, of one name the last.
        """
        with as_input_error("not an address", httpx.InvalidURL, remedy="correct it"):
            address = httpx.URL(url)
        if address.scheme not in ("http", "https") or not address.host:
            raise InputError("not an address of HTTP or HTTPS: correct it")
        request = self.client.build_request(method, address, headers=headers)
        for _ in range(_MAX_REDIRECTS):
            answer = self.client.send(request, stream=True)
            with closing(answer):
                if all_headers is not None:
                    all_headers |= answer.headers
                if answer.next_request is None:
                    if answer.headers.get("content-encoding", "identity") != "identity":
                        raise InputError(
                            "the server compresses the file, although it was asked not to: get the file with a browser"
                        )
                    yield answer
                    return
            target = answer.next_request.url
            if target.scheme not in {"https", address.scheme}:
                raise InputError(
                    f"the server redirects to {short_repr(str(target))}, which is not HTTPS, so it is not followed: "
                    "get the file with a browser"
                )
            request = answer.next_request  # without credentials if it goes to another host
            address = target
        raise InputError(f"the server redirects more than {_MAX_REDIRECTS} times: get the file with a browser")

    def persistently(
        self,
        ask: Callable[[], T],
        name: str,
        *,
        errors: tuple[type[Exception], ...] = (Explained, httpx.TransportError, TemporaryFailure),
        may_be_missing: bool = True,
        bytes_so_far: Callable[[], int] = lambda: 0,
    ) -> T:
        """Call ``ask`` until it succeeds, up to :attr:`most_tries` times in a row with hardly any new ``bytes_so_far``.

        Args:
            name: of the file, in messages.
            errors: those of ``ask`` that another try may mend, and ours.
            may_be_missing: raise :class:`InputError` at once if the file is refused or missing, or
                if the host has no address; false if it was there before.

        Raises:
            Unreachable: if all tries failed.
        """
        tries = 0
        bytes_before = bytes_so_far()
        while True:
            try:
                return ask()
            except errors as error:
                if isinstance(error, Explained) and (may_be_missing or not isinstance(error, DownloadRefused)):
                    if not error.subject:
                        error.concern(f"{name}:")
                    raise
                reason = f"{type(error).__name__}: {first_line(error)}"
                pause = None
                if isinstance(error, TemporaryFailure):
                    reason = first_line(error)
                    pause = error.pause
                if may_be_missing and not bytes_so_far() and _is_lasting(error):
                    raise InputError(f"cannot be read ({reason})", subject=name, remedy=_HOPELESS) from error
                tries = tries + 1 if bytes_so_far() < bytes_before + _MIN_PROGRESS_BYTES else 1
                if tries >= self.most_tries:
                    raise Unreachable(
                        f"cannot be read at present ({reason}; tried {tries} times)",
                        subject=name,
                        remedy="check the network connection, the server and your access; what has come is kept, and the same "
                        "command resumes from there",
                    ) from error
                if pause is None:
                    pause = 2 ** (tries - 1)  # seconds: 1, 2, 4, …
            bytes_before = bytes_so_far()
            self.sleep(min(pause, 120))


def digests_of(
    path: Path, names: Mapping[str, str] | tuple[str, ...], title: str, *, shown: bool = True
) -> dict[str, str]:
    """Compute the hexadecimal digests ``names`` (:mod:`hashlib`) of a file; ``shown`` with the progress.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a.txt"
    >>> _ = file.write_text("hello")
    >>> digests_of(file, ("md5",), "checking a.txt")
    {'md5': '5d41402abc4b2a76b9719d911017c592'}
    """
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in names}
    total = max(1, size_of(path) // _MB)
    with ProgressDisplay[Any](title=title, unit="MB", total=total, shown=shown) as display, open(path, "rb") as file:
        while block := file.read(_CHUNK):
            for file_hash in hashes.values():
                file_hash.update(block)
            display.update(file.tell() // _MB - display.done)
    return {name: file_hash.hexdigest() for name, file_hash in hashes.items()}


# What to do about a failure that will come again.
_HOPELESS = (
    "running the same command again will not help: correct the host or the path of the address, or check the network "
    "and your access"
)


def _is_lasting(error: Exception) -> bool:
    status = getattr(getattr(error, "response", None), "status_code", None)  # of the hub
    is_refused = status in (401, 403) or isinstance(error, (FileNotFoundError, PermissionError, ValueError))
    return is_refused or "Credentials" in type(error).__name__ or _is_of_host(error)


def _is_of_host(error: BaseException) -> bool:
    """Whether no host has this name, or the certificate of the host is invalid."""
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_NONAME
    cause = error.__cause__ or error.__context__
    return isinstance(error, ssl.SSLCertVerificationError) or (cause is not None and _is_of_host(cause))


def _check_range(sent: str, expected: str) -> None:
    if not sent.startswith(expected):
        raise InputError(
            f"the server sends {short_repr(sent)} instead of {short_repr(expected)}…: get the file with a browser"
        )


def _chunks(answer: httpx.Response, max_bytes: int) -> Iterator[bytes]:
    done = 0
    interval_began = time.monotonic()
    bytes_at_interval = 0
    for chunk in answer.iter_raw():
        done += len(chunk)
        if done > max_bytes:
            raise InputError(
                f"the server sends more than the {max_bytes:,} bytes announced or possible: get the file with a browser"
            )
        yield chunk
        seconds = time.monotonic() - interval_began
        if seconds > _PROGRESS_INTERVAL:
            if done - bytes_at_interval < _MIN_PROGRESS_BYTES:
                raise TemporaryFailure(f"the server sent only {done - bytes_at_interval:,} bytes in {seconds:.0f} s")
            interval_began += seconds
            bytes_at_interval = done


def _check_found(answer: httpx.Response) -> None:
    code = answer.status_code
    status = f"{code} {answer.reason_phrase}"
    if code in _BUSY:
        busy = TemporaryFailure(f"the server answers {status}")
        busy.pause = _whole_number(answer.headers.get("retry-after"))
        raise busy
    if code in (401, 403):
        raise DownloadRefused(
            f"the server refuses it ({status})",
            remedy="it may ask for a login or an agreement: get it with a browser, or log in by `hf auth login` to the hub",
        )
    if not answer.is_success:
        raise DownloadRefused(f"the server answers {status}", remedy="look on its publisher's page where it is now")


def _size_of_whole_file(answer: httpx.Response) -> int | None:
    if answer.status_code in (206, 416):
        return _whole_number(answer.headers.get("content-range", "").rpartition("/")[2])
    return _whole_number(answer.headers.get("content-length"))


def _validator_of(answer: httpx.Response) -> str:
    """Find the tag or time that shows, when a download is resumed, whether the file is still the same.

    A weak tag cannot prove that (RFC 9110, 13.1.5).
    """
    tag = answer.headers.get("etag", "")
    modified = answer.headers.get("last-modified", "")
    validator = tag if tag.startswith('"') else modified
    return validator if len(validator) < 1000 else ""


def _state_of(partial_path: Path) -> Path:
    """Path of the text with validator and address of a partial download."""
    return partial_path.with_name(f"{partial_path.name}.txt")


def _remove(partial_path: Path) -> None:
    for path in (partial_path, _state_of(partial_path)):
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _saved_validator(partial_path: Path, url: str) -> str:
    # ETag or modification time of the file when the download began; empty if unknown.
    with suppress(InputError):
        validator, _, saved_url = read_small_text(_state_of(partial_path)).partition("\n")
        if saved_url == url:
            return validator
    return ""


def _whole_number(text: str | None) -> int | None:
    if text and text.isascii() and text.isdecimal() and len(text) < 19:  # fits 64 bits
        return int(text)
    return None

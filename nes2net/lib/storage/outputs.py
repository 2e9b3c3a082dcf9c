"""Names and folders of output files, if each of several inputs has its own output file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nes2net.lib.errors import InputError, refuse
from nes2net.lib.storage.files import AnyPath, check_writable, make_folder, replacing, writing


def output_names(files: Iterable[Path], suffix: str) -> dict[Path, str]:
    """Map each file to its output's name: its stem, a number if the name is taken, and ``suffix``.

    >>> [*output_names([Path("a/talk.mp3"), Path("b/talk.wav")], ".png").values()]
    ['talk.png', 'talk_2.png']
    """
    names = {}
    for path in dict.fromkeys(files):
        name = f"{path.stem}{suffix}"
        number = 1
        while name in names:
            number += 1
            name = f"{path.stem}_{number}{suffix}"
        names[name] = path
    return {path: name for name, path in names.items()}


def check_files_differ(read: Iterable[AnyPath], written: Iterable[AnyPath]) -> None:
    """Raise :class:`InputError` if a file is read and written, or written twice."""
    read_paths = set(map(os.path.realpath, read))
    written_paths = set()
    for path in written:
        real_path = os.path.realpath(path)
        refuse(
            (real_path in read_paths, f"{path} is one of the files that are read; name another file to write"),
            (real_path in written_paths, f"{path} is named for two outputs; name a different file for each"),
        )
        written_paths.add(real_path)


#: Suffixes of the pictures that commands draw.
PICTURES = (".png", ".svg", ".pdf")


def check_picture(path: str | Path) -> None:
    """Raise :class:`InputError` if the suffix is not in :data:`PICTURES`."""
    if Path(path).suffix not in PICTURES:
        raise InputError(f"`plot` requires a file that ends in .png, .svg or .pdf, not {path}: name another file")


def save_picture(figure: Any, path: AnyPath, **options: Any) -> None:
    """Write a figure of Matplotlib, all or nothing; the suffix of ``path`` is the format."""
    with replacing(path, durable=True) as temporary:
        figure.savefig(temporary, format=Path(path).suffix[1:], **options)


def check_output_paths(paths: Iterable[Path], remedy: str) -> None:
    """Make the folders of ``paths``; raise :class:`InputError` with ``remedy`` if files cannot be written there."""
    for path in {path.parent: path for path in paths}.values():
        with writing(path, remedy):
            make_folder(path.parent)
        check_writable(path, remedy)

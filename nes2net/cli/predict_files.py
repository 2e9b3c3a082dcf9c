"""What `nes2net predict` says of each recording, and where it writes a file for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nes2net.errors import InputError, one_line, worded
from nes2net.machine.files import check_writable, writing
from nes2net.machine.progress import ProgressDisplay
from nes2net.machine.terminal import printable_name

#: Suffixes of pictures.
PICTURES = (".png", ".svg", ".pdf")


def reason(path: Path, error: InputError) -> str:
    """Why ``path`` could not be scored, without its name."""
    text, name = str(error), one_line(str(path))
    for start in (f"audio file {name} ", f"{name}: "):
        text = text.removeprefix(start)
    return worded(text)


@contextmanager
def seconds_shown(path: Path, duration: float) -> Iterator[Callable[[float], object]]:
    """Show how many of the ``duration`` seconds of ``path`` are scored: a function to call with them."""
    name = printable_name(path.name)
    with ProgressDisplay[None](title=name, unit="second", total=round(duration), delay=1) as display:
        yield lambda seconds: display.update(round(seconds) - display.done)


def is_one_file(target: Path, suffixes: Sequence[str]) -> bool:
    """Whether ``target`` is a file to write, by its suffix, not a folder for several."""
    return target.suffix.lower() in suffixes and not target.is_dir()


def pictures_for(target: Path, files: Sequence[Path]) -> dict[Path, Path]:
    """Map each recording to its picture: ``target`` itself, or one in that folder.

    Raises:
        InputError: if there are several recordings for one picture, or a file cannot be written
            there. That is found out before hours of scoring.
    """
    if is_one_file(target, PICTURES):
        if len(files) > 1:
            raise InputError(f"--plot {target} is one picture and there are {len(files)} files: name a folder")
        pictures = {files[0]: target}
    else:
        pictures = {path: target / name for path, name in named_alike(files, ".png").items()}
    check_places(pictures.values(), "name another with --plot")
    return pictures


def named_alike(files: Iterable[Path], suffix: str) -> dict[Path, str]:
    """Map each recording to a name for a file of its own, which ends in ``suffix``.

    >>> [*named_alike([Path("a/talk.mp3"), Path("b/talk.wav")], ".png").values()]
    ['talk.png', 'talk_2.png']
    """
    names: dict[str, Path] = {}
    for path in dict.fromkeys(files):
        name, number = f"{path.stem}{suffix}", 1
        while name in names:
            number += 1
            name = f"{path.stem}_{number}{suffix}"
        names[name] = path
    return {path: name for name, path in names.items()}


def check_places(places: Iterable[Path], remedy: str) -> None:
    """Make the folders of ``places``, and try whether files can be written there.

    Raises:
        InputError: if not; its message ends with ``remedy``.
    """
    for place in {place.parent: place for place in places}.values():
        with writing(place, remedy):
            place.parent.mkdir(parents=True, exist_ok=True)
        check_writable(place, remedy)

"""Write durations in words, positions in a recording in the form m:ss, and the present time."""

from __future__ import annotations

from datetime import datetime, timezone


def utc_now() -> str:
    """Write the present time in UTC, to the second (ISO 8601)."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def readable_duration(seconds: float, exact: bool = False) -> str:
    """Write a duration in its two largest units that are not zero.

    Args:
        exact: write all units down to the second, and less than a minute with three digits.

    >>> [readable_duration(seconds) for seconds in (41.6, 59.5, 1260, 3600, 4990, 300_000)]
    ['42 s', '1 min', '21 min', '1 h', '1 h 23 min', '3 d 11 h']
    >>> readable_duration(4.0375, exact=True), readable_duration(90, exact=True), readable_duration(7200, exact=True)
    ('4.04 s', '1 min 30 s', '2 h')
    """
    if exact and seconds < 60:
        return f"{seconds:.3g} s"
    seconds_left = round(seconds)
    if not exact and seconds_left >= 60:
        seconds_left = 60 * round(seconds / 60)
    numbers = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        number, seconds_left = divmod(seconds_left, size)
        if number:
            numbers.append(f"{number} {unit}")
    return " ".join(numbers if exact else numbers[:2]) or "0 s"


def plain_duration(seconds: float) -> str:
    """Write a rough duration for readers of any kind.

    >>> plain_duration(8.08), plain_duration(1320)
    ('8.1 s', '22 minutes')
    """
    return f"{seconds:.2g} s" if seconds < 90 else f"{seconds / 60:.0f} minutes"


def clock(seconds: float, digits: int = 0) -> str:
    """Write a position in a recording as h:mm:ss or m:ss, with ``digits`` decimal places.

    >>> clock(75), clock(5.25, 2), clock(3725.5, 1), clock(59.96, 1)
    ('1:15', '0:05.25', '1:02:05.5', '1:00.0')
    """
    total, fraction = divmod(round(seconds * 10**digits), 10**digits)
    hours = total // 3600
    minutes = total // 60 % 60
    seconds_left = total % 60
    text = f"{hours}:{minutes:02d}:{seconds_left:02d}" if hours else f"{minutes}:{seconds_left:02d}"
    return f"{text}.{fraction:0{digits}d}" if digits else text

"""Published results: the rows of ``published.yaml``, or of a file laid out like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from nes2net.errors import InputError, did_you_mean

_MEASURES = ("val_loss_wo_aug", "val_loss_w_aug", "val_eer_wo_aug")
_ALLOWED = {
    "metric": ("EER",),
    "protocol": ("4sec", "full"),
    "select": _MEASURES,
    "average_mode": ("mean", "legacy"),
    "legacy_train_mode": (True, False),
}


@dataclass(frozen=True)
class PublishedRow:
    """A published result and what it takes to measure it again; the fields are explained at the head of ``published.yaml``."""

    id: str
    system: str
    train: str
    test: str
    metric: str
    best: float
    source: str
    corpus: str
    mean: float | None = None
    model: str | None = None
    frontend: str | dict[str, Any] = "xlsr_300m"
    split: str = "eval"
    phase: str = "eval"
    exclude: dict[str, list[str]] = field(default_factory=dict)
    protocol: str = "4sec"
    samples: int | None = None
    checkpoint: str | None = None
    recipe: str | None = None
    overrides: list[str] = field(default_factory=list)
    select: str = "val_loss_wo_aug"
    average: int = 1
    average_mode: str = "mean"
    legacy_train_mode: bool = False
    min_tdcf: float | None = None

    def describe(self) -> str:
        """One line: system, corpora, figures, source."""
        mean = "" if self.mean is None else f", mean {self.mean:.2f}"
        tdcf = "" if self.min_tdcf is None else f", min t-DCF {self.min_tdcf:.4f}"
        return f"{self.system}, trained on {self.train}: {self.metric} on {self.test} {self.best:.2f} %{mean}{tdcf} [{self.source}]"


def published_rows(path: str | Path | None = None) -> tuple[PublishedRow, ...]:
    """The rows of a file as ``published.yaml``, that one itself when ``path`` is None. A malformed file is :class:`InputError`."""
    return _read_rows(None if path is None else Path(path))


@cache
def _read_rows(path: Path | None) -> tuple[PublishedRow, ...]:
    import yaml

    name = "published.yaml" if path is None else str(path)
    try:
        source = files("nes2net.experiments") / "published.yaml" if path is None else path
        rows = yaml.safe_load(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror}); give a file of rows as published.yaml") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(rows, list):
        raise InputError(f"{name}: a list of rows is expected, found {type(rows).__name__}")
    found = tuple(_row(row, f"{name}, row {number}") for number, row in enumerate(rows, start=1))
    if len({row.id for row in found}) < len(found):
        raise InputError(f"{name}: two rows have one id")
    return found


def _row(values: Any, where: str) -> PublishedRow:
    known = {f.name: f for f in fields(PublishedRow)}
    if not isinstance(values, dict):
        raise InputError(f"{where}: a mapping is expected, found {values!r}")
    for name in values:
        if name not in known:
            raise InputError(f"{where}: unknown key '{name}'{did_you_mean(str(name), known)}")
    required = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    if lacking := [name for name in required if values.get(name) is None]:
        raise InputError(f"{where}: lacks {', '.join(lacking)}")
    row = PublishedRow(**{name: value for name, value in values.items() if value is not None})
    for name, allowed in _ALLOWED.items():
        if getattr(row, name) not in allowed:
            raise InputError(f"{where}: {name} is one of {', '.join(map(str, allowed))}, not '{getattr(row, name)}'")
    if row.protocol == "4sec" and row.samples is None:
        raise InputError(f"{where}: protocol 4sec needs the number of samples")
    return row


def find_row(id: str, rows: Sequence[PublishedRow]) -> PublishedRow:
    """The row named ``id``; an unknown one raises :class:`InputError` with the nearest."""
    by_id = {row.id: row for row in rows}
    if id not in by_id:
        raise InputError(f"no published row '{id}'{did_you_mean(id, by_id)}")
    return by_id[id]

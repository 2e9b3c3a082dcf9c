"""A list of trials whose fields can be read as columns of numbers.

An evaluation groups up to a million trials of each system by many fields. Each field of the key is
read only once, and all systems share the columns.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.protocol import WHOLE, canonical_phase, select_phase
from nes2net.data.corpora.trial import Trial, Trials


class Column(NamedTuple):
    """The values of a field of N trials, as numbers."""

    numbers: NDArray
    """Index in ``values``, (N,); −1 for a trial without the field."""
    values: Sequence[str]
    """Values in the whole key, ascending."""

    def where(self, value: str) -> NDArray:
        """Whether each trial has ``value``, (N,)."""
        # No number reaches len(values), so no trial has an unknown value.
        return self.numbers == (self.values.index(value) if value in self.values else len(self.values))

    def groups(self) -> Iterator[tuple[str, NDArray]]:
        """Yield each value that trials have, ascending, and whether each trial has it, (N,)."""
        for number in np.unique(self.numbers[self.numbers >= 0]).tolist():
            yield self.values[number], self.numbers == number

    def count(self, is_counted: NDArray) -> int:
        """Count distinct values in a mask (N,)."""
        return int(np.unique(self.numbers[is_counted & (self.numbers >= 0)]).size)


class TrialTable(list[Trial]):
    """A list of trials: a whole key, or a selection, which takes its columns from the key.

    Args:
        key: the table of the selection; None for a whole key.
        rows: positions (N,) in ``key``.
    """

    def __init__(self, trials: Iterable[Trial], key: TrialTable | None = None, rows: NDArray | None = None) -> None:
        super().__init__(trials)
        self.key = self if key is None else key
        self.rows = np.arange(len(self)) if rows is None else rows
        self._columns: dict[str, Column] = {}

    @classmethod
    def of(cls, trials: Trials) -> TrialTable:
        """Make a table of ``trials``, unless it is one."""
        return trials if isinstance(trials, TrialTable) else cls(trials)

    def take(self, positions: NDArray) -> TrialTable:
        """Make a table of the trials at ``positions`` (M,), in this order."""
        return TrialTable(map(self.__getitem__, positions.tolist()), self.key, self.rows[positions])

    @functools.cached_property
    def position_of(self) -> dict[str, int]:
        """Id → position in this table."""
        return {trial.id: position for position, trial in enumerate(self)}

    def column(self, name: str) -> Column:
        """Return the column of the field ``name``, read only once."""
        if name not in self._columns:
            if self.key is self:
                self._columns[name] = self._read_column(name)
            else:
                numbers, values = self.key.column(name)
                self._columns[name] = Column(numbers[self.rows], values)
        return self._columns[name]

    def _read_column(self, name: str) -> Column:
        fields: Iterable[str | None]
        if name in Trial.__dataclass_fields__:  # quicker than `Trial.get`
            fields = map(attrgetter(name), self)
        else:
            fields = (trial.get(name) for trial in self)
        fields = list(fields)
        values = sorted({value for value in set(fields) if value is not None})
        number_of: dict[str | None, int] = {value: number for number, value in enumerate(values)}
        number_of[None] = -1
        # The smallest signed type that holds −1 to len(values) − 1: small integers are sorted fastest.
        dtype = np.min_scalar_type(-1 - len(values))
        return Column(np.fromiter(map(number_of.__getitem__, fields), dtype, len(fields)), values)

    def is_in_phase(self, phase: str | None) -> NDArray:
        """Whether each trial is in ``phase``, (N,); see :func:`~nes2net.data.corpora.protocol.select_phase`.

        Raises:
            InputError: if none is.
        """
        if phase in (None, WHOLE):
            return np.ones(len(self), dtype=bool)
        column = self.column("phase")
        # A trial without a phase is in every phase, as for select_phase().
        is_in_phase = column.where(canonical_phase(str(phase))) | (column.numbers < 0)
        if not is_in_phase.any():
            select_phase(self, phase)  # this call raises an error that lists the phases
        return is_in_phase

"""A list of trials whose fields can be read as columns of numbers.

An evaluation groups the trials of each system, up to a million, by many fields. Therefore each
field of the key is read into a column only once, and all systems share the columns of the key.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.protocol import WHOLE, canonical_phase, select_phase
from nes2net.data.corpora.trial import Trial


class Column(NamedTuple):
    """The values of a field of N trials, as numbers."""

    numbers: NDArray
    """Position of each trial's value in ``values``, (N,); −1 for a trial without the field."""
    values: Sequence[str]
    """The values that occur in the whole key, in ascending order."""

    def where(self, value: str) -> NDArray:
        """Whether each trial has ``value``, (N,)."""
        return self.numbers == (self.values.index(value) if value in self.values else len(self.values))

    def count(self, chosen: NDArray) -> int:
        """Count the distinct values among the trials that the mask ``chosen`` (N,) selects."""
        return int(np.unique(self.numbers[chosen & (self.numbers >= 0)]).size)


class TrialTable(list[Trial]):
    """A list of trials: a whole key, or a selection from a key. A selection takes its columns from the key.

    Args:
        trials: the trials.
        key: the table from which the trials were selected; None if this table is a whole key.
        rows: positions of the trials in ``key``, (N,); None if this table is a whole key.
    """

    def __init__(self, trials: Iterable[Trial], key: TrialTable | None = None, rows: NDArray | None = None) -> None:
        super().__init__(trials)
        self.key = self if key is None else key
        self.rows = np.arange(len(self)) if rows is None else rows
        self._columns: dict[str, Column] = {}

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> TrialTable:
        """Make a table of ``trials``; if ``trials`` is a table already, return it."""
        return trials if isinstance(trials, TrialTable) else cls(trials)

    def take(self, positions: NDArray) -> TrialTable:
        """Make a table of the trials at ``positions`` (M,), in this order."""
        return TrialTable(map(self.__getitem__, positions.tolist()), self.key, self.rows[positions])

    @property
    def mask_in_key(self) -> NDArray:
        """For each trial of the key, whether this table holds the trial."""
        is_in_table = np.zeros(len(self.key), dtype=bool)
        is_in_table[self.rows] = True
        return is_in_table

    @functools.cached_property
    def position_of(self) -> dict[str, int]:
        """Id of a trial → position of the trial in this table."""
        return {trial.id: position for position, trial in enumerate(self)}

    def column(self, name: str) -> Column:
        """Return the column of the field ``name``; the field is read only once."""
        if name not in self._columns:
            if self.key is self:
                self._columns[name] = self._read_column(name)
            else:
                numbers, values = self.key.column(name)
                self._columns[name] = Column(numbers[self.rows], values)
        return self._columns[name]

    def _read_column(self, name: str) -> Column:
        """Read the field ``name`` of all trials into a column."""
        fields: Iterable[str | None]
        if name in Trial.__dataclass_fields__:  # quicker than `Trial.get`
            fields = map(attrgetter(name), self)
        else:
            fields = (trial.get(name) for trial in self)
        fields = list(fields)
        values = sorted({value for value in set(fields) if value is not None})
        number_of: dict[str | None, int] = {value: number for number, value in enumerate(values)}
        number_of[None] = -1
        # Take the smallest type of integers, because small integers are sorted fastest.
        dtype = np.min_scalar_type(-1 - len(values))
        return Column(np.fromiter(map(number_of.__getitem__, fields), dtype, len(fields)), values)

    def is_in_phase(self, phase: str | None) -> NDArray:
        """Whether each trial belongs to ``phase``, (N,); see :func:`~nes2net.data.corpora.protocol.select_phase`.

        Raises:
            InputError: if no trial belongs to the phase.
        """
        if phase in (None, WHOLE):
            return np.ones(len(self), dtype=bool)
        column = self.column("phase")
        is_in_phase = column.where(canonical_phase(str(phase))) | (column.numbers < 0)
        if not is_in_phase.any():
            select_phase(self, phase)  # this call raises an error that lists the phases
        return is_in_phase

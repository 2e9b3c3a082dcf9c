"""Facts of a recipe's key besides type, range and default."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema


@dataclass(frozen=True)
class Source:
    """Where a key comes from: a paper and its section, or the flag of a published program."""

    text: str

    @property
    def names(self) -> list[str]:
        """The flags, without their hyphens."""
        return re.findall(r"--([\w-]+)", self.text)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), "source": self.text}


@dataclass(frozen=True)
class AlsoCalled:
    """What other programs call a key: whoever gives such a name is told the key."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class UsedWith:
    """Only these ``values`` of another key of the same section, ``choice``, use this key."""

    choice: str
    values: tuple[str, ...]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), "usedWith": f"{self.choice}: {' or '.join(self.values)}"}

"""Conditions on settings, declared beside them in ``Annotated``, for flags of commands and for keys of recipes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from nes2net.lib.errors import InputError

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


class Condition:
    """A relation of a setting to others, which must hold if the setting does not have its default.

    Args:
        settings: the other settings: ``"name=value"``, or ``"name"`` for any value but its default.
    """

    def __init__(self, *settings: str) -> None:
        self.settings = settings


class UsedWith(Condition):
    """The setting has an effect only together with one of ``settings``."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), "usedWith": list(self.settings)}


class NotWith(Condition):
    """The setting excludes each of ``settings``."""


def check_conditions(
    conditions: Iterable[tuple[str, Condition]],
    values: Mapping[str, object],
    defaults: Mapping[str, object],
) -> None:
    """Check the conditions of all settings that do not have their default.

    Args:
        conditions: each with the name of its setting.
        values, defaults: by name, perhaps with a section (``train.lr``), which is by default that
            of the condition's setting. Settings that are not in ``values`` are not compared.

    Raises:
        InputError: if a condition is not met.

    >>> check_conditions([("t_max", UsedWith("epochs"))], {"t_max": 5, "epochs": 1}, {"t_max": 4, "epochs": 1})
    Traceback (most recent call last):
    nes2net.lib.errors.InputError: `t_max` is used only with `epochs` other than 1: remove it, or add `epochs` other than 1
    """
    for name, condition in conditions:
        if values[name] == defaults[name]:
            continue
        prefix = name[: name.rfind(".") + 1]
        met = []
        unmet = []
        present_value = ""
        for setting in condition.settings:
            full_setting = setting if "." in setting else f"{prefix}{setting}"
            # A setting may require a value: ``name=value``.
            required, equals, value = full_setting.partition("=")
            if required not in values:
                continue
            is_met = values[required] == value if equals else values[required] != defaults[required]
            expected_setting = f"`{full_setting}`"
            if is_met:
                met.append(expected_setting)
                continue
            if equals:
                present_value = f", not with `{required}={values[required]}`"
            elif str(values[required]).isdigit():
                expected_setting += f" other than {values[required]}"
            unmet.append(expected_setting)
        if isinstance(condition, NotWith) and met:
            raise InputError(f"`{name}` and {met[0]} exclude each other: remove one of them")
        if isinstance(condition, UsedWith) and unmet and not met:
            expected = " or ".join(unmet)
            raise InputError(f"`{name}` is used only with {expected}{present_value}: remove it, or add {expected}")

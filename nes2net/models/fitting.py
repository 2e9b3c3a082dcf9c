"""Read options of a detector from the shapes of its tensors.

Names and shapes determine most options of a back-end: number of logits, pooling, groups, hidden
sizes. ``fit_config`` searches the declared options of the parts, without a rule for a particular
part. Each step changes the one option that leaves the fewest tensors different from the file's,
until none differs or no change helps. Options without effect on shapes stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from nes2net.lib.computing.without_memory import without_memory
from nes2net.lib.errors import InputError
from nes2net.lib.parts.options import ModelConfig, Options, name_and_options, options_of
from nes2net.lib.parts.registry import Registry
from nes2net.models.checkpoints.published_names import prefix_in_files, select_frontend, without_frontend
from nes2net.models.checkpoints.state_dict import Misfit, StateDict, compare
from nes2net.models.frontends.base import Frontend
from nes2net.models.network import Network
from nes2net.models.registry import aggregations, backends

#: Part of a detector → its registry, and the default name of the part in a configuration.
_PARTS: dict[str, tuple[Registry[Any], str]] = {"aggregation": (aggregations, "last"), "backend": (backends, "")}
_SET_BY_FRONTEND = ("feature_dim",)  # options of a back-end whose values the front-end determines
_MAX_OTHER_NAMES = 0.5  # largest share of names that do not match; above this share, the file holds other parts
_MAX_NUMBERS = 40  # largest number of counts, of sizes and of factors to try for an option
_MAX_TRIES = 400  # largest number of tries; each takes a few milliseconds to build the parts


def fit_config(state_dict: StateDict, frontend: Frontend, model: ModelConfig) -> ModelConfig | None:
    """Change options of aggregation and back-end in ``model`` until they fit the shapes of ``state_dict``.

    None if no options fit within a limited number of tries, or the front-end or too many names do
    not fit.

    Args:
        state_dict: tensors of a detector, with or without the front-end.
        frontend: the front-end of ``model``, on the meta device.
    """
    tensors = without_frontend(state_dict)
    misfit, expected = _compare_with(tensors, frontend, model)
    frontend_tensors = select_frontend(state_dict)
    prefix = prefix_in_files("frontend", frontend)
    expected_frontend = {prefix + name: tensor for name, tensor in frontend.state_dict().items()}
    if frontend_tensors and compare(frontend_tensors, expected_frontend):
        return None
    if misfit is None or share_of_other_names(tensors, expected) > _MAX_OTHER_NAMES:
        return None
    tries = 0
    while misfit:
        best: tuple[Misfit, ModelConfig, StateDict] | None = None
        smallest = len(misfit)
        for candidate in _candidates(model, tensors, expected):
            tries += 1
            if tries > _MAX_TRIES:
                return None
            new_misfit, new_expected = _compare_with(tensors, frontend, candidate)
            if new_misfit is not None and len(new_misfit) < smallest:
                smallest = len(new_misfit)
                best = new_misfit, candidate, new_expected
        if best is None:
            return None
        misfit, model, expected = best
    return model


def changed_options(before: ModelConfig, after: ModelConfig) -> list[str]:
    """List options of ``after`` that differ from ``before``, such as ``backend.num_logits=1``."""
    changes = []
    for role, (_, default_name) in _PARTS.items():
        _, options_before = name_and_options(before, role, default_name)
        _, options_after = name_and_options(after, role, default_name)
        changes += [
            f"{role}.{key}={value}"
            for key, value in options_after.items()
            if key not in options_before or options_before[key] != value
        ]
    return changes


def _compare_with(tensors: StateDict, frontend: Frontend, model: ModelConfig) -> tuple[Misfit | None, StateDict]:
    """Compare ``tensors`` with those of ``model``; return both results. None and {} if it cannot be built."""
    try:
        with without_memory():
            expected = without_frontend(Network.with_frontend(frontend, model).state_dict())
    except (InputError, ValueError, RuntimeError):
        return None, {}
    return compare(tensors, expected), expected


def share_of_other_names(state_dict: StateDict, expected: StateDict) -> float:
    """Compute the share of names that only one of ``state_dict`` and ``expected`` has, 0 to 1.

    Names of the front-end do not count. Names that differ only in numbers count as one.
    """
    names = {_without_numbers(name) for name in without_frontend(state_dict)}
    expected_names = {_without_numbers(name) for name in without_frontend(expected)}
    all_names = names | expected_names
    return len(names ^ expected_names) / max(1, len(all_names))


def _without_numbers(name: str) -> str:
    """Write ``#`` for each number between dots: ``layers.3.fc1.weight`` → ``layers.#.fc1.weight``."""
    return re.sub(r"(?<![^.])\d+(?![^.])", "#", name)


class _Numbers(NamedTuple):
    """Numbers that may be values of options, or lead to them."""

    counts: set[int]
    """Possible lengths of a list of modules."""
    sizes: set[int]
    """Lengths of dimensions in the file's tensors that differ from the expected tensors."""
    factors: set[tuple[int, int]]
    """Such a length and the expected one, in either order, as numerator and denominator."""


def _candidates(model: Options, tensors: StateDict, expected: StateDict) -> Iterator[ModelConfig]:
    numbers = _suggest_numbers(tensors, expected)
    for role, (registry, default_name) in _PARTS.items():
        name, options = name_and_options(model, role, default_name)
        if name not in registry.names():
            continue
        for key, option in options_of(registry.get(name)).items():
            if key in _SET_BY_FRONTEND:
                continue
            value = options.get(key, option.default)
            for new_value in _values_to_try(value, option.choices, numbers):
                if new_value != value and option.fits(new_value):
                    yield {**model, role: {"name": name, **options, key: new_value}}


def _values_to_try(value: Any, choices: tuple[str, ...], numbers: _Numbers) -> Iterator[Any]:
    if choices:
        yield from choices
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        scaled = {value * numerator // denominator for numerator, denominator in numbers.factors}
        yield from sorted(numbers.counts | numbers.sizes | scaled)
    elif isinstance(value, (list, tuple)):
        for index, element in enumerate(value):
            for new_element in _values_to_try(element, (), numbers):
                yield [*value[:index], new_element, *value[index + 1 :]]


def _suggest_numbers(tensors: StateDict, expected: StateDict) -> _Numbers:
    """Find numbers in the names and shapes that ``tensors`` and ``expected`` do not share, at most 40 of a kind."""
    counts: set[int] = set()
    for name in tensors.keys() ^ expected.keys():
        for word in name.split("."):
            if word.isdecimal() and len(word) < 4:
                # The index i in a name means at least i + 1 modules; an option may be larger by 1, such as the groups
                # of Nes2Net.
                counts |= {int(word), int(word) + 1, int(word) + 2}
    sizes: set[int] = set()
    factors: set[tuple[int, int]] = set()
    for name, tensor in tensors.items():
        if name not in expected or tensor.shape == expected[name].shape:
            continue
        for size, expected_size in zip(tensor.shape, expected[name].shape):
            if size != expected_size and size and expected_size:
                sizes.add(size)
                factors |= {(size, expected_size), (expected_size, size)}
    return _Numbers(
        set(sorted(counts)[:_MAX_NUMBERS]), set(sorted(sizes)[:_MAX_NUMBERS]), set(sorted(factors)[:_MAX_NUMBERS])
    )

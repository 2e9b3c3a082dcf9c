"""Tables of names: a :class:`Registry` finds parts, corpora, commands and others by name, also those of other packages.

Each package has its tables in a module ``registry``; the command line and the recipes use the same
names. A name stands for ``"module:attribute"``, which is imported when first needed, so that
listing names is fast. Installed packages add names by entry points (see docs/extending.md).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pkgutil import resolve_name
from typing import Any, Generic, Literal, TypeVar

from nes2net.lib.errors import InputError, check_known, one_line, refuse
from nes2net.lib.output.terminal import print_note
from nes2net.lib.parts.contracts import PartCheck, blame_part
from nes2net.lib.parts.process_state import same_process_state
from nes2net.lib.parts.source_text import spec_of

#: Key of the packages of parts in checkpoints and records (:func:`packages_of`).
PACKAGES_KEY = "packages"
T = TypeVar("T")
#: What follows ``nes2net.`` in the groups of entry points.
KINDS = (
    "aggregations, attacks, backends, commands, corpora, effects, evidence, frontends, heads, judgements, losses, "
    "metrics, speakers, tasks"
)


def without_missing_modules(table: Mapping[str, str]) -> dict[str, str]:
    """Omit names whose module does not exist, because users may delete apps, tasks and judgements."""
    return {name: target for name, target in table.items() if spec_of(target.partition(":")[0])}


class Registry(Generic[T]):
    """A table of names, each of which stands for an object in a module, such as a factory of parts or a corpus.

    Args:
        kind: the word for a registered object in messages, such as ``"back-end"``.
        table: name → ``"module:attribute"``.
        base: the class of the parts of other packages, as ``"module:class"``.
        registers: what a name stands for: a subclass of ``base``, a subclass or a function that
            builds a part (``"factory"``), or an instance.
        given: parameters of the constructor that nes2net sets; all others must have defaults.
        group: name of the entry points, after ``nes2net.``.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        table: dict[str, str],
        base: str,
        *,
        registers: Literal["class", "factory", "instance"] = "class",
        given: Sequence[str] = (),
    ) -> None:
        self.kind = kind
        self.group = f"nes2net.{group}"
        self.base = base
        self.registers = registers
        self.given = given
        self._built_in = table

    @cached_property
    def _added(self) -> dict[str, list[EntryPoint]]:
        added: dict[str, list[EntryPoint]] = {}  # get() removes names
        for point in entry_points(group=self.group):
            added.setdefault(point.name, []).append(point)
        return added

    @cached_property
    def _table(self) -> dict[str, str]:
        """Name → ``"module:attribute"``; built-in names take precedence."""
        return {**{name: points[0].value for name, points in self._added.items()}, **self._built_in}

    def names(self, *, installed: bool = True) -> list[str]:
        """List all names, sorted; only built-in ones unless ``installed``."""
        return sorted(self._table if installed else self._built_in)

    def target(self, name: str) -> str:
        return self._table[name]

    def is_built_in(self, name: str) -> bool:
        return name in self._built_in

    def package_of(self, name: str) -> str:
        """Return distribution and version of the package that adds ``name``; empty if unknown."""
        points = [] if name in self._built_in else self._added.get(name, [])
        return " and ".join(map(_package, points))

    def subject(self, name: str) -> str:
        """Describe a part for messages: ``back-end 'mean_frame' (package my-parts 0.1)``."""
        package = self.package_of(name)
        return f"{self.kind} '{name}' (package {package})" if package else f"{self.kind} '{name}'"

    @contextmanager
    def guard(self, name: str, method: str = "its constructor") -> Iterator[None]:
        """Within this context, an error in another package's code becomes one line, and the process's state stays."""
        if name in self._built_in:
            yield
            return
        with same_process_state(self.subject(name)), blame_part(self.subject(name), method):
            yield

    def check_part(self, name: str, part: T, make_batch: Callable[..., Any], rebuild: Callable[[], Any]) -> T:
        """Return ``part``, after checking it if it belongs to another package."""
        if name not in self._built_in:
            from nes2net.lib.parts.part_checks import check_part  # imported late, because it imports torch

            object.__setattr__(part, "subject", self.subject(name))  # perhaps of a frozen dataclass
            check_part(self.subject(name), part, make_batch, rebuild)
        return part

    def add(self, name: str, target: str) -> None:
        """Register ``target``; raise :class:`InputError` if the name is taken or it is not ``"module:attribute"``."""
        refuse(
            (
                not all(target.partition(":")),
                f"{self.kind} '{name}' is registered as '{target}': write 'module:attribute'",
            ),
            (
                name in self._table,
                f"{self.kind} '{name}' is registered already as {self._table.get(name)}: choose another name",
            ),
        )
        self._table[name] = target  # not built in, so that :meth:`check` applies

    def get(self, name: str) -> Any:
        """Import the object that is registered under ``name``.

        Raises:
            InputError: if the name is unknown, several packages add it, or the object of an
                installed package cannot be imported or breaks its contract.
        """
        check_known([name], self._table, f"unknown {self.kind}", "nes2net info")
        points = self._added.get(name, [])
        owners = sorted(f"{_package(point)} ({point.value})" for point in points)
        if name in self._built_in:
            if owners:
                del self._added[name]  # so that the note comes once
                print_note(
                    f"{self.kind} '{name}' is built into nes2net, so that of {' and '.join(owners)} cannot be used: its "
                    "author has to choose another name"
                )
            return resolve_name(self._built_in[name])
        if len(owners) > 1:
            raise InputError(
                f"{self.kind} '{name}' is added by {' and by '.join(owners)}: uninstall all of these packages but one"
            )
        try:
            with same_process_state(self.subject(name)):
                registered = resolve_name(self._table[name])
        except (Exception, SystemExit) as error:  # the code of another package may raise any error
            raise InputError(
                f"{self.subject(name)} cannot be imported from {self._table[name]} ({one_line(str(error))}): correct the "
                f"entry point of the installed package that names it, group {self.group}, or uninstall the package"
            ) from error
        self.check(name, registered)
        return registered

    def find(self, name: str) -> Any | None:
        """Import an object as :meth:`get` does; None if unknown or broken."""
        with suppress(InputError):
            return self.get(name) if name in self._table else None
        return None

    def check(self, name: str, registered: Any) -> None:
        """Check what the entry point ``name`` of another package names, before a part is built.

        Raises:
            BrokenPart: if ``registered`` is not of the declared class, or its constructor cannot be called.
        """
        check = PartCheck(self.subject(name))
        part_class = type(registered) if self.registers == "instance" else registered
        fits = self.registers == "factory" and callable(registered)
        base = resolve_name(self.base)
        if inspect.isclass(part_class):
            fits = issubclass(part_class, base)
        check.that(fits, "its entry point names", registered, f"a part of the class {self.base}")
        if "name" in inspect.get_annotations(base):
            own_name = getattr(registered, "name", None)
            check.that(own_name == name, "its attribute 'name' is", own_name, f"the name of its entry point, '{name}'")
        if self.registers == "instance":
            return
        for argument in inspect.signature(registered).parameters.values():
            is_free = argument.default is not argument.empty or argument.name in self.given
            is_free = is_free or argument.kind in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL)
            check.that(is_free, "its constructor has no default for", argument.name, "one, because it is an option")

    def import_factory(self, name: str, options: Mapping[str, Any]) -> Any:
        """Import the factory ``name`` after checking ``options``, also those that nes2net sets.

        Raises:
            InputError: if a name or option is unknown, or the factory does not allow a value.
        """
        from nes2net.lib.parts.options import check_options  # imported late, so that listing names needs no pydantic

        factory = self.get(name)
        owner = f"{self.kind} '{name}'"
        parameters = inspect.signature(factory).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            check_known(options, parameters, f"{owner} has no option", f"nes2net info {name}")
        check_options(factory, options, owner)
        return factory

    def create(self, name: str, **options: Any) -> T:
        """Build the part ``name`` by :meth:`import_factory`; raise :class:`InputError` also if it is too large."""
        from nes2net.lib.computing.module_size import limit_size  # imported late, so that listing names needs no torch

        factory = self.import_factory(name, options)
        with limit_size(f"{self.kind} '{name}'"), self.guard(name):
            return factory(**options)


def packages_of(parts: Iterable[tuple[Registry, str]]) -> dict[str, str]:
    """List the packages of ``parts`` that are not built in: ``"back-end mean_frame"`` → ``"my-parts 0.1"``."""
    packages = {f"{registry.kind} {name}": registry.package_of(name) for registry, name in parts}
    return {part: package for part, package in packages.items() if package}


def note_unusable_entry_points() -> None:
    """Print a note about each entry point that nes2net cannot use: its name, group and package, and what is expected."""
    for group in sorted(entry_points().groups):
        points = entry_points(group=group)
        names = [point.name.casefold() for point in points]
        for point, name in zip(points, names):
            expected = ""
            if group.removeprefix("nes2net.") not in KINDS.split(", "):
                expected = f"a group nes2net.KIND, with one of the kinds {KINDS}"
            elif not re.fullmatch(r"\w[\w.-]*", name):
                expected = "a name of letters, digits, '_', '-' and '.'"
            elif names.count(name) > 1:
                expected = "a name that differs from others in more than capitals"
            if expected and group.startswith("nes2net"):
                print_note(
                    f"entry point '{point.name}' of the group {group} (package {_package(point)}) cannot be used: "
                    f"expected {expected}"
                )


def _package(point: EntryPoint) -> str:
    """Distribution and version that add ``point``; empty if unknown."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else ""


def check_installed(owner: str, facts: Mapping[str, Any], registries: Sequence[Registry]) -> None:
    """Raise :class:`InputError` if a part whose package the ``facts`` of the file ``owner`` name is not installed."""
    named = facts.get(PACKAGES_KEY)
    if not isinstance(named, dict):
        return
    for registry in registries:
        for part in named.keys() - {f"{registry.kind} {name}" for name in registry.names()}:
            if part.startswith(registry.kind):
                package = str(named[part])
                raise InputError(
                    f"{owner} needs {part}, which no installed package provides; it was part of {package}: pip install "
                    f"{package.partition(' ')[0]}"
                )

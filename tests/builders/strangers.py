"""Packages of strangers, as pip installs them: modules, and metadata with entry points."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from builders.files import write
from nes2net.models.registry import Registry


def install(site: Path, package: str, points: Mapping[str, Mapping[str, str]], modules: Mapping[str, str]) -> None:
    """Install ``package``, such as ``"my-parts 0.1"``, into the folder ``site``.

    Args:
        points: kind of parts, such as ``"tasks"`` → name → ``"module:attribute"``.
        modules: name of a module → its source.
    """
    distribution, version = package.split()
    metadata = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    lines = []
    for kind, targets in points.items():
        lines.append(f"[nes2net.{kind}]")
        lines += [f"{name} = {target}" for name, target in targets.items()]
    write(metadata / "METADATA", f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    write(metadata / "entry_points.txt", "\n".join(lines))
    for module, source in modules.items():
        write(site.joinpath(*module.split(".")).with_suffix(".py"), source)


@contextmanager
def read_anew(*registries: Registry[Any]) -> Iterator[None]:
    """Within this context, ``registries`` have the entry points of what is installed now."""
    tables = [dict(vars(registry)) for registry in registries]
    for registry in registries:
        for name in ("_table", "_added"):
            vars(registry).pop(name, None)
    try:
        yield
    finally:
        for registry, table in zip(registries, tables, strict=True):
            vars(registry).clear()
            vars(registry).update(table)

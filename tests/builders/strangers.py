"""Packages of strangers, as pip installs them: modules, and metadata with entry points."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from builders.files import write
from nes2net.models import registry


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
def installed_in(site: Path) -> Iterator[None]:
    """Within this context, Python finds the packages in ``site``, and the registries have their entry points."""
    registries = [value for value in vars(registry).values() if isinstance(value, registry.Registry)]
    tables = [dict(vars(each)) for each in registries]
    for each in registries:
        for cached in vars(each).keys() - {"kind", "group", "_built_in"}:
            del vars(each)[cached]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield
    for each, table in zip(registries, tables, strict=True):
        vars(each).clear()
        vars(each).update(table)

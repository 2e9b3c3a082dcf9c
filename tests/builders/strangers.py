"""Packages of strangers, as pip installs them: modules, and metadata with entry points."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from builders.files import write
from nes2net.apps.registry import commands
from nes2net.data.registry import corpora, effects
from nes2net.metrics.registry import metrics
from nes2net.models.registry import PARTS, attacks, heads, speakers
from nes2net.scoring.registry import evidence, judgements
from nes2net.training.registry import losses, tasks

#: Group of entry points, such as ``"nes2net.tasks"`` → registry.
REGISTRIES = {
    registry.group: registry
    for registry in (
        *PARTS,
        heads,
        attacks,
        speakers,
        losses,
        tasks,
        judgements,
        evidence,
        metrics,
        corpora,
        effects,
        commands,
    )
}


def install(site: Path, package: str, points: Mapping[str, Mapping[str, str]], modules: Mapping[str, str]):
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
    tables = {group: dict(vars(registry)) for group, registry in REGISTRIES.items()}
    for registry in REGISTRIES.values():
        for cached in ("_added", "_table"):
            vars(registry).pop(cached, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield
    for group, table in tables.items():
        vars(REGISTRIES[group]).clear()
        vars(REGISTRIES[group]).update(table)

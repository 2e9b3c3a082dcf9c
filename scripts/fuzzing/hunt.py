"""The hunt: try spoiled inputs one after another in watched processes, and collect the findings."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from builders.hostile import PRELOADED
from builders.hostile.limits import Fault, Outcome, Worker
from tqdm import tqdm

from fuzzing import FIXED, Boundary
from fuzzing.mutations import mutate
from fuzzing.watch import watch

_ATTEMPTS_OF_A_WORKER = 200  # after so many attempts a new process starts, because libraries keep memory
_LINKED = 0.05  # share of the inputs in which a link replaces a file
_MAX_STORED = 3  # stored inputs of equal findings


class Finding(NamedTuple):
    """An input whose attempt did not end as it should: neither read nor refused in one line."""

    boundary: str
    example: str
    attempt: str
    seed: int
    number: int
    how: str
    """What was changed in the example."""
    kind: str
    """The kind of fault, such as ``"message"``."""
    text: str
    """Details of the fault."""
    where: str
    """The place of the fault; findings with equal boundary, kind and place count as equal."""


class Hunt:
    """Spoils good examples of each boundary, and tries to read them.

    Args:
        folder: for the examples, the inputs while they are tried, and the findings.
        seed: of all inputs; input ``number`` of a boundary depends only on the seed.
        boundaries: the boundaries to attack, by name; each gets the same time.
        attempt: does an attempt, given the names of the boundary and the attempt, and the folder of
            the input. Other processes import it by its name.

    Attributes:
        tried, accepted, refused: numbers of inputs of each boundary.
        findings: all findings.
    """

    def __init__(
        self, folder: Path, seed: int, boundaries: Mapping[str, Boundary], attempt: Callable[[str, str, Path], Any]
    ):
        self.seed = seed
        self.boundaries = boundaries
        self.attempt = attempt
        self.examples = folder / "examples"
        self.work = folder / "work"
        self.stored = folder / "findings"
        self.tried: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.findings: list[Any] = []
        self._worker = None
        self._attempts_left = 0
        for name, boundary in boundaries.items():
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                boundary.make(self.examples / name)
        self.work.mkdir(exist_ok=True)

    def run(self, seconds: float):
        """Try inputs for so many seconds, but at least one input of each boundary."""
        began = time.monotonic()
        spent = dict.fromkeys(self.boundaries, 0.0)
        with tqdm(total=round(seconds), unit="s", bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} s{postfix}") as bar:
            while time.monotonic() - began < seconds or not all(self.tried[name] for name in self.boundaries):
                boundary = min(spent, key=lambda name: spent[name])
                now = time.monotonic()
                self.try_input(boundary, self.tried[boundary])
                spent[boundary] += time.monotonic() - now
                bar.n = min(round(seconds), round(time.monotonic() - began))
                bar.set_postfix_str(f"{self.tried.total()} inputs, {len(self.findings)} findings", refresh=False)
                bar.update(0)
        self.close()

    def try_input(self, boundary: str, number: int):
        """Try input ``number`` of a boundary."""
        example, name, how, folder = self.input(boundary, number)
        result = self._attempt(boundary, name, folder)
        if isinstance(result, Fault):  # repeat it in a new process: earlier inputs must not be the cause
            shutil.rmtree(folder.parent)
            self.input(boundary, number)
            result = self._attempt(boundary, name, folder)
        self.tried[boundary] += 1
        if isinstance(result, Fault):
            self._add_finding(Finding(boundary, example, name, self.seed, number, how, *result))
        elif result.error is None:
            self.accepted[boundary] += 1
        else:
            self.refused[boundary] += 1
        shutil.rmtree(folder.parent)

    def input(self, boundary: str, number: int) -> tuple[str, str, str, Path]:
        """Make an input; return its example, the attempt, what was changed, and its folder."""
        rng = Random(f"{self.seed} {boundary} {number}")
        examples = sorted(path.name for path in (self.examples / boundary).iterdir())
        example = rng.choice(examples)
        definition = self.boundaries[boundary]
        name = rng.choice(definition.only.get(example) or tuple(definition.attempts))
        folder = self.work / "input" / example
        source = self.examples / boundary / example
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(FIXED))
        if (source / FIXED).exists():
            (folder / FIXED).symlink_to((source / FIXED).resolve())
        files = sorted(path for path in folder.rglob("*") if path.is_file() and FIXED not in path.parts)
        how = mutate(rng.choice(files), rng)
        if rng.random() < _LINKED:
            how = _link(rng.choice(files), source, folder, rng)
        return example, name, how, folder

    def _start(self):
        self.close()
        preloaded = [PRELOADED, self.attempt.__module__, watch.__module__]
        self._worker = Worker(preloaded, partial(watch, self.work))
        self._attempts_left = _ATTEMPTS_OF_A_WORKER

    def close(self):
        """End the process that tries inputs."""
        if self._worker is not None:
            self._worker.close()
        self._worker = None

    def _attempt(self, boundary, name, folder):
        if self._worker is None or not self._attempts_left:
            self._start()
        assert self._worker is not None
        before = _listing(self.examples)
        result = self._worker.attempt(self.attempt, boundary, name, folder)
        self._attempts_left -= 1
        if isinstance(result, Outcome) and result.error is not None and not _is_one_line(result.error):
            result = Fault("message", result.error[:2000], "message of several lines or 1,000 characters")
        if _listing(self.examples) != before:
            result = Fault("outside", "a file beside the input changed")
        if isinstance(result, Fault):
            self.close()
        return result

    def _add_finding(self, finding):
        """Note a finding, and store its input unless equal findings have stored theirs."""
        self.findings.append(finding)
        equal_findings = [earlier for earlier in self.findings if _key(earlier) == _key(finding)]
        if len(equal_findings) > _MAX_STORED:
            return
        self.stored.mkdir(exist_ok=True)
        folder = self.stored / f"{finding.boundary.replace(' ', '_')}-{finding.seed}-{finding.number}"
        shutil.copytree(self.work / "input" / finding.example, folder / finding.example, symlinks=True)
        (folder / "finding.json").write_text(json.dumps(finding._asdict(), indent=1))

    def table(self) -> Iterator[str]:
        """Write lines of the result: one for each boundary, then each finding once."""
        yield f"{'boundary':22}{'tried':>8}{'accepted':>10}{'refused':>9}{'findings':>10}"
        counts = Counter(finding.boundary for finding in self.findings)
        for name in self.boundaries:
            numbers = self.tried[name], self.accepted[name], self.refused[name], counts[name]
            yield f"{name:22}{numbers[0]:8}{numbers[1]:10}{numbers[2]:9}{numbers[3]:10}"
        for key, count in Counter(map(_key, self.findings)).items():
            first = next(finding for finding in self.findings if _key(finding) == key)
            yield f"{count} × {first.boundary}, {first.attempt}: {first.kind}: {first.where}: {first.text[:300]!r}"
            yield f"    scripts/fuzz --seed {first.seed} --repeat {first.boundary!r} {first.number}"


def _link(path, source, folder, rng):
    """Replace a file by a link: to the good example, which must not change, to itself, or to something that is no file."""
    good = source / path.relative_to(folder)
    target = rng.choice((str(good), path.name, "nowhere", "/dev/zero", "."))
    path.unlink()
    path.symlink_to(target)
    return f"{path.name} is a link to {target}"


def _key(finding):
    return finding.boundary, finding.kind, finding.where or finding.text[:60]


def _is_one_line(message):
    return message.isprintable() and len(message) < 1200


def _listing(folder):
    return sorted((str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*"))

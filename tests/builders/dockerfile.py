"""What a Dockerfile and a .dockerignore say."""

from __future__ import annotations

import fnmatch
import json
import re
import sys
from pathlib import Path

Step = tuple[str, str]


def steps(text: str) -> list[Step]:
    """Split a Dockerfile into (instruction, its argument on one line)."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", "", "\n".join(lines))
    instructions = []
    for line in joined.splitlines():
        if line.strip():
            name, argument = line.split(maxsplit=1)
            instructions.append((name.upper(), argument.strip()))
    return instructions


def health_check(text: str, port: int) -> list[str]:
    """The command by which an image checks a service at ``port``."""
    (argument,) = [argument for name, argument in steps(text) if name == "HEALTHCHECK"]
    command = json.loads(argument.partition("CMD ")[2].replace(":7860/", f":{port}/"))
    return [sys.executable, *command[1:]]


def stages_for(instructions: list[Step], target: str | None) -> dict[str, list[Step]]:
    """The stages that ``target`` needs, in order, each with its instructions, FROM first; by default the last stage."""
    stages = {}
    for name, argument in instructions:
        if name == "FROM":
            stage = argument.split()[-1]
            stages[stage] = []
        stages[stage].append((name, argument))
    needed_stages = {target or stage}
    for stage in reversed(stages):
        if stage in needed_stages:
            arguments = [argument for _, argument in stages[stage]]
            needed_stages.add(arguments[0].split()[0])
            needed_stages |= set(re.findall(r"--from=(\S+)", " ".join(arguments[1:])))
    return {stage: stages[stage] for stage in stages if stage in needed_stages}


def ignored(path: Path, patterns: list[str]) -> bool:
    """Whether .dockerignore excludes ``path``, relative to the checkout, or a folder that holds it."""
    for candidate in [path, *path.parents][:-1]:
        for pattern in patterns:
            name = candidate.name if pattern.startswith("**/") else str(candidate)
            if fnmatch.fnmatch(name, pattern.removeprefix("**/")):
                return True
    return False

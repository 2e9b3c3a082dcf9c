#!/usr/bin/env python3
"""Build an image of the Dockerfile in a chroot, on a machine without a Docker daemon. It needs root and Debian.

    sudo debootstrap --variant=minbase bookworm ROOT    # what the first FROM names
    sudo scripts/dockerfile_in_chroot.py ROOT --build [--target STAGE] [--arg NAME=VALUE …] [--bind FOLDER …] [--run COMMAND …]

COPY, RUN, ENV, ARG, WORKDIR, USER and SHELL are done as Docker does them. A stage is built in ROOT.STAGE, which starts
as a copy of its parent. --bind shows a folder of this machine in the chroot (a local package index, say). --run gives
commands to run in the finished image, each by bash as the image's user in /work; without --build only these are run.
"""

from __future__ import annotations

import argparse
import copy
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


def steps(text: str) -> list[tuple[str, str]]:
    """Split a Dockerfile into (instruction, its argument on one line).

    >>> steps("# comment\\nFROM a AS b\\nRUN one \\\\\\n    && two\\n")
    [('FROM', 'a AS b'), ('RUN', 'one     && two')]
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", "", "\n".join(lines))
    pairs = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(name.upper(), argument.strip()) for name, argument in pairs]


def stages_for(instructions: list[tuple[str, str]], target: str | None) -> dict[str, list[tuple[str, str]]]:
    """The stages that ``target`` needs, in order, each with its instructions, FROM first; by default the last stage.

    >>> list(stages_for(steps("FROM a AS b\\nFROM b AS c\\nFROM a AS d\\nCOPY --from=b x x\\n"), None))
    ['b', 'd']
    """
    stages: dict[str, list[tuple[str, str]]] = {}
    for name, argument in instructions:
        if name == "FROM":
            stage = argument.split()[-1]
            stages[stage] = []
        stages[stage].append((name, argument))
    needed = {target or stage}
    for stage in reversed(stages):
        if stage in needed:
            (_, parent), *rest = stages[stage]
            needed |= {parent.split()[0], *re.findall(r"--from=(\S+)", " ".join(argument for _, argument in rest))}
    return {stage: stages[stage] for stage in stages if stage in needed}


def ignored(path: Path, patterns: list[str]) -> bool:
    """Whether .dockerignore excludes ``path``, or a folder that holds it; ``path`` is relative to the checkout.

    >>> [ignored(Path(name), ["demo", "**/*.pth"]) for name in ("demo/a", "x/demo", "x/y.pth", "z.pth")]
    [True, False, True, True]
    """
    paths = [path, *path.parents][:-1]
    return any(
        fnmatch.fnmatch(candidate.name if pattern.startswith("**/") else str(candidate), pattern.removeprefix("**/"))
        for pattern in patterns
        for candidate in paths
    )


class Image:
    """A chroot, with the environment, folder and user that the steps so far have set."""

    def __init__(self, root: Path, args: dict[str, str]) -> None:
        self.root = root
        self.args = args
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.folder = "/"
        self.user = "root"
        self.shell = ["/bin/sh", "-c"]

    def child(self, root: Path) -> Image:
        """An image in ``root`` that starts with the settings of this one."""
        image = copy.copy(self)
        image.root = root
        image.environment = dict(self.environment)
        return image

    def expanded(self, text: str) -> str:
        """Replace variables of the environment in ``text``."""
        return re.sub(r"\$\{?(\w+)\}?", lambda match: self.environment.get(match[1], ""), text)

    def inside(self, path: str) -> Path:
        """The path on this machine of a path in the image."""
        return self.root / os.path.join(self.folder, path).lstrip("/")

    def run(self, command: list[str]) -> None:
        """Run a command in the chroot, in the current folder as the current user."""
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        script = f"cd {shlex.quote(self.folder)} && exec {shlex.join(command)}"
        user = self.user if self.user == "root" else f"{self.user}:{self.user}"
        chroot = [
            "chroot",
            f"--userspec={user}",
            str(self.root),
            "/usr/bin/env",
            "-i",
            *settings,
            "/bin/sh",
            "-c",
            script,
        ]
        subprocess.run(chroot, check=True)

    def copy(self, argument: str, images: dict[str, Image]) -> None:
        """Do a COPY step: copy from another stage, or files of the checkout that .dockerignore does not exclude."""
        *sources, target = [word for word in argument.split() if not word.startswith("--")]
        if stage := re.search(r"--from=(\S+)", argument):
            for source in sources:
                copied = [str(images[stage[1]].inside(source)), str(self.inside(target))]
                subprocess.run(["cp", "-aT", *copied], check=True)
            return
        patterns = (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        patterns = [line for line in patterns if line and not line.startswith("#")]
        for source in sources:
            if (CHECKOUT / source).is_file():
                self.copy_file(CHECKOUT / source, self.inside(target) / Path(source).name)
                continue
            for path in sorted((CHECKOUT / source).rglob("*")):
                if path.is_file() and not ignored(path.relative_to(CHECKOUT), patterns):
                    self.copy_file(path, self.inside(target) / path.relative_to(CHECKOUT / source))
        if owner := re.search(r"--chown=(\w+)", argument):
            self.run(["chown", "-R", owner[1], target])

    @staticmethod
    def copy_file(source: Path, target: Path) -> None:
        """Copy a file, and replace an existing one."""
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)

    def do(self, name: str, argument: str, build: bool, images: dict[str, Image]) -> None:
        """Do one step; without ``build``, only steps that change environment, folder, user or shell."""
        if name == "ENV":
            words = {pair.partition("=")[0]: pair.partition("=")[2] for pair in shlex.split(argument)}
            self.environment |= {key: self.expanded(value) for key, value in words.items()}
        elif name == "ARG":
            key, _, value = argument.partition("=")
            self.environment[key] = self.args.get(key, value)
        elif name == "SHELL":
            self.shell = json.loads(argument)
        elif name == "USER":
            self.user = argument
        elif name == "WORKDIR":
            self.folder = argument
            self.inside(".").mkdir(parents=True, exist_ok=True)
        elif build and name == "COPY":
            self.copy(argument, images)
        elif build and name == "RUN":
            self.run([*self.shell, argument])


@contextmanager
def mounted(root: Path, folders: list[str]) -> Iterator[None]:
    """Show /proc, /dev and ``folders`` in ``root``; a copy of it, made afterwards, does not hold them."""
    mounts = [["-t", "proc", "proc"], ["--rbind", "/dev"], *(["--bind", folder] for folder in folders)]
    shown = []
    for *options, what in mounts:
        target = root / ("proc" if what == "proc" else what.lstrip("/"))
        target.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", *options, what, str(target)], check=True)
        shown.append(str(target))
    try:
        yield
    finally:
        subprocess.run(["umount", "--recursive", "--lazy", *shown], check=True)


def main() -> None:
    """Do the steps and run the commands, in a mount namespace of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--bind", action="append", default=[], metavar="FOLDER")
    parser.add_argument("--target", metavar="STAGE", help="the last stage, if this is not given")
    parser.add_argument("--build", action="store_true", help="do the steps of the Dockerfile")
    parser.add_argument("--run", nargs="+", default=[], metavar="COMMAND")
    args = parser.parse_args()
    if "DOCKERFILE_IN_CHROOT" not in os.environ:  # in a mount namespace of its own, so that no mount is left behind
        os.environ["DOCKERFILE_IN_CHROOT"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--pid", "--fork", sys.executable, *sys.argv])
    images = {}
    instructions = steps((CHECKOUT / "Dockerfile").read_text(encoding="utf-8"))
    for stage, (start, *rest) in stages_for(instructions, args.target).items():
        parent = images.get(start[1].split()[0])
        root = args.root.with_name(f"{args.root.name}.{stage}")
        if args.build:
            print(f"stage {stage}", flush=True)
            subprocess.run(["cp", "-aT", "--one-file-system", parent.root if parent else args.root, root], check=True)
        image = parent.child(root) if parent else Image(root, dict(pair.split("=", 1) for pair in args.arg))
        shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
        with mounted(root, args.bind):
            for name, argument in rest:
                if args.build:
                    print(f"{name} {argument}", flush=True)
                image.do(name, argument, args.build, images)
        images[stage] = image
    with mounted(image.root, args.bind):
        for command in args.run:
            print(f"run: {command}", flush=True)
            image.run(["/bin/bash", "-c", command])


if __name__ == "__main__":
    main()

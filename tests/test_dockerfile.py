"""The Dockerfile names what is there."""

import re
from pathlib import Path

import pytest
from builders import dockerfile
from conftest import REPOSITORY, repository_text


@pytest.fixture(scope="module")
def steps():
    return dockerfile.steps(repository_text("Dockerfile"))


@pytest.fixture(scope="module")
def patterns():
    lines = repository_text(".dockerignore").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("target", ["serve", "full"])
def test_each_step_of_the_dockerfile_finds_the_files_that_it_copies_or_runs(steps, patterns, target):
    """A step runs scripts that an earlier one copied. The image does not run as root."""
    stages = dockerfile.stages_for(steps, target)
    assert dict(stages[target])["USER"] == "1000"
    instructions = [step for stage in stages.values() for step in stage]
    copied = set()
    for name, argument in instructions:
        *sources, target = [word for word in argument.split() if not word.startswith("--")]
        if name == "COPY" and "--from" not in argument:
            for source in sources:
                assert (REPOSITORY / source).exists(), source
                if source != ".":
                    assert not dockerfile.ignored(Path(source), patterns), source
            copied |= {Path(target, Path(source).name).as_posix() for source in sources}
        called = re.findall(r"scripts/[\w/]+\.sh", argument) if name == "RUN" else []
        assert set(called) <= copied
        for path in called:
            for called in re.findall(r"scripts/([\w/]+\.sh)", repository_text(path)):
                assert (REPOSITORY / "scripts" / called).is_file()
    assert "pyproject.toml" in copied


def test_the_serving_image_has_the_packages_of_the_extras_serve_and_listen_but_not_those_of_the_tests(steps):
    """`packages.sh` and `environment.sh` install these."""
    stages = dockerfile.stages_for(steps, "serve")
    installed = dict(stages["server-environment"])["RUN"]
    assert {"serve", "listen"} <= set(re.search(r"\.\[([\w,]+)\]", installed)[1].split(","))
    assert "packages.sh" not in str(stages)
    assert "environment.sh" not in str(stages)


def test_no_golden_file_is_left_out_of_the_image(patterns):
    golden = [path for path in (REPOSITORY / "tests" / "golden").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert golden
    lost = [path for path in golden if dockerfile.ignored(path.relative_to(REPOSITORY), patterns)]
    assert lost == []

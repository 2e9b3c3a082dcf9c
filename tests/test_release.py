"""What a release is made of says the same everywhere, and the workflows are what GitHub reads."""

import re
from datetime import date

import pytest
import yaml
from builders.scripts import python
from conftest import REPOSITORY, repository_text


def test_release_version_and_date_agree_wherever_pyproject_citation_and_changelog_state_them():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    version = tomllib.loads(repository_text("pyproject.toml"))["project"]["version"]
    cited = yaml.safe_load(repository_text("CITATION.cff"))
    newest = re.search(r"^## (\S+) \((.+)\)$", repository_text("CHANGELOG.md"), re.MULTILINE)
    assert newest[1] == cited["version"] == version
    assert date.fromisoformat(newest[2]) == cited["date-released"]


@pytest.mark.parametrize(
    ("schema", "files"), [("github-workflows", ".github/workflows/*.yml"), ("citation-file-format", "CITATION.cff")]
)
def test_workflows_and_the_citation_follow_their_schemas(schema, files):
    pytest.importorskip("check_jsonschema")
    paths = sorted(REPOSITORY.glob(files))
    assert paths
    python("-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *paths)


def test_scripts_that_workflows_run_exist():
    steps = "".join(path.read_text() for path in (REPOSITORY / ".github" / "workflows").glob("*.yml"))
    scripts = set(re.findall(r"\bbash (\S+)", steps))
    assert {".ci/run", "scripts/test.sh"} <= scripts
    assert [name for name in scripts if not (REPOSITORY / name).is_file()] == []

"""Which command adds an extra, by how the package was installed."""

import json

import pytest

from nes2net.machine import installation
from nes2net.machine.installation import how_to_install, requirement

TO_FILL_IN = "nes2net[scale] @ git+https://HOST/OWNER/nes2net@COMMIT"
UNKNOWN = "in a clone of nes2net pip install '.[scale]', with its wheel pip install 'FILE.whl[scale]'"
WHEEL = "nes2net[scale] @ https://host/n.whl"
GIT = "nes2net[scale] @ git+https://host/nes2net.git@0123abc#subdirectory=a"
OF_GIT = {"vcs_info": {"vcs": "git", "commit_id": "0123abc"}, "subdirectory": "a"}


@pytest.mark.parametrize(
    ("origin", "command", "line"),
    [
        ({"url": "file://{here}/a%20clone", "dir_info": {}}, "pip install '{here}/a clone[scale]'", TO_FILL_IN),
        ({"url": "file://{here}/n.whl", "archive_info": {}}, "pip install '{here}/n.whl[scale]'", TO_FILL_IN),
        ({"url": "file://{here}/gone.whl", "archive_info": {}}, UNKNOWN, TO_FILL_IN),
        ({"url": "https://host/n.whl", "archive_info": {}}, f"pip install '{WHEEL}'", WHEEL),
        ({"url": "https://host/nes2net.git", **OF_GIT}, f"pip install '{GIT}'", GIT),
        (None, UNKNOWN, TO_FILL_IN),
        ("[1", UNKNOWN, TO_FILL_IN),
    ],
)
def test_the_command_fits_where_the_package_came_from(tmp_path, monkeypatch, origin, command, line):
    home = tmp_path / "site-packages"
    record = home / "nes2net-0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: nes2net\nVersion: 0\n")
    if origin is not None:
        (record / "direct_url.json").write_text(json.dumps(origin).replace("{here}", str(tmp_path)))
    (tmp_path / "a clone").mkdir()
    (tmp_path / "n.whl").touch()
    monkeypatch.syspath_prepend(home)
    monkeypatch.setattr(installation, "_HOME", home)
    assert how_to_install("scale").startswith(command.replace("{here}", str(tmp_path)))
    assert requirement("scale") == line


def test_a_clone_is_installed_again_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.setattr(installation, "_HOME", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    assert how_to_install("scale") == f"pip install -e '{tmp_path}[scale]'"

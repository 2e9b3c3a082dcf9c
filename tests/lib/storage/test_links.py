"""Links and pipes in an output folder: no file of a run is written through one."""

import os

import pytest
from builders import input_error

from nes2net.lib.storage.files import exclusive_lock, never_linked, path_below

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and pipes are those of POSIX systems")


@pytest.mark.parametrize("mode", ["ab", "wb", "r+b"])
def test_a_pipe_in_place_of_a_log_or_of_a_lock_is_refused(tmp_path, mode):
    """Opening a pipe would wait for its other end."""
    path = tmp_path / "a.log"
    os.mkfifo(path)
    with input_error(r"a\.log: is a device or a pipe"):
        open(path, mode, opener=never_linked)
    with input_error(r"a\.log: is a device or a pipe"), exclusive_lock(path, ""):
        raise AssertionError("a pipe is locked")


def test_an_output_folder_that_the_user_named_may_be_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "out"
    out.symlink_to("elsewhere")
    assert path_below(out, "scores", "a.txt") == out / "scores" / "a.txt"


def test_a_link_in_place_of_a_folder_below_the_output_folder_is_refused(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "scores").symlink_to(tmp_path)
    with input_error(r"out/scores: is a link, so writing would change a file in another place: remove"):
        path_below(out, "scores", "a.txt")

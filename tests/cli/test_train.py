"""`nes2net train`: its log, and the commands that it prints last."""

import shlex
import sys
from contextlib import redirect_stdout
from io import StringIO

import pytest
from builders.files import write_json
from builders.small_parts import SPECTRUM

from nes2net.cli.main import main
from nes2net.models.checkpoints.state_dict import load_state_dict, read_record


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """The working folder of a finished run, and what the command printed."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "my corpus").symlink_to(corpus)  # a shell would split the name
    model = {"frontend": SPECTRUM, "backend": {"name": "asp_mlp"}}
    data = {"root": "my corpus", "num_samples": 8000, "num_workers": 0}
    train = {"epochs": 3, "batch_size": 4, "keep": "all"}
    write_json(folder / "recipe.yaml", {"name": "it's", "model": model, "data": data, "train": train})
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["nes2net", "train", "recipe.yaml"])
        assert main(sys.argv[1:]) == 0
    return folder, out.getvalue()


@pytest.fixture
def log(trained, monkeypatch):
    """The log of the run, in whose working folder the test is."""
    monkeypatch.chdir(trained[0])
    (log,) = trained[0].glob("models/*/train.log")
    return log


@pytest.fixture
def logged(log):
    """The lines of the log without their times."""
    return [line[20:] for line in log.read_text(encoding="utf-8").splitlines()]


def test_the_log_file_of_training_has_its_command_line(logged):
    (command_line,) = [line for line in logged if line.startswith("command: ")]
    assert command_line.endswith("train recipe.yaml")


@pytest.mark.usefixtures("log")
def test_each_command_printed_after_training_prints_the_commands_that_come_after_it(trained, output):
    *_, title, average, score, evaluate = trained[1].splitlines()
    assert title == "next:"
    words = [shlex.split(line) for line in (average, score, evaluate)]
    assert [line[:2] for line in words] == [["nes2net", name] for name in ("average", "score", "evaluate")]
    for (_, *arguments), later in zip(words, ([title, score, evaluate], [title, evaluate], [])):
        out = output(arguments).out
        assert out.splitlines()[-len(later) or 10**9 :] == later


def test_an_average_of_files_records_their_names(log, output):
    files = ["epoch_1.pth", "epoch_2.pth"]
    output(["average", *map(log.with_name, files), "--out", "mean.pth"])
    assert read_record(load_state_dict("mean.pth"))["average"]["of"] == files


def test_average_accepts_the_flags_last_and_weights_together(log, output):
    output(["average", log.parent, "--last", 1, "--weights", 2])

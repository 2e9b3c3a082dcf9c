"""`nes2net train` where nobody watches, and on a terminal; the commands that it prints can be pasted."""

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nes2net.cli.main import main
from nes2net.machine.progress import SECONDS

LINE = r"\d\d:\d\d:\d\d epoch \d of 3: step \d of 3, loss \d\.\d{4}, .*\d+ s left( \(epoch \d+ s\))?"


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory):
    """A working folder with a recipe, and the corpus under a name that a shell would split."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "my corpus").symlink_to(corpus)
    model = {"frontend": {"name": "lps", "n_fft": 128, "num_bins": 20}, "backend": {"name": "asp_mlp"}}
    data = {"root": "my corpus", "num_samples": 8000, "num_workers": 0}
    train = {"epochs": 3, "batch_size": 4, "keep": "all"}
    (folder / "recipe.yaml").write_text(json.dumps({"name": "it's", "model": model, "data": data, "train": train}))
    return folder


def environment(**more: str) -> dict[str, str]:
    paths = filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), SECONDS: "1e-9", **more}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "nes2net.cli.main", "train", "recipe.yaml", *words]


@pytest.fixture(scope="module")
def unwatched(folder):
    """A run without a terminal."""
    streams = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    done = subprocess.run(command(), cwd=folder, env=environment(), **streams)
    assert done.returncode == 0, done.stderr
    return done


def test_one_can_tell_how_far_it_is(unwatched, folder):
    lines = unwatched.stderr.splitlines()
    assert sum(bool(re.fullmatch(LINE, line)) for line in lines) == 3  # the middle step of each epoch
    assert any(re.fullmatch(r"\d\d:\d\d:\d\d epoch 3 of 3, development set: batch 3 of 3.*", line) for line in lines)
    assert not any("\r" in line or "|" in line for line in lines)
    (log,) = folder.glob("models/*/train.log")
    logged = [line[20:] for line in log.read_text(encoding="utf-8").splitlines()]
    printed = [line[9:] for line in lines]
    assert [line for line in logged if re.match(r"epoch \d of|bootstrap: ", line)] == printed
    assert any(shlex.split(line)[-2:] == ["train", "recipe.yaml"] for line in logged if line.startswith("command: "))


def test_what_is_printed_last_can_be_pasted(unwatched, folder, monkeypatch, capsys):
    """Average, score and evaluate; each of them names the next one again."""
    monkeypatch.chdir(folder)
    *_, title, average, score, evaluate = unwatched.stdout.splitlines()
    assert title == "next:"
    words = [shlex.split(line) for line in (average, score, evaluate)]
    assert [command[:2] for command in words] == [["nes2net", name] for name in ("average", "score", "evaluate")]
    for (_, *arguments), later in zip(words, ([title, score, evaluate], [title, evaluate], [])):
        assert main(arguments) == 0
        assert capsys.readouterr().out.splitlines()[-len(later) or 10**9 :] == later
    assert Path(words[1][words[1].index("--out") + 1]).is_file()


def test_on_a_terminal_of_80_columns(folder):
    """No line of the bar is wider, and what was in the lines is in the log all the same."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command("comment=terminal"), cwd=folder, env=environment(COLUMNS="80"), stdout=subprocess.PIPE, stderr=theirs
    ) as run:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += (read := os.read(ours, 1 << 16))
            except OSError:  # how Linux ends a terminal
                break
            if not read:
                break
        assert run.wait() == 0
    bars = [text for text in re.split(r"[\r\n]+", shown.decode()) if text.strip()]
    assert any(text.startswith("epoch 3 of 3: ") for text in bars) and max(map(len, bars)) < 80
    (log,) = folder.glob("models/*_terminal/train.log")
    assert "epoch 3 of 3: step 3 of 3, loss " in log.read_text(encoding="utf-8")

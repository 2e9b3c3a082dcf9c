"""`nes2net train` where nobody watches; the commands that it prints can be pasted."""

import re
import shlex
import sys
from pathlib import Path

from builders.files import write_json
from builders.small_parts import SPECTRUM

from nes2net.lib.progress import SECONDS
from nes2net.models.checkpoints.state_dict import load_state_dict, read_record

LINE = r"^\d\d:\d\d:\d\d epoch \d of 3: step \d of 3, loss \d\.\d{4}, .*\d+ s left(?: \(epoch \d+ s\))?$"


def test_one_can_tell_how_far_it_is_and_paste_what_is_printed_last(corpus, workdir, command, output, monkeypatch):
    """The last lines are average, score and evaluate; each of these commands names the next one again."""
    monkeypatch.setenv(SECONDS, "1e-9")
    (workdir / "my corpus").symlink_to(corpus)  # a shell would split the name
    model = {"frontend": SPECTRUM, "backend": {"name": "asp_mlp"}}
    data = {"root": "my corpus", "num_samples": 8000, "num_workers": 0}
    train = {"epochs": 3, "batch_size": 4, "keep": "all"}
    write_json(workdir / "recipe.yaml", {"name": "it's", "model": model, "data": data, "train": train})
    monkeypatch.setattr(sys, "argv", ["nes2net", "train", "recipe.yaml"])
    status, out, err = command("train recipe.yaml")
    lines = err.splitlines()
    assert status == 0
    assert len(re.findall(LINE, err, re.MULTILINE)) == 3, "not the middle step of each epoch"
    assert re.search(r"^\d\d:\d\d:\d\d epoch 3 of 3, development set: batch 3 of 3", err, re.MULTILINE)
    assert not {"\r", "|"} & set(err)
    (log,) = workdir.glob("models/*/train.log")
    logged = [line[20:] for line in log.read_text(encoding="utf-8").splitlines()]
    assert [line for line in logged if re.match(r"epoch \d of|bootstrap: ", line)] == [line[9:] for line in lines]
    (command_line,) = [line for line in logged if line.startswith("command: ")]
    assert command_line.endswith("train recipe.yaml")

    *_, title, average, score, evaluate = out.splitlines()
    assert title == "next:"
    words = [shlex.split(line) for line in (average, score, evaluate)]
    assert [line[:2] for line in words] == [["nes2net", name] for name in ("average", "score", "evaluate")]
    for (_, *arguments), later in zip(words, ([title, score, evaluate], [title, evaluate], [])):
        out = output(arguments).out
        assert out.splitlines()[-len(later) or 10**9 :] == later
    assert Path(words[1][words[1].index("--out") + 1]).is_file()
    files = ["epoch_1.pth", "epoch_2.pth"]
    output(["average", *map(log.with_name, files), "--out", "mean.pth"])
    assert read_record(load_state_dict("mean.pth"))["average"]["of"] == files
    output(["average", log.parent, "--last", 1, "--weights", 2, "--update-bn", 1])

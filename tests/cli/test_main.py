"""`nes2net`: a whole experiment on a tiny corpus, help texts and one-line errors."""

import json

import pytest
import yaml

from nes2net.checkpoints.state_dict import load_state_dict, read_record
from nes2net.cli.main import build_parser


def test_train_average_score_and_evaluate(corpus, small_model, here, command):

    def done(words):
        status, out, err = command(words)
        assert status == 0, err
        return out, err

    data = {"num_workers": 0, "num_samples": 8000}
    values = {"name": "tiny", "model": small_model, "augment": {"algo": 5}, "data": data}
    (here / "recipe.yaml").write_text(yaml.safe_dump(values))
    settings = "train.batch_size=4 train.lr=1e-3 train.keep=all date='1120'"
    done(f"train recipe.yaml data.root={corpus} train.epochs=2 --device cpu {settings}")
    folder = "models/1120_tiny_e2_bz4_lr0.001_algo5_seed1234"
    assert sorted(p.name for p in (here / folder).glob("epoch_*.pth")) == ["epoch_1.pth", "epoch_2.pth"]

    done(f"average {folder} --ids 1 2")
    done(f"average {folder}/epoch_1.pth {folder}/epoch_2.pth --out mean.pth")
    record = read_record(load_state_dict(here / "mean.pth"))
    assert record.keys() == {"model", "recipe", "average"} and record["average"]["of"] == ["epoch_1.pth", "epoch_2.pth"]
    assert command(f"average {folder} --ids 77")[0] == 2
    done(f"average {folder} --last 1 --weights 2 --update-bn 1")

    score = "--model mean.pth --samples 8000 --workers 0"
    done(f"score asvspoof2021_la {corpus} {score} --out la.txt")
    table, _ = done(f"evaluate asvspoof2021_la la.txt --keys {corpus / 'keys'} --json la.json")
    assert "EER" in table and 0 <= json.loads((here / "la.json").read_text())["systems"][0]["eer"] <= 1
    _, err = done(f"score asvspoof2019_la {corpus} --split dev {score} --samples full --out dev.txt")
    assert len((here / "dev.txt").read_text().splitlines()) == 12
    seen = "scores of tiny on asvspoof2019_la are too good: its epoch was selected on asvspoof2019_la dev"
    assert f"warning: {seen}\n" in err and json.loads((here / "dev.txt.json").read_text())["seen"] == [seen]
    keys = f"--keys {corpus} --phase dev --allow-partial"
    _, err = done(f"evaluate asvspoof2019_la dev.txt {keys} --resamples 20 --html dev.html")
    assert f"warning: {seen}\n" in err and seen in (here / "dev.html").read_text()


def test_overrides_may_stand_between_options():
    for before in (
        "recipe.yaml --device cpu seed=7",
        "--device cpu recipe.yaml seed=7",
        "recipe.yaml seed=7 --device cpu",
    ):
        for after in ("date=1", "-- date=1"):
            args = build_parser().parse_args(["train", *before.split(), *after.split()])
            assert (args.recipe, args.overrides, args.device) == ("recipe.yaml", ["seed=7", "date=1"], "cpu")


def test_help_names_the_launchers_and_without_arguments_the_commands_by_task(command):
    status, out, _ = command("train --help")
    text = " ".join(out.split())
    assert status == 0 and "usage: nes2net train" in text
    assert "torchrun --nproc-per-node N" in text and "accelerate launch" in text
    status, _, text = command("")
    assert status == 2 and text.index("prepare:") < text.index("data ") < text.index("train:") < text.index("average")
    assert len(text.splitlines()) <= 55
    status, _, err = command(["--"])
    assert status == 2 and "the following arguments are required: COMMAND" in err


KNOWN = "invalid choice: 'asvspoof2021_xx'; did you mean 'asvspoof2021_la'? Known: "


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("train none.yaml", "recipe none.yaml is neither a YAML file nor"),
        ("score asvspoof2021_xx DB --model m --out o", KNOWN),
        ("score zzz DB --model m --out o", "22 in all; `nes2net info corpora` lists them)\n"),
        ("predict a.wav --model m --dtype fp16", "'fp16'; did you mean 'float16'? Known: auto, "),
        ("score asvspoof2021_la none --model m --out o", "not found"),
        (f"data check asvspoof2021_la {'x' * 300}", "xxx' cannot be looked up: File name too long"),
        ("train none.yaml --device cpu --keeps all seed=1", "unrecognized arguments: --keeps"),
        ("info a --device cpu seed=1", "unrecognized arguments: --device"),
        ("average a.pth", "--out"),
        ("average a.pth b.pth --out c.pth", "checkpoint a.pth not found"),
        ("average a b --ids 1", "--ids, --last and --best go with one run folder"),
        ("average a.pth --out b.pth --update-bn 3", "--update-bn goes with a run folder"),
        ("fly", "unknown command 'fly'; known: augment, "),
        (
            "evalute asvspoof2021_la s.txt",
            "nes2net: error: unknown command 'evalute'; did you mean 'evaluate'? Known: ",
        ),
        ("evaluate asvspoof2021_la s --htm x --jsno y", "--jsno; did you mean '--json'?"),
        ("train asvspoof2019_nes2net data.root=DB", "did you mean 'asvspoof2019_nes2net_x'?"),
        ("train asvspoof2019_nes2net_x data.rot=DB", "did you mean 'data.root'?"),
        ("published mian", "did you mean 'main'?"),
        ("published main --model_nme x", "nes2net published main: error: unrecognized arguments: --model_nme; did you"),
    ],
)
def test_errors_are_one_line(arguments, message, here, refused):
    refused(arguments, message)

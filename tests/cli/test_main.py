"""`nes2net`: a whole experiment on a tiny corpus, help texts and one-line errors."""

import json

import pytest
import yaml

from nes2net.checkpoints.state_dict import load_state_dict, read_record
from nes2net.cli.main import build_parser, main


def test_train_average_score_and_evaluate(corpus, small_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = {"num_workers": 0, "num_samples": 8000}
    values = {"name": "tiny", "model": small_model, "augment": {"algo": 5}, "data": data}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    arguments = [
        f"data.root={corpus}",
        "train.epochs=3",
        "train.batch_size=4",
        "train.lr=1e-3",
        "train.keep=all",
        "date='1120'",
    ]
    assert main(["train", "recipe.yaml", *arguments[:2], "--device", "cpu", *arguments[2:]]) == 0
    folder = "models/1120_tiny_e3_bz4_lr0.001_algo5_seed1234"
    saved = sorted(int(p.stem[6:]) for p in (tmp_path / folder).glob("epoch_*.pth"))
    assert saved == [1, 2, 3]

    ids = [str(i) for i in (saved * 2)[:2]]
    assert main(["average", folder, "--ids", *ids]) == 0
    assert main(["average", *[f"{folder}/epoch_{i}.pth" for i in ids], "--out", "mean.pth"]) == 0
    record = read_record(load_state_dict(tmp_path / "mean.pth"))
    assert record.keys() == {"model", "recipe", "average"} and record["average"]["of"] == ["epoch_1.pth", "epoch_2.pth"]
    assert main(["average", folder, "--ids", "77"]) == 2
    assert main(["average", folder, "--last", "1", "--weights", "2", "--update-bn", "1"]) == 0

    score = ["--model", "mean.pth", "--samples", "8000", "--workers", "0"]
    for name in ("asvspoof2021_la", "asvspoof2021_df", "in_the_wild"):
        assert main(["score", name, str(corpus), *score, "--out", f"{name}.txt"]) == 0
        keys = corpus / "release_in_the_wild" if name == "in_the_wild" else corpus / "keys"
        capsys.readouterr()
        assert main(["evaluate", name, f"{name}.txt", "--keys", str(keys), "--json", f"{name}.json"]) == 0
        table = capsys.readouterr().out
        assert "EER" in table and "6" in table
        figures = json.loads((tmp_path / f"{name}.json").read_text())
        assert 0 <= figures["systems"][0]["eer"] <= 1
    dev = ["asvspoof2019_la", str(corpus), "--split", "dev", "--samples", "full", "--out", "dev.txt"]
    capsys.readouterr()
    assert main(["score", *score, *dev]) == 0
    assert len((tmp_path / "dev.txt").read_text().splitlines()) == 12
    seen = "scores of tiny on asvspoof2019_la are too good: its epoch was selected on asvspoof2019_la dev"
    assert f"warning: {seen}\n" in capsys.readouterr().err
    assert json.loads((tmp_path / "dev.txt.json").read_text())["seen"] == [seen]
    keys = ["--keys", str(corpus), "--phase", "dev", "--allow-partial"]
    assert main(["evaluate", "asvspoof2019_la", "dev.txt", *keys, "--html", "dev.html"]) == 0
    assert f"warning: {seen}\n" in capsys.readouterr().err and seen in (tmp_path / "dev.html").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        "recipe.yaml seed=7 date=1 --device cpu",
        "recipe.yaml --device cpu seed=7 date=1",
        "--device cpu recipe.yaml seed=7 date=1",
        "recipe.yaml seed=7 --device cpu date=1",
        "recipe.yaml seed=7 --device cpu -- date=1",
    ],
)
def test_overrides_may_stand_between_options(arguments):
    args = build_parser().parse_args(["train", *arguments.split()])
    assert (args.recipe, args.overrides, args.device) == ("recipe.yaml", ["seed=7", "date=1"], "cpu")


def test_help_of_training_names_the_launchers(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "torchrun --nproc-per-node N" in text and "accelerate launch" in text


@pytest.mark.parametrize("command", [[], ["train"], ["score"], ["evaluate"], ["average"]])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert "usage: nes2net" in capsys.readouterr().out


def test_without_arguments_the_commands_are_listed_by_task(capsys):
    assert main([]) == 2
    text = capsys.readouterr().err
    assert text.index("prepare:") < text.index("data ") < text.index("train:") < text.index("average")
    assert len(text.splitlines()) <= 55


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("train none.yaml", "recipe none.yaml is neither a YAML file nor"),
        (
            "score asvspoof2021_xx DB --model m --out o",
            "invalid choice: 'asvspoof2021_xx'; did you mean 'asvspoof2021_la'? Known: ",
        ),
        ("score zzz DB --model m --out o", "22 in all; `nes2net info corpora` lists them)\n"),
        ("predict a.wav --model m --dtype fp16", "'fp16'; did you mean 'float16'? Known: auto, "),
        ("score asvspoof2021_la none --model m --out o", "not found"),
        ("evaluate asvspoof2021_la none.txt --keys none", "none"),
        (f"data check asvspoof2021_la {'x' * 300}", "xxx' cannot be looked up: File name too long"),
        ("train none.yaml --device cpu --keeps all seed=1", "unrecognized arguments: --keeps"),
        ("train none.yaml a=1 --device cpu seed", "recipe none.yaml is neither a YAML file nor"),
        ("info a --device cpu seed=1", "unrecognized arguments: --device"),
        ("average a.pth", "--out"),
        ("average a.pth b.pth --out c.pth", "checkpoint a.pth not found"),
        ("average a b --ids 1", "--ids, --last and --best go with one run folder"),
        ("average a.pth --out b.pth --update-bn 3", "--update-bn goes with a run folder"),
        ("average a --ids 1 --last 2", "not allowed with argument"),
        ("fly", "unknown command 'fly'; known: augment, "),
        (
            "evalute asvspoof2021_la s.txt",
            "nes2net: error: unknown command 'evalute'; did you mean 'evaluate'? Known: ",
        ),
        ("score asvspoof2021_la DB --batchsize 3", "--batchsize; did you mean '--batch-size'?"),
        ("evaluate asvspoof2021_la s --htm x --jsno y", "--jsno; did you mean '--json'?"),
        ("train asvspoof2019_nes2net data.root=DB", "did you mean 'asvspoof2019_nes2net_x'?"),
        ("train asvspoof2019_nes2net_x data.rot=DB", "did you mean 'data.root'?"),
        ("published mian", "did you mean 'main'?"),
        ("published main --model_nme x", "nes2net published main: error: unrecognized arguments: --model_nme; did you"),
    ],
)
def test_errors_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments.split())
    except SystemExit as stop:
        status = stop.code
    error = capsys.readouterr().err
    assert status == 2 and message in error and error.count("\n") == 1

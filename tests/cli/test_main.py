"""`nes2net`: help texts and one-line errors."""

from nes2net.cli.main import build_parser


def test_help_by_task_and_overrides_between_options(command):
    status, out, _ = command("train --help")
    text = " ".join(out.split())
    assert status == 0 and "usage: nes2net train" in text
    assert "torchrun --nproc-per-node N" in text and "accelerate launch" in text
    status, _, text = command("")
    assert status == 2 and text.index("prepare:") < text.index("data ") < text.index("train:") < text.index("average")
    assert len(text.splitlines()) <= 55
    status, _, err = command(["--"])
    assert status == 2 and "the following arguments are required: COMMAND" in err
    device = "--device cpu"
    for before in (f"recipe.yaml {device} seed=7", f"{device} recipe.yaml seed=7", f"recipe.yaml seed=7 {device}"):
        for after in ("date=1", "-- date=1"):
            args = build_parser().parse_args(["train", *before.split(), *after.split()])
            assert (args.recipe, args.overrides, args.device) == ("recipe.yaml", ["seed=7", "date=1"], "cpu")


KNOWN = "invalid choice: 'asvspoof2021_xx'; did you mean 'asvspoof2021_la'? Known: "


def test_errors_are_one_line(here, refused):
    for arguments, message in (
        ("train none.yaml", "recipe none.yaml is neither a YAML file nor"),
        ("score asvspoof2021_xx DB --model m --out o", KNOWN),
        ("predict a.wav --model m --dtype fp16", "'fp16'; did you mean 'float16'? Known: auto, "),
        ("average a.pth", "--out"),
        ("average a b --ids 1", "--ids, --last and --best go with one run folder"),
        ("average a.pth --out b.pth --update-bn 3", "--update-bn goes with a run folder"),
        ("evalute s.txt", "nes2net: error: unknown command 'evalute'; did you mean 'evaluate'? Known: "),
        ("train asvspoof2019_nes2net_x data.rot=DB", "did you mean 'data.root'?"),
        ("data chek", "nes2net data: error: unknown command 'chek'; did you mean 'check'?"),
        ("published main --model_nme x", "nes2net published main: error: unrecognized arguments: --model_nme; did you"),
    ):
        refused(arguments, message)

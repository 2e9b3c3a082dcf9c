"""Every command of the published README, verbatim with paths changed, on a tiny corpus and a tiny XLS-R in fairseq's format."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nes2net import Detector, create_frontend
from nes2net.checkpoint import load_state_dict

REPOSITORY = Path(__file__).parents[2]

TRAIN = """python main.py --track=LA --lr=0.00000025 --batch_size=12 --algo 4 --date 0520 --seed 12345 --loss=WCE \
 --model_name wav2vec2_Nes2Net_X --num_epochs {epochs} --pool_func 'mean' --SE_ratio 1 --Nes_ratio 8 8 --database_path DB/"""
SCORE = """python main.py --track={track} --batch_size=2 --is_eval --eval --model_name wav2vec2_Nes2Net_X --pool_func 'mean' --SE_ratio 1 \
 --Nes_ratio 8 8 --test_protocol '4sec' --database_path DB/ --model_path={model} --eval_output={track}.txt"""
AVERAGE = """python main.py --track=DF --batch_size=2 --is_eval --eval --model_name wav2vec2_Nes2Net_X --pool_func 'mean' --SE_ratio 1 \
 --Nes_ratio 8 8 --test_protocol '4sec' --database_path DB/ --num_average_model 5 --model_ID_to_average 56 60 62 76 95 \
 --model_folder_path={folder} --eval_output=averaged.txt"""
WILD = """python main.py --track=in_the_wild --batch_size=2 --is_eval --eval --model_name wav2vec2_Nes2Net_X --pool_func 'mean' \
 --SE_ratio 1 --test_protocol 'full' --in_the_wild_path={wild} --model_path={model} --eval_output=wild.txt"""
DEMO = "python easy_inference_demo.py --model_path {model} --file_to_test {file} --model_name wav2vec2_Nes2Net_X {mode}"
RUN = "models/0520_wav2vec2_Nes2Net_X_e{epochs}_bz12_lr2.5e-07_algo4_seed12345"


def run(command: str, cwd: Path, status: int = 0) -> str:
    program, script, *arguments = shlex.split(command)
    assert program == "python"
    done = subprocess.run(
        [sys.executable, REPOSITORY / script, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory):
    """A working folder with DB/ and xlsr2_300m.pt, which is fairseq's format and names but small."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "DB").symlink_to(corpus)
    torch.manual_seed(0)
    options = {
        "conv_feature_layers": "[(8, 10, 5)] + [(8, 3, 2)] * 4 + [(8, 2, 2)] * 2",
        "encoder_layers": 2,
        "encoder_embed_dim": 64,
        "encoder_ffn_embed_dim": 64,
        "encoder_attention_heads": 4,
        "final_dim": 16,
        "latent_vars": 4,
    }
    layers = [[8, 10, 5], *[[8, 3, 2]] * 4, *[[8, 2, 2]] * 2]
    frontend = create_frontend("wav2vec2", **{**options, "conv_feature_layers": layers})
    model = {k.removeprefix("model."): v for k, v in frontend.state_dict().items()}
    torch.save(
        {"args": None, "cfg": {"model": {"_name": "wav2vec2", **options}}, "model": model}, folder / "xlsr2_300m.pt"
    )
    return folder


def published_commands(folder: Path, epochs: int) -> None:
    out = run(TRAIN.format(epochs=epochs), folder)
    run_folder = folder / RUN.format(epochs=epochs)
    assert f"checkpoints are in {RUN.format(epochs=epochs)}" in out
    model = run_folder / "epoch_0.pth"
    for track in ("LA", "DF"):
        run(SCORE.format(track=track, model=model), folder)
        lines = (folder / f"{track}.txt").read_text().splitlines()
        assert [line.split(" ")[0] for line in lines] == [f"{track}_E_{1000001 + i}" for i in range(12)]
    out = run("python evaluate_2021_LA.py LA.txt DB/keys/LA eval", folder)
    assert [line.split(":")[0] for line in out.splitlines()[:2]] == ["min_tDCF", "eer"]
    out = run("python evaluate_2021_DF.py DF.txt DB/keys eval", folder)
    assert out.startswith("eer: ") and out.endswith("\n\n")

    for number in (56, 60, 62, 76, 95):
        if not (target := run_folder / f"epoch_{number}.pth").exists():
            shutil.copy(model, target)
    run(AVERAGE.format(folder=run_folder), folder)
    average = run_folder / "Averaged_Model_IDs_56_60_62_76_95.pth"
    assert load_state_dict(average).keys() == load_state_dict(model).keys()

    run(WILD.format(wild="DB/release_in_the_wild", model=model), folder)
    out = run("python Cal_EER_in_the_wild.py --path wild.txt --labels_file DB/release_in_the_wild/meta.csv", folder)
    assert out.startswith("EER: ") and 0 <= float(out.split()[1]) <= 1

    file = "DB/release_in_the_wild/3.wav"
    detector = Detector.from_pretrained(model, device="cpu")
    for mode, num_samples in (("", None), ("--test_mode 4s", 64000), ("--test_mode full", None)):
        out = run(DEMO.format(model=model, file=file, mode=mode), folder)
        assert float(out.split()[-1]) == pytest.approx(detector.score(folder / file, num_samples=num_samples), abs=1e-5)


def test_published_commands_with_three_epochs(folder):
    published_commands(folder, epochs=3)


@pytest.mark.slow
def test_published_commands_verbatim(folder):
    for name in ("LA.txt", "DF.txt", "averaged.txt", "wild.txt"):
        for file in folder.glob(f"{name}*"):
            file.unlink()
    published_commands(folder, epochs=100)

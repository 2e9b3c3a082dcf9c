"""The commands of the published README, with other paths and fewer epochs, on a tiny corpus and a tiny XLS-R.

They print the published lines on standard output, in the published order, and everything else on
standard error.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from builders import genuine_checkpoint

from nes2net import Detector, create_frontend
from nes2net.lib.computing.devices import choose_device

REPOSITORY = Path(__file__).parents[3]

TRAIN = """python main.py --track=LA --lr=0.00000025 --batch_size=12 --algo 4 --date 0520 --seed 12345 --loss=WCE \
 --model_name wav2vec2_Nes2Net_X --num_epochs 3 --pool_func 'mean' --SE_ratio 1 --Nes_ratio 8 8 \
 --database_path DB/"""
SCORE = """python main.py --track={track} --batch_size=2 --is_eval --eval --model_name wav2vec2_Nes2Net_X \
 --pool_func 'mean' --SE_ratio 1 --Nes_ratio 8 8 --test_protocol '4sec' --database_path DB/ --model_path={model} \
 --eval_output={track}.txt"""
AVERAGE = """python main.py --track=DF --batch_size=2 --is_eval --eval --model_name wav2vec2_Nes2Net_X \
 --pool_func 'mean' --SE_ratio 1 --Nes_ratio 8 8 --test_protocol '4sec' --database_path DB/ --num_average_model 5 \
 --model_ID_to_average 56 60 62 76 95 --model_folder_path={folder} --eval_output=averaged.txt"""
WILD = """python main.py --track=in_the_wild --batch_size=2 --is_eval --eval --model_name wav2vec2_Nes2Net_X \
 --pool_func 'mean' --SE_ratio 1 --test_protocol 'full' --in_the_wild_path={wild} --model_path={model} \
 --eval_output=wild.txt"""
DEMO = "python easy_inference_demo.py --model_path {model} --file_to_test {file} --model_name wav2vec2_Nes2Net_X {mode}"
RUN = "models/0520_wav2vec2_Nes2Net_X_e3_bz12_lr2.5e-07_algo4_seed12345"


#: A number as Python prints it: 0.25, 12.0, 3e-05.
VALUE = r"\d+(\.\d+)?(e-\d+)?"
LOSS = r"\d+\.\d{5}"
EPOCH = (
    rf"tr_loss {LOSS}, -val_loss_w_aug {LOSS}, -val_loss_wo_aug {LOSS}, "
    rf"Best loss w/ aug: E\d+/\d+\.\d{{6}}, Best loss wo aug: E\d+/{LOSS}"
)
STARTED = r"training started at: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} (0\d|1[0-2]):[0-5]\d:[0-5]\d"


def assert_lines(printed: str, *patterns: str) -> None:
    """Assert that each line of ``printed`` matches its pattern."""
    lines = printed.splitlines()
    assert len(lines) == len(patterns), printed
    for line, pattern in zip(lines, patterns):
        assert re.fullmatch(pattern, line), f"{line!r} is not {pattern!r}"


@pytest.fixture
def folder(corpus, tmp_path, monkeypatch):
    """The working folder with DB/ and a small xlsr2_300m.pt in fairseq's format."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DB").symlink_to(corpus)
    torch.manual_seed(0)
    options = {"extractor_mode": "layer_norm", "layer_norm_first": True, "conv_bias": True}
    options |= {"encoder_layers": 2, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4}
    options |= {"final_dim": 16, "latent_vars": 4, "dropout": 0.0, "attention_dropout": 0.0}
    layers = [[8, 10, 5], *[[8, 3, 2]] * 4, *[[8, 2, 2]] * 2]
    frontend = create_frontend("wav2vec2", **options, conv_feature_layers=layers)
    genuine_checkpoint.write(frontend, tmp_path / "xlsr2_300m.pt")
    return tmp_path


@pytest.mark.slow
def test_every_command_of_the_published_readme_runs_and_prints_the_published_lines(folder, script):
    """The first as a process of its own, with workers that read recordings."""
    _, program, *words = shlex.split(TRAIN)
    options = {"cwd": folder, "capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    trained = subprocess.run([sys.executable, REPOSITORY / program, *words], **options)
    assert trained.returncode == 0, trained.stderr
    run_folder = folder / RUN
    model = run_folder / "epoch_1.pth"
    detector = Detector.from_pretrained(model, device="cpu")
    num_heads = detector.frontend.num_unused
    sizes = [sum(p.numel() for p in module.parameters()) + num_heads for module in (detector, detector.frontend)]
    device = f"Device: {choose_device().type}"
    built = [device, f"num_params    : {sizes[0]}", f"num_params_SSL: {sizes[1]}"]
    ended = [line for number in range(1, 4) for line in ("", f"{number}: {EPOCH}", f"time cost: {VALUE}")]
    assert_lines(trained.stdout, *built, "no. of training trials 12", "no. of validation trials 12", *ended)
    for track in ("LA", "DF"):
        out = script(SCORE.format(track=track, model=model)).out
        scored = [STARTED, "no. of eval trials 12", f"Scores saved to {track}.txt", f"time cost: {VALUE} hrs"]
        assert_lines(out, *built, f"Model loaded : {model}", *scored)
    out = script("python evaluate_2021_LA.py LA.txt DB/keys/LA eval").out
    assert [line.split(":")[0] for line in out.splitlines()[:2]] == ["min_tDCF", "eer"]
    out = script("python evaluate_2021_DF.py DF.txt DB/keys eval").out
    assert out.startswith("eer: ")

    for number in (56, 60, 62, 76, 95):
        shutil.copy(model, run_folder / f"epoch_{number}.pth")
    average = run_folder / "Averaged_Model_IDs_56_60_62_76_95.pth"
    averaged = [f"File '{average}' does not exist. Proceeding with the model averaging operation..."]
    averaged += [f"Model loaded : {run_folder}/epoch_{number}.pth" for number in (56, 60, 62, 76, 95)]
    averaged.append(f"Model loaded average of 5 best models in {average}")
    for lines in (averaged, [f"File '{average}' already exists. Model averaging operation skipped."]):
        out = script(AVERAGE.format(folder=run_folder)).out
        scored = [STARTED, "no. of eval trials 12", "Scores saved to averaged.txt", f"time cost: {VALUE} hrs"]
        assert_lines(out, *built, *lines, f"Model loaded : {average}", *scored)

    out = script(WILD.format(wild="DB/release_in_the_wild", model=model)).out
    assert_lines(out, *built, f"Model loaded : {model}", STARTED, f"time cost: {VALUE} hrs")
    out = script("python Cal_EER_in_the_wild.py --path wild.txt --labels_file DB/release_in_the_wild/meta.csv").out
    assert out.startswith("EER: ")

    file = "DB/release_in_the_wild/3.wav"
    for mode in ("", "--test_mode 4s", "--test_mode full"):
        out = script(DEMO.format(model=model, file=file, mode=mode)).out
        assert_lines(out, device, f"Model loaded : {model}", f"score: -?{VALUE}")


@pytest.mark.parametrize("mode, num_samples", [("", None), ("--test_mode 4s", 64000), ("--test_mode full", None)])
def test_easy_inference_demo_scores_64000_samples_in_the_mode_4s_and_else_the_whole_recording(
    mode, num_samples, detector, corpus, workdir, script
):
    detector.save("d.pth")
    file = corpus / "release_in_the_wild" / "3.wav"
    out = script(DEMO.format(model="d.pth", file=file, mode=mode)).out
    assert float(out.split()[-1]) == pytest.approx(detector.score(file, num_samples=num_samples), abs=1e-5)

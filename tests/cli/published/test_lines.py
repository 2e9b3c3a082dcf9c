"""Lines of main.py in further cases: no augmentation, resuming, old averages."""

import os
from pathlib import Path

import pytest
import torch

from nes2net import Detector
from nes2net.cli.published import main as legacy
from nes2net.cli.published.lines import TrainingLines, print_parameters
from nes2net.models.checkpoints.state_dict import load_state_dict

BASE = "--model_name wav2vec2_Nes2Net_X --device cpu --num_workers 0 --database_path {corpus}"
TRAIN = (
    f"{BASE} --frontend lps --Nes_ratio 4 4 --num_epochs 2 --batch_size 6 --algo 0 --set data.num_samples=8000 "
    "model.frontend.n_fft=256 model.frontend.num_bins=32"
)
SCORE = f"{BASE} --eval --eval_output s.txt --test_samples 8000"


def row(epoch, loss, w_aug, wo_aug):
    return {"epoch": epoch, "loss": loss, "val_loss_w_aug": w_aug, "val_loss_wo_aug": wo_aug, "seconds": 0.5 * epoch}


def test_the_printed_lines_of_an_epoch_have_its_losses_and_the_best_epoch_of_each_validation_loss(capsys):
    """Of equal epochs, the last is the best one."""
    history = [row(1, 0.7, 0.5, 0.25), row(2, 0.123456, 0.5, 0.5), row(3, 0.1, 12.0, 0.375)]
    for length in (1, 2, 3):
        TrainingLines().print_epoch(history[:length])
    assert capsys.readouterr().out == (
        "\n1: tr_loss 0.70000, -val_loss_w_aug 0.50000, -val_loss_wo_aug 0.25000, "
        "Best loss w/ aug: E1/0.500000, Best loss wo aug: E1/0.25000\ntime cost: 0.5\n"
        "\n2: tr_loss 0.12346, -val_loss_w_aug 0.50000, -val_loss_wo_aug 0.50000, "
        "Best loss w/ aug: E2/0.500000, Best loss wo aug: E1/0.25000\ntime cost: 1.0\n"
        "\n3: tr_loss 0.10000, -val_loss_w_aug 12.00000, -val_loss_wo_aug 0.37500, "
        "Best loss w/ aug: E2/0.500000, Best loss wo aug: E1/0.25000\ntime cost: 1.5\n"
    )


WITHOUT_VALIDATION = {"epoch": 1, "loss": 0.7, "seconds": 1.0}


def test_an_epoch_without_validation_is_not_printed_nor_the_best_epoch(capsys):
    TrainingLines().print_epoch([WITHOUT_VALIDATION])
    assert capsys.readouterr().out == ""
    TrainingLines().print_epoch([WITHOUT_VALIDATION, row(2, 0.5, 0.5, 0.5)])
    assert "Best loss w/ aug: E2/0.500000, Best loss wo aug: E2/0.50000" in capsys.readouterr().out


@pytest.fixture
def main(corpus, tmp_path, monkeypatch, output):
    """Return a function that runs main.py in an empty folder: lines of stdout, and text of stderr."""
    monkeypatch.chdir(tmp_path)

    def run(flags):
        out, err = output(flags.format(corpus=corpus), program=legacy.main)
        return out.splitlines(), err

    return run


def test_without_rawboost_both_validation_losses_are_equal_and_finished_epochs_are_not_printed_again(main):
    lines, _ = main(TRAIN)
    assert len(lines) == 5 + 2 * 3
    for line in lines[6::3]:
        losses = [words.split()[-1] for words in line.split(", ")]
        assert losses[1] == losses[2]
    again, remarks = main(TRAIN)
    assert again == lines[:5]
    assert "is trained already, 2 epochs" in remarks


def test_the_printed_numbers_of_parameters_include_the_heads_of_pre_training(capsys):
    """As the published program counts fairseq's module: 2 layers with a hidden size of 1,024."""
    frontend = {"name": "wav2vec2", "encoder_layers": 2, "encoder_ffn_embed_dim": 1024}
    with torch.device("meta"):
        detector = Detector.from_config({"frontend": frontend, "backend": "nes2net_x"})
    print_parameters(detector)
    assert capsys.readouterr().out == "num_params    : 28196647\nnum_params_SSL: 27684608\n"


@pytest.fixture
def epochs(spectral_detector):
    """A run folder ``run`` with two epochs."""
    Path("run").mkdir()
    for number in (1, 2):
        torch.nn.init.constant_(next(spectral_detector.backend.parameters()), number)
        spectral_detector.save(f"run/epoch_{number}.pth")


AVERAGE = "--num_average_model 2 --model_ID_to_average 1 2 --model_folder_path run"
AVERAGED = "run/Averaged_Model_IDs_1_2.pth"
MISSING = f"File '{AVERAGED}' does not exist. Proceeding with the model averaging operation..."


def test_an_average_is_made_again_if_a_checkpoint_changed(main, epochs, spectral_detector):
    """The published program would use the old average. Both epochs have weights of 1 when the average is made again."""
    main(f"{SCORE} {AVERAGE}")
    torch.nn.init.ones_(next(spectral_detector.backend.parameters()))
    spectral_detector.save("run/epoch_2.pth")
    os.utime("run/epoch_2.pth", (0, 0))
    lines, _ = main(f"{SCORE} {AVERAGE} --overwrite")
    assert MISSING in lines
    weights = load_state_dict(AVERAGED)
    assert (weights["pooling.linear1.weight"] == 1).all()


def test_without_eval_training_starts_from_the_average_with_its_sizes(main, epochs, spectral_detector):
    """As the published program does. The flags name XLS-R 300M, and other ratios."""
    start = "--set data.num_samples=8000 train.keep=all --num_epochs 1 --batch_size 6 --algo 0 --lr 1e-30"
    main(f"{BASE} {start} {AVERAGE} --eval_output s.txt")
    (trained,) = Path("models").glob("*/epoch_1.pth")
    weights = load_state_dict(trained)
    # With this learning rate, the trained weights are those of the average.
    name = next(name for name in weights if name.endswith("linear1.weight"))
    assert torch.equal(weights[name], load_state_dict(AVERAGED)[name])
    assert Detector.from_pretrained(trained, "cpu").config == spectral_detector.config

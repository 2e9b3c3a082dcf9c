"""The commands of docs/published.md give the published figures: averages and In-the-Wild have published errors."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from builders.files import read_json, write_scores
from conftest import load_detector, repository_text

from nes2net import Detector
from nes2net.models.checkpoints.state_dict import load_state_dict
from nes2net.scoring.score_file import read_scores

PAGE = repository_text("docs/published.md")
EPOCHS = (56, 60, 62, 76, 95)
#: A detector with dropout and batch statistics that is built quickly.
MODEL = {
    "frontend": {"name": "lps", "n_fft": 128, "num_bins": 32},
    "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]},
}


def printed_command(*words: str) -> str:
    """The only command of the page that has these ``words``."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    (line,) = [line for line in lines if all(word in line for word in words)]
    return line


@pytest.fixture
def run_folder(tmp_path, monkeypatch) -> Path:
    """The folder DIR with the five epochs that the manual averages."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "DIR"
    folder.mkdir()
    torch.manual_seed(0)
    for epoch in EPOCHS:
        Detector.from_config(MODEL).save(folder / f"epoch_{epoch}.pth")
    return folder


def first_scores(path: str, folder: Path, suffix: str, detector: Detector, **options) -> tuple[float, float]:
    """The first score in a file, and the score that ``detector`` in eval mode gives the recording."""
    ids, scores = read_scores(path)
    return scores[0], detector.score(folder / f"{ids[0]}.{suffix}", **options)


def assert_published_average(path: Path, folder: Path) -> None:
    """Of c1 to c5 it is (2·c2 + c3 + c4 + c5)/5."""
    average = load_state_dict(path)
    second, *later = [load_state_dict(folder / f"epoch_{epoch}.pth") for epoch in EPOCHS[1:]]
    for name, tensor in average.items():
        if tensor.is_floating_point():
            expected = (2 * second[name] + sum(weights[name] for weights in later)) / 5
            torch.testing.assert_close(tensor, expected)


def test_the_command_of_the_manual_scores_with_the_published_average(run_folder, corpus, script):
    (run_folder.parent / "DB").symlink_to(corpus)
    script(printed_command("main.py", "--num_average_model"))
    path = run_folder / "Averaged_Model_IDs_56_60_62_76_95_legacy.pth"
    assert_published_average(path, run_folder)
    audio = corpus / "ASVspoof2021_DF_eval" / "flac"
    score, expected = first_scores("SCORES", audio, "flac", load_detector(path), num_samples=64600)
    assert score == pytest.approx(expected, abs=1e-5)


def test_the_command_of_the_manual_scores_in_the_wild_in_train_mode(run_folder, corpus, script):
    """As the published program does. In eval mode the scores are others."""
    wild = corpus / "release_in_the_wild"
    checkpoint = run_folder / "epoch_56.pth"
    checkpoint.rename("CKPT")
    command = printed_command("main.py", "--track=in_the_wild")
    script(command.replace("=DIR", f"={wild}"))
    assert read_json(Path("SCORES.json"))["run"]["legacy_train_mode"] is True
    score, in_eval_mode = first_scores("SCORES", wild, "wav", load_detector("CKPT"))
    assert abs(score - in_eval_mode) > 1e-3


def test_the_command_of_the_manual_for_scores_of_in_the_wild_prints_an_eer(workdir, corpus, script):
    wild = corpus / "release_in_the_wild"
    write_scores(workdir / "SCORES", {path.stem: number for number, path in enumerate(wild.glob("*.wav"))})
    figure = printed_command("Cal_EER_in_the_wild.py")
    assert script(figure.replace("DIR/", f"{wild}/")).out.startswith("EER: ")


def test_the_command_average_of_the_manual_makes_the_published_average(run_folder, output):
    words = printed_command("nes2net average").replace("models/RUN", str(run_folder))
    output(shlex.split(words)[1:])
    scored = printed_command("nes2net score asvspoof2021_df", "Averaged")
    name = Path(shlex.split(scored)[shlex.split(scored).index("--model") + 1]).name
    assert_published_average(run_folder / name, run_folder)

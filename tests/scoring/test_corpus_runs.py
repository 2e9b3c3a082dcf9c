"""Scoring as users run it: interrupted, by several processes, with a full disk, in other precisions."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from builders import PATIENCE, input_error
from builders.files import read_json
from builders.scored import score_trials
from builders.small_disk import small_disk

from nes2net import Detector
from nes2net.cli.main import main
from nes2net.data.corpora import in_the_wild
from nes2net.data.corpora.trial import Trial
from nes2net.lib.computing.devices import own_device


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Path:
    """24 files of half a second, in a folder like In-the-Wild."""
    folder = tmp_path_factory.mktemp("wild") / "release_in_the_wild"
    rng = np.random.default_rng(3)
    folder.mkdir()
    for number in range(24):
        soundfile.write(folder / f"{number}.wav", 0.1 * rng.standard_normal(8000), 16000)
    return folder


@pytest.fixture
def trials(few) -> list[Trial]:
    return in_the_wild.CORPUS.trials(few)


@pytest.fixture
def command(spectral_detector, tmp_path):
    """Arguments of `nes2net score` in this process."""
    spectral_detector.save(tmp_path / "detector.pth", recipe={"name": "tiny"})

    def arguments(folder: Path, out: Path, *flags: str) -> list[str]:
        words = f"--model {tmp_path}/detector.pth --samples full --batch-size 4 --device cpu --workers 0"
        return ["score", "in_the_wild", str(folder), "--out", str(out), *words.split(), *flags]

    return arguments


def start(*arguments: str) -> subprocess.Popen:
    """Python with as many threads as this process has, because the last bits depend on them."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    threads = str(torch.get_num_threads())
    environment = os.environ | {"PYTHONPATH": ":".join(paths), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, *arguments], env=environment, **pipes)


@pytest.mark.slow
def test_two_processes_write_the_same_file_as_one(command, few, tmp_path):
    """Torchrun starts them."""
    single_process = tmp_path / "whole.txt"
    out = tmp_path / "out.txt"
    assert main(command(few, single_process)) == 0
    torchrun = "-m torch.distributed.run --standalone --nproc-per-node=2 -m nes2net.cli.main"
    process = start(*torchrun.split(), *command(few, out))
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert out.read_bytes() == single_process.read_bytes()
    assert read_json(tmp_path / "out.txt.json")["processes"] == 2


HANGING_FILE = """
import sys, time
from nes2net.cli.main import main
from nes2net.scoring.waveforms import WaveformReader

read = WaveformReader.read
WaveformReader.read = lambda self, path, id: time.sleep(1e6) if str(path).endswith("/9.wav") else read(self, path, id)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="which processes a process started is read from Linux's /proc"
)
def test_an_interruption_while_a_file_hangs_ends_the_command(command, few, tmp_path):
    out = tmp_path / "out.txt"
    partial = tmp_path / "out.txt.partial"
    process = start("-c", HANGING_FILE, *command(few, out, "--workers", "1", "--samples", "4sec"))
    while not partial.exists() or partial.read_bytes().count(b"\n") < 1 + 20:  # the last batch holds the file
        assert process.poll() is None
        time.sleep(0.01)
    reader = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=PATIENCE) == 130
    process.stdout.close()
    with suppress(ProcessLookupError):
        os.kill(int(reader), signal.SIGKILL)


# In this process


def test_a_run_that_a_full_disk_stopped_is_resumed_to_the_file_of_a_run_that_nothing_stopped(
    spectral_detector, trials, tmp_path, capsys
):  # capsys: no bar is written to a file
    """A limit on file sizes plays the full disk: a write fails in the middle of a line."""
    expected_file = tmp_path / "whole.txt"
    out = tmp_path / "out.txt"

    def score(out):
        return score_trials(spectral_detector, trials, out, batch_size=4)

    score(expected_file)
    with small_disk(900), input_error(r"out\.txt\.partial: cannot be written \(File too large\); the work"):
        score(out)
    assert read_json(score(out).record_path)["kept_from_earlier_runs"] > 0
    assert out.read_bytes() == expected_file.read_bytes()


def test_a_score_file_made_in_another_precision_is_refused(command, few, tmp_path, capsys):
    out = tmp_path / "out.txt"
    assert main(command(few, out, "--samples", "8000")) == 0
    assert main(command(few, out, "--samples", "8000", "--dtype", "bfloat16")) == 2
    assert "another model, dtype" in capsys.readouterr().err


@pytest.fixture
def second_of_torchrun(monkeypatch):
    """The second process of torchrun, to which torch reports two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")


@pytest.mark.usefixtures("second_of_torchrun")
@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_under_torchrun_a_process_uses_the_gpu_of_its_local_rank(name):
    assert own_device(name) == "cuda:1"


@pytest.mark.usefixtures("second_of_torchrun")
@pytest.mark.parametrize("name", ["cuda:0", "cpu"])
def test_under_torchrun_a_gpu_named_by_its_number_or_the_cpu_is_used_as_named(name):
    assert own_device(name) == name


@pytest.mark.parametrize("train, sizes", [(False, [4] * 4), (True, [1] * 14)])
def test_all_batches_of_a_compiled_detector_have_the_same_size(trials, tmp_path, train, sizes):
    """They are filled up to four recordings, or have one in train mode."""
    frontend = {"name": "lps", "n_fft": 128, "num_bins": 64}
    backend = {"name": "nes2net_x", "nes_ratio": [4, 4]}
    detector = Detector.from_config({"frontend": frontend, "backend": backend}).eval()
    trials = [*trials[:2], Trial(trials[2].id, Path("none.wav")), *trials[3:15]]
    options = {"batch_size": 4, "legacy_train_mode": train}
    detector.compile = lambda **_: None  # compiling takes seconds
    shapes = []
    compute = detector.scores

    def scores_of(waveforms):
        shapes.append(len(waveforms))
        return compute(waveforms)

    detector.scores = scores_of
    score_trials(detector, trials, tmp_path / "compiled.txt", **options, compile=True)
    assert shapes == sizes


def test_a_detector_is_compiled_once_for_a_corpus(spectral_detector, trials, tmp_path):
    calls = []
    spectral_detector.compile = lambda **options: calls.append(options)
    score_trials(spectral_detector, trials, tmp_path / "s.txt", batch_size=4, compile=True)
    assert len(calls) == 1


def test_in_train_mode_dropout_of_an_utterance_does_not_depend_on_those_scored_before(trials, tmp_path, small_model):
    small_model["frontend"]["dropout"] = 0.1
    detector = Detector.from_config(small_model)
    for name, some in (("all.txt", trials[:6]), ("some.txt", trials[3:6])):
        score_trials(detector, some, tmp_path / name, legacy_train_mode=True)
    lines = (tmp_path / "all.txt").read_text().splitlines()
    assert (tmp_path / "some.txt").read_text().splitlines() == lines[3:]


def test_scoring_in_train_mode_does_not_change_the_random_state_of_torch(trials, tmp_path, small_model):
    small_model["frontend"]["dropout"] = 0.1
    detector = Detector.from_config(small_model)
    state = torch.random.get_rng_state()
    score_trials(detector, trials[:2], tmp_path / "s.txt", legacy_train_mode=True)
    assert torch.equal(torch.random.get_rng_state(), state)

"""Scoring as users run it: killed, by several processes, with a full disk, in other precisions."""

import contextlib
import datetime
import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from builders import PATIENCE
from builders.forked import started_command
from builders.shared_memory import with_shared_memory

from nes2net import Detector, InputError
from nes2net.cli.main import main
from nes2net.cli.published import main as legacy
from nes2net.corpora import in_the_wild
from nes2net.machine.devices import own_device
from nes2net.scoring import journal as score_journal
from nes2net.scoring.corpus import score_trials

NUMBER = 400


@pytest.fixture(scope="module")
def wild(tmp_path_factory) -> Path:
    """A folder like In-the-Wild: noise of 0.3 to 1.5 s, similar lengths, file 99 broken."""
    folder = tmp_path_factory.mktemp("wild") / "release_in_the_wild"
    folder.mkdir()
    rng = np.random.default_rng(3)
    lines = ["file,speaker,label"]
    for number in range(NUMBER):
        soundfile.write(folder / f"{number}.wav", 0.1 * rng.standard_normal(rng.integers(5000, 24000)), 16000)
        lines.append(f"{number}.wav,A,{'spoof' if number % 2 else 'bona-fide'}")
    (folder / "99.wav").write_text("no audio")
    (folder / "meta.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture
def checkpoint(small_model, tmp_path) -> Path:
    torch.manual_seed(0)
    Detector.from_config(small_model).save(tmp_path / "detector.pth", recipe={"name": "tiny"})
    return tmp_path / "detector.pth"


@pytest.fixture
def command(wild, checkpoint):
    """Arguments of `nes2net score`."""

    def arguments(out: Path, *further: str) -> list[str]:
        base = ["score", "in_the_wild", str(wild), "--model", str(checkpoint), "--out", str(out), "--samples", "full"]
        return [*base, "--batch-size", "4", "--device", "cpu", "--workers", "0", *further]

    return arguments


def environment() -> dict[str, str]:
    """Use as many threads as this process, because the last bits depend on them."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    threads = str(torch.get_num_threads())
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def children_of(pid: int) -> list[int]:
    if not Path("/proc/self/task").is_dir():
        pytest.skip("which processes a process started is read from Linux's /proc")
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def num_lines(out: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in score_journal.journals(out))


def kill_when(process: subprocess.Popen, out: Path, lines: int) -> bool:
    """Kill the process and its children at a number of journal lines; False if it ended before."""
    while process.poll() is None:
        if num_lines(out) >= lines:
            for pid in [process.pid, *children_of(process.pid)]:
                os.kill(pid, signal.SIGKILL)
            process.communicate()
            return process.returncode == -signal.SIGKILL
        time.sleep(0.001)
    print(process.communicate()[0])
    return False


def killed_at(arguments: list[str], out: Path, lines: int, log: Path, seconds: float = 0) -> bool:
    """Score in a process that is killed ``seconds`` later, at a number of journal lines; False if it ended before."""
    process = started_command(arguments, log)
    time.sleep(seconds)
    while process.is_alive() and num_lines(out) < lines:
        time.sleep(0.001)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.slow
def test_killed_and_started_again(command, tmp_path, capsys):
    whole, out = tmp_path / "whole.txt", tmp_path / "out.txt"
    assert main(command(whole)) == 1
    for _ in range(50):  # on a machine that is busy with other things a run may be done before it is killed
        if killed_at(command(out), out, 40, tmp_path / "log"):
            break
        out.unlink()
    assert not out.exists() and 40 <= num_lines(out) < NUMBER
    capsys.readouterr()
    assert main(command(out)) == 1
    captured = capsys.readouterr()
    assert f"{NUMBER - 1} of {NUMBER} scores written" in captured.out
    assert "1 file was left out: 99; " in captured.err and "out.txt.json says why" in captured.err
    assert out.read_bytes() == whole.read_bytes()
    record = json.loads((tmp_path / "out.txt.json").read_text())
    assert list(record["failures"]) == ["99"]
    assert record["kept_from_earlier_runs"] > 30
    assert record["checkpoint"] == {"path": str(tmp_path / "detector.pth"), "recipe": {"name": "tiny"}}
    assert record["corpus"]["name"] == "in_the_wild" and record["run"]["dtype"] == "float32"
    assert sorted(p.name for p in tmp_path.glob("out*")) == ["out.txt", "out.txt.json"]


@pytest.mark.weekly
def test_killed_ten_times(command, tmp_path):
    """The run is killed at random moments (SIGKILL); the file is the same to the last bit."""
    whole, out = tmp_path / "whole.txt", tmp_path / "out.txt"
    assert main(command(whole)) == 1
    rng, killed = random.Random(8), 0
    for _ in range(100):
        # The journal of a continued run grows by the scores of that run.
        lines = num_lines(out) + rng.choice([0, 1, 2, 5, 9, 17, 30])
        seconds = rng.uniform(0, 0.5) if rng.random() < 0.2 else 0  # while it starts
        killed += killed_at(command(out), out, lines, tmp_path / "log", seconds)
        if killed == 10:
            break
        if out.exists():  # done before it was killed, as happens on a busy machine: from the start again
            assert out.read_bytes() == whole.read_bytes()
            out.unlink()
    assert killed == 10
    assert main(command(out)) == 1
    assert out.read_bytes() == whole.read_bytes()


def torchrun(processes: int, arguments: list[str]) -> subprocess.Popen:
    module = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "nes2net.cli.main"]
    return start(*module, *arguments)


@pytest.mark.slow
def test_several_processes_write_the_same_file(command, wild, tmp_path):
    whole, out = tmp_path / "whole.txt", tmp_path / "out.txt"
    (wild / "99.wav").rename(wild / "kept")
    soundfile.write(wild / "99.wav", np.zeros(4000), 16000)
    try:
        assert main(command(whole)) == 0
        process = torchrun(2, command(out))
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output
    finally:
        (wild / "kept").rename(wild / "99.wav")
    assert output.count(f"{NUMBER} of {NUMBER} scores written") == 1
    assert out.read_bytes() == whole.read_bytes()
    record = json.loads((tmp_path / "out.txt.json").read_text())
    assert record["processes"] == 2 and record["audio_seconds"] > 100
    assert sorted(p.name for p in tmp_path.glob("out*")) == ["out.txt", "out.txt.json"]


@pytest.mark.weekly
def test_another_number_of_processes_continues(command, tmp_path):
    """Two processes are killed; of the next three one dies and torchrun ends them; one finishes."""
    whole, out = tmp_path / "whole.txt", tmp_path / "out.txt"
    assert main(command(whole)) == 1
    assert kill_when(torchrun(2, command(out)), out, 40)
    assert [path.name for path in score_journal.journals(out)] == ["out.txt.partial", "out.txt.partial.1"]
    left = num_lines(out)
    process = torchrun(3, command(out))
    while num_lines(out) <= left:
        assert process.poll() is None
        time.sleep(0.001)
    os.kill(children_of(process.pid)[-1], signal.SIGKILL)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0 and not out.exists(), output
    assert len(score_journal.journals(out)) == 3
    assert main(command(out)) == 1
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.glob("out*")) == ["out.txt", "out.txt.json"]


@pytest.fixture
def few(tmp_path) -> Path:
    """A folder like In-the-Wild with 24 files of a second."""
    folder = tmp_path / "release_in_the_wild"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for number in range(24):
        soundfile.write(folder / f"{number}.wav", 0.1 * rng.standard_normal(16000), 16000)
    return folder


@pytest.fixture
def command_of_few(few, spectral_detector, tmp_path):
    """Arguments of `nes2net score` for ``few``."""
    spectral_detector.save(tmp_path / "spectral.pth")

    def arguments(out: Path, *further: str) -> list[str]:
        base = ["score", "in_the_wild", str(few), "--model", str(tmp_path / "spectral.pth"), "--out", str(out)]
        return [*base, "--samples", "4sec", "--batch-size", "4", "--device", "cpu", *further]

    return arguments


def test_little_shared_memory(command_of_few, tmp_path):
    """Scoring in a container with little /dev/shm finishes, says what makes it slow, and gives the same."""
    whole, out = tmp_path / "whole.txt", tmp_path / "out.txt"
    assert main(command_of_few(whole, "--workers", "0")) == 0
    program = [sys.executable, "-m", "nes2net.cli.main", *command_of_few(out, "--workers", "2")]
    done = subprocess.run(
        with_shared_memory("1m", program), env=environment(), capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0 and out.read_bytes() == whole.read_bytes(), done.stderr
    assert done.stderr.count("warning: shared memory is full") == 1
    assert "lower --workers (now " in done.stderr and "docker run --shm-size" in done.stderr


HANGING_FILE = """
import os, sys, time
from nes2net.cli.main import main
from nes2net.scoring.waveforms import WaveformReader

read = WaveformReader.read
WaveformReader.read = lambda self, path, id: time.sleep(1e6) if path.endswith("/9.wav") else read(self, path, id)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_a_file_hangs(command_of_few, tmp_path, number):
    """As a network does: the command ends at once, and keeps the scores so far."""
    out = tmp_path / "out.txt"
    command = [sys.executable, "-c", HANGING_FILE, *command_of_few(out, "--workers", "1")]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while num_lines(out) < 1 + 20:  # the last batch holds the file
        assert process.poll() is None
        time.sleep(0.1)
    (reader,) = children_of(process.pid)
    process.send_signal(number)
    process.wait(timeout=PATIENCE)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert num_lines(out) == 1 + 20
    with contextlib.suppress(ProcessLookupError):
        os.kill(reader, signal.SIGKILL)


# In this process


@pytest.fixture
def detector(checkpoint):
    return Detector.from_pretrained(checkpoint, "cpu")


def test_a_full_disk_loses_nothing(detector, wild, tmp_path, capsys):  # capsys: the bar must not write to a file
    """A limit on file sizes plays the full disk: a write fails in the middle of a line."""
    resource = pytest.importorskip("resource", reason="only POSIX systems limit the size of files")
    trials, out = in_the_wild.CORPUS.trials(wild)[:60], tmp_path / "out.txt"
    options = {"num_samples": None, "num_workers": 0, "batch_size": 4}
    score_trials(detector, trials, tmp_path / "whole.txt", **options)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(
            InputError, match=r"out\.txt\.partial: cannot be written \(File too large\); the work so far"
        ):
            score_trials(detector, trials, out, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "out.txt.partial").stat().st_size == 1000
    # There is room for the journal, but not for the score file.
    size = (tmp_path / "whole.txt").stat().st_size
    (tmp_path / "out.txt.json").mkdir()
    with pytest.raises(InputError, match=r"out\.txt: cannot be written \(.*\); all scores are kept in"):
        score_trials(detector, trials, out, **options)
    (tmp_path / "out.txt.json").rmdir()
    assert (tmp_path / "out.txt.partial").stat().st_size > size
    assert score_trials(detector, trials, out, **options).done == 60
    assert json.loads((tmp_path / "out.txt.json").read_text())["audio_seconds"] == 0
    assert out.read_bytes() == (tmp_path / "whole.txt").read_bytes()


def test_precisions_are_not_mixed(command, wild, tmp_path, capsys):
    out, short = tmp_path / "out.txt", ["--samples", "8000"]
    assert main(command(out, *short)) == 1
    assert main(command(out, *short, "--dtype", "bfloat16")) == 2
    assert "another run" in capsys.readouterr().err
    for dtype in ("bfloat16", "float16"):
        rough = tmp_path / f"{dtype}.txt"
        assert main(command(rough, *short, "--dtype", dtype)) == 1
        scores = [np.loadtxt(path, usecols=1) for path in (out, rough)]
        assert 0 < np.abs(scores[0] - scores[1]).max() < 0.05
        assert json.loads(Path(f"{rough}.json").read_text())["run"]["dtype"] == dtype
    (tmp_path / "new.txt.partial").write_text(
        json.dumps(json.loads(Path(f"{out}.json").read_text())["run"]) + "\n99 1.0\n"
    )
    assert main(command(tmp_path / "new.txt", *short, "--dtype", "bfloat16")) == 2
    assert "precision" in capsys.readouterr().err


def test_the_published_command_in_bfloat16(wild, checkpoint, tmp_path):
    out = tmp_path / "out.txt"
    arguments = f"--model_name wav2vec2_Nes2Net_X --eval --track in_the_wild --in_the_wild_path {wild}"
    further = f"--model_path {checkpoint} --eval_output {out} --test_samples 8000 --num_workers 1 --dtype bfloat16"
    assert legacy.main([*arguments.split(), *further.split()]) == 1
    record = json.loads(Path(f"{out}.json").read_text())
    assert record["run"]["dtype"] == "bfloat16" and record["corpus"]["name"] == "in_the_wild"
    assert record["checkpoint"]["recipe"] == {"name": "tiny"}


def test_the_record_repeats_the_facts_of_the_checkpoint(wild, checkpoint, tmp_path):
    """The name of the file and further content do not matter."""
    detector, out = Detector.from_pretrained(checkpoint, "cpu"), tmp_path / "out.txt"
    assert detector.record == {"recipe": {"name": "tiny"}}
    detector.save(tmp_path / "folder", recipe={"name": "tiny"}, made=datetime.date(2025, 1, 31))
    detector.save(tmp_path / "named.pth", mean=torch.zeros(2))
    (tmp_path / "named.pth").rename(tmp_path / "named")
    for name, expected in (
        ("folder", {"recipe": {"name": "tiny"}, "made": "2025-01-31"}),
        ("named", {"mean": "<Tensor>"}),
    ):
        scorer = Detector.from_pretrained(tmp_path / name, "cpu")
        about = {"checkpoint": {**scorer.record, "path": str(tmp_path / name)}}
        options = {"num_samples": 8000, "num_workers": 0, "overwrite": True, "about": about}
        result = score_trials(scorer, in_the_wild.CORPUS.trials(wild)[:2], out, **options)
        record = json.loads(result.record_path.read_text())
        assert record["checkpoint"] == {"path": str(tmp_path / name), **expected}


def test_the_gpu_of_a_process(monkeypatch):
    """Under torchrun with two GPUs, as torch is made to report; nothing is scored."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert own_device("auto") == "auto"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert [own_device(name) for name in ("auto", "cuda", "cuda:0", "cpu")] == ["cuda:1", "cuda:1", "cuda:0", "cpu"]


@pytest.mark.slow
def test_a_compiled_detector(wild, tmp_path):
    detector = Detector.from_config({"frontend": {"name": "lps", "num_bins": 32}, "backend": "asp_mlp"}).eval()
    trials = in_the_wild.CORPUS.trials(wild)[:15]
    trials[2] = trials[2].__class__(trials[2].id, wild / "none.wav")
    options = {"num_samples": 8000, "num_workers": 0, "batch_size": 4}
    score_trials(detector, trials, tmp_path / "plain.txt", **options)
    computed, sizes = detector.scores, []
    detector.scores = lambda waveforms: (sizes.append(len(waveforms)), computed(waveforms))[1]
    score_trials(detector, trials, tmp_path / "compiled.txt", **options, compile=True)
    assert sizes == [4] * 4  # a size of its own would be compiled anew
    scores = [np.loadtxt(tmp_path / f"{name}.txt", usecols=1) for name in ("plain", "compiled")]
    np.testing.assert_allclose(scores[1], scores[0], rtol=0, atol=1e-5)
    assert json.loads((tmp_path / "compiled.txt.json").read_text())["run"]["compiled"]
    with pytest.raises(InputError, match="another compiled"):
        score_trials(detector, trials, tmp_path / "compiled.txt", **options)


def test_compiled_batches_are_not_filled_up_in_train_mode(detector, wild, tmp_path):
    """Repeated waveforms would enter the statistics of the batch and draw random numbers."""
    trials = in_the_wild.CORPUS.trials(wild)[:2]
    options = {"num_samples": 8000, "num_workers": 0, "legacy_train_mode": True}
    score_trials(detector, trials, tmp_path / "plain.txt", **options)
    detector.compile = partial(detector.compile, backend="eager")
    computed, sizes = detector.scores, []
    detector.scores = lambda waveforms: (sizes.append(len(waveforms)), computed(waveforms))[1]
    score_trials(detector, trials, tmp_path / "compiled.txt", **options, compile=True)
    assert sizes == [1, 1]
    scores = [np.loadtxt(tmp_path / f"{name}.txt", usecols=1) for name in ("plain", "compiled")]
    np.testing.assert_allclose(scores[1], scores[0], rtol=0, atol=1e-5)


def test_whole_utterances_are_not_compiled(command, tmp_path, capsys):
    assert main(command(tmp_path / "out.txt", "--compile")) == 2
    assert "of one length, as in '4sec'" in capsys.readouterr().err


def test_too_little_memory(detector, wild, tmp_path):
    """A batch that does not fit is scored in halves, and so are later ones; a single utterance is left out."""
    trials = in_the_wild.CORPUS.trials(wild)[:8]
    scores, sizes = detector.scores, []

    def small_memory(waveforms):
        sizes.append(tuple(waveforms.shape))
        if waveforms.shape[0] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        if waveforms[0, 0] == first:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory")
        return scores(waveforms)

    options = {"num_samples": 8000, "num_workers": 0}
    score_trials(detector, trials, tmp_path / "whole.txt", batch_size=1, **options)
    first = soundfile.read(trials[3].path, dtype="float32")[0][0]
    detector.scores = small_memory
    result = score_trials(detector, trials, tmp_path / "out.txt", batch_size=4, **options)
    assert [n for n, _ in sizes] == [4, 2] + [1] * 8
    assert list(result.failures) == [trials[3].id] and "memory of cpu" in result.failures[trials[3].id]
    lines = (tmp_path / "whole.txt").read_text().splitlines()
    assert (tmp_path / "out.txt").read_text().splitlines() == lines[:3] + lines[4:]


def test_each_utterance_has_its_own_random_numbers_in_train_mode(wild, tmp_path, small_model):
    """Dropout draws for an utterance do not depend on what was scored before it."""
    small_model["frontend"]["dropout"] = 0.1
    detector = Detector.from_config(small_model)
    trials = in_the_wild.CORPUS.trials(wild)[:6]
    options = {"num_samples": 8000, "num_workers": 0, "legacy_train_mode": True}
    state = torch.random.get_rng_state()
    score_trials(detector, trials, tmp_path / "all.txt", **options)
    score_trials(detector, trials[3:], tmp_path / "some.txt", **options)
    assert torch.equal(torch.random.get_rng_state(), state)
    lines = (tmp_path / "all.txt").read_text().splitlines()
    assert (tmp_path / "some.txt").read_text().splitlines() == lines[3:]
    assert len({line.split(" ")[1] for line in lines}) == 6

"""Claim: from FLAC to scores, XLS-R 300M + Nes2Net-X beats the published way: 1.2 times in float32, 2.2 in bfloat16, 3.2 in int8.

On the CPU, with random weights, in the '4sec' protocol (64,600 samples). The reference,
:func:`score_as_published`, has batches of 2, autograd on, files decoded in the main process, and
plain layers in float32 (fairseq, or a transcription of it if it is not installed, and a
transcription of Nes2Net-X). The other rows are ``judge_trials``, end to end. All rows and a matrix
product run in turn (A B A B …); ratios are of medians of wall time.

"steady" is the speed from the second batch on, without the work done once per run (hashing the
weights, starting the workers). "of peak" is the steady speed as a share of that of the matrix
product in the same precision. Files are real recordings of mixed length if NES2NET_SHARED (or
../shared) has them, otherwise generated.

    OMP_NUM_THREADS=2 scripts/bench scoring                          # minutes
    OMP_NUM_THREADS=2 scripts/bench scoring --compile --batches 4 8 16
    OMP_NUM_THREADS=2 scripts/bench scoring --start                  # peak memory, and time to the first scores
    OMP_NUM_THREADS=2 scripts/bench scoring --profile                # where the time of a batch goes
    scripts/bench scoring --model CKPT --corpus DEMO                 # a trained detector: EER in every precision
    scripts/bench scoring --trials 600000                            # memory against the number of trials, tiny model
    scripts/bench scoring --small                                    # tiny model, as a test; the figures mean nothing
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _published import PublishedNes2NetX
from frontends import PEAK_SIZE, fairseq_model, matrix_products
from torch import Tensor, nn

from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.data.corpora.trial import Trial
from nes2net.detector import Detector
from nes2net.evaluation.judgements import Scores
from nes2net.lib.errors import InputError
from nes2net.lib.flops import count_flops
from nes2net.lib.this_process import peak_bytes
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.kernel import score_batch
from nes2net.scoring.score_file import read_scores

REPOSITORY = Path(__file__).resolve().parents[2]
PUBLISHED_BATCH = 2
PEAKS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
PRECISIONS = tuple(PEAKS)


class PublishedDetector(nn.Module):
    """The published computation on the weights of ``detector``, B×N → B×2."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.source, self.frontend = fairseq_model(detector.frontend)
        self.backend = PublishedNes2NetX()
        self.backend.load_state_dict(detector.backend.state_dict(), assign=True)

    def forward(self, waveform: Tensor) -> Tensor:
        """Logits B×2 of waveforms B×N."""
        return self.backend(self.frontend(waveform)[-1])


def score_as_published(model: nn.Module, trials: Sequence[Trial], out: Path, num_samples: int) -> None:
    """Score as the published program: read, pad, compute with autograd, and append to the file, in one process."""
    import librosa

    model.eval()
    out.unlink(missing_ok=True)
    for start in range(0, len(trials), PUBLISHED_BATCH):
        batch = trials[start : start + PUBLISHED_BATCH]
        rows = []
        for trial in batch:
            samples, _ = librosa.load(trial.path, sr=16000)
            rows.append(np.tile(samples, num_samples // len(samples) + 1)[:num_samples])
        scores = model(torch.from_numpy(np.stack(rows)).float())[:, 1].data.cpu().numpy().ravel()
        with open(out, "a") as file:
            file.writelines(f"{trial.id} {score}\n" for trial, score in zip(batch, scores))


def recordings(folder: Path, count: int) -> list[Trial]:
    """Choose ``count`` real FLAC files from the shortest to the longest, or generate files of 1 to 8 s."""
    shared = Path(os.environ.get("NES2NET_SHARED", REPOSITORY.parent / "shared")) / "real" / "audio"
    files = sorted(shared.rglob("*.flac"), key=lambda path: path.stat().st_size)
    if files:
        paths = [files[i] for i in np.linspace(0, len(files) - 1, count).round().astype(int)]
        print(f"{count} real recordings")
    else:
        import soundfile

        rng = np.random.default_rng(0)
        paths = [folder / f"{number}.flac" for number in range(count)]
        for path in paths:
            samples = 0.05 * rng.standard_normal(rng.integers(16000, 128000))
            soundfile.write(path, np.convolve(samples, np.hanning(16) / 8, "same"), 16000)
        print(f"{count} generated recordings")
    return [Trial(f"{number:04d}", path) for number, path in enumerate(paths)]


def repeated(recordings: Sequence[Trial], copies: int) -> list[Trial]:
    """Repeat the recordings as trials with different ids."""
    trials = []
    for copy in range(copies):
        for trial in recordings:
            trials.append(Trial(f"{copy:03d}_{trial.id}", trial.path, trial.label))
    return trials


def quietly(run: Callable[[], Any]) -> Any:
    """Call ``run`` without its progress bar."""
    with contextlib.redirect_stderr(io.StringIO()):
        return run()


def by_turns(runs: dict[Any, Callable[[], Any]], rounds: int) -> dict[Any, float]:
    """Run all functions in turn in every round, and return the median seconds of each."""
    seconds: dict[Any, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            quietly(run)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def configuration(small: bool) -> dict[str, Any]:
    """Configure a detector of XLS-R 300M or, if ``small``, of one thin layer, as wide as the transcription needs."""
    options = {"encoder_layers": 1, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4} if small else {}
    frontend = {"name": "xlsr_300m", "pretraining_heads": False, **options}
    return {"frontend": frontend, "aggregation": "last", "backend": "nes2net_x"}


def with_weights(config: dict[str, Any], state_dict: dict[str, Tensor]) -> Detector:
    """Build a detector that shares the tensors of ``state_dict``."""
    detector = Detector.on_meta(config)
    detector.load_state_dict(state_dict, assign=True)
    return detector.eval()


def in_precision(detector: Detector, precision: str) -> Detector:
    """Build a detector of ``precision`` with the weights of ``detector``, which stays unchanged."""
    return with_weights(detector.config, detector.state_dict()).set_precision(precision)


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Measure scoring in all precisions against the published way, and print speeds and differences."""
    num_samples = 16000 if arguments.small else ASVSPOOF_SAMPLES
    config = configuration(arguments.small)
    detector = Detector.from_config(config).eval()
    models = {precision: in_precision(detector, precision) for precision in PRECISIONS}
    if arguments.compile:
        models |= {f"{precision}, compiled": in_precision(detector, precision) for precision in PRECISIONS}
    published = PublishedDetector(detector)
    flops = count_flops(Detector.on_meta(config), torch.zeros(1, num_samples, device="meta"))
    size = sum(p.numel() for p in detector.parameters())
    print(
        f"{size:,} parameters, {flops / 1e9:.1f} GFLOP for {num_samples:,} samples; published way: {published.source}"
    )

    trials = recordings(folder, arguments.files)
    runs: dict[Any, Callable[[], Any]] = {
        "published": lambda: score_as_published(published, trials, folder / "published.txt", num_samples)
    }
    candidates: dict[str, tuple[torch.dtype, int]] = {}
    for batch in arguments.batches:
        for kind, model in models.items():
            name = f"{kind}, batch {batch}"
            candidates[name] = PEAKS[model.precision], batch
            options = {
                "num_samples": num_samples,
                "batch_size": batch,
                "num_workers": arguments.workers,
                "overwrite": True,
                "compile": kind.endswith("compiled"),
            }
            runs[name] = partial(
                judge_trials, model, trials, folder / f"{name}.txt", Scores(), settings=ScoringSettings(**options)
            )
            # A run of one batch measures the work that is done once per run, and the batch itself.
            runs[name, "first"] = partial(
                judge_trials, model, trials[:batch], folder / "first.txt", Scores(), settings=ScoringSettings(**options)
            )
    products = {(dtype, library): run for dtype in PEAKS.values() for library, run in matrix_products(dtype).items()}
    quietly(lambda: score_as_published(published, trials[:PUBLISHED_BATCH], folder / "published.txt", num_samples))
    for name, run in (runs | products).items():  # to warm up
        if name in products:
            quietly(run)
        elif name in candidates and "compiled" in name:
            once, again = (by_turns({name: runs[name, "first"]}, 1)[name] for _ in range(2))
            print(f"{name:>28}  compiling took {once - again:.0f} s")
    seconds = by_turns(runs | products, arguments.rounds)

    peaks: dict[torch.dtype, float] = {}
    for dtype, library in products:
        peaks[dtype] = max(peaks.get(dtype, 0.0), 2 * PEAK_SIZE**3 / seconds[dtype, library])
    for dtype, peak in peaks.items():
        print(f"{f'matrix product, {_name(dtype)}':>28}  {peak / 1e9:8.1f} GFLOP/s")
    reference = seconds["published"] / len(trials)
    share = flops / reference / peaks[torch.float32]
    print(f"{'published':>28}  {reference:6.3f} s/utterance{'':>42}  {share:4.0%} of peak")
    for name, (dtype, batch) in candidates.items():
        each = seconds[name] / len(trials)
        steady = (seconds[name] - seconds[name, "first"]) / (len(trials) - batch)
        text = f"{each:6.3f} s/utterance  {reference / each:5.2f}×  steady {steady:6.3f} s  {reference / steady:5.2f}×"
        print(f"{name:>28}  {text}  {flops / steady / peaks[dtype]:4.0%} of peak")
    for name in candidates:
        print(f"{name:>28}  {difference(folder / 'published.txt', folder / f'{name}.txt')}")


def difference(reference: Path, compared: Path) -> str:
    """Describe the difference of two score files."""
    from scipy.stats import spearmanr

    (ids, a) = read_scores(reference)
    (compared_ids, b) = read_scores(compared)
    assert list(ids) == list(compared_ids)
    a = np.asarray(a, float)
    b = np.asarray(b, float)
    largest = np.abs(a - b).max()
    rank = spearmanr(a, b)[0]
    return f"scores differ by {largest:.1e} at most (their deviation is {a.std():.1e}), rank correlation {rank:.5f}"


def compare_trained(model: str, root: Path, batch_size: int, folder: Path) -> None:
    """Print the EERs of a trained detector on the demonstration corpus in every precision, and how scores change."""
    from nes2net.data.registry import corpora
    from nes2net.evaluation.evaluate import evaluate_systems

    device_of = dict.fromkeys(PRECISIONS, "cpu")
    if torch.cuda.is_available():
        device_of = {"float32": "cuda", "tf32": "cuda", "bfloat16": "cuda", "float16": "cuda", "int8": "cpu"}
    for name in ("asvspoof2021_la", "asvspoof2021_df", "in_the_wild"):
        corpus = corpora.get(name)
        keys = root / ("release_in_the_wild" if name == "in_the_wild" else "keys")
        trials = corpus.trials(root)
        options = {"num_samples": corpus.test_samples, "batch_size": batch_size}
        for precision, device in device_of.items():
            try:
                detector = Detector.from_pretrained(model, device, precision)
            except InputError as error:  # such as int8 without a transformer
                print(f"{name:>16}  {precision:>8} on {device:4}  {error}")
                continue
            out = folder / f"{name}_{precision}.txt"
            quietly(partial(judge_trials, detector, trials, out, Scores(), settings=ScoringSettings(**options)))
            eer = evaluate_systems(name, out, keys, num_resamples=1)["eer"].value
            change = "" if precision == "float32" else difference(folder / f"{name}_float32.txt", out)
            print(f"{name:>16}  {precision:>8} on {device:4}  EER {100 * eer:6.2f} %  {change}")


# Part of the computation → its operators in PyTorch's profiler.
OPERATORS = {
    "matrix products": ("addmm", "mm", "qlinear_pointwise", "_linear_pointwise"),
    "convolutions": ("mkldnn_convolution",),
    "attention": ("bmm", "baddbmm", "_softmax", "_scaled_dot_product_flash_attention_for_cpu"),
    "GELU": ("gelu",),
    "norms": ("native_layer_norm", "native_batch_norm", "_weight_norm_interface"),
    "quantising": ("bitwise_and", "amax", "mul", "round_", "bitwise_xor_", "addcmul", "reciprocal", "clamp_min_"),
}


def profile_by_part(arguments: argparse.Namespace) -> None:
    """Print how many milliseconds of an utterance each part of the computation takes, in each precision."""
    from torch.profiler import ProfilerActivity, profile

    detector = Detector.from_config(configuration(arguments.small)).eval()
    batch = arguments.batches[0]
    waveforms = 0.1 * torch.randn(batch, 16000 if arguments.small else ASVSPOOF_SAMPLES)
    for precision in PRECISIONS:
        model = in_precision(detector, precision)
        score_batch(model, waveforms)  # to warm up
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            for _ in range(arguments.rounds):
                score_batch(model, waveforms)
        milliseconds: dict[str, float] = {}
        for event in profiled.key_averages():
            operator = event.key.rpartition("::")[2]
            kind = next((kind for kind, operators in OPERATORS.items() if operator in operators), "the rest")
            milliseconds[kind] = milliseconds.get(kind, 0) + event.self_cpu_time_total / 1000 / arguments.rounds / batch
        text = ", ".join(f"{kind} {milliseconds[kind]:.1f}" for kind in [*OPERATORS, "the rest"])
        print(f"{precision:>9}  {sum(milliseconds.values()):6.1f} ms an utterance: {text}", flush=True)


def measure_starts(arguments: argparse.Namespace, folder: Path) -> None:
    """Print peak memory and time to the first scores in each precision, each in a process of its own."""
    config = configuration(arguments.small)
    num_samples = 16000 if arguments.small else ASVSPOOF_SAMPLES
    checkpoint = folder / "detector.pth"
    batch = arguments.batches[0]
    Detector.from_config(config).save(checkpoint)
    trials = recordings(folder, batch)
    size = checkpoint.stat().st_size
    for _ in range(2):  # the second time from the cache of the system, as below
        start = time.perf_counter()
        with open(checkpoint, "rb", buffering=0) as file:
            buffer = bytearray(2**22)
            while file.readinto(buffer):
                pass
        reading = time.perf_counter() - start
    print(f"reading the {size / 2**20:,.0f} MiB of the checkpoint once: {reading:.2f} s")
    print(f"seconds from the start of a process to the scores of a batch of {batch}, and its peak memory:")
    for round in range(arguments.rounds):
        for precision in PRECISIONS:
            work = [checkpoint, folder / f"{precision}_{round}.txt", precision, time.time(), num_samples]
            command = [sys.executable, __file__, "--start-of", *work, *(trial.path for trial in trials)]
            subprocess.run([str(word) for word in command], check=True)


def start_of(checkpoint: str, out: str, precision: str, began: str, num_samples: str, *paths: str) -> None:
    """Load, score one batch, and print the seconds of each step and the peak memory.

    "own" is the memory beyond that of the imports and of mapped files, whose pages the system may
    drop.

    Args:
        began: time when this process was started.
    """

    imported = time.time()
    memory_peaks = [own_memory()]

    def watch() -> None:
        """Note the highest memory so far, every 10 ms."""
        while True:
            memory_peaks.append(max(memory_peaks[-1], own_memory()))
            time.sleep(0.01)

    threading.Thread(target=watch, daemon=True).start()
    hashing = [0.0]
    fingerprint = Detector.fingerprint

    def timed(detector: Detector) -> str:
        """Compute the fingerprint, and add up its seconds."""
        start = time.time()
        digest = fingerprint(detector)
        hashing[0] += time.time() - start
        return digest

    Detector.fingerprint = timed  # type: ignore[method-assign]
    detector = Detector.from_pretrained(checkpoint, "cpu", precision)
    loaded = time.time()
    hashed = hashing[0]
    trials = [Trial(f"{number:04d}", Path(path)) for number, path in enumerate(paths)]
    quietly(
        lambda: judge_trials(
            detector,
            trials,
            out,
            Scores(),
            settings=ScoringSettings(num_samples=int(num_samples), batch_size=len(paths)),
        )
    )
    scored = time.time()
    seconds_by_step = {
        "imports": imported - float(began),
        "loading": loaded - imported - hashed,
        "hashing": hashing[0],
        "scores": scored - loaded - (hashing[0] - hashed),
    }
    peak = (peak_bytes() or 0) / 2**20
    text = "  ".join(f"{name} {seconds:5.2f}" for name, seconds in seconds_by_step.items())
    print(
        f"{precision:>9}  {scored - float(began):6.2f} s: {text}  peak {peak:7,.0f} MiB, own {memory_peaks[-1] - memory_peaks[0]:5,.0f}",
        flush=True,
    )


def own_memory() -> float:
    """Read the MiB of this process without mapped files."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("RssAnon"))


def memory(count: int) -> None:
    """Print the peak memory of scoring 1 %, 10 % and all of ``count`` trials, each in a process of its own."""
    if sys.platform != "linux":
        raise SystemExit("--trials needs Linux, which reports the peak of resident memory in KiB")
    for trials in sorted({max(1, count // 100), max(1, count // 10), count}):
        subprocess.run([sys.executable, __file__, "--memory-of", str(trials)], check=True)


def memory_of(count: int, folder: Path) -> None:
    """Score ``count`` trials, which repeat eight short files, and print the peak of resident memory."""

    import soundfile

    detector = Detector.from_config(
        {"frontend": {"name": "lps", "n_fft": 128, "num_bins": 20}, "backend": "asp_mlp"}
    ).eval()
    files = [folder / f"{number}.flac" for number in range(8)]
    for number, path in enumerate(files):
        soundfile.write(path, 0.1 * np.random.default_rng(number).standard_normal(4000), 16000)
    trials = [Trial(f"LA_E_{number:07d}", files[number % 8]) for number in range(count)]

    def peak() -> float:
        """The peak so far, in MiB."""
        return peak_bytes() / 2**20

    peak_before = peak()
    start = time.perf_counter()
    quietly(
        lambda: judge_trials(
            detector,
            trials,
            folder / "scores.txt",
            Scores(),
            settings=ScoringSettings(num_samples=4000, batch_size=64, num_workers=1),
        )
    )
    speed = count / (time.perf_counter() - start)
    print(
        f"{count:>9,} trials  peak {peak():7.1f} MiB, before scoring {peak_before:7.1f} MiB  {speed:7.0f} trials/s",
        flush=True,
    )


def _name(dtype: torch.dtype) -> str:
    """The name of a type, without ``torch.``."""
    return str(dtype).removeprefix("torch.")


def main() -> None:
    """Run the measurement that the flags choose."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--files", type=int, default=24)
    add("--rounds", type=int, default=3)
    add("--batches", type=int, nargs="+", default=[8], help="batch sizes of this toolkit")
    add("--workers", type=int, default=None, help="processes that read audio; chosen by judge_trials when not given")
    add("--compile", action="store_true", help="each precision compiled as well, which takes minutes more")
    add("--small", action="store_true", help="tiny model and one second, to see that it runs")
    add("--model", help="a trained checkpoint, for --corpus")
    add("--corpus", type=Path, help="folder of the demonstration corpus, for --model")
    add("--trials", type=int, help="only the memory of scoring so many protocol lines with a tiny model")
    add("--memory-of", type=int, help=argparse.SUPPRESS)
    add("--start", action="store_true", help="only the peak memory, and the time from the start to the first scores")
    add("--profile", action="store_true", help="only where the time of a batch goes")
    add("--start-of", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if bool(arguments.model) != bool(arguments.corpus):
        parser.error("--model and --corpus go together")
    if arguments.files <= max(arguments.batches):
        parser.error(f"--files is more than one batch: {max(arguments.batches) + 1} or more")
    if arguments.start_of:
        return start_of(*arguments.start_of)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.memory_of:
            memory_of(arguments.memory_of, Path(temporary))
        elif arguments.trials:
            memory(arguments.trials)
        elif arguments.profile:
            profile_by_part(arguments)
        elif arguments.start:
            measure_starts(arguments, Path(temporary))
        elif arguments.model:
            compare_trained(arguments.model, arguments.corpus, arguments.batches[0], Path(temporary))
        else:
            print(f"{torch.get_num_threads()} thread(s), torch {torch.__version__}")
            measure(arguments, Path(temporary))


if __name__ == "__main__":
    main()

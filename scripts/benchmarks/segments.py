"""Evaluate frame scores of a corpus as large as PartialSpoof's evaluation part: seconds and memory.

The set is generated: utterances of 1 to 6 s, a tenth of them bona fide, the others with a few
spoofed stretches, scores of frames of 20 ms, and labels as PartialSpoof has them. A process of its
own evaluates: ``nes2net evaluate partialspoof`` with all resolutions and intervals.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from _harness import first_line, nes2net_process

from nes2net.metrics.localisation.label_files import rttm_text
from nes2net.metrics.localisation.segments import segments_of_frames
from nes2net.scoring.segment_file import lines

UTTERANCES = 71237
INNER = "database/protocols/PartialSpoof_LA_cm_protocols"


def make(folder: Path, count: int) -> int:
    """Write protocol, labels, segments and scores of ``count`` utterances, and return the number of scores."""
    rng = np.random.default_rng(0)
    for subfolder in (INNER, "database/segment_labels", "database/eval/con_data"):
        (folder / subfolder).mkdir(parents=True)
    labels = {}
    protocol = []
    durations = []
    num_scores = 0
    segments = {}
    with open(folder / "frames.txt", "w") as scores:
        for index in range(count):
            name = f"CON_E_{index:07d}"
            frames = int(rng.integers(100, 600))
            frame_labels = np.ones(frames, np.uint8)
            spoofed = index % 10 > 0
            if spoofed:
                for start in rng.integers(0, frames - 20, rng.integers(1, 4)):
                    frame_labels[start : start + rng.integers(10, 100)] = 0
            labels[name] = frame_labels.astype("<U1")
            seconds = frames / 100
            segments[name] = segments_of_frames(frame_labels, 10, seconds)
            durations.append(f"{name} {seconds:.2f}\n")
            protocol.append(f"LA_0000 {name} - {'CON spoof' if spoofed else '- bonafide'}\n")
            pairs = frame_labels[: frames // 2 * 2].reshape(-1, 2).min(1)
            noise = np.convolve(
                rng.normal(size=len(pairs) + 8), np.full(9, 1 / 3), "valid"
            )  # frames resemble their neighbours
            frame_scores = (2.0 * pairs + noise).astype(np.float32)
            num_scores += len(frame_scores)
            scores.write(lines(name, frame_scores))
    np.save(folder / "database/segment_labels/eval_seglab_0.01.npy", labels, allow_pickle=True)
    (folder / INNER / "PartialSpoof.LA.cm.eval.trl.txt").write_text("".join(protocol))
    (folder / "database/eval/con_data/rttm_2cls_0sil").write_text(rttm_text(segments))
    (folder / "database/eval/con_data/reco2dur").write_text("".join(durations))
    return num_scores


def main() -> None:
    """Make the set, evaluate it, and print time and memory."""
    parser = argparse.ArgumentParser(description=first_line(__doc__))
    parser.add_argument("--utterances", type=int, default=UTTERANCES)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        print(f"{make(folder, arguments.utterances):,} frames of {arguments.utterances:,} utterances", flush=True)
        frames = folder / "frames.txt"
        usage = nes2net_process("evaluate", "partialspoof", str(frames), "--keys", str(folder), "--resolution", "20")
    seconds = f"{usage.seconds:.1f} s, {usage.processor_seconds:.1f} s of processor time"
    print(f"{seconds}, at most {usage.gigabytes:.2f} GB")


if __name__ == "__main__":
    main()

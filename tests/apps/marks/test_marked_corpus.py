"""`nes2net data check --marks`: marks in the classes of a corpus, and the warning of `nes2net train`."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders import shared_path
from builders.marks import first_seconds

from nes2net.lib.shell.command_line import INCOMPLETE
from nes2net.metrics.intervals import wilson_interval
from nes2net.scoring.marked_corpus import MarkedTrials, compare, record_beside
from nes2net.training.recipes.data import DataConfig
from nes2net.training.trials import read_trials


def row(label, marked, number):
    low, high = wilson_interval(marked / number, number)
    counts = {"n": number, "marked": marked, "attacks": {}, "low": low, "high": high}
    return MarkedTrials(kind="perth", split="train", label=label, **counts)


def compared(marked_spoof, spoof, marked_bonafide, bonafide):
    return compare(row("spoof", marked_spoof, spoof), row("bonafide", marked_bonafide, bonafide), 1)


def test_p_values_and_intervals_are_the_golden_ones(golden):
    for expected in json.loads((golden / "rules.json").read_text())["shortcut"]:
        if min(expected["spoof"], expected["bonafide"]) < 5:
            continue
        shortcut = compared(*(expected[name] for name in ("marked_spoof", "spoof", "marked_bonafide", "bonafide")))
        assert shortcut.p == pytest.approx(expected["fisher_two_sided_p"], rel=1e-12)
        spoofed = row("spoof", expected["marked_spoof"], expected["spoof"])
        assert [spoofed.low, spoofed.high] == pytest.approx(expected["wilson_spoof"], abs=1e-11)


def test_marked_fakes_are_a_warning():
    shortcut = compared(24, 50, 0, 50)
    assert shortcut.warning
    spoofed = "train: perth marks 48 % of the spoof recordings (35 to 61 %), by attack {}"
    bona_fide = "train: perth marks 0 % of the bonafide recordings (0 to 7 %), by attack {}"
    words = f"warning: {spoofed}; {bona_fide} (p 3e-09): a detector can learn the mark instead of the speech."
    assert shortcut.words.startswith(words)


@pytest.mark.parametrize("counts", [(60, 1000, 40, 1000), (5, 1000, 0, 1000), (2, 100, 1, 100)], ids=str)
def test_a_difference_that_chance_may_make_is_no_warning(counts):
    assert not compared(*counts).warning


def test_too_few_recordings_are_not_tested():
    shortcut = compared(3, 3, 0, 3)
    assert shortcut.p is None
    assert not shortcut.warning
    assert shortcut.words == "train, perth: not tested: too few recordings of a class"


def test_without_a_test_many_unmarked_recordings_of_the_other_class_suffice():
    assert compared(3, 3, 0, 50).warning


def test_marks_of_both_classes_alike_are_a_note():
    shortcut = compared(30, 30, 30, 30)
    assert not shortcut.warning
    assert shortcut.words == "train, perth: marked in both classes alike"


def test_several_kinds_need_smaller_p_values():
    spoofed = row("spoof", 5, 20)
    bona_fide = row("bonafide", 0, 30)
    assert 0.005 < compare(spoofed, bona_fide, 1).p < 0.01
    assert compare(spoofed, bona_fide, 1).warning
    assert not compare(spoofed, bona_fide, 2).warning


@pytest.fixture
def corpus(needs_perth, golden, tmp_path):
    """The list of a corpus whose fakes of the attack A1 are marked."""
    rows = ["path,label,attack"]
    for number in range(14):
        noise = 0.1 * np.random.default_rng(number).standard_normal(3200)
        soundfile.write(tmp_path / f"{number}.wav", noise, 16000)
        rows.append(f"{number}.wav,{'bonafide' if number < 7 else 'spoof'},{'' if number < 7 else 'A2'}")
    for number in range(14, 21):
        shutil.copyfile(golden / "perth_marked_7.flac", tmp_path / f"{number}.flac")
        rows.append(f"{number}.flac,spoof,A1")
    path = tmp_path / "list.csv"
    path.write_text("\n".join(rows))
    return path


def test_the_check_counts_marks_by_class_and_attack_and_training_warns(corpus, output, capsys):
    printed = output(["data", "check", "generic", corpus, "--marks"])
    assert "perth marks 50 % of the spoof recordings (27 to 73 %), by attack {'A1': 7}" in printed.out
    assert "perth marks 0 % of the bonafide recordings" in printed.out
    record = json.loads(record_beside(corpus).read_text())
    (shortcut,) = [row for row in record["shortcut"] if row["kind"] == "perth"]
    assert shortcut["difference"] == 0.5
    assert shortcut["p"] > 0.01
    shortcut["warning"] = True
    shortcut["words"] = "warning: perth marks fakes"
    record_beside(corpus).write_text(json.dumps(record))
    read_trials(DataConfig(corpus="generic", root=str(corpus)), "train")
    assert "warning: perth marks fakes" in capsys.readouterr().err


def test_a_sample_has_every_attack(corpus, refused):
    message = refused(["data", "check", "generic", corpus, "--marks", "--sample", "1"])
    assert "--sample must be at least 2, one for each label and attack of the 14 trials, not 1" in message


def test_damaged_and_missing_files_are_named_and_do_not_count(corpus, output):
    (corpus.parent / "20.flac").write_bytes(b"")
    (corpus.parent / "0.wav").unlink()
    printed = output(["data", "check", "generic", corpus, "--marks"], status=INCOMPLETE)
    assert "perth marks 46 % of the spoof recordings" in printed.out  # 6 of 13
    assert re.search(r"note: perth is not read in damaged or missing files: \S+20\.flac\n", printed.err)
    assert re.search(r"note: perth is not read in damaged or missing files: \S+/0\.wav\n", printed.err)


def test_without_the_readers_nothing_is_kept(corpus, without_readers, output):
    without_readers()
    printed = output(["data", "check", "generic", corpus, "--marks"])
    assert printed.err.count("note: marks are not read: this copy of nes2net lacks the folder apps/marks") == 1
    assert not record_beside(corpus).exists()


def write_list(path, bona_fide, spoofed):
    rows = [f"{name},bonafide" for name in bona_fide] + [f"{name},spoof" for name in spoofed]
    path.write_text("\n".join(["path,label", *rows]))
    return path


@pytest.fixture(scope="module")
def real(needs_perth, golden, tmp_path_factory):
    """A folder of real recordings of a second: 50 genuine, 26 fake, and 24 that went through the maker's marker."""
    folder = tmp_path_factory.mktemp("real")
    audio = shared_path("real", "audio")
    clips = list(csv.DictReader((audio / "metadata.csv").open()))
    for label, number in (("bonafide", 50), ("spoof", 26)):
        long_clips = [clip["file"] for clip in clips if clip["label"] == label and float(clip["seconds"]) >= 1]
        for index, name in enumerate(long_clips[:: len(long_clips) // number][:number]):
            soundfile.write(folder / f"{label}{index}.wav", *first_seconds(audio / name, 1))
    for index in range(24):
        samples, rate = soundfile.read(golden / f"perth_marked_{index % 8}.flac")
        begin = index // 8 * rate // 2
        soundfile.write(folder / f"marked{index}.wav", samples[begin : begin + rate], rate)
    return folder


def names_of(label, number):
    return [f"{label}{index}.wav" for index in range(number)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "bona_fide, spoofed, words",
    [
        pytest.param(
            names_of("bonafide", 50),
            names_of("spoof", 26) + names_of("marked", 24),
            "warning: all: perth marks 48 % of the spoof recordings (35 to 61 %), by attack {'None': 24}; all: perth marks "
            "0 % of the bonafide recordings (0 to 7 %), by attack {} (p 3e-09): a detector can learn the mark",
            id="24 of 50 fakes",
        ),
        pytest.param(
            names_of("bonafide", 3), names_of("marked", 3), "all, perth: not tested: too few recordings", id="3 and 3"
        ),
        pytest.param(
            names_of("bonafide", 6) + names_of("marked", 6),
            names_of("spoof", 6) + names_of("marked", 12)[6:],
            "all, perth: marked in both classes alike",
            id="alike",
        ),
    ],
)
def test_marks_of_real_recordings_are_a_warning_or_not(real, output, bona_fide, spoofed, words):
    path = write_list(real / "list.csv", bona_fide, spoofed)
    printed = output(["data", "check", "generic", path, "--marks"])
    assert f"\n{words}" in f"\n{printed.err}"
    record = json.loads(record_beside(path).read_text())
    assert [row["n"] for row in record["marks"] if row["kind"] == "perth"] == [len(spoofed), len(bona_fide)]
    assert any(row["warning"] for row in record["shortcut"]) == words.startswith("warning")


def test_a_slash_at_the_end_of_a_root_is_no_part_of_the_records_name():
    assert record_beside("DB/LA/") == record_beside("DB/LA") == Path("DB/LA.marks.json")


def test_a_sample_keeps_the_share_of_each_attack(corpus, output):
    printed = output(["data", "check", "generic", corpus, "--marks", "--sample", "4"])
    assert "perth marks 50 % of the spoof recordings (15 to 85 %), by attack {'A1': 2}" in printed.out

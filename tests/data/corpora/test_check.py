"""check_corpus on tiny corpora, whole and damaged, and on corpora of the official size."""

import lzma
import os
import re
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders.files import write

from nes2net.data.corpora import asvspoof2019_la, asvspoof2021_la, generic, in_the_wild
from nes2net.data.corpora.check import check_corpus
from nes2net.data.corpora.corpus import key_digest
from nes2net.data.corpora.protocol import NotFound
from nes2net.data.registry import corpora
from nes2net.lib.errors import InputError
from nes2net.metrics.localisation import write_rttm
from nes2net.training.recipes.data import DataConfig
from nes2net.training.trials import check_unseen, read_trials

ROOTS = dict.fromkeys(("asvspoof2019_la", "asvspoof2021_la", "asvspoof2021_df", "in_the_wild"), ".")
ROOTS |= {name: name for name in ("partialspoof", "generic")}
TASKS = {
    "asvspoof2019_la": "train validate score train score dev score eval evaluate train evaluate dev evaluate eval",
    "asvspoof2021_df": "score eval evaluate eval",
    "generic": "train validate score evaluate",
}
NOT_POSSIBLE = {"generic": ["validate"]}  # its list names no parts
OTHERS = "1 are there under another suffix, or as a folder, pipe, device or dangling link"


@pytest.fixture
def copy(every_corpus, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(every_corpus, tmp_path / "corpora"))


def check(name, root, **options):
    return check_corpus(corpora.get(name), root / ROOTS[name], subset=True, workers=0, **options)


def tasks_of(name, root, **options):
    return dict(check(name, root, **options).tasks())


def one_problem(name, root, begin, **options):
    """The one problem of a copy, which begins so, and what can be done with the copy."""
    result = check(name, root, **options)
    (problem,) = map(str, result.findings)
    assert problem.startswith(begin)
    return problem, dict(result.tasks())


@pytest.mark.parametrize("name", ROOTS)
def test_check_says_that_a_whole_corpus_is_complete(every_corpus, name):
    assert check(name, every_corpus, decode=True).complete


@pytest.mark.parametrize("name", ROOTS)
def test_check_allows_the_tasks_of_the_splits_of_a_whole_corpus(every_corpus, name):
    """A list that names no splits has no development trials to validate on."""
    tasks = check(name, every_corpus).tasks()
    assert [task for task, verdict in tasks if not verdict.startswith("yes")] == NOT_POSSIBLE.get(name, [])


@pytest.mark.parametrize("name", TASKS)
def test_check_lists_the_tasks_for_which_a_corpus_has_splits(every_corpus, name):
    assert " ".join(tasks_of(name, every_corpus)) == TASKS[name]


@pytest.mark.parametrize("name", ROOTS)
def test_check_counts_the_trials_of_each_split_and_their_recordings(every_corpus, name):
    for split in check(name, every_corpus, decode=True).splits:
        assert split.counts.trials == 4
        assert len(split.present) == 4
        assert split.decoding.files == 4


def test_check_says_that_an_evaluation_without_asv_scores_has_no_min_tdcf(copy):
    shutil.rmtree(copy / "ASVspoof2019_LA_asv_scores")
    assert tasks_of("asvspoof2019_la", copy)["evaluate eval"] == "in part: EER without min t-DCF"


def test_missing_asv_scores_are_reported_with_where_they_were_sought_and_where_to_get_them(copy):
    shutil.rmtree(copy / "ASVspoof2019_LA_asv_scores")
    problem, _ = one_problem("asvspoof2019_la", copy, "min t-DCF: ")
    for scores_folder in ("", "ASVspoof_LA_cm_protocols/", "ASVspoof2019_LA_asv_scores/"):
        assert f"{copy}/{scores_folder}ASVspoof2019.LA.asv.eval.gi.trl.scores.txt" in problem
    assert "get ASVspoof2019_LA_asv_scores in LA.zip" in problem


def test_check_names_differences_of_trials_from_the_official_counts(every_corpus):
    result = check_corpus(asvspoof2019_la.CORPUS, every_corpus, splits=["train"])
    (problem,) = map(str, result.findings)
    assert "4 trials instead of 25,380" in problem
    assert "attack A06: 0 instead of 3,800" in problem


def test_check_names_differences_of_keys_from_the_official_counts(every_corpus):
    _, key = check_corpus(asvspoof2021_la.CORPUS, every_corpus).findings
    assert "progress: 0 trials instead of 16,464" in key.problem


# Damaged corpora

LISTS_2019, LISTS_2021 = (f"ASVspoof_LA_cm_protocols/ASVspoof{year}.LA.cm." for year in (2019, 2021))
NO_TRIALS = "no: its trials are not known"


@pytest.fixture
def flac(copy):
    """The folder of the development recordings, of which one has another suffix and one another name."""
    flac = copy / "ASVspoof2019_LA_dev/flac"
    (flac / "LA_D_1000002.flac").rename(flac / "LA_D_1000002.wav")
    (flac / "LA_D_1000001.flac").rename(flac / "somebody.flac")
    return flac


def test_check_lists_missing_recordings_with_the_number_that_is_there_under_another_suffix(copy, flac):
    why = f"audio of dev: 2 of 4 files are missing in {flac} ({OTHERS})"
    one_problem("asvspoof2019_la", copy, f"{why}: LA_D_1000001.flac, LA_D_1000002.flac; get LA.zip")


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nothing"), lambda path: path.symlink_to(path.name)],
    ids=["folder", "pipe", "dangling link", "link to itself"],
)
def test_check_counts_only_files_as_there(copy, make):
    recording = copy / "ASVspoof2019_LA_dev/flac/LA_D_1000002.flac"
    recording.unlink()
    make(recording)
    why = f"audio of dev: 1 of 4 files are missing in {recording.parent} ({OTHERS})"
    _, tasks = one_problem("asvspoof2019_la", copy, why)
    assert tasks["validate"] == "no: 1 of 4 files are missing"


def test_of_the_files_that_a_protocol_lacks_check_lists_only_the_visible_recordings(copy, flac):
    for name in (".hidden.flac", "._LA_D_1000001.flac", "README.txt"):
        (flac / name).touch()
    (dev,) = check("asvspoof2019_la", copy, splits=["dev"]).splits
    assert dev.extra == ["LA_D_1000002.wav", "somebody.flac"]


def test_check_limits_only_those_tasks_that_need_the_split_of_a_missing_recording(copy):
    (copy / "ASVspoof2019_LA_dev/flac/LA_D_1000002.flac").unlink()
    tasks = tasks_of("asvspoof2019_la", copy)
    assert tasks["validate"] == "no: 1 of 4 files are missing"
    assert tasks["train"] == "yes"
    assert tasks["score dev"] == "in part: 1 of 4 files are missing"
    assert tasks["evaluate dev"] == "yes"


PROTOCOL_2019, PROTOCOL_2021 = (f"{lists}eval.trl.txt" for lists in (LISTS_2019, LISTS_2021))
KEY = "release_in_the_wild/meta.csv"


@pytest.mark.parametrize(
    "name, file, kind",
    [
        ("asvspoof2019_la", "ASVspoof2019_LA_train", "audio of train"),
        ("partialspoof", "partialspoof/database/dev", "audio of dev"),
        ("asvspoof2019_la", PROTOCOL_2019, "protocol of eval"),
        ("asvspoof2021_la", PROTOCOL_2021, "protocol of eval"),
        ("in_the_wild", KEY, "protocol of eval"),
    ],
)
def test_check_names_a_missing_list_or_folder_with_where_to_get_it(copy, name, file, kind):
    (copy / file).rename(copy.parent / "removed")
    problem, _ = one_problem(name, copy, f"{kind}: not there (looked for {copy}", decode=True)
    assert str(copy / file) in problem
    assert "); get " in problem


@pytest.mark.parametrize(
    "name, file, split, score, evaluation",
    [
        ("asvspoof2019_la", "ASVspoof2019_LA_train", "train", "no: its audio is not there", "yes"),
        ("asvspoof2019_la", PROTOCOL_2019, "eval", NO_TRIALS, "no: its labels are not there"),
        ("asvspoof2021_la", PROTOCOL_2021, "eval", NO_TRIALS, "yes: EER and min t-DCF"),
        ("in_the_wild", KEY, "eval", "yes", "no: its labels are not there"),
    ],
)
def test_check_forbids_only_the_scoring_or_evaluation_that_needs_a_missing_list_or_folder(
    copy, name, file, split, score, evaluation
):
    """Scoring needs trials and audio, evaluation needs labels."""
    (copy / file).rename(copy.parent / "removed")
    tasks = tasks_of(name, copy)
    assert tasks[f"score {split}"] == score
    assert tasks[f"evaluate {split}"] == evaluation


def truncate(path):
    path.write_bytes(path.read_bytes()[:20])


def test_check_names_the_unreadable_line_of_a_protocol(copy):
    protocol = copy / f"{LISTS_2019}dev.trl.txt"
    truncate(protocol)
    one_problem("asvspoof2019_la", copy, f"protocol of dev: {protocol}, line 1: expected ")


def test_check_names_an_unreadable_recording_only_if_it_decodes_recordings(copy):
    truncate(copy / "release_in_the_wild/2.wav")
    assert check("in_the_wild", copy).complete
    why = "audio of eval: 1 of 4 files cannot be read: 2.wav (was read by neither libsndfile"
    one_problem("in_the_wild", copy, why, decode=True)


@pytest.fixture
def check_list(tmp_path):
    """A function that checks a list of three recordings, the first two of the same bytes."""
    for name, level in (("a", 0.1), ("copy", 0.1), ("b", 0.2)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(1600, level), 16000)

    def checked(*rows):
        return check_corpus(generic.CORPUS, write(tmp_path / "list.csv", ["path,label,split,id", *rows]))

    return checked


@pytest.mark.parametrize("name", ["a", "copy"])
@pytest.mark.parametrize(
    "label, split, problem",
    [
        ("real", "train", "the same recording with contrary labels"),
        ("real", "dev", "the same recording with contrary labels"),
        ("fake", "dev", "the same recording in several parts"),
    ],
)
def test_check_names_a_recording_or_its_copy_in_two_parts_or_with_two_labels(check_list, name, label, split, problem):
    (finding,) = check_list("a.wav,fake,train,u1", f"{name}.wav,{label},{split},u2", "b.wav,real,train,u3").findings
    assert finding.subject == problem
    assert re.search(r"a\.wav \(u1, spoof in train\) = .*" + rf"{name}\.wav \(u2, \w+ in {split}\)", finding.problem)


def test_check_notes_a_recording_with_two_ids_in_one_part(check_list):
    check = check_list("a.wav,fake,train,u1", "copy.wav,fake,train,u2", "b.wav,real,train,u3")
    assert check.complete
    (note,) = check.splits[0].notes
    assert note.startswith("the same recording under several ids: ")
    assert note.endswith("copy.wav (u2, spoof in train)")


def test_a_list_beside_label_files_is_checked_in_its_own_folder(check_list, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_list("a.wav,fake,train,u1")
    write(tmp_path / "a.labels.txt", "0\t0.05\tfake\n")
    (split_check,) = check_corpus(generic.CORPUS, "list.csv").splits
    assert split_check.segments == ["segments of 1 of 1 trial"]


TRAIN_AND_DEV = ["train"] * 4 + ["dev"] * 4


@pytest.mark.parametrize(
    "splits, labels, train, validate, beginning",
    [
        (TRAIN_AND_DEV, "brbrbrbr", "yes", "yes", nullcontext()),
        ([""] * 8, "brbrbrbr", "yes", "no: all its trials are training trials too", pytest.raises(InputError)),
        (["train"] * 8, "brbrbrbr", "yes", "no: there is no part dev", pytest.raises(InputError)),
        (TRAIN_AND_DEV, "br rbbbb", "no: 1 of 4 trials have no label", "are of one class", pytest.raises(InputError)),
    ],
)
def test_check_predicts_whether_a_training_run_begins_or_is_refused(
    tmp_path, splits, labels, train, validate, beginning
):
    names = {"b": "bonafide", "r": "spoof", " ": ""}
    rows = [f"{n}.wav,{names[label]},{split}" for n, (label, split) in enumerate(zip(labels, splits))]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,split", *rows]))
    for number in range(8):
        soundfile.write(tmp_path / f"{number}.wav", np.full(1600, 0.01 * number), 16000)
    tasks = dict(check_corpus(corpora.get("generic"), tmp_path / "list.csv", workers=0).tasks())
    assert train in tasks["train"]
    assert validate in tasks["validate"]
    data = DataConfig(corpus="generic", root=str(tmp_path / "list.csv"))
    with beginning:
        check_unseen(data, read_trials(data, "train"), read_trials(data, "dev"))


def test_check_says_that_training_skips_a_recording_that_cannot_be_read(copy):
    truncate(copy / "ASVspoof2019_LA_train/flac/LA_T_1000001.flac")
    tasks = tasks_of("asvspoof2019_la", copy, decode=True)
    assert tasks["train"] == "in part: 1 of 4 files cannot be read, and are skipped"


def test_check_says_that_a_split_is_scored_incompletely_if_a_recording_cannot_be_read(copy):
    truncate(copy / "release_in_the_wild/2.wav")
    assert tasks_of("in_the_wild", copy, decode=True)["score eval"] == "in part: 1 of 4 files cannot be read"


def test_check_says_that_a_corpus_without_keys_can_be_scored_but_not_evaluated(copy):
    (copy / "keys/LA/CM").rename(copy / "CM of LA")
    assert tasks_of("asvspoof2021_la", copy) == {"score eval": "yes", "evaluate eval": "no: the keys are not there"}


def test_check_refuses_a_folder_of_keys_that_does_not_exist(copy):
    with pytest.raises(NotFound, match="keys .*nowhere not found"):
        check("asvspoof2021_la", copy, keys=copy / "nowhere")


def test_check_names_utterances_that_only_the_keys_or_only_the_protocol_has(copy):
    key = copy / "keys/LA/CM/trial_metadata.txt"
    key.write_text(key.read_text().replace("LA_E_1000001 ", "LA_E_9 "))
    assert list(map(str, check("asvspoof2021_la", copy).findings)) == [
        "keys: 1 trial of the protocol without a label: LA_E_1000001",
        "keys: 1 labelled trial is not in the protocol: LA_E_9",
    ]


@pytest.fixture
def malformed_keys(copy):
    return write(copy / "keys/LA/CM/trial_metadata.txt", "LA_E_1 bonafide\n")


def test_check_names_malformed_keys_with_the_line(copy, malformed_keys):
    problem = str(check("asvspoof2021_la", copy).findings[0])
    assert problem.startswith(f"keys: {malformed_keys}, line 1: expected 8 fields")


@pytest.mark.usefixtures("malformed_keys")
def test_check_says_that_a_corpus_with_malformed_keys_cannot_be_evaluated(copy):
    assert tasks_of("asvspoof2021_la", copy)["evaluate eval"] == "no: the keys cannot be used"


def test_check_counts_the_labels_of_segments_only_of_a_corpus_that_has_them(copy):
    assert check("partialspoof", copy).splits[1].segments == ["labels of 10 ms of 4 of 4 trials"]
    assert check("generic", copy).splits[0].segments == []
    assert check("asvspoof2019_la", copy).splits[0].segments == []


@pytest.fixture
def segment_labels(copy):
    """The file of labels of segments of dev, and what is in it."""
    file = copy / "partialspoof/database/segment_labels/dev_seglab_0.01.npy"
    return file, np.load(file, allow_pickle=True).item()


def test_check_names_a_trial_without_labels_of_segments(copy, segment_labels):
    file, segments = segment_labels
    bonafide, *spoofed = segments
    np.save(file, {name: segments[name] for name in spoofed})
    one_problem("partialspoof", copy, f"dev: labels of 10 ms: 1 trial has no labels of segments: {bonafide}")


def test_check_names_a_trial_whose_labels_of_segments_contradict_the_protocol(copy, segment_labels):
    file, segments = segment_labels
    bonafide, *_ = segments
    np.save(file, {**segments, bonafide: np.full(40, "0")})
    problem, _ = one_problem("partialspoof", copy, "dev: labels of 10 ms of dev: ")
    assert f"{bonafide} (bonafide, some of it" in problem


def test_check_counts_the_trials_with_segments_in_the_rttm_file_beside_a_list(copy):
    write_rttm(copy / "list.rttm", {"generic/fake/vocoder0/clip2": [("spoof", 0.1, 0.3)]})
    assert check_corpus(generic.CORPUS, copy / "list.csv").splits[0].segments == ["segments of 4 of 4 trials"]


# Corpora of the official size


def lines_of(file):
    """The text of a file that is compressed."""
    return lzma.open(file, "rt").read()


@pytest.fixture
def published_in_the_wild(shared, tmp_path):
    """A folder with the published key of In-the-Wild."""
    key = lines_of(shared / "real/scores/in_the_wild/in_the_wild_key.txt.xz").splitlines()
    rows = [line.split() for line in key if line]
    release = tmp_path / "release_in_the_wild"
    write(release / "meta.csv", "file,speaker,label\n" + "".join(f"{row[1]},x,{row[-1]}\n" for row in rows))
    (release / rows[0][1]).touch()
    return tmp_path


def test_the_official_counts_of_in_the_wild_are_those_of_its_published_key(published_in_the_wild):
    (split,) = check_corpus(in_the_wild.CORPUS, published_in_the_wild).splits
    assert split.counts.differences(in_the_wild.CORPUS.counts["eval"]) == []


def test_the_official_digest_of_in_the_wild_is_that_of_its_published_key(published_in_the_wild):
    assert key_digest(in_the_wild.CORPUS.keys(published_in_the_wild)) == in_the_wild.CORPUS.key_digests["eval"]


def test_the_official_counts_of_asvspoof_la_are_those_of_the_published_protocols(shared, tmp_path):
    source = shared / "real/scores"
    for file in (*source.glob("*2019_la/ASVspoof2019.LA.*.xz"), *source.glob("*2021_la_ids/*.eval.trl.txt.xz")):
        write(tmp_path / file.stem, lines_of(file))
    for split in check_corpus(asvspoof2019_la.CORPUS, tmp_path).splits:
        assert split.counts.differences(asvspoof2019_la.CORPUS.counts[split.split]) == []
    (split,) = check_corpus(asvspoof2021_la.CORPUS, tmp_path).splits
    assert split.counts.differences(asvspoof2021_la.CORPUS.counts["eval"]) == []

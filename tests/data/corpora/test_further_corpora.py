"""The further corpora in miniature: their trials and keys, what `data check` finds, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from builders import input_error
from builders.files import folder, write
from builders.miniature_corpora import CORPORA, make

from nes2net import metrics
from nes2net.actions.calibration import Labels, calibrate
from nes2net.actions.evaluation import evaluate
from nes2net.actions.flags import Learning
from nes2net.data.corpora import ctrsvdd
from nes2net.data.corpora.check import check_corpus
from nes2net.data.corpora.corpus import Counts
from nes2net.data.corpora.trial import Trial
from nes2net.data.registry import corpora

of_every_corpus = pytest.mark.parametrize("name", CORPORA)


@of_every_corpus
def test_further_corpora_give_the_trials_of_each_split_with_and_without_their_audio(tmp_path, name):
    corpus = corpora.get(name)
    mini = CORPORA[name]
    make(tmp_path, mini)
    for split, expected in mini.trials.items():
        trials = {trial.path: replace(trial, path=None) for trial in corpus.trials(tmp_path, split)}
        assert trials == {tmp_path / file: replace(trial, phase=split) for file, trial in expected.items()}
        keys = {trial.id: trial for trial in corpus.keys(tmp_path, split)}
        assert keys == {trial.id: trial for trial in trials.values()}
        assert len(keys) == len(trials)
    assert set(mini.trials) == set(corpus.splits)
    ids = [trial.id for of_split in mini.trials.values() for trial in of_split.values()]
    assert len(corpus.keys(tmp_path)) == len(set(ids))
    assert corpus.parts_overlap == (len(set(ids)) < len(ids))


#: MLAAD has no bona fide training trials, Deepfake-Eval-2024 no part dev.
NOT_POSSIBLE = {"mlaad": {"train", "validate"}, "deepfake_eval_2024": {"validate"}}


@of_every_corpus
def test_check_says_that_further_corpora_are_complete_and_allows_the_tasks_of_their_trials(tmp_path, name):
    corpus = corpora.get(name)
    make(tmp_path, CORPORA[name])
    check = check_corpus(corpus, tmp_path, decode=True, workers=0, subset=not corpus.counts_from)
    assert check.complete
    tasks = check.tasks()
    assert {task for task, verdict in tasks if "no" in verdict} == NOT_POSSIBLE.get(name, set())


def without_last_recording(name, root):
    """Make a corpus without the last recording of its part `split`; give the corpus and that recording."""
    mini = CORPORA[name]
    make(root, mini)
    *_, missing = mini.trials[mini.split]
    (root / missing).unlink()
    return corpora.get(name), missing


@pytest.mark.parametrize("name", [name for name, mini in CORPORA.items() if mini.lists])
def test_check_names_a_missing_recording_of_a_list_with_where_to_get_it(tmp_path, name):
    corpus, missing = without_last_recording(name, tmp_path)
    check = check_corpus(corpus, tmp_path, splits=[CORPORA[name].split], subset=not corpus.counts_from)
    (problem,) = map(str, check.findings)
    assert "files are missing in " in problem
    assert missing.rpartition("/")[2] in problem
    assert "; get " in problem


@pytest.mark.parametrize("name", [name for name, mini in CORPORA.items() if not mini.lists])
def test_a_corpus_without_lists_has_a_trial_for_each_recording_that_is_there(tmp_path, name):
    corpus, missing = without_last_recording(name, tmp_path)
    paths = [trial.path for trial in corpus.trials(tmp_path, CORPORA[name].split)]
    assert tmp_path / missing not in paths
    assert len(paths) == len(CORPORA[name].trials[CORPORA[name].split]) - 1


@pytest.mark.parametrize(
    "name, path, line, message", [(name, *case) for name, mini in CORPORA.items() for case in mini.malformed]
)
def test_a_malformed_line_of_a_list_is_refused_with_its_fault(tmp_path, name, path, line, message):
    mini = CORPORA[name]
    make(tmp_path, mini)
    write(tmp_path / path, mini.lists[path] + line)
    for read in (corpora.get(name).trials, corpora.get(name).keys):
        with input_error(message):
            read(tmp_path, mini.split)


def test_counts_are_compared_with_the_official_counts_of_the_edition_that_fits_or_else_the_first():
    corpus = corpora.get("wavefake")
    official = corpus.official_counts("eval", Counts(136085, 18100, 117985))
    assert official == corpus.editions["the paper"]["eval"]
    assert corpus.official_counts("eval", Counts(1)) == corpus.counts["eval"]


def test_differences_from_counts_that_only_a_paper_states_are_noted_not_called_a_fault(tmp_path):
    make(tmp_path, CORPORA["dfadd"])
    paper = corpora.get("dfadd")
    key = paper.keys(tmp_path, "eval")
    assert paper.differences_from_official(key, "eval") is None
    assert "3,755" in check_corpus(paper, tmp_path, splits=["eval"]).splits[0].notes[0]


def test_unpacked_archives_of_add_2022_are_found(tmp_path):
    """What `nes2net data download` unpacks: the lists beside the archives, the audio one or two folders below."""
    make(tmp_path, CORPORA["add2022"])
    for name, folder_name, unpacked_folder in (
        ("track3_r2", "track3_r2/whatever", "wav"),
        ("track1", "track1test", "track1test/track1test"),
    ):
        (tmp_path / folder_name).rename(
            folder((tmp_path / name / unpacked_folder).parent) / unpacked_folder.rpartition("/")[2]
        )
        trials = corpora.get("add2022").trials(tmp_path, name)
        assert [t.id for t in trials] == [trial.id for trial in CORPORA["add2022"].trials[name].values()]
        for t in trials:
            assert t.path.is_file()


def test_unpacked_archives_of_add_2023_are_found(tmp_path):
    make(tmp_path, CORPORA["add2023"])
    (tmp_path / "Track1.2/testR1").rename(folder(tmp_path / "testR1") / "track")
    trials = corpora.get("add2023").trials(tmp_path, "round1")
    assert len(trials) == 2
    for trial in trials:
        assert trial.path.is_file()


def test_the_evaluation_of_at_add_has_trials_without_labels(tmp_path):
    audio = folder(tmp_path / "T1/eval")
    for name in ("b.wav", "a.wav"):
        write(audio / name)
    trials = [Trial(name, audio / f"{name}.wav", phase="eval") for name in "ab"]
    assert corpora.get("at_add_track1").trials(tmp_path, "eval") == trials


def test_each_flac_file_of_the_test_set_of_ctrsvdd_is_a_trial_without_label(tmp_path):
    audio = folder(tmp_path / "test_set")
    for name in ("b.flac", "a.flac", "._a.flac", "notes.txt", "c.wav"):
        write(audio / name)
    assert ctrsvdd.CORPUS.trials(tmp_path, "eval") == [Trial(n, audio / f"{n}.flac", phase="eval") for n in "ab"]


@pytest.fixture
def ctrsvdd_scores(tmp_path):
    """Scores of 40 trials of CtrSVDD, beside their key, and the EER by the rule of its published figures."""
    ends = ("A09 deepfake", "- bonafide")
    write(tmp_path / "test.txt", "".join(f"kiritan s CtrSVDD_{n} - {ends[n % 2]}\n" for n in range(40)))
    scores = np.random.default_rng(0).permutation(40)
    score_file = write(tmp_path / "scores.txt", "".join(f"CtrSVDD_{n} {score}\n" for n, score in enumerate(scores)))
    expected, _ = metrics.compute_eer(scores[1::2], scores[::2], "sklearn")
    assert expected != metrics.compute_eer(scores[1::2], scores[::2], "asvspoof")[0]
    return score_file, expected


def test_an_evaluation_of_ctrsvdd_computes_the_eer_by_the_rule_of_its_published_figures(tmp_path, ctrsvdd_scores):
    score_file, expected = ctrsvdd_scores
    assert evaluate("ctrsvdd", score_file, tmp_path, num_resamples=10)["eer"].value == expected


def test_a_calibration_on_ctrsvdd_states_the_eer_by_the_rule_of_its_published_figures(tmp_path, ctrsvdd_scores):
    score_file, expected = ctrsvdd_scores
    (_, figures), _ = calibrate(Labels("ctrsvdd", tmp_path, "eval"), [score_file], Learning(allow_inverted=True)).rows
    assert figures["eer"] == expected


@pytest.fixture
def tracing_protocols(tmp_path):
    """MLAAD's protocols of source tracing: eval.csv lists a, b and a again; a file of `fine` lists b."""
    folder = tmp_path / "protocols"
    (folder / "fine").mkdir(parents=True)
    row = "./fake/de/vits/{}.wav,tts_models/en/vits\n"
    (folder / "eval.csv").write_text("path,model_name\n" + row.format("a") + row.format("b") + row.format("a"))
    (folder / "fine/eval___lang_not_seen___model_seen.csv").write_text("path,model_name\n" + row.format("b"))
    return folder


def test_fine_protocols_of_mlaad_tell_whether_training_has_seen_language_and_model(tracing_protocols):
    trials = corpora.get("mlaad").keys(tracing_protocols, "eval")
    assert [(trial.get("language_seen"), trial.get("model_seen")) for trial in trials] == [(None, None), ("no", "yes")]


def test_a_repeated_row_of_an_mlaad_tracing_protocol_counts_once_with_a_warning(tracing_protocols, capsys):
    assert len(corpora.get("mlaad").keys(tracing_protocols, "eval")) == 2
    assert "1 row repeated, which counts once" in capsys.readouterr().err

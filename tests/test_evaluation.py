"""Scores against keys: strict matching, evaluation of the real published scores, tables, bad input."""

import json
import lzma
from pathlib import Path

import golden_metrics
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nes2net import metrics
from nes2net.data.trial import Trial
from nes2net.errors import InputError
from nes2net.evaluation import breakdown, comparison_table, evaluate, match, read_scores

KEY = [
    Trial("b1", label="bonafide", phase="eval"),
    Trial("b2", label="bonafide", phase="eval"),
    Trial("s1", label="spoof", phase="eval"),
    Trial("s2", label="spoof", phase="eval"),
    Trial("p1", label="spoof", phase="progress"),
]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# Score files


def test_read_scores(tmp_path):
    ids, scores = read_scores(write(tmp_path / "scores.txt", "b 1.5\na  -2e-3\n\nc nan\n"))
    assert ids == ["b", "a", "c"]
    np.testing.assert_array_equal(scores, [1.5, -0.002, np.nan])


@pytest.mark.parametrize(
    "text, message",
    [
        ("a 1\nb\n", r"scores.txt, line 2: expected 2 fields \(utterance score\), found 1: 'b'"),
        ("a 1 2\n", "line 1: expected 2 fields"),
        ("a one\n", "line 1: expected a number as score, found 'one'"),
    ],
)
def test_malformed_score_file(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_scores(write(tmp_path / "scores.txt", text))


def test_missing_score_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.txt: cannot be read \(No such file or directory\)"):
        read_scores(tmp_path / "none.txt")


# Matching


def test_match_keeps_the_order_of_the_score_file():
    matched = match(KEY, ["s2", "b1", "p1", "b2", "s1"], np.array([1.0, 2.0, 9.0, 3.0, 4.0]), "eval")
    assert [trial.id for trial in matched.trials] == ["s2", "b1", "b2", "s1"]
    assert (list(matched.bonafide), list(matched.spoof)) == ([2, 3], [1, 4])
    assert matched.num_expected == 4
    assert not matched.mismatch


def test_another_phase_of_the_key_is_not_asked_for_but_known():
    assert len(match(KEY, ["b1", "b2", "s1", "s2"], [1.0, 2, 3, 4], "eval").trials) == 4
    with pytest.raises(InputError, match="1 of 5 trials without a score: p1"):
        match(KEY, ["b1", "b2", "s1", "s2"], [1.0, 2, 3, 4])


def test_repeated_rows_and_suffixes_are_accepted():
    matched = match(KEY, ["b1", "b1", "b1.wav", "b2.flac", "s1", "s2"], [1.0, 1.0, 1.0, 2.0, 3.0, 4.0], "eval")
    assert [(trial.id, score) for trial, score in zip(matched.trials, matched.scores)] == [
        ("b1", 1),
        ("b2", 2),
        ("s1", 3),
        ("s2", 4),
    ]


BAD = (["b1", "b2", "b2", "s1", "zz", "p1"], [1.0, 2.0, 2.5, float("inf"), 0.0, 3.0])


def test_everything_that_does_not_fit_is_named():
    with pytest.raises(InputError) as error:
        match(KEY, *BAD, "eval")
    assert str(error.value) == (
        "scores and key do not fit: 1 of 4 trials without a score: s2; 1 scored twice with different values: b2; "
        "1 scored but not in the key: zz; 1 with a score that is not finite: s1 (--allow-partial evaluates the rest)"
    )


def test_allow_partial_evaluates_the_rest_and_says_so():
    matched = match(KEY, [*BAD[0], "s2"], [*BAD[1], -1.0], "eval", allow_partial=True)
    assert [trial.id for trial in matched.trials] == ["b1", "s2"]
    assert matched.num_expected == 4
    assert matched.mismatch.conflicting == ["b2"]
    with pytest.raises(InputError, match="none of the 4 trials of the key has a score"):
        match(KEY, ["zz"], [1.0], "eval", allow_partial=True)


def test_up_to_ten_are_named():
    key = [Trial(f"t{n}", label="spoof") for n in range(100)]
    with pytest.raises(InputError, match=r"99 of 100 trials without a score: (t\d+, ){10}… \(99 in all\)"):
        match(key, ["t0"], [0.0])


def test_a_key_without_labels_is_no_key():
    with pytest.raises(InputError, match="1 trials have no label in the key: a; give a key with labels"):
        match([Trial("a")], ["a"], [1.0])


def test_unknown_phase():
    with pytest.raises(InputError, match="no trials in phase 'dev'; the key has eval, progress"):
        match(KEY, ["b1"], [1.0], "dev")


@given(st.permutations(range(5)), st.sets(st.integers(0, 4), max_size=4))
def test_a_score_goes_to_its_own_trial(order, dropped):
    rows = [(KEY[i].id, float(i)) for i in order if i not in dropped]
    matched = match(KEY, *zip(*rows), allow_partial=True)
    assert {t.id: s for t, s in zip(matched.trials, matched.scores)} == dict(rows)
    assert set(matched.mismatch.missing) == {KEY[i].id for i in dropped}


# Evaluation


@pytest.fixture(scope="module", params=["g200", "g5k"])
def case(request, tmp_path_factory):
    return golden_metrics.load(request, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("phase", ["eval", "progress", "hidden_track"])
def test_2021_la_against_the_published_program(case, phase):
    published = case.results[f"evaluate_2021_LA:{phase}"]["values"]
    result = evaluate("asvspoof2021_la", case.folder / "scores_LA.txt", case.folder / "keys", phase, num_resamples=100)
    assert result.eer == pytest.approx(published["eer"], rel=0, abs=1e-12)
    assert result.threshold == pytest.approx(published["eer_threshold"], rel=0, abs=1e-12)
    assert result.min_tdcf == pytest.approx(published["tDCF_new_2021"]["min_tDCF"], rel=0, abs=1e-12)
    assert (result.num_bonafide, result.num_spoof) == (published["n_bona"], published["n_spoof"])
    assert result.num_expected == result.num_bonafide + result.num_spoof
    assert result.interval[0] <= result.eer <= result.interval[1]
    assert result.interval_over == "speakers"
    assert sum(row.num_spoof for row in result.by_attack) == result.num_spoof
    assert {row.num_bonafide for row in result.by_attack} == {result.num_bonafide}
    assert sum(row.num_spoof for row in result.by_codec) == result.num_spoof
    assert sum(row.num_spoof for row in result.by_attack_and_codec) == result.num_spoof


def test_2021_df_and_in_the_wild_against_the_published_programs(case):
    published = case.results["evaluate_2021_DF:eval"]["values"]
    result = evaluate("asvspoof2021_df", case.folder / "scores_DF.txt", case.folder / "keys", num_resamples=10)
    assert result.eer == pytest.approx(published["eer"], rel=0, abs=1e-12)
    assert result.min_tdcf is None and result.notes == ()
    published = case.results["Cal_EER_in_the_wild"]["values"]
    result = evaluate("in_the_wild", case.folder / "scores_ITW.txt", case.folder, num_resamples=10)
    assert result.eer == pytest.approx(published["EER_if_stable_argsort"], rel=0, abs=1e-12)
    assert result.by_attack == result.by_codec == []


def test_what_a_result_says(tmp_path):
    key = tmp_path / "trial_metadata.txt"
    rows = [
        ("s1", "a", "none", "bonafide", "bonafide"),
        ("s1", "b", "gsm", "bonafide", "bonafide"),
        ("s2", "c", "none", "A07", "spoof"),
        ("s2", "d", "opus", "A08", "spoof"),
        ("s2", "e", "none", "A08", "spoof"),
    ]
    write(
        key,
        "".join(f"{who} {id} {codec} ita_tx {attack} {label} notrim eval\n" for who, id, codec, attack, label in rows),
    )
    scores = write(tmp_path / "scores.txt", "a 2\nb 0\nc 1\nd -1\ne -2\n")
    result = evaluate("asvspoof2021_la", scores, key, num_resamples=50)
    assert [(r.group, r.num_bonafide, r.num_spoof, r.eer) for r in result.by_attack] == [
        ({"attack": "A07"}, 2, 1, 0.75),
        ({"attack": "A08"}, 2, 2, 0.0),
    ]
    assert [(r.group["codec"], r.num_bonafide, r.num_spoof, r.eer) for r in result.by_codec] == [
        ("none", 1, 2, 0.0),
        ("opus", 0, 1, None),
    ]
    assert len(result.by_attack_and_codec) == 3
    assert result.min_tdcf is None
    assert "ASV key of ASVspoof 2021 LA not found" in result.notes[0]
    table = result.table()
    assert "5 trials (2 bona fide, 3 spoof)" in table
    assert "bootstrap over 5 trials" in table  # two speakers are too few to draw from
    assert "PARTIAL" not in table
    lines = [line.split() for line in table.splitlines()]
    assert ["attack", "EER", "%", "bona", "fide", "spoof"] in lines
    assert ["A08", "0.000", "2", "2"] in lines
    assert ["opus", "–", "0", "1"] in lines
    assert ["A08", "none", "0.000", "1", "1"] in lines
    plain = result.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["by_codec"][1] == {"group": {"codec": "opus"}, "num_bonafide": 0, "num_spoof": 1, "eer": None}

    write(scores, "a 2\nb 0\nc 1\nd -1\nx 3\n")
    with pytest.raises(
        InputError, match=r"scores\.txt: .*1 of 5 trials without a score: e; 1 scored but not in the key: x"
    ):
        evaluate("asvspoof2021_la", scores, key)
    partial = evaluate("asvspoof2021_la", scores, key, allow_partial=True, num_resamples=10)
    assert (
        "PARTIAL: rests on 4 of 5 trials; 1 of 5 trials without a score: e; 1 scored but not in the key: x"
        in partial.table()
    )

    compared = comparison_table({"whole": [result], "partial": [partial], "none": []})
    low, high = (100 * bound for bound in result.interval)
    assert compared.splitlines() == [
        "| EER in % (95 % interval) | asvspoof2021_la |",
        "| --- | ---: |",
        "| *trials: bona fide + spoof* | *2 + 3* |",
        f"| whole | {100 * result.eer:.2f} ({low:.2f}–{high:.2f}) |",
        f"| partial | {100 * partial.eer:.2f} ({100 * partial.interval[0]:.2f}–{100 * partial.interval[1]:.2f}, on 2 + 2) |",
        "| none | – |",
    ]


def test_breakdown_by_any_field():
    key = [
        Trial("a", label="bonafide", source="vcc2018"),
        Trial("b", label="spoof", source="vcc2018", vocoder="neural"),
        Trial("c", label="spoof", source="vcc2020", vocoder="neural"),
    ]
    matched = match(key, ["a", "b", "c"], [1.0, 0.0, 2.0])
    assert [(r.group, r.eer) for r in breakdown(matched, "vocoder")] == [({"vocoder": "neural"}, 0.25)]
    assert [(r.group["source"], r.eer) for r in breakdown(matched, "vocoder", "source")] == [
        ("vcc2018", 0.0),
        ("vcc2020", None),
    ]
    assert breakdown(matched, "codec") == []


def test_interval_is_over_trials_where_speakers_are_not_named(tmp_path):
    write(tmp_path / "meta.csv", "file,speaker,label\n0.wav,,spoof\n1.wav,A,bona-fide\n2.wav,B,spoof\n")
    result = evaluate("in_the_wild", write(tmp_path / "scores.txt", "0 0\n1 1\n2 2\n"), tmp_path, num_resamples=10)
    assert (result.interval_over, result.num_groups) == ("trials", 3)


def test_decisions_instead_of_scores_have_no_tdcf(request, tmp_path):
    request.param = "all_equal"
    case = golden_metrics.load(request, tmp_path)
    result = evaluate("asvspoof2021_la", tmp_path / "scores_LA.txt", tmp_path / "keys", num_resamples=10)
    assert result.eer == case.results["evaluate_2021_LA:eval"]["values"]["eer"] == 1
    assert result.min_tdcf is None
    assert "three distinct values" in result.notes[0]


def test_unknown_corpus(tmp_path):
    with pytest.raises(InputError, match="unknown corpus 'asvspoof2021'; did you mean"):
        evaluate("asvspoof2021", tmp_path, tmp_path)


# Published figures of real systems


@pytest.fixture(scope="module")
def real_2019(shared, tmp_path_factory):
    """Folder with the protocols, ASV scores and three systems' scores of ASVspoof 2019 LA."""
    source, folder = shared / "real" / "scores" / "asvspoof2019_la", tmp_path_factory.mktemp("2019")
    for path in source.glob("ASVspoof2019.*.xz"):
        write(folder / path.stem, lzma.open(path, "rt").read())
    for name in ("AASIST.eval", "fusion_weighted.eval", "CQCC-GMM.dev"):
        rows = (line.split() for line in lzma.open(source / f"{name}.txt.xz", "rt"))
        write(folder / f"{name}.txt", "".join(f"{row[0]} {row[3]}\n" for row in rows))
    write(folder / "published.txt", lzma.open(source / "fusion_weighted.published.txt.xz", "rt").read())
    return folder


@pytest.mark.parametrize(
    "system, phase, eer_percent, min_tdcf",
    [
        ("AASIST.eval", "eval", 0.829511, 0.027529),
        ("fusion_weighted.eval", "eval", 0.734180272, 0.021627333),
        ("CQCC-GMM.dev", "dev", 0.431141, 0.012267),
    ],
)
def test_published_systems_on_2019_la(real_2019, system, phase, eer_percent, min_tdcf):
    result = evaluate("asvspoof2019_la", real_2019 / f"{system}.txt", real_2019, phase, num_resamples=20)
    digits = 9 if system.startswith("fusion") else 6
    assert f"{100 * result.eer:.{digits}f}" == f"{eer_percent:.{digits}f}"
    assert f"{result.min_tdcf:.{digits}f}" == f"{min_tdcf:.{digits}f}"
    assert result.num_expected == {"eval": 71237, "dev": 24844}[phase]


def test_published_table_per_attack_on_2019_la(real_2019):
    result = evaluate("asvspoof2019_la", real_2019 / "fusion_weighted.eval.txt", real_2019, num_resamples=20)
    lines = (line.split() for line in (real_2019 / "published.txt").read_text().splitlines())
    published = {
        words[1]: words[3] for words in lines if len(words) > 3 and words[0] == "EER" and words[1].startswith("A")
    }
    assert len(published) == 13
    assert {row.group["attack"]: f"{100 * row.eer:.9f}" for row in result.by_attack} == published


def test_asv_system_of_2019_la(real_2019):
    from nes2net.data import asvspoof2019_la

    target, nontarget, spoof = asvspoof2019_la.asv_scores(real_2019)
    assert (target.size, nontarget.size, spoof.size) == (5370, 33327, 63882)
    rates = metrics.asv_error_rates(target, nontarget, spoof)
    assert f"{100 * metrics.compute_eer(target, nontarget)[0]:.4f}" == "2.4578"
    assert f"{100 * rates.false_alarm:.5f} {100 * rates.miss:.5f}" == "2.46047 2.45810"
    assert f"{100 * (1 - rates.spoof_false_alarm):.5f}" == "23.93475"


def test_published_system_on_in_the_wild(shared, tmp_path):
    source = shared / "real" / "scores" / "in_the_wild"
    key = (line.split() for line in lzma.open(source / "in_the_wild_key.txt.xz", "rt"))
    write(tmp_path / "meta.csv", "file,speaker,label\n" + "".join(f"{row[1]},,{row[-1]}\n" for row in key))
    scores = write(tmp_path / "scores.txt", lzma.open(source / "SLS_paper.scores_Wild.txt.xz", "rt").read())
    result = evaluate("in_the_wild", scores, tmp_path, num_resamples=20)
    assert (result.num_bonafide, result.num_spoof) == (19963, 11816)
    assert f"{100 * result.eer:.2f}" == "7.46"
    # The paper's figure was computed by the ASVspoof rule.
    eer, _ = metrics.compute_eer(result.bonafide_scores, result.spoof_scores, "asvspoof")
    assert f"{100 * eer:.6f}" == "7.464132"


@pytest.mark.parametrize("num_speakers, over", [(9, "18 trials"), (10, "10 speakers")])
def test_intervals_are_over_speakers_where_there_are_enough(tmp_path, num_speakers, over):
    key, scores = [], []
    for speaker in range(num_speakers):
        for label, attack in (("bonafide", "bonafide"), ("spoof", "A07")):
            name = f"u{speaker}{label[0]}"
            key.append(f"s{speaker} {name} none ita_tx {attack} {label} notrim eval\n")
            scores.append(f"{name} {speaker % 3 + (label == 'bonafide')}\n")
    file = write(tmp_path / "trial_metadata.txt", "".join(key))
    result = evaluate("asvspoof2021_la", write(tmp_path / "scores.txt", "".join(scores)), file, num_resamples=50)
    assert f"bootstrap over {over}" in result.table()

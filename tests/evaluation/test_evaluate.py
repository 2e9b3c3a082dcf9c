"""Scores against keys: golden and published figures, breakdowns, exclusions, tables, bad input."""

import zlib
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from builders import golden_metrics, input_error
from builders.files import write, write_scores
from builders.report_case import make_case

from nes2net import metrics
from nes2net.actions.evaluation import evaluate
from nes2net.data.corpora import generic
from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.breakdown import MIN_TRIALS, breakdown, over_corpora
from nes2net.evaluation.matching import match
from nes2net.metrics import OfficialRow


def counts(result):
    """The numbers of bona fide and of spoofed trials."""
    return result["num_bonafide"].value, result["num_spoof"].value


exactly = partial(pytest.approx, rel=0, abs=1e-12)


@pytest.fixture(scope="module", params=["g200", "g5k"])
def case(request, tmp_path_factory):
    return golden_metrics.load(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("phase", ["eval", "progress", "hidden_track"])
def test_2021_la_has_the_figures_of_the_published_program(case, phase):
    """EER, threshold, minimum t-DCF and numbers of trials."""
    published = case.results[f"evaluate_2021_LA:{phase}"]["values"]
    result = evaluate("asvspoof2021_la", case.folder / "scores_LA.txt", case.folder / "keys", phase, num_resamples=20)
    assert result["eer"].value == exactly(published["eer"])
    assert result["threshold"].value == exactly(published["eer_threshold"])
    assert result["min_tdcf"].value == exactly(published["tDCF_new_2021"]["min_tDCF"])
    num_bonafide, num_spoof = counts(result)
    assert num_bonafide == published["n_bona"]
    assert num_spoof == published["n_spoof"]


def test_2021_df_has_the_eer_of_the_published_program(case):
    published = case.results["evaluate_2021_DF:eval"]["values"]
    result = evaluate("asvspoof2021_df", case.folder / "scores_DF.txt", case.folder / "keys", num_resamples=5)
    assert result["eer"].value == exactly(published["eer"])


def test_in_the_wild_has_the_eer_of_the_published_program_with_a_stable_sort(case):
    published = case.results["Cal_EER_in_the_wild"]["values"]
    result = evaluate("in_the_wild", case.folder / "scores_ITW.txt", case.folder, num_resamples=5)
    assert result["eer"].value == exactly(published["EER_if_stable_argsort"])


@pytest.fixture
def evaluate_ctrsvdd(case):
    files = case.folder / "scores_CtrSVDD.txt", case.folder / "test.txt"
    return partial(evaluate, "ctrsvdd", *files, num_resamples=5)


def test_ctrsvdd_has_the_figures_of_the_published_program(case, evaluate_ctrsvdd):
    """EER, minimum DCF and number of trials, with and without acesinger, pooled and in the official table."""
    published = case.results["CtrSVDD_EER_minDCF"]["values_subsets"]
    result = evaluate_ctrsvdd()
    rows = {row.labels["part"]: row for row in result.rows("official table")}
    without_ace = evaluate_ctrsvdd(exclude={"attack": ["A14"], "source": ["acesinger"]})
    for subset_result, name, row_name in (
        (result, "exA14", "all without A14"),
        (without_ace, "exACE_A14", "all without A14 and acesinger"),
    ):
        values = published[name]
        for row in (subset_result, rows[row_name]):
            assert row["eer"].value == exactly(values["eer"])
            assert row["min_dcf"].value == exactly(values["mindcf"])
            assert sum(counts(row)) == values["n"]


def test_the_trials_that_ctrsvdd_excludes_can_all_be_included(case, evaluate_ctrsvdd):
    assert sum(counts(evaluate_ctrsvdd(exclude={}))) == len(case.table("test.txt"))


def test_asvspoof5_has_the_figures_of_the_published_program(case, tmp_path):
    """EER, minimum and actual DCF, and Cllr."""
    published = case.results["asvspoof5_t1"]["values"]
    lines = []
    for n, (id, label) in enumerate(case.table("asv5_cm_key.tsv")[1:]):
        lines.append(f"E_{n % 30} {id} F C0{n % 5} 1 x AC1 A{17 + n % 3} {label} -")
    key = write(tmp_path / "ASVspoof5.eval.track_1.tsv", lines)
    scores = "\n".join(" ".join(row) for row in case.table("asv5_cm_score.tsv")[1:])
    result = evaluate("asvspoof5", write(tmp_path / "scores.txt", scores), key, num_resamples=5)
    for name, published_name in {"eer": "eer", "min_dcf": "minDCF", "cllr": "cllr", "act_dcf": "actDCF"}.items():
        assert result[name].value == exactly(published[published_name])


def of_list(folder, rows, scores, corpus="generic", columns="path,label", phase="eval", **options):
    """Evaluate ``scores`` of ``rows`` of a list with these columns."""
    key = write(folder / "list.csv", [columns, *rows])
    scores = write_scores(folder / "s.txt", scores)
    return evaluate(corpus, scores, key, phase, **{"num_resamples": 5, **options})


@pytest.fixture
def by_own_rules(register_corpus, tmp_path):
    """The result of two bona fide and two spoofed trials by the rules of a corpus of one's own."""

    def official_table(trials, scores):
        assert [trial.id for trial in trials] == ["b", "a", "c", "d"]
        assert scores.tolist() == [1, 3, 2, 0]
        return [OfficialRow("all of them", 2, 2, 0.5), OfficialRow("c alone", 2, 1, 0.25, 0.125)]

    corpus_facts = {"min_dcf_options": {"p_spoof": 0.25, "normalize": False}, "min_dcf_costs": "mine, one in four"}
    corpus_facts |= {"excluded": {"attack": ["X2"]}, "official_table": official_table, "eer_method": "sklearn"}
    register_corpus("mine", replace(generic.CORPUS, **corpus_facts))
    rows = ["a.wav,real,", "b.wav,real,", "c.wav,fake,X1", "d.wav,fake,X2"]
    return of_list(tmp_path, rows, {"b": 1, "a": 3, "c": 2, "d": 0}, "mine", "path,label,attack")


def test_trials_that_the_rules_of_a_corpus_exclude_do_not_count(by_own_rules):
    assert counts(by_own_rules) == (2, 1)


def test_the_result_states_what_the_corpus_excludes(by_own_rules):
    assert by_own_rules.header["excluded"] == {"attack": ["X2"]}


def test_the_result_states_the_costs_of_the_minimum_dcf_of_the_corpus(by_own_rules):
    assert by_own_rules.header["min_dcf_costs"] == "mine, one in four"


def test_the_eer_is_by_the_rule_of_the_corpus(by_own_rules):
    assert by_own_rules["eer"].value == metrics.compute_eer([3, 1], [2], "sklearn")[0]


def test_the_minimum_dcf_has_the_costs_of_the_corpus(by_own_rules):
    assert by_own_rules["min_dcf"].value == metrics.compute_min_dcf([3, 1], [2], p_spoof=0.25, normalize=False)


def test_the_official_table_of_a_corpus_is_a_table_of_its_result(by_own_rules):
    _, second = by_own_rules.rows("official table")
    assert second.labels["part"] == "c alone"
    assert counts(second) == (2, 1)
    assert second["min_dcf"].value == 0.125


def la_key(folder, rows):
    """A key of ASVspoof 2021 LA of (speaker, name, codec, attack or "bonafide")."""
    lines = []
    for speaker, id, codec, attack in rows:
        label = "bonafide" if attack == "bonafide" else "spoof"
        lines.append(f"{speaker} {id} {codec} ita_tx {attack} {label} notrim eval")
    return write(folder / "trial_metadata.txt", lines)


def test_the_text_of_a_result_has_its_notices(tmp_path):
    rows = [("s1", "a", "none", "bonafide"), ("s1", "b", "gsm", "bonafide")]
    rows += [("s2", "c", "none", "A07"), ("s2", "d", "opus", "A08"), ("s2", "e", "none", "A08")]
    key = la_key(tmp_path, rows)
    scores = write(tmp_path / "scores.txt", "a 2\nb 0\nc 1\nd -1\ne -2\n")
    result = evaluate("asvspoof2021_la", scores, key, num_resamples=50)
    text = result.text()
    assert "ASV key of ASVspoof 2021 LA not found" in text
    for notice in result.notices:
        assert notice in text


@pytest.fixture
def rows_by():
    """A function that gives values of fields, numbers of bona fide trials and EERs of a breakdown of three trials."""
    key = [
        Trial("a", label="bonafide", source="vcc2018", language="en"),
        Trial("b", label="spoof", source="vcc2018", vocoder="neural", team="T01", language="en"),
        Trial("c", label="spoof", source="vcc2020", vocoder="neural", team="T02", language="de"),
    ]
    matched_trials = match(key, ["a", "b", "c"], [1.0, 0.0, 2.0])

    def rows(*fields):
        table = breakdown(matched_trials, *fields)
        return [(*row.labels.values(), row.value("num_bonafide"), row["eer"].value) for row in table]

    return rows


def test_a_breakdown_by_a_field_of_the_spoofing_compares_each_value_with_all_bona_fide_trials(rows_by):
    assert rows_by("vocoder") == [("neural", 1, 0.25)]
    assert rows_by("team") == [("T01", 1, 0.0), ("T02", 1, 1.0)]


def test_a_breakdown_by_another_field_compares_each_value_with_the_bona_fide_trials_of_the_value(rows_by):
    """Also in a pair of fields."""
    assert rows_by("vocoder", "source") == [("neural", "vcc2018", 1, 0.0), ("neural", "vcc2020", 0, None)]
    assert rows_by("language") == [("de", 0, None), ("en", 1, 0.0)]


def test_a_further_column_of_a_list_is_tabulated_only_if_it_has_several_values(tmp_path):
    rows = ["a,real,kitchen,x", "b,fake,kitchen,x", "c,fake,hall,x"]
    result = of_list(tmp_path, rows, {"a": 1, "b": 0, "c": 2}, columns="path,label,room,codec")
    assert [row.labels["room"] for row in result.rows("by room")] == ["hall", "kitchen"]
    assert result.rows("by codec") == []


# Trials excluded by definition


@pytest.fixture
def la(tmp_path):
    """A function that evaluates scores of four bona fide trials and three of each of two attacks."""
    rows = [(f"s{n}", f"b{n}", "none", "bonafide") for n in range(4)]
    for n in range(3):
        rows += [(f"s{n}", f"A07{n}", "none", "A07"), (f"s{n}", f"A14{n}", "gsm", "A14")]
    key = la_key(tmp_path, rows)

    score_of_kind = {"b": 2, "A07": 0, "A14": 3}

    def run(without=(), **options):
        scores = {id: score_of_kind[id[:-1]] for _, id, *_ in rows if id not in without}
        return evaluate("asvspoof2021_la", write_scores(tmp_path / "s.txt", scores), key, num_resamples=5, **options)

    return run


def test_trials_of_an_excluded_attack_count_neither_in_the_numbers_nor_in_the_eer(la):
    all_attacks = la()
    assert counts(all_attacks) == (4, 6)
    assert all_attacks["eer"].value > 0.4
    without = la(exclude={"attack": ["A14"]})
    assert counts(without) == (4, 3)
    assert without["eer"].value == 0


def test_a_result_is_not_called_partial_because_of_excluded_trials_without_a_score(la):
    exclude = {"attack": ["A14"]}
    assert "PARTIAL" not in la(without=["A140"], exclude=exclude, allow_partial=True).text()
    partial_result = la(without=["A140", "A070"], exclude=exclude, allow_partial=True)
    assert "PARTIAL: rests on 6 of 7 trials; 1 of 7 trials" in partial_result.text()


def test_an_exclusion_that_removes_no_trial_is_refused(la):
    with input_error("`exclude`: no trial of the key has codec 'opus'; known: gsm, none"):
        la(exclude={"codec": ["opus"]})


def test_an_exclusion_of_all_spoofed_trials_is_refused(la):
    with input_error("4 trials, all bona fide, but trials of both classes are needed; judge them"):
        la(exclude={"label": ["spoof"]})


def test_a_phase_that_the_key_lacks_is_refused(tmp_path):
    scores = write_scores(tmp_path / "s.txt", {"0": 0, "1": 1})
    wild = write(tmp_path / "meta.csv", "file,speaker,label\n0.wav,A,spoof\n1.wav,A,bona-fide\n")
    own_list = write(tmp_path / "own.csv", "path,label\n0.wav,spoof\n1.wav,real\n")
    for corpus, keys, message in (
        ("in_the_wild", wild, "In-the-Wild has no phase 'dev'; known: eval"),
        ("generic", own_list, "names no parts, so there is no phase 'dev'; fill its column 'split', or ask for"),
    ):
        with input_error(message):
            evaluate(corpus, scores, keys, "dev", num_resamples=5)


def test_intervals_are_drawn_over_speakers_only_if_there_are_at_least_ten(tmp_path):
    for num_speakers, unit in ((9, "18 trials"), (10, "10 speakers")):
        rows = []
        scores = {}
        for number in range(num_speakers):
            rows += [f"real{number},real,s{number}", f"fake{number},fake,s{number}"]
            scores[f"real{number}"] = number % 3 + 1
            scores[f"fake{number}"] = number % 3
        result = of_list(tmp_path, rows, scores, columns="path,label,speaker")
        assert f"bootstrap over {unit}" in result.text()


def test_intervals_are_drawn_over_trials_if_a_speaker_is_not_known(tmp_path):
    rows = [f"{number},{('real', 'fake')[number % 2]},{number or ''}" for number in range(12)]
    scores = {str(number): number for number in range(12)}
    assert "bootstrap over 12 trials" in of_list(tmp_path, rows, scores, columns="path,label,speaker").text()


def with_attacks(folder, num_attacks, names, **options):
    """The text on systems that scored a bona fide trial, and one of each attack, of each of ten speakers."""
    kinds = ["bonafide", *(f"A{attack:02}" for attack in range(7, 7 + num_attacks))]
    rows = [(f"s{n}", f"u{n}{kind}", "none", kind) for n in range(10) for kind in kinds]
    key = la_key(folder, rows)
    paths = []
    for name in names:
        scores = {id: hash_of(name + id) + 0.4 * (kind == "bonafide") for _, id, _, kind in rows}
        paths.append(write_scores(folder / f"{name}.txt", scores))
    return evaluate("asvspoof2021_la", paths, key, num_resamples=50, **options).text()


def test_a_comparison_draws_speakers_and_attacks_if_there_are_five_attacks(tmp_path):
    """Of fewer attacks, it draws only speakers."""
    for num_attacks, compared in ((4, "10 speakers"), (5, "10 speakers × 5 attacks")):
        assert f"bootstrap over {compared}," in with_attacks(tmp_path, num_attacks, "ab")


def test_intervals_of_one_system_are_drawn_over_attacks_only_if_this_is_asked_for(tmp_path):
    for draw, unit in (("auto", "10 speakers"), ("attacks", "5 attacks")):
        assert f"bootstrap over {unit}," in with_attacks(tmp_path, 5, "a", draw=draw)


def hash_of(text):
    """A number in [0, 1) that depends on ``text``."""
    return zlib.crc32(text.encode()) % 1000 / 1000


@pytest.fixture
def notes_on_equal_scores(tmp_path):
    golden_metrics.load("all_equal", tmp_path)
    scores = tmp_path / "scores_LA.txt"
    return evaluate("asvspoof2021_la", scores, tmp_path / "keys", num_resamples=5).notes


def test_a_note_says_that_equal_scores_have_no_min_tdcf(notes_on_equal_scores):
    assert any("three distinct values" in note for note in notes_on_equal_scores)


def test_a_note_says_that_equal_scores_tell_no_classes_apart(notes_on_equal_scores):
    note = "all trials have the same score, 0.25, so no rate here tells the classes apart"
    assert note in notes_on_equal_scores


def test_the_result_states_at_most_200_draws_for_rows_of_a_breakdown(tmp_path):
    folder = make_case(tmp_path)
    result = evaluate("asvspoof2021_la", folder / "good.txt", folder, num_resamples=201)
    assert result.header["num_row_resamples"] == 200


def test_breakdowns_have_no_intervals_once_their_rows_exceed_500(tmp_path):
    """Counted together: the columns here have 250, 250 and 2 values."""
    rows = [f"{n},{('real', 'fake')[n % 2]},{n // 40},{n // 40},{n // 5000}" for n in range(10_000)]
    scores = {str(n): n % 7 for n in range(10_000)}
    result = of_list(tmp_path, rows, scores, columns="path,label,a,b,c", num_resamples=2)
    for name, has_interval in (("a", True), ("b", True), ("c", False)):
        assert {row["eer"].interval is not None for row in result.rows(f"by {name}")} == {has_interval}


# Over several corpora


def scored(seed, attacks):
    """A corpus with 30 bona fide trials, and so many of each attack, whose scores overlap."""
    rng = np.random.default_rng(seed)
    key = [Trial(f"b{number}", label="bonafide") for number in range(30)]
    for attack, number in attacks.items():
        key += [Trial(f"{attack}{trial_number}", label="spoof", attack=attack) for trial_number in range(number)]
    means = np.array([2.0 if trial.label == "bonafide" else float(trial.attack[1:]) for trial in key])
    return match(key, [trial.id for trial in key], means + rng.normal(size=len(key)))


def test_eers_over_corpora_are_those_of_each_corpus_with_both_classes():
    corpora = {"one": scored(0, {"A0": 40}), "two": scored(1, {"A1": 25}), "three": scored(2, {})}
    methods = {"one": "asvspoof", "two": "sklearn", "three": "asvspoof"}
    eers = over_corpora(corpora, methods).eers
    assert list(eers) == ["one", "two"]
    for name, eer in eers.items():
        assert eer == metrics.compute_eer(corpora[name].bonafide, corpora[name].spoof, methods[name])[0]


def test_eers_of_attacks_over_corpora_are_those_of_each_attack_with_enough_trials():
    corpora = {"one": scored(0, {"A0": 40, "A1": 40}), "two": scored(1, {"A1": 25, "A2": MIN_TRIALS - 1})}
    groups = over_corpora(corpora, dict.fromkeys(corpora, "asvspoof")).groups
    assert list(groups) == ["one/A0", "one/A1", "two/A1"]
    of_attack = corpora["one"].scores[[trial.attack == "A1" for trial in corpora["one"].trials]]
    assert groups["one/A1"] == metrics.compute_eer(corpora["one"].bonafide, of_attack)[0]


def with_errors(tmp_path, num_errors):
    """The result of 24 trials of each class, so many of which lie on the wrong side of 0."""
    rows = []
    scores = {}
    for number in range(48):
        label = "real" if number % 2 else "fake"
        is_wrong = number // 2 < num_errors
        rows.append(f"{number},{label}")
        scores[str(number)] = 1 if (label == "real") != is_wrong else -1
    return of_list(tmp_path, rows, scores, num_resamples=100)


def test_scores_are_called_reversed_if_the_interval_of_the_eer_lies_above_50_percent(tmp_path):
    result = with_errors(tmp_path, 19)
    assert result["eer"].interval[0] > 0.5
    assert any("50 %" in note and "negate the scores" in note for note in result.notes)


def test_scores_are_called_no_better_than_chance_if_the_interval_of_the_eer_holds_50_percent(tmp_path):
    """They are not called reversed, although their EER is 54.2 %."""
    result = with_errors(tmp_path, 13)
    assert result["eer"].interval[0] < 0.5
    assert any("50 %" in note and "no better than chance" in note for note in result.notes)
    assert "negate the scores" not in result.text()


def test_figures_of_calibration_are_not_marked_as_the_best(tmp_path):
    folder = make_case(tmp_path)
    result = evaluate("asvspoof2021_la", [folder / "good.txt", folder / "useless.txt"], folder)
    rows = result.rows("calibration")
    assert len(rows) == 2
    for row in rows:
        for figure in row.figures.values():
            assert not figure.is_best


def test_the_latex_and_the_markdown_of_a_result_name_no_folders(tmp_path):
    golden_metrics.load("g200", tmp_path)
    result = evaluate("asvspoof2021_la", tmp_path / "scores_LA.txt", tmp_path / "keys", num_resamples=5)
    for text in (result.latex(), result.markdown()):
        assert str(tmp_path) not in text

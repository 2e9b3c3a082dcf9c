"""Scores against keys: golden and published figures, breakdowns, exclusions, tables, bad input."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from builders import golden_metrics

from nes2net import metrics
from nes2net.corpora import generic
from nes2net.corpora.corpus import OfficialRow
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError
from nes2net.evaluation.breakdown import Row, breakdown, tables
from nes2net.evaluation.evaluate import evaluate
from nes2net.evaluation.matching import match


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# Evaluation


@pytest.fixture(scope="module", params=["g200", "g5k"])
def case(request, tmp_path_factory):
    return golden_metrics.load(request.param, tmp_path_factory.mktemp(request.param))


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
    assert sum(row.num_spoof for row in result.rows("attack")) == result.num_spoof
    assert {row.num_bonafide for row in result.rows("attack")} == {result.num_bonafide}
    assert sum(row.num_spoof for row in result.rows("codec")) == result.num_spoof
    assert sum(row.num_spoof for row in result.rows("attack", "codec")) == result.num_spoof


def test_2021_df_and_in_the_wild_against_the_published_programs(case):
    published = case.results["evaluate_2021_DF:eval"]["values"]
    result = evaluate("asvspoof2021_df", case.folder / "scores_DF.txt", case.folder / "keys", num_resamples=10)
    assert result.eer == pytest.approx(published["eer"], rel=0, abs=1e-12)
    assert result.min_tdcf is None and result.notes == ()
    published = case.results["Cal_EER_in_the_wild"]["values"]
    result = evaluate("in_the_wild", case.folder / "scores_ITW.txt", case.folder, num_resamples=10)
    assert result.eer == pytest.approx(published["EER_if_stable_argsort"], rel=0, abs=1e-12)
    assert result.rows("attack") == result.rows("codec") == []


def test_ctrsvdd_against_the_published_program(case):
    """The pooled figures, with and without acesinger, and every row of the official table."""
    published = case.results["CtrSVDD_EER_minDCF"]["values_subsets"]
    scores, key = case.folder / "scores_CtrSVDD.txt", case.folder / "test.txt"
    result = evaluate("ctrsvdd", scores, key, num_resamples=20)
    without_ace = evaluate(
        "ctrsvdd", scores, key, exclude={"attack": ["A14"], "source": ["acesinger"]}, num_resamples=20
    )
    for found, name in ((result, "exA14"), (without_ace, "exACE_A14")):
        assert found.eer == pytest.approx(published[name]["eer"], rel=0, abs=1e-12)
        assert found.min_dcf == pytest.approx(published[name]["mindcf"], rel=0, abs=1e-12)
        assert found.num_bonafide + found.num_spoof == found.num_expected == published[name]["n"]
    assert "left out by definition: attack A14\n" in result.table()
    costs = (f"minDCF {result.min_dcf:.5f} (CtrSVDD, ½ FRR + ½ FAR)", f"{result.act_dcf:.5f} (ASVspoof 5, track 1)")
    assert all(cost in result.table() for cost in costs)
    assert evaluate("ctrsvdd", scores, key, exclude={}, num_resamples=20).num_spoof > result.num_spoof
    words = {"dataset": "source {} (with A14)", "atk": "attack {} (without acesinger)"}
    words |= {"exA14": "all without A14", "exACE_A14": "all without A14 and acesinger"}
    rows = {row.group["part"]: row for row in result.rows("part")}
    assert len(rows) == len(published)
    for name, values in published.items():
        kind, _, part = name.partition(" ")
        row = rows[words[kind].format(part)]
        assert row.eer == pytest.approx(values["eer"], rel=0, abs=1e-12)
        assert row.min_dcf == pytest.approx(values["mindcf"], rel=0, abs=1e-12)
        assert row.num_bonafide + row.num_spoof == values["n"]


def test_corpora_that_share_an_eer_rule_share_nothing_else(register_corpus, tmp_path):
    register_corpus("songs", replace(generic.CORPUS, title="Songs", eer_method="sklearn"))
    rows = [("a", "real", ""), ("b", "real", ""), ("c", "fake", "A09"), ("d", "fake", "A14"), ("e", "fake", "A14")]
    key = write(
        tmp_path / "list.csv", "path,label,attack,source\n" + "".join(f"{i}.wav,{c},{a},x\n" for i, c, a in rows)
    )
    scores = write(tmp_path / "s.txt", "a 3\nb 1\nc 2\nd 1\ne 0\n")
    result = evaluate("songs", scores, key, num_resamples=5)
    assert (result.num_bonafide, result.num_spoof, result.excluded) == (2, 3, {})
    assert result.eer == metrics.compute_eer([3, 1], [2, 1, 0], "sklearn")[0]
    assert result.min_dcf == metrics.compute_min_dcf([3, 1], [2, 1, 0])
    assert result.min_dcf_costs == "ASVspoof 5, track 1"
    assert result.rows("part") == []


def test_costs_exclusions_and_official_table_come_from_the_corpus(register_corpus, tmp_path):
    def official_table(trials, scores):
        assert [trial.id for trial in trials] == ["b", "a", "c", "d"] and scores.tolist() == [1, 3, 2, 0]
        return [OfficialRow("all of them", 2, 2, 0.5), OfficialRow("c alone", 2, 1, 0.25, 0.125)]

    register_corpus(
        "mine",
        replace(
            generic.CORPUS,
            min_dcf_options={"p_spoof": 0.25, "normalize": False},
            min_dcf_costs="mine, one in four",
            excluded={"attack": ["X2"]},
            official_table=official_table,
        ),
    )
    rows = [("a", "real", ""), ("b", "real", ""), ("c", "fake", "X1"), ("d", "fake", "X2")]
    key = write(tmp_path / "list.csv", "path,label,attack\n" + "".join(f"{i}.wav,{c},{a}\n" for i, c, a in rows))
    result = evaluate("mine", write(tmp_path / "s.txt", "b 1\na 3\nc 2\nd 0\n"), key, num_resamples=5)
    assert (result.num_bonafide, result.num_spoof, result.excluded) == (2, 1, {"attack": ["X2"]})
    assert result.min_dcf == metrics.compute_min_dcf([3, 1], [2], p_spoof=0.25, normalize=False)
    assert result.min_dcf_costs == "mine, one in four"
    assert result.rows("part") == [
        Row({"part": "all of them"}, 2, 2, 0.5),
        Row({"part": "c alone"}, 2, 1, 0.25, None, 0.125),
    ]


def test_asvspoof5_against_the_published_program(case, tmp_path):
    published = case.results["asvspoof5_t1"]["values"]
    rows = case.table("asv5_cm_key.tsv")[1:]
    protocol = (f"E_{n % 30} {id} F C0{n % 5} 1 x AC1 A{17 + n % 3} {label} -" for n, (id, label) in enumerate(rows))
    key = write(tmp_path / "ASVspoof5.eval.track_1.tsv", "".join(f"{line}\n" for line in protocol))
    scores = "".join(f"{row[0]} {row[1]}\n" for row in case.table("asv5_cm_score.tsv")[1:])
    result = evaluate("asvspoof5", write(tmp_path / "scores.txt", scores), key, num_resamples=20)
    assert result.eer == pytest.approx(published["eer"], rel=0, abs=1e-12)
    assert result.min_dcf == pytest.approx(published["minDCF"], rel=0, abs=1e-12)
    assert result.act_dcf == pytest.approx(published["actDCF"], rel=0, abs=1e-12)
    assert result.cllr == pytest.approx(published["cllr"], rel=0, abs=1e-12)
    assert len(result.rows("codec")) == 5 and len(result.rows("attack", "codec")) == 15


def test_the_text_of_a_result(tmp_path):
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
    assert [(r.group, r.num_bonafide, r.num_spoof, r.eer) for r in result.rows("attack")] == [
        ({"attack": "A07"}, 2, 1, 0.75),
        ({"attack": "A08"}, 2, 2, 0.0),
    ]
    assert [(r.group["codec"], r.num_bonafide, r.num_spoof, r.eer) for r in result.rows("codec")] == [
        ("none", 1, 2, 0.0),
        ("opus", 0, 1, None),
    ]
    assert len(result.rows("attack", "codec")) == 3
    assert result.min_tdcf is None
    assert "ASV key of ASVspoof 2021 LA not found" in result.notes[0]
    table = result.table()
    assert "5 trials (2 bona fide, 3 spoof)" in table
    assert "bootstrap over 5 trials" in table  # two speakers are too few to draw
    assert "PARTIAL" not in table
    lines = [line.split() for line in table.splitlines()]
    assert ["attack", "EER", "%", "95", "%", "interval", "bona", "fide", "spoof"] in lines
    assert ["A08", "0.000", "0.00–48.99", "2", "2"] in lines
    assert ["opus", "–", "0", "1"] in lines
    assert ["A08", "none", "0.000", "1", "1"] in lines
    plain = result.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    codecs = next(table for table in plain["tables"] if table["fields"] == ["codec"])
    assert codecs["rows"][1] == {
        "group": {"codec": "opus"},
        "num_bonafide": 0,
        "num_spoof": 1,
        "eer": None,
        "interval": None,
        "min_dcf": None,
    }

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


def test_fields_of_the_spoofing_are_compared_with_all_bona_fide_trials():
    key = [
        Trial("a", label="bonafide", language="en"),
        Trial("b", label="spoof", team="T01", language="en"),
        Trial("c", label="spoof", team="T02", language="de"),
    ]
    matched = match(key, ["a", "b", "c"], [1.0, 0.0, 2.0])
    assert [(r.group, r.num_bonafide) for r in breakdown(matched, "team")] == [
        ({"team": "T01"}, 1),
        ({"team": "T02"}, 1),
    ]
    assert [(r.group["language"], r.num_bonafide) for r in breakdown(matched, "language")] == [("de", 0), ("en", 1)]


def test_further_columns_are_tabulated_unless_they_have_a_single_value():
    key = [
        Trial("a", label="bonafide", codec="x", extra=(("room", "kitchen"),)),
        Trial("b", label="spoof", codec="x", extra=(("room", "kitchen"),)),
        Trial("c", label="spoof", codec="x", extra=(("room", "hall"),)),
    ]
    found = tables(match(key, ["a", "b", "c"], [1.0, 0.0, 2.0]), num_resamples=5)
    assert [table.fields for table in found] == [("room",)]
    assert [(r.group["room"], r.eer, r.interval) for r in found[0].rows] == [
        ("hall", None, None),
        ("kitchen", 0, metrics.wilson_interval(0, 2)),
    ]


def test_the_interval_of_each_row_contains_its_eer(case):
    result = evaluate("asvspoof2021_la", case.folder / "scores_LA.txt", case.folder / "keys", num_resamples=500)
    rows = [row for row in result.rows("codec") + result.rows("attack") if row.eer is not None]
    assert len(rows) > 15
    for row in rows:
        assert row.interval[0] <= row.eer <= row.interval[1]
    widths = [row.interval[1] - row.interval[0] for row in rows]
    assert sorted(widths)[len(widths) // 2] > result.interval[1] - result.interval[0]  # rows have fewer trials


def test_costs_are_those_of_the_metrics(case):
    result = evaluate("asvspoof2021_df", case.folder / "scores_DF.txt", case.folder / "keys", num_resamples=10)
    scores = (result.matched.bonafide, result.matched.spoof)
    assert result.min_dcf == metrics.compute_min_dcf(*scores)
    assert result.act_dcf == metrics.compute_act_dcf(*scores)
    assert result.cllr == metrics.compute_cllr(*scores)
    assert f"actDCF {result.act_dcf:.5f}" in result.table()


# Trials left out by definition


def la_key(folder):
    rows = [f"s{n} b{n} none loc_tx bonafide bonafide notrim eval" for n in range(4)]
    rows += [
        f"s{n} {attack}{n} {codec} loc_tx {attack} spoof notrim eval"
        for n in range(3)
        for attack, codec in (("A07", "none"), ("A14", "gsm"))
    ]
    key = write(folder / "trial_metadata.txt", "".join(f"{row}\n" for row in rows))
    ids = [row.split()[1] for row in rows]
    return key, ids


def test_excluded_trials_are_not_counted_and_do_not_make_the_result_partial(tmp_path):
    key, ids = la_key(tmp_path)
    scores = write(
        tmp_path / "s.txt", "".join(f"{id} {2 if id[0] == 'b' else 3 if 'A14' in id else 0}\n" for id in ids)
    )
    whole = evaluate("asvspoof2021_la", scores, key, num_resamples=10)
    without = evaluate("asvspoof2021_la", scores, key, exclude={"attack": ["A14"]}, num_resamples=10)
    assert (whole.num_spoof, without.num_spoof) == (6, 3)
    assert whole.eer > 0.4 and without.eer == 0
    assert (without.num_bonafide, without.num_expected, without.is_partial) == (4, 7, False)
    assert "left out by definition: attack A14" in without.table() and "PARTIAL" not in without.table()
    assert without.to_dict()["excluded"] == {"attack": ["A14"]}
    assert evaluate("asvspoof2021_la", scores, key, exclude={"codec": ["gsm"]}, num_resamples=10).num_spoof == 3


def test_excluded_trials_still_need_scores(tmp_path):
    key, ids = la_key(tmp_path)
    scores = write(tmp_path / "s.txt", "".join(f"{id} {len(id)}\n" for id in ids if id != "A140"))
    with pytest.raises(InputError, match="1 of 10 trials without a score: A140"):
        evaluate("asvspoof2021_la", scores, key, exclude={"attack": ["A14"]})


@pytest.mark.parametrize(
    "exclude, message",
    [
        ({"atack": ["A14"]}, "trials have no field 'atack' to exclude by; did you mean 'attack'"),
        ({"attack": ["A41"]}, "no trial of the key has attack 'A41' to exclude; did you mean 'A14'"),
        ({"codec": ["opus"]}, "no trial of the key has codec 'opus' to exclude; known: gsm, none"),
        ({"label": ["spoof", "bonafide"]}, "without label spoof bonafide no trials are left"),
        ({"label": ["spoof"]}, "4 trials, all bona fide, and an EER needs both"),
    ],
)
def test_wrong_exclusions(tmp_path, exclude, message):
    key, ids = la_key(tmp_path)
    scores = write(tmp_path / "s.txt", "".join(f"{id} {n}\n" for n, id in enumerate(ids)))
    with pytest.raises(InputError, match=message):
        evaluate("asvspoof2021_la", scores, key, exclude=exclude)


def test_a_partial_result_counts_only_trials_that_are_not_excluded(tmp_path):
    key, ids = la_key(tmp_path)
    scores = write(tmp_path / "s.txt", "".join(f"{id} {n}\n" for n, id in enumerate(ids) if id not in ("A140", "A070")))
    options = {"allow_partial": True, "num_resamples": 5}
    result = evaluate("asvspoof2021_la", scores, key, exclude={"attack": ["A14"]}, **options)
    assert "PARTIAL: rests on 6 of 7 trials; 1 of 7 trials without a score: A070" in result.table()
    write(scores, "".join(f"{id} {n}\n" for n, id in enumerate(ids) if id != "A140"))
    result = evaluate("asvspoof2021_la", scores, key, exclude={"attack": ["A14"]}, **options)
    assert not result.is_partial and "PARTIAL" not in result.table()


@pytest.mark.parametrize(
    "corpus, phase, message",
    [
        ("in_the_wild", "dev", "In-the-Wild has no phase 'dev'; it has eval"),
        ("asvspoof2021_la", "evla", "has no phase 'evla'; it has progress, eval, hidden"),
        ("generic", "dve", "has no phase 'dve'; it has train, dev, eval, all"),
        (
            "generic",
            "dev",
            "the list names no parts, so there is no phase 'dev'; fill its column 'split', or ask for 'all'",
        ),
    ],
)
def test_an_unknown_phase(tmp_path, corpus, phase, message):
    la_key(tmp_path)
    write(tmp_path / "meta.csv", "file,speaker,label\n0.wav,A,spoof\n1.wav,A,bona-fide\n")
    write(tmp_path / "list.csv", "path,label\n0.wav,spoof\n1.wav,real\n")
    keys = {"asvspoof2021_la": "trial_metadata.txt", "in_the_wild": "meta.csv", "generic": "list.csv"}[corpus]
    scores = write(tmp_path / "s.txt", "0 0\n1 1\n")
    with pytest.raises(InputError, match=message):
        evaluate(corpus, scores, tmp_path / keys, phase, num_resamples=5)


def test_the_phase_all_of_a_generic_corpus(tmp_path):
    scores = write(tmp_path / "s.txt", "0 0\n1 1\n")
    key = write(tmp_path / "list.csv", "path,label,split\n0.wav,spoof,dev\n1.wav,real,eval\n")
    assert evaluate("generic", scores, key, "all", num_resamples=5).num_expected == 2
    write(key, "path,label\n0.wav,spoof\n1.wav,real\n")
    for phase in ("all", "eval"):
        assert evaluate("generic", scores, key, phase, num_resamples=5).num_expected == 2


def test_interval_is_over_trials_if_speakers_are_unknown(tmp_path):
    write(tmp_path / "meta.csv", "file,speaker,label\n0.wav,,spoof\n1.wav,A,bona-fide\n2.wav,B,spoof\n")
    result = evaluate("in_the_wild", write(tmp_path / "scores.txt", "0 0\n1 1\n2 2\n"), tmp_path, num_resamples=10)
    assert (result.interval_over, result.num_groups) == ("trials", 3)


def test_decisions_instead_of_scores_have_no_tdcf(tmp_path):
    case = golden_metrics.load("all_equal", tmp_path)
    result = evaluate("asvspoof2021_la", tmp_path / "scores_LA.txt", tmp_path / "keys", num_resamples=10)
    assert result.eer == case.results["evaluate_2021_LA:eval"]["values"]["eer"] == 1
    assert result.min_tdcf is None
    assert "three distinct values" in result.notes[0]


def test_unknown_corpus(tmp_path):
    with pytest.raises(InputError, match="unknown corpus 'asvspoof2021'; did you mean"):
        evaluate("asvspoof2021", tmp_path, tmp_path)


@pytest.mark.parametrize("num_speakers, over", [(9, "18 trials"), (10, "10 speakers")])
def test_interval_is_over_speakers_if_there_are_enough(tmp_path, num_speakers, over):
    key, scores = [], []
    for speaker in range(num_speakers):
        for label, attack in (("bonafide", "bonafide"), ("spoof", "A07")):
            name = f"u{speaker}{label[0]}"
            key.append(f"s{speaker} {name} none ita_tx {attack} {label} notrim eval\n")
            scores.append(f"{name} {speaker % 3 + (label == 'bonafide')}\n")
    file = write(tmp_path / "trial_metadata.txt", "".join(key))
    result = evaluate("asvspoof2021_la", write(tmp_path / "scores.txt", "".join(scores)), file, num_resamples=50)
    assert f"bootstrap over {over}" in result.table()


@pytest.mark.parametrize(("asked", "drawn"), [(60, 60), (201, 200)])
def test_rows_have_the_draws_that_were_asked_for_up_to_200(case, asked, drawn, monkeypatch):
    seen = []
    monkeypatch.setattr(metrics, "bootstrap_interval", lambda *_, num_resamples, **__: seen.append(num_resamples))
    result = evaluate("asvspoof2021_la", case.folder / "scores_LA.txt", case.folder / "keys", num_resamples=asked)
    assert result.num_row_resamples == drawn and seen[0] == asked and set(seen[1:]) == {drawn}


def test_constant_scores_are_noted(tmp_path):
    keys = write(tmp_path / "list.csv", "path,label\na,real\nb,fake\nc,fake\n")
    scores = write(tmp_path / "scores.txt", "a 0.5\nb 0.5\nc 0.5\n")
    result = evaluate("generic", scores, keys, num_resamples=5)
    note = "all trials have the same score, 0.5, so no rate here tells the classes apart"
    assert result.notes == (note,) and f"note: {note}" in result.table()


def test_rows_beyond_the_first_have_no_interval(tmp_path):
    """A list may have hundreds of columns with hundreds of values each."""
    rows = [f"{n},{('real', 'fake')[n % 2]},{n // 4},{n // 4},{n // 4}\n" for n in range(800)]
    keys = write(tmp_path / "list.csv", "path,label,a,b,c\n" + "".join(rows))
    scores = write(tmp_path / "scores.txt", "".join(f"{n} {n % 7}\n" for n in range(800)))
    result = evaluate("generic", scores, keys, num_resamples=5)
    assert [len(table.rows) for table in result.tables] == [200, 200, 200]
    with_interval = [{row.interval is not None for row in table.rows} for table in result.tables]
    assert with_interval == [{True}, {True}, {False}]
    assert [row.eer for row in result.rows("a")] == [row.eer for row in result.rows("c")]

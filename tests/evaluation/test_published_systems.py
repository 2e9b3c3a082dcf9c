"""Published figures of real systems, from their published scores."""

import lzma
import re

import pytest
from builders.files import read_json, write

from nes2net.actions.evaluation import evaluate
from nes2net.cli.main import main


@pytest.fixture(scope="module")
def real_2019(shared, tmp_path_factory):
    """Folder with the protocols, ASV scores and three systems' scores of ASVspoof 2019 LA."""
    source = shared / "real" / "scores" / "asvspoof2019_la"
    folder = tmp_path_factory.mktemp("2019")
    for path in source.glob("ASVspoof2019.*.xz"):
        write(folder / path.stem, lzma.open(path, "rt").read())
    for name in ("AASIST.eval", "fusion_weighted.eval", "CQCC-GMM.dev", "MoE.eval"):
        write(folder / f"{name}.txt", lzma.open(source / f"{name}.txt.xz", "rt").read())
    write(folder / "published.txt", lzma.open(source / "fusion_weighted.published.txt.xz", "rt").read())
    return folder


def test_the_development_figures_of_cqcc_gmm_are_the_published_ones(real_2019):
    """EER, minimum t-DCF with the organisers' ASV system, and number of trials of ASVspoof 2019 LA."""
    result = evaluate("asvspoof2019_la", real_2019 / "CQCC-GMM.dev.txt", real_2019, "dev", num_resamples=2)
    assert f"{100 * result['eer'].value:.6f}" == "0.431141"
    assert f"{result['min_tdcf'].value:.6f}" == "0.012267"
    assert result["num_expected"].value == 24844


def evaluated(folder, corpus, *arguments):
    """The systems of `nes2net evaluate`, by name, each with the values of its figures and its breakdown by attack."""
    assert main(["evaluate", corpus, *arguments, "--resamples", "2", "--json", str(folder / "report.json")]) == 0
    report = read_json(folder / "report.json")
    assert report["differences_from_official_trials"] == []
    tables = {table["name"]: table["rows"] for table in report["tables"]}
    systems = {}
    for row in tables["systems"]:
        name = row.pop("on")["system"]
        by_attack = [attack_row for attack_row in tables.get("by attack", ()) if attack_row["on"]["system"] == name]
        systems[name] = {measure: figure["value"] for measure, figure in row.items()} | {"by attack": by_attack}
    return systems


@pytest.fixture(scope="module")
def systems_2019(real_2019, tmp_path_factory):
    """MoE, AASIST and the fusion, evaluated by the command."""
    scores = [str(real_2019 / f"{name}.eval.txt") for name in ("MoE", "AASIST", "fusion_weighted")]
    folder = tmp_path_factory.mktemp("report")
    return [*evaluated(folder, "asvspoof2019_la", *scores, "--keys", str(real_2019)).values()]


def test_evaluate_gives_the_published_figures_of_2019_la(systems_2019):
    """EER, minimum t-DCF and number of trials of three systems."""
    moe, aasist, fusion = systems_2019
    assert {system["num_bonafide"] + system["num_spoof"] for system in systems_2019} == {71237}
    assert f"{100 * moe['eer']:.7f}" == "0.7480226"
    assert f"{moe['min_tdcf']:.6f}" == "0.021260"
    assert f"{100 * aasist['eer']:.6f}" == "0.829511"
    assert f"{aasist['min_tdcf']:.6f}" == "0.027529"
    assert f"{100 * fusion['eer']:.9f}" == "0.734180272"
    assert f"{fusion['min_tdcf']:.9f}" == "0.021627333"


def test_evaluate_gives_the_published_eers_by_attack_of_a_fusion(systems_2019, real_2019):
    lines = [line.split() for line in (real_2019 / "published.txt").read_text().splitlines()]
    published = {words[1]: words[3] for words in lines if len(words) > 3 and words[0] == "EER" and words[1][0] == "A"}
    assert len(published) == 13
    by_attack = {row["on"]["attack"]: f"{100 * row['eer']['value']:.9f}" for row in systems_2019[2]["by attack"]}
    assert by_attack == published


@pytest.fixture(scope="module")
def progress(shared, tmp_path_factory):
    """Folder with the labels of the progress trials of ASVspoof 2021 LA and two baselines' scores of all trials."""
    folder = tmp_path_factory.mktemp("progress")
    for path in (shared / "real" / "scores" / "asvspoof2021_la_progress").glob("*.xz"):
        write(folder / path.stem, lzma.open(path, "rt").read())
    return folder


def test_evaluate_gives_the_published_figures_of_the_2021_la_baselines(progress, tmp_path, capsys):
    """EERs and numbers of progress trials in the JSON, EERs on the terminal."""
    scores = [str(progress / f"{name}.txt") for name in ("LFCC-LCNN", "LFCC-GMM")]
    keys = ["--keys", str(progress / "ASVspoof2021.LA.cm.progress.labels.txt")]
    flags = [*keys, "--phase", "progress", "--allow-partial"]
    systems = evaluated(tmp_path, "asvspoof2021_la", *scores, *flags)
    eers = {name: f"{100 * system['eer']:.6f}" for name, system in systems.items()}
    assert eers == {"LFCC-LCNN": "8.898042", "LFCC-GMM": "21.126859"}
    for system in systems.values():
        assert system["num_bonafide"] == 1676
        assert system["num_spoof"] == 14788
    printed = capsys.readouterr().out
    assert re.search(r"^LFCC-LCNN +8\.898 ", printed, re.MULTILINE)
    assert re.search(r"^LFCC-GMM +21\.127 ", printed, re.MULTILINE)


@pytest.fixture
def command(progress):
    labels = str(progress / "ASVspoof2021.LA.cm.progress.labels.txt")
    return ["evaluate", "asvspoof2021_la", str(progress / "LFCC-GMM.txt"), "--keys", labels]


def test_a_key_of_the_progress_trials_alone_is_refused_for_another_phase(command, capsys):
    assert main([*command, "--allow-partial"]) == 2
    error = capsys.readouterr().err
    assert "1,676 bona fide, 14,788 spoofed" in error
    assert "not to eval; ask for --phase progress" in error


def test_evaluate_gives_the_published_eers_of_sls_on_in_the_wild_by_two_rules(shared, tmp_path):
    """By the rule of the published program of this corpus, and by that of ASVspoof as in a paper."""
    source = shared / "real" / "scores" / "in_the_wild"
    key = [line.split() for line in lzma.open(source / "in_the_wild_key.txt.xz", "rt")]
    write(tmp_path / "meta.csv", "file,speaker,label\n" + "".join(f"{row[1]},,{row[-1]}\n" for row in key))
    scores = str(write(tmp_path / "SLS.txt", lzma.open(source / "SLS_paper.scores_Wild.txt.xz", "rt").read()))
    (sls,) = evaluated(tmp_path, "in_the_wild", scores, "--keys", str(tmp_path)).values()
    assert f"{100 * sls['eer']:.6f}" == "7.464455"
    # The paper's figure is by the ASVspoof rule, as that of a corpus of one's own.
    labels = str(write(tmp_path / "labels.csv", (tmp_path / "meta.csv").read_text()))
    arguments = [scores, "--keys", labels, "--resamples", "2", "--json", str(tmp_path / "own.json")]
    assert main(["evaluate", "generic", *arguments]) == 0
    (sls,) = read_json(tmp_path / "own.json")["tables"][0]["rows"]
    assert f"{100 * sls['eer']['value']:.6f}" == "7.464132"

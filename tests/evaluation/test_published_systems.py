"""Published figures of real systems, from their published scores."""

import lzma
from pathlib import Path

import pytest

from nes2net import metrics
from nes2net.evaluation.evaluate import evaluate


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


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
    assert {row.group["attack"]: f"{100 * row.eer:.9f}" for row in result.rows("attack")} == published


def test_asv_system_of_2019_la(real_2019):
    from nes2net.corpora import asvspoof2019_la

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
    eer, _ = metrics.compute_eer(result.matched.bonafide, result.matched.spoof, "asvspoof")
    assert f"{100 * eer:.6f}" == "7.464132"

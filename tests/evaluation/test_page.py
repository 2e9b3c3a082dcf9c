"""The page and the JSON of an evaluation: content, safety, and the same bytes every time."""

import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from builders import input_error
from builders.files import write
from builders.report_case import make_case, report_of

from nes2net.actions.evaluation import evaluate
from nes2net.data.corpora import asvspoof2019_la, asvspoof2021_la
from nes2net.data.corpora.corpus import Counts
from nes2net.evaluation.page import Pages, html_page
from nes2net.evaluation.plots import strip_svg
from nes2net.metrics.localisation.metrics import ScoredUtterance

HOSTILE = "<script>alert('x')</script>&\"$\\alpha$"


@pytest.fixture(scope="module")
def pages(single, several):
    return html_page(single), html_page(several)


def evaluated(corpus, keys, *scores, **options):
    return evaluate(corpus, list(scores), keys, num_resamples=2, **options)


def file_digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Page(HTMLParser):
    """Tags, attributes and text of a page; checks that tags are closed in order."""

    VOID = ("meta", "br", "wbr")

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.attributes = []
        self.text = ""
        self.open = []
        self.cells = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        self.open += [tag] if tag not in self.VOID else []
        self.cells += [""] if tag in ("td", "th") else []

    def handle_endtag(self, tag):
        assert tag in self.VOID or self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & {*self.open}:
            self.cells[-1] += data


# Content of the page


def test_the_page_of_one_system_has_the_figures_of_its_result(single, pages):
    page = Page(pages[0])
    low, high = single["eer"].interval
    for words in (
        f"{100 * single['eer'].value:.2f}",
        f"95 % interval {100 * low:.2f}–{100 * high:.2f}",
        "240 trials (80 bona fide, 160 spoof)",
    ):
        assert words in page.text
    for row in single.rows("by attack"):
        low, high = row["eer"].interval
        eer_with_interval = f"{100 * row['eer'].value:.2f}{100 * low:.2f}–{100 * high:.2f}"
        assert {row.labels["attack"], eer_with_interval, str(row.value("num_bonafide"))} <= set(page.cells)
    for row in single.rows("by attack and codec"):
        eer = f"{100 * row['eer'].value:.2f}"
        assert any(cell.startswith(eer) and f"spoof {row.value('num_spoof')}" in cell for cell in page.cells)


def test_each_pair_of_systems_has_the_difference_of_its_eers(several):
    eers = {row.labels["system"]: row["eer"].value for row in several.rows("systems")}
    pairs = several.rows("differences")
    assert [" ".join(row.labels.values()) for row in pairs] == ["good worse", "good useless", "worse useless"]
    for row in pairs:
        first, second = row.labels.values()
        assert row["first_eer"].value == eers[first]
        assert row["second_eer"].value == eers[second]
        assert row["difference"].value == eers[first] - eers[second]


@pytest.fixture
def corners():
    """A function that gives the corners of a shape in percent of the plot, from the upper left.

    The plot is of 1,000 frames in 10 s with the score 1, but one of them 0, and of a threshold of 0.25.
    """
    scores = np.ones(1000)
    scores[501] = 0
    svg = strip_svg(ScoredUtterance(scores, [("spoof", 5, 7.5)], 10.0), 10, 0.25, (0, 1), 0)
    frame = np.array(re.findall(r'<rect x="(.*)" y="(.*)" width="(.*)" height="(.*)"/>', svg)[0], float)

    def corners_of(shape):
        (path,) = re.findall(rf'"strip-0-{shape}".*? d="(.*?)"', svg, re.DOTALL)
        points = np.array(re.findall(r"[ML] (\S+) (\S+)", path), float)
        return (100 * (points - frame[:2]) / frame[2:]).round(1).tolist()

    return corners_of


def test_a_plot_of_many_frame_scores_draws_neighbouring_frames_at_their_lowest_score(corners):
    assert corners("patch_3") == [[0, 20], [50, 20], [50, 100], [50.2, 100], [50.2, 20], [100, 20], [100, 20]]


def test_a_plot_of_frame_scores_marks_the_spoofed_segment(corners):
    assert corners("patch_2") == [[50, 15], [75, 15], [75, 0], [50, 0]]


def test_a_plot_of_frame_scores_marks_the_threshold(corners):
    assert corners("line2d_1") == [[0, 80], [100, 80]]


@pytest.fixture
def partial_report(case, tmp_path):
    lines = (case / "good.txt").read_text().splitlines(keepends=True)
    scores = write(tmp_path / "part.txt", "".join(lines[:-7]))
    return evaluated("asvspoof2021_la", case, scores, case / "worse.txt", allow_partial=True)


def test_the_page_states_that_a_result_rests_on_a_part_of_the_trials(partial_report):
    page = Page(html_page(partial_report))
    assert "part: PARTIAL: rests on 233 of 240 trials; 7 of 240 trials without a score: LA_E_233" in page.text


def test_systems_are_compared_on_the_trials_that_both_have_scored(partial_report):
    assert partial_report.rows("differences")[0].value("num_trials") == 233


def test_the_page_of_a_result_shows_its_warnings(single):
    warned = replace(single, warnings=["the detector was trained on these trials"])
    assert '<p class="warning">the detector was trained on these trials.</p>' in html_page(warned)


def test_the_result_states_how_its_numbers_of_trials_differ_from_the_official_ones(single, case, register_corpus):
    assert single.header["differences_from_official_trials"] == [
        "240 trials instead of 148,176",
        "80 bona fide instead of 14,816",
        "160 spoofed instead of 133,360",
    ]
    official = replace(asvspoof2021_la.CORPUS, key_counts={"eval": Counts(240, 80, 160)})
    register_corpus("small", official)
    report = evaluated("small", case, case / "good.txt")
    assert report.header["differences_from_official_trials"] == []


def test_the_page_calls_an_asv_system_the_organisers_only_if_it_has_as_many_scores_as_theirs(tmp_path, register_corpus):
    """With another number of scores, the page names the file."""
    protocol = "".join(f"s u{n} - {'- bonafide' if n % 2 else 'A07 spoof'}\n" for n in range(40))
    write(tmp_path / "ASVspoof2019.LA.cm.eval.trl.txt", protocol)
    lines = (f"- {kind} {n}\n" for n, kind in enumerate(["nontarget", "spoof", "target"] * 10))
    asv = write(tmp_path / "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt", "".join(lines))
    scores = write(tmp_path / "s.txt", "".join(f"u{n} {n * 7 % 11 + 5 * (n % 2)}\n" for n in range(40)))
    report = evaluated("asvspoof2019_la", tmp_path, scores)
    assert f"with the ASV scores of {asv}" in Page(html_page(report)).text
    register_corpus("small", replace(asvspoof2019_la.CORPUS, asv_counts={"eval": (10, 10, 10)}))
    assert "with the organisers’ ASV system" in html_page(evaluated("small", tmp_path, scores))


# The JSON


def test_the_same_result_is_written_in_the_same_bytes(several, pages, case, tmp_path):
    Pages(json=tmp_path / "0.json").write(several)
    files = Pages(tmp_path / "1.html", tmp_path / "1.json")
    files.write(report_of(case, "good", "worse", "useless"))
    text = (tmp_path / "0.json").read_text()
    assert (tmp_path / "1.html").read_text() == pages[1]
    assert (tmp_path / "1.json").read_text() == text


def test_the_result_has_the_hashes_of_its_inputs(single, case):
    scores, key = single.header["inputs"]
    assert scores == {"kind": "scores", "path": str(case / "good.txt"), "sha256": file_digest(case / "good.txt")}
    rows = [line.split() for line in (case / "trial_metadata.txt").read_text().splitlines()]
    trials = "".join(sorted(f"{row[1]} {row[5]} {row[7]}\n" for row in rows))
    assert key["trials_sha256"] == hashlib.sha256(trials.encode()).hexdigest()


def test_the_result_names_and_hashes_the_key_or_the_list_that_was_read(case, tmp_path):
    def key_of(corpus, keys, scores):
        return evaluated(corpus, keys, scores).header["inputs"][-1]

    metadata = write(tmp_path / "LA" / "CM" / "trial_metadata.txt", (case / "trial_metadata.txt").read_text())
    key = key_of("asvspoof2021_la", tmp_path, case / "good.txt")
    assert key["path"] == str(metadata)
    assert key["sha256"] == file_digest(metadata)
    write(tmp_path / "metadata.csv", "path,label\nx.wav,real\n")
    listed = write(tmp_path / "eval.csv", "path,label\na.wav,real\nb.wav,fake\n")
    key = key_of("generic", tmp_path, write(tmp_path / "s.txt", "a 1\nb 0\n"))
    assert key["path"] == str(listed)
    assert key["sha256"] == file_digest(listed)


# Safety, and the same bytes every time


def test_text_from_files_is_escaped_on_the_page(tmp_path):
    attack = HOSTILE.replace(" ", "")
    folder = make_case(tmp_path / "a&b", attacks=(attack, "A08"))
    hostile = folder / "<img src=x onerror=alert(1)>.txt"
    (folder / "good.txt").rename(hostile)
    hostile.write_text(hostile.read_text() + "<b>bold</b> 1.0\n")
    report = evaluated("asvspoof2021_la", folder, hostile, folder / "worse.txt", allow_partial=True)
    page = Page(html_page(report))
    assert "script" not in page.tags
    assert "img" not in page.tags
    for _, name, _ in page.attributes:
        assert not name.startswith("on")
    assert attack in page.cells
    assert "<img src=x onerror=alert(1)>" in page.text


def test_the_page_is_self_contained(pages):
    text = pages[1]
    page = Page(text)
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(page.tags)
    assert all(value[0] == "#" for _, name, value in page.attributes if name in ("src", "href", "xlink:href", "data"))
    assert not re.search(r"@import|url\((?!#)", text)
    assert "content=\"default-src 'none'" in text


def test_the_page_draws_equal_separated_huge_and_tiny_scores(tmp_path):
    key = write(tmp_path / "key.csv", "path,label\nu0,real\nu1,real\nu2,real\nu3,fake\nu4,fake\nu5,fake\n")
    shapes = {"equal": "0 0 0 0 0 0", "separated": "5 6 7 -5 -6 -7", "huge": "1e300 1e299 0 -1e300 1 2"}
    shapes["tiny"] = "1e-300 2e-300 3e-300 0 1e-301 2e-301"
    paths = []
    for name, scores in shapes.items():
        rows = [f"u{number} {score}" for number, score in enumerate(scores.split())]
        paths.append(write(tmp_path / f"{name}.txt", rows))
    report = evaluated("generic", key, *paths)
    assert Page(html_page(report)).attributes.count(("svg", "role", "img")) == 1 + len(shapes)


# Names


def test_systems_with_the_same_file_name_are_named_by_their_paths(case, tmp_path):
    namesake = write(tmp_path / "good.txt", (case / "worse.txt").read_text())
    report = evaluated("asvspoof2021_la", case, case / "good.txt", namesake, case / "worse.txt")
    assert [row.labels["system"] for row in report.rows("systems")] == [str(case / "good.txt"), str(namesake), "worse"]


def test_a_score_file_that_is_named_twice_is_refused(case):
    with input_error("good.txt is named more than once"):
        evaluated("asvspoof2021_la", case, case / "good.txt", case / "." / "good.txt")

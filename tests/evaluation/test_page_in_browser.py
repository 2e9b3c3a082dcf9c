"""The page of an evaluation in headless Chromium: its width, and a light and a dark ground."""

import html
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from builders import PATIENCE

from nes2net.evaluation.evaluate import evaluate_systems
from nes2net.evaluation.page import write_report
from nes2net.evaluation.transfer import ThresholdSource

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def transferred(case):
    """At the threshold of its own trials."""
    keys = str(case / "trial_metadata.txt")
    source = ThresholdSource([str(case / "worse.txt")], keys, dev_phase="eval")
    return evaluate_systems("asvspoof2021_la", [case / "good.txt"], keys, num_resamples=50, threshold_source=source)


@pytest.fixture(scope="module")
def chromium():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    return found or pytest.skip("no chromium found (scripts/test_packages.sh installs it on Debian)")


def browse(chromium: str, folder: Path, *arguments: str) -> str:
    flags = ["--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"]
    flags += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=3000"]
    command = [chromium, "--headless", *flags, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("which, width", [*itertools.product(["single", "several"], [1280, 400]), ("transferred", 400)])
def test_nothing_sticks_out_of_the_page(chromium, which, width, request, tmp_path):
    """In a frame of this width the page is no wider; wider tables scroll in their own frames."""
    write_report(request.getfixturevalue(which), tmp_path / "report.html")
    probe = """<body><iframe id=f width=WIDTH height=900 style="border:0" src="report.html"></iframe><script>
    f.onload = () => {
      const page = f.contentDocument, root = page.documentElement, wide = [];
      for (const e of page.querySelectorAll("body *")) {
        const box = e.getBoundingClientRect();
        if (box.width && box.right > WIDTH + 1 && !e.closest(".scroll, svg")) wide.push(e.tagName + "." + e.className);
      }
      const plots = [...page.querySelectorAll("figure svg[role]")].map(e => e.getBoundingClientRect().width);
      document.title = JSON.stringify({width: root.scrollWidth, wide, plots, rows: page.querySelectorAll("tr").length});
    }</script></body>"""
    (tmp_path / "probe.html").write_text(probe.replace("WIDTH", str(width)))
    dom = browse(chromium, tmp_path, "--allow-file-access-from-files", "--dump-dom", (tmp_path / "probe.html").as_uri())
    found = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", dom).group(1)))
    assert found["width"] <= width and found["wide"] == [] and found["rows"] >= 10
    assert all(300 < plot <= width for plot in found["plots"])

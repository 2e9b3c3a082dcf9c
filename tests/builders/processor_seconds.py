"""Processor seconds of each test file, recorded in tests/seconds.json like the weights in scripts/house_limits.json.

`--seconds FILE` lets a run fail if a test file takes much more than FILE says; if there is no FILE,
the run writes it. Other machines are slower or faster, so the recorded seconds are first multiplied
by the median ratio of all files.
"""

import json
import os
from collections import Counter
from statistics import median

import pytest

#: Files that take less are not recorded.
LEAST_SECONDS = 0.5
#: The first test of a process pays for what later ones share, and it is another one in each run.
SHARED_SECONDS = 3.0
LARGEST_RATIO = 2.0

seconds_of_file = Counter()
seconds_so_far = 0.0


def seconds_since_last_call():
    """Processor seconds of this process, and of the programs that it started and that have ended."""
    global seconds_so_far
    before = seconds_so_far
    seconds_so_far = sum(os.times()[:4])
    return seconds_so_far - before


def pytest_collection_finish():
    """Leave out imports and collection, which are no test's."""
    seconds_since_last_call()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    report.processor_seconds = seconds_since_last_call()
    return report


def pytest_runtest_logreport(report):
    seconds_of_file[report.nodeid.partition("::")[0]] += report.processor_seconds


def files_above(recorded, measured):
    """The sentence about each file that takes too long."""
    ratios = [measured[name] / seconds for name, seconds in recorded.items() if measured[name]]
    if not ratios:
        return []
    speed = median(ratios)
    sentences = []
    for name, seconds in sorted(measured.items()):
        expected = speed * recorded.get(name, LEAST_SECONDS)
        if seconds > LARGEST_RATIO * expected + SHARED_SECONDS:
            sentences.append(f"{name} takes {seconds:.1f} s of processor time, instead of {expected:.1f} s")
    return sentences


def check_or_record(path):
    """Whether each file takes about what ``path`` says; without that file, write it."""
    if not path.exists():
        recorded = {name: round(seconds, 1) for name, seconds in sorted(seconds_of_file.items())}
        recorded = {name: seconds for name, seconds in recorded.items() if seconds >= LEAST_SECONDS}
        path.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
        return True
    sentences = files_above(json.loads(path.read_text(encoding="utf-8")), seconds_of_file)
    for sentence in sentences:
        print(f"\nerror: {sentence}; make it cheaper, or record {path.name} anew and say why in the commit")
    return not sentences

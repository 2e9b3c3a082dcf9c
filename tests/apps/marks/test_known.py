"""`nes2net info marks`: what reads marks here, and where else to look."""

import json

from nes2net.apps.marks.known import KNOWN_MARKS
from nes2net.scoring.marks import MARKS


def test_marks_are_listed_with_their_readers_or_where_to_look(output):
    described = json.loads(output("info marks --json").out)
    assert described == {"title": "marks", **KNOWN_MARKS}
    assert described["AudioSeal (Meta)"] == "not read here; its package audioseal"
    assert "closed; the makers' web pages, such as ElevenLabs' own" in described.values()


def test_every_kind_that_is_read_has_a_line():
    assert [mark.partition(":")[0] for mark, words in KNOWN_MARKS.items() if words.startswith("read by ")] == list(
        MARKS
    )


def test_without_the_readers_one_line_says_so(output, without_readers):
    without_readers()
    printed = output("info marks").out
    assert printed == "marks\n  not read  this copy of nes2net lacks the folder apps/marks\n"


def test_a_misspelt_word_suggests_marks(refused):
    assert "did you mean 'marks'" in refused("info mark")

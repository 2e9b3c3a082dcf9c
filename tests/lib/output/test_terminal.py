"""What strangers wrote into files stays on its line, and does not command the terminal."""

import logging
import subprocess
import sys

import pytest
from builders import input_error

from nes2net.lib.output.terminal import (
    check_one_line,
    print_note,
    print_output,
    print_warnings,
    reserved_output,
    say,
    say_written,
    standard_output,
)

EVIL = "\x1b]0;owned\x07\x9b2J\ntalk.wav\t9.9\u202e"
ESCAPED = r"\x1b]0;owned\x07\x9b2J\ntalk.wav\t9.9\u202e"


def test_control_characters_in_a_printed_line_are_escaped(capsys):
    say(f"# detector: {EVIL}", "–  全角")
    say(EVIL, file=sys.stderr)
    printed = capsys.readouterr()
    assert printed.out == f"# detector: {ESCAPED}\n–  全角\n"
    assert printed.err == f"{ESCAPED}\n"


def test_control_characters_in_a_message_are_escaped(capsys):
    print_note(EVIL)
    print_warnings([EVIL])
    say_written(EVIL, beside_data=True)
    assert capsys.readouterr().err == f"note: {ESCAPED}\nwarning: {ESCAPED}\nwrote {ESCAPED}\n"


def test_without_a_handler_notes_and_warnings_are_printed_and_progress_is_not():
    code = """
from nes2net.lib.output.terminal import PROGRESS, log_line, print_note, print_warnings
print_note("a `setting`")
log_line("a file of 3", PROGRESS)
print_warnings(["a doubt"])
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (printed.stdout, printed.stderr) == ("", "note: a `setting`\nwarning: a doubt\n")


def test_the_level_of_the_logger_silences_notes(caplog):
    caplog.set_level(logging.ERROR, "nes2net")
    print_note("a note")
    assert not caplog.records


def test_only_nes2net_prints_on_reserved_standard_output(capsys):
    with reserved_output():
        print("a part")
        say("a line")
        print_output("a\ttext\n of two lines")
        standard_output().write("a row\n")
    print("after it")
    assert capsys.readouterr() == ("a line\na\ttext\n of two lines\na row\nafter it\n", "a part\n")


@pytest.mark.parametrize("name", ["A\tB", "A\nB", "A\rB", "A\x1b[2J", "A\u2028B", "A\x85B", " A", "A\u3000"])
def test_a_name_with_control_characters_line_breaks_or_spaces_at_an_end_is_refused(name):
    check_one_line(["全角", "a b", "bonafide"], "the file")
    with input_error("the file has the name .*: remove tabs, line breaks"):
        check_one_line(["C", name], "the file")


@pytest.mark.parametrize("name", ["A\tB", "A\x1b[2J", "A\u2028B", "A\x85B"])
def test_the_refusal_of_a_name_with_control_characters_is_printable(name):
    with input_error() as refusal:
        check_one_line([name], "the file")
    assert str(refusal.value).isprintable()

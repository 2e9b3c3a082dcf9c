"""`nes2net --completion`: what bash completes after the script was sourced."""

import shutil
import subprocess

import pytest


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_values_and_files(tmp_path, output):
    """What bash offers for the last word of each line, in one shell."""
    for name in ("scores.txt", "detector.pth", "own.yaml"):
        (tmp_path / name).touch()
    lines = {
        "nes2net ev": {"evaluate"},
        "nes2net score --padding ": {"repeat", "zeros"},
        "nes2net evaluate asvspoof2021_": {"asvspoof2021_la", "asvspoof2021_df"},
        "nes2net evaluate asvspoof2021_la sc": {"scores.txt"},
        "nes2net score asvspoof2021_la DB --model de": {"detector.pth"},
        "nes2net train own": {"own.yaml"},
        "nes2net data ch": {"check"},
        "nes2net published Cal": {"Cal_EER_in_the_wild"},
        "nes2net --completion z": {"zsh"},
    }
    program = [output("--completion bash").out]
    for line in lines:
        words = line.split(" ")
        quoted = " ".join(f"'{word}'" for word in words)
        program.append(f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMPREPLY=()")
        program.append('_shtab_nes2net; echo "${COMPREPLY[*]}"')
    done = subprocess.run(["bash"], input="\n".join(program), cwd=tmp_path, capture_output=True, text=True, check=True)
    completions = [set(words.split()) for words in done.stdout.splitlines()]
    assert dict(zip(lines, completions, strict=True)) == lines

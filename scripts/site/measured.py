"""Measure the rows of results/*.csv again, and compare, or add rows.

python scripts/site/measured.py FOLDER
python scripts/site/measured.py FOLDER --add SYSTEM CORPUS PHASE SCORES SOURCE [PUBLISHED] --to results/measured.csv

FOLDER has a folder for each corpus, with its keys and the score files SCORES. SOURCE says where the
scores are from; PUBLISHED is the id of the published result that the row answers. EERs and their
95 % intervals, from a bootstrap over the trials, are in percent.

The last line is IDENTICAL, or names the rows that differ; the exit status is then 1. Rows whose
files are not in FOLDER are named, and not measured.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from nes2net import evaluate
from nes2net.evaluation.result_rows import append_rows, result_rows

REPOSITORY = Path(__file__).resolve().parents[2]
#: What a row says of its measurement, in the order of --add; a row also names the commit that added it.
GIVEN = ("system", "corpus", "phase", "scores", "source", "published")


def read_rows() -> list[dict[str, str]]:
    """Read the rows of all files of results/."""
    rows: list[dict[str, str]] = []
    for path in sorted((REPOSITORY / "results").glob("*.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            rows += csv.DictReader(file)
    return rows


def is_there(row: dict[str, str], folder: Path) -> bool:
    return (folder / row["corpus"] / row["scores"]).is_file()


def measure(row: dict[str, str], folder: Path) -> dict[str, str]:
    """Evaluate the score file of ``row``; return the row with the measured figures, as they are printed."""
    corpus_folder = folder / row["corpus"]
    result = evaluate(row["corpus"], corpus_folder / row["scores"], corpus_folder, row["phase"], draw="trials")
    (measured_row,) = result_rows(result)
    facts = {name: row[name] for name in (*GIVEN, "commit") if name in row}
    return {name: str(cell) for name, cell in measured_row.items()} | facts


def compare(rows: list[dict[str, str]], folder: Path) -> int:
    """Measure the rows again whose files are there; return the exit status."""
    differing = []
    num_measured = 0
    for row in rows:
        name = f"{row['system']} on {row['corpus']}"
        if not is_there(row, folder):
            print(f"{name}: not measured, because {row['corpus']}/{row['scores']} is missing: see {row['source']}")
            continue
        num_measured += 1
        measured_row = measure(row, folder)
        print(f"{name}: {measured_row['eer']} % ({measured_row['low']} to {measured_row['high']})")
        if measured_row != row:
            differing.append(name)
    if differing:
        print(f"differ: {', '.join(differing)}")
    elif num_measured:
        print("IDENTICAL")
    else:
        print("nothing was measured")
    return int(not num_measured or bool(differing))


def add(row: dict[str, str], folder: Path, path: Path) -> None:
    """Measure ``row``, and append it to the file ``path``."""
    command = ["git", "-C", str(REPOSITORY), "rev-parse", "--short=12", "HEAD"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    append_rows(path, [{**measure(row, folder), "commit": printed.stdout.strip()}])


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Measure the rows of results/*.csv again, or add rows.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--add", nargs="+", metavar="FIELD", help=" ".join(GIVEN))
    parser.add_argument("--to", type=Path, default=REPOSITORY / "results" / "measured.csv")
    args = parser.parse_args(words)
    if args.add is None:
        return compare(read_rows(), args.folder)
    add(dict(zip(GIVEN, args.add)), args.folder, args.to)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The manual's page of the published detectors: parts, scoring, licences and training data of each.

``python scripts/site/published_detectors.py docs/published-detectors.md`` writes the page anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

from nes2net.inspect.names import architecture
from nes2net.published_models import PUBLISHED, PUBLISHED_MODELS

PAGE = """\
# Published detectors

Checkpoints of these systems load strictly, are recognised by their names and shapes, and score as
their authors do. A file, a folder as the hub has it, or a name on the Hugging Face hub is enough:

```bash
nes2net info FILE                                        # which of them it is
nes2net score in_the_wild DIR --model FILE --out scores.txt
nes2net predict a.wav --model FILE --architecture antideepfake_mms_1b
```

`--architecture NAME` (`config=` in Python) chooses where several have the same names and shapes, which
the error then lists. `nes2net info NAME` says more of each.

**Licences of weights differ, and some forbid commercial use** (in bold below). The record of a score
file and the rows of `nes2net predict` hold the licence. This toolkit ships no weights.

## Architectures, and how they are scored

{architectures}

The files of Spoof-SUPERB hold the weights of the layers and the linear head alone, because the encoder
was frozen. They are read together with its pre-training file:

```bash
nes2net score in_the_wild DIR --model swa.pth --architecture spoof_superb_xlsr_300m \\
    --base xlsr2_300m.pt --out scores.txt
```

The last column names the file of the authors' code, or the card, that the statement was read in. A row
for which nothing public says it is marked as an assumption.

What is written here is the default of `nes2net score`, `nes2net predict`, `Detector.score` and
`score_files`; `--protocol`, `--samples` and `--whole` override it. Most of these detectors hear four
seconds: of a longer recording, `nes2net predict` scores the beginning alone, and says so; with `--track` it
scores all of it along its time, with `--whole` in one piece. A random start is not the default,
because a score should not depend on chance: `nes2net score --crop random --crop-seed 1` scores as
published, with a start that depends on the seed and the name of the file alone
([deviation](../DEVIATIONS.md#scoring-and-audio)).

## Licences, and what they have seen

{licences}

A corpus of this toolkit has its name here, with its part behind a colon where the source names it.
Scores of trials that a detector was trained on say nothing, and those of trials on which its epoch was
selected are too good. `nes2net score` and `nes2net evaluate` then print one line on standard error, the
record of the score file holds it (`seen`), and the report page shows it at the top. The same holds for
detectors of one's own: the recipe in a checkpoint says what it was trained and validated on, and the
record of a run says what the detector of `train.init_from` or `train.task.teacher` was trained on. An ONNX file
keeps these facts without the places of the data; a detector that is exported as a folder keeps the name
of the published model and what its training started from, not its recipe.

{notes}

## Not built

- **DeepFense's MLP heads, and its WavLM, EAT and MERT front-ends**: no published file was at hand, and
  its configurations do not settle the sizes (two name WavLM Base+ where the back-end needs 1,024
  features).
- **Spoof-SUPERB's other encoders**, which no front-end of this toolkit reads (APC, TERA, NPC, SSAST,
  Data2Vec and more), its AASIST on the waveform, and its LFCC-GMM. Those that are built differ in
  nothing but the encoder.
- **XLSR-MamBo's mixers GDN** (Gated DeltaNet) **and Bi_add** (two of Mamba, one of them backwards), and
  its WavLM-Large and wav2vec 2.0 Large in place of XLS-R: its best configuration has none of them.
- **DF Arena 100M**: its code was not found.

This page is made from the table in the code:
`python scripts/site/published_detectors.py docs/published-detectors.md`.
"""


def page() -> str:
    """The page as Markdown."""
    architectures = [
        (f"`{name}`", f"`{architecture(PUBLISHED_MODELS[name])}`", row.scored, row.scored_in or "nothing public")
        for name, row in PUBLISHED.items()
    ]
    licences = [
        (
            f"`{name}`",
            f"**{row.licence}**" if row.non_commercial else row.licence,
            row.code_licence,
            ", ".join(row.trained_on) or "not known",
            ", ".join(row.selected_on) or "not known",
            row.source,
        )
        for name, row in PUBLISHED.items()
    ]
    by_note: dict[str, list[str]] = {}
    for name, row in PUBLISHED.items():
        for note in row.notes:
            by_note.setdefault(note, []).append(f"`{name}`")
    notes = [f"- {', '.join(names)}: {note}." for note, names in by_note.items()]
    return PAGE.format(
        architectures=table(
            ("detector", "front-end + aggregation + back-end", "scored as published", "as stated in"), architectures
        ),
        licences=table(
            ("detector", "licence of the weights", "of the code", "trained on", "epoch selected on", "source"), licences
        ),
        notes="\n".join(notes),
    )


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table of text."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")

"""The names of judgements and of evidence, and where marks are listed."""

from typing import Any

from nes2net.lib.parts.registry import Registry, without_missing_modules

judgements: Registry[Any] = Registry(
    "judgement",
    "judgements",
    without_missing_modules(
        {
            "scores": "nes2net.evaluation.judgements:Scores",
            "frames": "nes2net.evaluation.judgements:Frames",
            "embeddings": "nes2net.evaluation.verification:ComparedEmbeddings",
            "classes": "nes2net.evaluation.classes:Classes",
            "claims": "nes2net.evaluation.claims:Claims",
        }
    ),
    "nes2net.scoring.judgement:Judgement",
)
#: Evidence stands beside an answer and never changes it. A name stands for a function or class that is called with the
#: detector and the text after the colon of ``NAME:TEXT``, and returns a function of a
#: :class:`nes2net.scoring.waveforms.RecordingToJudge` that returns a list of findings.
evidence: Registry[Any] = Registry(
    "evidence",
    "evidence",
    without_missing_modules(
        {
            "neighbours": "nes2net.scoring.neighbours:Neighbours",
            "perth": "nes2net.apps.marks.perth:Perth",
            "c2pa": "nes2net.apps.marks.credentials:ContentCredentials",
        }
    ),
    "builtins:object",
    registers="factory",
    given=("detector", "argument"),
)
#: The request for all kinds of marks.
ALL_MARKS = "marks"
#: All marks, each with what reads it here, or where else to look; missing without the readers.
KNOWN_MARKS = "nes2net.apps.marks.known:KNOWN_MARKS"

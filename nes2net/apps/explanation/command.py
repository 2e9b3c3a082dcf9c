"""`nes2net explain`: which parts of a recording, in time and in frequency, move its score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from nes2net.actions.flags import Loading, ModelName, Reading
from nes2net.apps.explanation.settings import TITLES, How
from nes2net.lib.errors import InputError, pluralise, with_flag_names
from nes2net.lib.output.sheet import Facts, FactsDict, Sheet
from nes2net.lib.output.terminal import print_note, say, say_aside, say_written
from nes2net.lib.shell.command_line import INCOMPLETE
from nes2net.lib.shell.commands import Flag, Folder, command_facts
from nes2net.lib.storage.files import json_text, write_json, writing
from nes2net.lib.storage.outputs import check_output_paths, output_names

if TYPE_CHECKING:
    from nes2net.apps.explanation.explain import Explanation


@command_facts(
    about="A part of relevance above 0 moves the score towards bona fide. The check says whether relevance can "
    "be trusted: removing the most relevant tenth must change the score more than removing a random "
    "tenth. Exit status 1 means that a file could not be explained.",
    resumes=False,
)
def explain(
    files: Annotated[Sequence[str], Flag("FILE")],
    *,
    model: ModelName,
    loading: Loading,
    out: Folder | None = None,
    picture: Literal["png", "svg", "pdf"] = "png",
    json_: bool = False,
    length: Reading,
    method: How,
) -> int:
    """Explain the score of recordings.

    Example:
        nes2net explain recording.wav --model detector.pth --out pictures/

    Args:
        files: audio files, or folders of them
        out: folder for a picture and a .json of each file
        picture: format of the pictures
        json_: print one JSON object per line
        batch_size: changed versions scored at once

    Which part; at most 30 s are explained at once:
        start: seconds to skip at the beginning
        duration: seconds to explain; all if not given
    """
    from nes2net.apps.explanation.explain import explain as explained
    from nes2net.data.audio.files import expand_folders
    from nes2net.data.audio.parts import choose
    from nes2net.scoring.score_length import samples_to_score

    paths = expand_folders(files)
    pictures = {}
    if out:
        pictures = {path: Path(out) / name for path, name in output_names(paths, f".{picture}").items()}
    check_output_paths(pictures.values(), "name another folder with --out")
    detector = loading.load(model)
    num_samples = length.requested_samples_of_files()
    if num_samples == "auto":
        print_note(samples_to_score(detector.provenance).note)
    num_failed = 0
    for path in paths:
        try:
            explanation = explained(
                detector,
                choose(path, track=length.audio_track),
                how=method,
                num_samples=num_samples,
            )
        # If a file cannot be explained, the other files are still explained.
        except InputError as error:
            if len(paths) == 1:
                raise
            num_failed += 1
            why = with_flag_names(error.reason)
            if json_:
                say(json_text({"file": str(path), "error": why}))
            else:
                say(f"{path}: {why}", "")
            continue
        row = {"file": str(path), "model": model, **explanation.to_dict()}
        if json_:
            say(json_text(row))
        else:
            say(*_sheet(path, explanation).text().splitlines(), "")
        if pictures:
            from nes2net.apps.explanation.picture import draw

            drawing = pictures[path]
            data = drawing.with_suffix(".json")
            with writing(drawing, "name another folder with --out"):
                draw(drawing, explanation, name=path.name, model=Path(model).name)
            write_json(data, row)
            for written in (drawing, data):
                say_written(written, beside_data=True)
    if num_failed:
        say_aside(f"{num_failed:,} of {pluralise(paths, 'file')} could not be explained: see their errors")
    return INCOMPLETE if num_failed else 0


def _sheet(path: Path, explanation: Explanation) -> Sheet:
    from nes2net.apps.explanation.faithfulness import in_words

    strongest_rows: list[Facts] = []
    for unit, strongest in (("s", explanation.relevance.stretches()), ("Hz", explanation.relevance.strongest_bands())):
        for start, end, value in strongest:
            towards = "bona fide" if value > 0 else "spoof"
            strongest_rows.append(
                {"part": f"{start:.6g}–{end:.6g} {unit}", "relevance": f"{value:+.4f}", "towards": towards}
            )
    facts: FactsDict = {
        "score": f"{explanation.score:.4f}",
        "remark": explanation.remark,
        "explained": f"{explanation.duration:.2f} s from {explanation.start:.2f} s on",
        "by": f"{TITLES[explanation.method]}; absence is noise of the recording's floor",
        "check": in_words(explanation.checks),
    }
    if explanation.layers is not None:
        shares = explanation.layers.shares
        facts["largest shares"] = [f"layer {layer}: {shares[layer]:.0%}" for layer in explanation.layers.strongest()]
    if explanation.difference is not None and explanation.unexplained is not None:
        total = explanation.difference - explanation.unexplained
        facts["sum of relevance"] = f"{total:.4f} of {explanation.difference:.4f}"
        if abs(explanation.unexplained) > 0.1 * max(abs(explanation.difference), 0.1):
            facts["note"] = "the gradients are too rough, use more --steps or --method occlusion"
    return Sheet(str(path), facts, tables={"moved most by": strongest_rows})

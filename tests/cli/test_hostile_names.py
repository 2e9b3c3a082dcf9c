"""Names in checkpoints and calibrations of strangers, as commands print them, and where names of classes enter."""

import pytest
import soundfile
from builders import input_error
from builders.files import write, write_json
from builders.small_parts import SPECTRUM
from builders.source_tracing import TRACING
from builders.voices import voice

from nes2net import Detector
from nes2net.data.corpora.trial import Trial, class_names
from nes2net.models.provenance import Provenance
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.start import build_detector
from nes2net.training.tasks.task import Task

EVIL = "\x1b]0;owned\x07\x9b2J\ntalk.wav  9.9  3 s  bonafide"
SMALL = {"frontend": SPECTRUM, "backend": {"name": "mean_linear"}}
RECIPES = {
    "name": {"name": EVIL, "data": {"corpora": [{"name": "generic", "root": "x"}]}},
    "corpus": {"name": "n", "data": {"corpora": [{"name": EVIL, "root": "x"}]}},
    "split": {"name": "n", "data": {"corpora": [{"name": "generic", "root": "x", "train_split": EVIL}]}},
}


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.3 * voice(seconds=3), 16000)
    return path


def check_lines(printed):
    """The hostile name is printed, with its control characters escaped, and begins no line of its own."""
    assert "1b]0;owned" in printed
    assert printed.replace("\n", "").isprintable()
    assert not any(line.startswith("talk.wav") for line in printed.split("\n"))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_control_characters_of_names_in_a_checkpoint_are_escaped_on_the_terminal(recipe, recording, tmp_path, output):
    detector = Detector.from_config(SMALL)
    detector.provenance = Provenance.read({"recipe": recipe})
    detector.save(tmp_path / "d.pth")
    check_lines(output(["predict", recording, "--model", tmp_path / "d.pth"]).out)


def calibration_of(detector):
    scored_by = {"fingerprint": detector.fingerprint(), "precision": EVIL, "num_samples": None}
    return {
        "format": "nes2net linear calibration",
        "weights": [1.0],
        "offset": 0.0,
        "prior": 0.5,
        "l2": 0.0,
        "systems": [EVIL],
        "scored_by": scored_by,
    }


@pytest.mark.usefixtures("recording")
@pytest.mark.parametrize(
    "words",
    ["predict a.wav --model d.pth --calibration c.json", "calibrate apply c.json scores.txt --out calibrated.txt"],
    ids=["predict", "apply"],
)
def test_control_characters_of_names_in_a_calibration_are_escaped_on_the_terminal(words, workdir, output):
    detector = Detector.from_config(SMALL)
    detector.save("d.pth")
    write_json(workdir / "c.json", calibration_of(detector))
    write(workdir / "scores.txt", "a 1.5\nb -0.5\n")
    check_lines(output(words).out)


UNPRINTABLE = ["A\tB", "A\nB", "A\x1b[2J"]


def tracing(name):
    return {**TRACING, "backend": {**TRACING["backend"], "classes": [name, "B", "bonafide"]}}


@pytest.mark.parametrize("name", UNPRINTABLE)
def test_a_checkpoint_with_an_unprintable_class_name_is_refused_before_anything_is_scored(
    name, recording, tmp_path, output
):
    Detector.from_config(tracing(name)).save(tmp_path / "d.pth")
    out, err = output(["predict", recording, "--model", tmp_path / "d.pth", "--judgement", "classes"], status=2)
    assert out == ""
    assert f"a class of {tmp_path}/d.pth has the name {name!r}: remove tabs" in err


def test_a_recipe_with_an_unprintable_class_name_is_refused_before_training(tmp_path):
    recipe = Recipe(model=tracing("A\tB"))
    with input_error("`model.backend.classes` has the name .*: remove tabs"):
        build_detector(recipe, tmp_path, None, Task(recipe))


@pytest.mark.parametrize("name", UNPRINTABLE)
def test_labels_with_an_unprintable_class_name_are_refused(name):
    trials = [Trial("a", label="spoof", attack=name), Trial("b", label="bonafide")]
    with input_error("the field attack of train has the name .*: remove tabs"):
        class_names(trials, "attack", {}, "train", "fill it in")

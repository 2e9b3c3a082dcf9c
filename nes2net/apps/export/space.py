"""Write a folder for a Hugging Face Space: a detector with the page of `nes2net serve`."""

from __future__ import annotations

import json
from pathlib import Path

from nes2net.detector import Detector
from nes2net.lib.parts.options import part_names
from nes2net.lib.process.installation import requirement
from nes2net.lib.storage.files import AnyPath, path_below, write_text, writing_folder
from nes2net.models.backends.base import NATURE
from nes2net.scoring.calibrated import check_belongs
from nes2net.scoring.decisions import calibration as calibrations
from nes2net.scoring.decisions.decision import Decider
from nes2net.version import __version__

# The version of Gradio that the hub installs for the Space. The page does not use Gradio, but a Space of this kind is
# one that starts `app.py`.
_GRADIO = "6.31.0"
_APP_TEXT = '''\
"""The page of `nes2net serve` for the detector in this folder; locally: python app.py."""

import os
from pathlib import Path

from nes2net.scoring.decisions import Decider, load
from nes2net.apps.serve.server import Address, serve
from nes2net.lib.process.stop_signals import StopSignals

HERE = Path(__file__).resolve().parent
CALIBRATION = HERE / "calibration.json"

if __name__ == "__main__":
    on_hub = "SPACE_ID" in os.environ
    # A further argument of Decider chooses where to decide: operating_point=OperatingPoint.parse("fa:1%").
    decider = Decider(load(CALIBRATION), prior=0.5) if os.path.lexists(CALIBRATION) else None
    address = Address(
        host="0.0.0.0" if on_hub else "127.0.0.1",
        port=int(os.environ.get("GRADIO_SERVER_PORT", 7860)) if on_hub else None,
        names=[os.environ.get("SPACE_HOST", "localhost")],
        frames=["https://huggingface.co"] if on_hub else [],
    )
    with StopSignals() as stop:
        serve(HERE / "detector", decider, address, stop=stop)
'''
_REQUIREMENTS_TEXT = """\
# nes2net {version}, by an address that a Space can reach: of its repository or its wheel.
{line}
"""
_README_TEXT = """\
---
title: {quoted}
emoji: 👂
colorFrom: gray
colorTo: blue
sdk: gradio
sdk_version: {gradio}
app_file: app.py
pinned: false
# Choose the licence of these weights before you publish them, as an identifier of the hub such as apache-2.0.
license: other
tags: [anti-spoofing, deepfake-speech-detection]
---

# {title}

Is this speech bona fide or spoofed? The detector is {parts}. {meaning}

Try it here before you push: `pip install -r requirements.txt`, then `python app.py`.

To publish, make a Space of the kind Gradio on the Hugging Face hub, then in this folder:

```console
$ git init -b main && git lfs install && git add . && git commit -m "Add the detector and its page"
$ git remote add space https://huggingface.co/spaces/OWNER/NAME
$ git push --force space main
```
"""
_ATTRIBUTES = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


def write_space(detector: Detector, folder: Path, calibration: AnyPath | None = None) -> None:
    """Write the detector, the files of a Space and, if given, a calibration to ``folder``.

    Args:
        calibration: file of a calibration; None for raw scores, and to remove an earlier
            calibration.

    Raises:
        InputError: if the calibration is of another detector or of several detectors, or if a file
            cannot be written.
    """
    loaded = None if calibration is None else calibrations.load(calibration)
    if loaded is not None:
        check_belongs(detector, Decider(loaded).calibration)
    with writing_folder(folder):
        detector.save(path_below(folder, "detector"))
        if loaded is None:
            (folder / "calibration.json").unlink(missing_ok=True)
            meaning = f"Its score is higher for bona fide speech and is {NATURE[detector.backend.score_rule]}."
        else:
            write_text(folder / "calibration.json", loaded.text())
            meaning = "Its score is calibrated: the page shows a probability at a prior of 0.5 and a decision, which `app.py` can change."
        names = " → ".join(part_names(detector.config))
        title = f"Speech anti-spoofing: {detector.config['backend']['name']}"
        facts = {"title": title, "quoted": json.dumps(title), "gradio": _GRADIO, "parts": names, "meaning": meaning}
        write_text(folder / "README.md", _README_TEXT.format(**facts))
        write_text(
            folder / "requirements.txt", _REQUIREMENTS_TEXT.format(version=__version__, line=requirement("serve"))
        )
        write_text(folder / ".gitattributes", _ATTRIBUTES)
        write_text(folder / "app.py", _APP_TEXT)

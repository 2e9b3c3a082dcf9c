"""WeSpeaker's encoders in ONNX files."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.errors import as_input_error, refuse
from nes2net.lib.storage.files import AnyPath
from nes2net.models.checkpoints.onnx_format import read_onnx
from nes2net.models.frontends.log_mel import WINDOW, kaldi_bands
from nes2net.models.onnx_detector import start_session
from nes2net.models.speakers.base import SpeakerEncoder
from nes2net.models.speakers.files import find_encoder_file

_HUB_FILE = "hub:Wespeaker/wespeaker-resnet34-LM/voxceleb_resnet34_LM.onnx"


class ResNet34LM(SpeakerEncoder):
    """WeSpeaker's ResNet34-LM, or another of its ONNX files.

    Args:
        checkpoint: the file, or its name on the hub.
        device: where onnxruntime computes.
    """

    source = 'H. Wang et al., "Wespeaker: a research and production oriented speaker embedding learning toolkit", ICASSP 2023.'
    name = "resnet34_lm"

    def __init__(self, checkpoint: AnyPath = _HUB_FILE, *, device: str = "cpu") -> None:
        self.path, self.revision, self.sha256 = find_encoder_file(checkpoint)
        content = read_onnx(self.path, "a speaker encoder", "name another file")
        refuse((content.external_files, f"{self.path} has weights in other files: save it in one file"))
        self.session = start_session([self.path], device)
        self.dimension = self.compute(np.zeros(SAMPLE_RATE, np.float32)).size

    def features(self, waveform: NDArray[np.float32]) -> NDArray:
        """Compute Kaldi's log-mel bands, 1×T×80, with a Hamming window, minus their mean over time."""
        x = torch.from_numpy(waveform).double()[None] * 2**15
        bands = kaldi_bands(x, torch.hamming_window(WINDOW, periodic=False, dtype=x.dtype))
        return np.asarray((bands - bands.mean(1, keepdim=True)).float())

    def compute(self, waveform: NDArray[np.float32]) -> NDArray:
        with as_input_error(f"{self.path} computes no 'embs' from 'feats', 1×T×80", Exception):
            return self.session.run(["embs"], {"feats": self.features(waveform)})[0].reshape(-1)  # type: ignore[no-any-return]

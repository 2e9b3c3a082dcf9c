"""Configurations of fairseq that were made to take for ever; tests/models/frontends has what its files give."""

import argparse

import pytest
import torch
from builders import input_error

from nes2net import create_frontend
from nes2net.cli.main import main

DOUBLED = (16, 3, 2)
for _ in range(40):
    DOUBLED = [DOUBLED, DOUBLED]


EXPRESSIONS = (
    *("[(16,3,2)]" + "*64" * 30, "(" * 900 + ")" * 900, "[(16,3)]"),
    *("[(16,3,2)]+[" + "9" * 1900 + "]", "[(16,3,2)]" + "+[(16,3,2)]" * 2000),
)


def test_a_file_of_torchaudio_with_two_names_of_one_tensor_is_refused_with_both(tmp_path):
    names = ["encoder.transformer.layer_norm.weight", "encoder.layer_norm.weight"]
    torch.save(dict.fromkeys(names, torch.zeros(2)), tmp_path / "model.pt")
    with input_error(f"model.pt holds one tensor under two names, {names[0]} and {names[1]}"):
        create_frontend("wav2vec2", tmp_path / "model.pt")


@pytest.mark.parametrize(
    "layers, message",
    [
        (DOUBLED, "its metadata is nested more than 32 deep"),
        *((expression, "conv_feature_layers must be a list of") for expression in EXPRESSIONS),
    ],
)
@pytest.mark.parametrize(
    "key, packed",
    [("cfg", lambda options: {"model": options}), ("args", lambda options: argparse.Namespace(**options))],
)
def test_malformed_or_endless_configurations_of_fairseq_are_refused_with_the_reason(
    tmp_path, capsys, key, packed, layers, message
):
    """By create_frontend; info prints the same reason."""
    path = tmp_path / "evil.pt"
    configuration = packed({"conv_feature_layers": layers})
    state_dict = {"encoder.pos_conv.0.weight_v": torch.zeros(2, 2, 2)}
    torch.save({"model": state_dict, key: configuration}, path)
    with input_error(message):
        create_frontend("wav2vec2", path)
    assert main(["info", str(path)]) == 0
    assert message in " ".join(capsys.readouterr().out.split())

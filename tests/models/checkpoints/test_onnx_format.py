"""The reader of ONNX files knows every place of the format that matters."""

import pytest

onnx = pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")

from nes2net.models.checkpoints.onnx_format import PARTS  # noqa: E402


def test_every_field_of_onnx_that_leads_to_a_tensor_is_known_to_the_reader():
    """PARTS has every message that can hold a tensor, but three that are refused, and every field on the way to it."""
    fields_by_message: dict[str, set[int]] = {}

    def leads_to_a_tensor(message, above=()) -> bool:
        if message.name == "TensorProto":
            return True
        if message.name in above:
            return message.name == "GraphProto"
        numbers = {
            field.number
            for field in message.fields
            if field.message_type is not None and leads_to_a_tensor(field.message_type, (*above, message.name))
        }
        if numbers:
            fields_by_message[message.name] = fields_by_message.get(message.name, set()) | numbers
        return bool(numbers)

    assert leads_to_a_tensor(onnx.ModelProto.DESCRIPTOR)
    refused = {"FunctionProto", "SparseTensorProto", "TrainingInfoProto"}
    assert set(PARTS) | refused == set(fields_by_message)
    for message, fields in PARTS.items():
        names = {
            number: field_name for number, field_name in fields.items() if field_name not in ("metadata", "domain")
        }
        assert set(names) == fields_by_message[message]


def test_the_reader_of_onnx_files_knows_the_field_numbers_of_domains_and_metadata():
    assert PARTS["NodeProto"][onnx.NodeProto.DESCRIPTOR.fields_by_name["domain"].number] == "domain"
    assert PARTS["ModelProto"][onnx.ModelProto.DESCRIPTOR.fields_by_name["metadata_props"].number] == "metadata"

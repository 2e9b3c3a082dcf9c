"""Nothing in a checkpoint is run, and what cannot be read says so."""

import argparse
import codecs
import collections
import enum
import io
import os
import pickle
import random
import struct
import tracemalloc
import typing
import zipfile
from pathlib import Path

import pytest
import torch
from builders import input_error
from builders.runs import same

from nes2net import InputError, load_state_dict
from nes2net.models.checkpoints.torch_file import read_torch_file
from nes2net.models.checkpoints.unpickling import UnbuiltObject

TENSORS = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.ones(2), "steps": torch.tensor(7)}


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def write_archive(path, program, members=(("data/0", b"\0" * 16),), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in (("data.pkl", program), *members):
            archive.writestr(f"archive/{name}", content)


# In the working folder of a test, which is empty.
MAKES_A_FOLDER = Calls(os.mkdir, "made")
MAKE = "__import__('os').mkdir('made')"
ATTACKS = {
    # What would make a folder if anything called what it names.
    "os.mkdir": {"a": [({"b": [MAKES_A_FOLDER]},)]},
    "eval": [Calls(eval, MAKE)],
    "getattr": [Calls(getattr, Calls(__import__, "os"), "mkdir")],
    "torch.load": [Calls(torch.load, "made")],
    "state of a function": [Calls(collections.OrderedDict, state={"__class__": 1, "items": Calls(eval, MAKE)})],
    # Places.
    "alone": MAKES_A_FOLDER,
    "in the state dict": {**TENSORS, "evil": MAKES_A_FOLDER},
    "in the configuration": {"model": TENSORS, "cfg": argparse.Namespace(model={"arch": MAKES_A_FOLDER})},
    "as a key": {"model": TENSORS, "args": [(MAKES_A_FOLDER, 1)]},
}


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Where a test writes the only file of its working folder."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "evil.pth"
    assert [file.name for file in tmp_path.rglob("*") if file.name != "deep"] == ["evil.pth"]


def refused(path, message):
    with input_error(message):
        load_state_dict(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", ATTACKS)
def test_malicious_pickles_are_refused_and_not_run(path, name, zipped):
    torch.save(ATTACKS[name], path, _use_new_zipfile_serialization=zipped)
    refused(path, r"evil\.pth was not read: it .*(asks for|sets the state).*nothing was run")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_malicious_pickles_of_every_protocol_are_refused_and_not_run(path, protocol):
    """In an archive, and alone."""
    for write, message in ((write_archive, "asks for (posix|nt).mkdir"), (Path.write_bytes, "evil.pth")):
        write(path, pickle.dumps({"w": MAKES_A_FOLDER}, protocol))
        refused(path, message)


def test_tensors_only_reads_the_tensors_beside_an_attack_without_running_it(path):
    torch.save({"model": TENSORS, "cfg": Calls(exec, MAKE)}, path)
    assert same(dict(load_state_dict(path, tensors_only=True)), TENSORS)


def test_a_call_that_a_program_allows_to_torch_load_is_still_refused(path):
    torch.save({"model": TENSORS, "cfg": Calls(exec, MAKE)}, path)
    with torch.serialization.safe_globals([(exec, "builtins.exec")]):
        refused(path, "asks for builtins.exec.*tensors_only=True")


def rebuild(numel=4, size=(4,), stride=(1,), offset=0, key="0"):
    """A pickle that rebuilds one tensor."""
    stream = io.BytesIO()

    class Pickler(pickle._Pickler):
        def persistent_id(self, value):
            return value if isinstance(value, tuple) and value and value[0] == "storage" else None

    storage = ("storage", torch.FloatStorage, key, "cpu", numel)
    tensor = Calls(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, None)
    Pickler(stream, 2).dump({"w": tensor})
    return stream.getvalue()


def doubled_text(times):
    text = Calls(codecs.encode, "00", "latin1")
    for _ in range(times):
        text = Calls(codecs.encode, text, "hex_codec")
    return text


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ"
TENSOR = REBUILD + b"(" + STORAGE + b"K\0K\x04\x85K\x01\x85\x89NtR"
TENSOR_STATE = b"(" + STORAGE + b"K\0K\x04\x85K\x01\x85tb"
LONG_TO_HASH = b")" + b"2\x86" * 60  # sixty doublings of a tuple
UNKNOWN_STORAGE = "storage is described in an unknown way"


@pytest.mark.parametrize(
    "program, message",
    [
        # By hand: INST, OBJ, the extension registry, Python 2's names.
        (b"(S'mkdir x'\nios\nsystem\n.", "asks for os.system"),
        (b"(cos\nsystem\nS'mkdir x'\no.", "asks for os.system"),
        (b"\x82\x01.", "asks for the registered extension 1"),
        (b"\x80\x02ccommands\ncheck_call\n.", r"asks for subprocess\.check_call"),
        # Calls of PyTorch's and Python's own; PyTorch's safe reader makes most of them.
        (pickle.dumps({"w": doubled_text(40)}, 2), "bytes are encoded in an unknown way"),
        (pickle.dumps({"w": Calls(bytearray, 2**33)}, 2), "asks for builtins.bytearray"),
        (pickle.dumps({"w": Calls(torch.FloatTensor, 2**33)}, 2), "asks for torch.FloatTensor"),
        (pickle.dumps({"w": Calls(torch._tensor._rebuild_from_type_v2, torch.Size, (), (), {})}, 2), "asks for torch"),
        (b"\x80\x02ctorch.storage\nUntypedStorage\nJ\xff\xff\xff\x7f\x85R.", "not callable"),
        (b"\x80\x02" + TENSOR + b")R.", "not callable"),
        (b"\x80\x02cbuiltins\ngetattr\n" + TENSOR + b"X\x05\0\0\0numpy\x86R.", "asks for builtins.getattr"),
        # State and items of other objects than ours.
        (b"\x80\x02" + TENSOR + TENSOR_STATE + b".", "sets the state of a Tensor"),
        (REBUILD + b"}(S'__defaults__'\nNub.", "sets the state of a function"),
        (b"ccollections\nOrderedDict\n}(S'__call__'\nNub.", "sets the state of a partial"),
        (b"\x80\x02ccollections\nCounter\n)R}b.", "sets the state of a dict"),
        (b"\x80\x02" + TENSOR + b"K\x00K\x01s.", "sets items of a Tensor"),
        (b"\x80\x02" + TENSOR + b"(K\x00K\x01u.", "sets items of a Tensor"),
        (b"\x80\x02cbuiltins\nset\n" + TENSOR + b"\x85R.", "a set is made of a .* instead of items"),
        # Keys that take for ever to hash.
        *(
            (b"\x80\x04" + opcodes.replace(b"%b", LONG_TO_HASH), "a key has the type tuple")
            for opcodes in (b"}(%bK\x01u.", b"}%bK\x01s.", b"(%bK\x01d.", b"\x8f(%b\x90.", b"(%b\x91.")
        ),
        (b"\x80\x04cbuiltins\nset\n](" + LONG_TO_HASH + b"e\x85R.", "a key has the type tuple"),
        (b"\x80\x02ccollections\nOrderedDict\n](" + LONG_TO_HASH + b"K\0\x86e\x85R.", "a key has the type tuple"),
        # Huge or impossible sizes.
        (rebuild(numel=5), "storage 0 has 16 bytes, not 20"),
        (rebuild(size=(2**40,), stride=(0,)), "grows to 4.4 TB of tensors"),
        (rebuild(size=(2**62, 4), stride=(0, 0)), "is damaged"),
        (rebuild(size=(5,)), "is damaged"),
        (rebuild(offset=-1), "is damaged"),
        (rebuild(stride=(-1,)), "is damaged"),
        (rebuild(stride=(1, 1)), "shape is described in an unknown way"),
        (rebuild(numel=-4), UNKNOWN_STORAGE),
        (rebuild(key="../data.pkl"), r"'data/\.\./data.pkl'"),
        (b"P123\n.", UNKNOWN_STORAGE),
        (b"\x80\x02" + STORAGE.replace(b"X\x01\0\0\x000", LONG_TO_HASH) + b".", UNKNOWN_STORAGE),
        # Names.
        (b"\x80\x04\x8c\x01m\x8c\x05\x1b[2Jx\x930}.", "is not the name of a class"),  # which a terminal obeys
        (b"\x80\x02ctorch\n_dynamo\n.", "asks for torch._dynamo"),  # a module that torch would load
        (b"\x80\x02}K\x05" + TENSOR + b"s.", "holds no state dict: .* 5"),
        (b"\x80\x02}X\xe9\x03\0\0" + b"x" * 1001 + TENSOR + b"s.", "holds no state dict: .*'xxx"),
        (b"\x80\x04r\xff\xff\xff\x7f.", "is damaged"),
    ],
)
def test_hostile_pickle_programs_are_refused(path, program, message):
    write_archive(path, program)
    refused(path, rf"evil\.pth .*{message}")


def test_a_pickle_program_that_rebuilds_a_tensor_is_read(path):
    write_archive(path, rebuild())
    assert torch.equal(load_state_dict(path)["w"], torch.zeros(4))


def test_a_legacy_file_without_its_storages_is_refused(path):
    """Its tensors would hold whatever is in memory."""
    torch.save({"w": torch.ones(1000)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    keys = content.rindex(b"\x80\x02]q\x00")  # the last pickle, a list of keys
    path.write_bytes(content[:keys] + b"\x80\x02]q\x00." + content[keys:][-4008:])
    refused(path, "does not hold the storages")


@pytest.mark.parametrize("write", [write_archive, Path.write_bytes], ids=["zip", "legacy"])
@pytest.mark.parametrize("opcode", [b"\x96", b"\x8e", b"\x8d"], ids=["bytearray", "bytes", "text"])
def test_no_memory_is_reserved_for_a_length_that_is_only_stated(path, opcode, write):
    write(path, b"\x80\x05" + opcode + struct.pack("<Q", 2**32) + b"x.")
    tracemalloc.start()
    try:
        refused(path, "4294967296 bytes")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "member", ["../evil", "/etc/evil", "archive//../../evil", "archive/../../evil", "archive/data\\..\\evil", "loose"]
)
def test_archives_with_members_outside_their_folder_are_refused(path, member):
    write_archive(path, rebuild())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, b"evil")
    (path.parent / "deep").mkdir()
    path = path.rename(path.parent / "deep" / "evil.pth")
    refused(path, "is not a member of a checkpoint")


def test_an_archive_with_compressed_members_is_refused(path):
    write_archive(path, rebuild(), [("data/0", b"\0" * 10**7)], compression=zipfile.ZIP_DEFLATED)
    refused(path, "compressed")


def test_an_archive_with_two_members_of_one_name_is_refused(path):
    with pytest.warns(UserWarning, match="Duplicate"):
        write_archive(path, rebuild(), [("data/0", b"\0" * 16)] * 2)
    refused(path, "twice")


def test_torchscript_is_refused(path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), path)
    refused(path, "TorchScript")


class Choice(enum.Enum):
    A = "a"


class OwnConfiguration:
    def __init__(self):
        self.arch = "wav2vec2"


class OwnMapping(dict):
    """As the configurations of several toolkits are."""


OF_OTHER_CLASSES = {
    "args": argparse.Namespace(lr=0.1),
    "own": OwnConfiguration(),
    "choice": Choice.A,
    "path": Path("x"),
    "mapping": OwnMapping(arch="wavlm"),
}


def test_objects_of_foreign_python_classes_become_records_of_their_state_arguments_or_items(path):
    """The names of the classes are returned."""
    for zipped in (True, False):
        torch.save({"model": TENSORS, **OF_OTHER_CLASSES}, path, _use_new_zipfile_serialization=zipped)
        content, names = read_torch_file(path)
        for name, value in OF_OTHER_CLASSES.items():
            assert isinstance(content[name], UnbuiltObject)
            assert any(type(value).__name__ in class_name for class_name in names)
        assert content["args"].state == {"lr": 0.1}
        assert content["own"].state == {"arch": "wav2vec2"}
        assert content["choice"].arguments in (("a",), ("A",))
        assert content["mapping"].items == {"arch": "wavlm"}


def test_only_the_weights_of_a_training_file_are_read(path):
    """Beside them are an optimizer, a schedule, and types as in a structured configuration."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    beside = {
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1),
        "old": (typing.Tuple[int, str], typing.Optional[int], typing.List[typing.Dict[str, int]]),  # noqa: UP006, UP045
        "new": (list[int], dict[str, list[int]], int | None),
    }
    torch.save({"model": TENSORS, **beside}, path)
    assert load_state_dict(path).keys() == TENSORS.keys()


def test_attributes_in_a_file_do_not_replace_methods_of_what_it_holds(path):
    """The state of an ordered dictionary and of a parameter would become attributes of theirs."""
    evil = collections.OrderedDict(TENSORS)
    evil.__dict__.update(keys=OwnConfiguration, values=OwnConfiguration, _metadata={"": {"version": 1}})
    evil["parameter"] = parameter = torch.nn.Parameter(torch.ones(2))
    parameter.numel = parameter.detach = OwnConfiguration
    for zipped in (True, False):
        torch.save(evil, path, _use_new_zipfile_serialization=zipped)
        content, _ = read_torch_file(path)
        assert vars(content) == {"_metadata": {"": {"version": 1}}}
        assert len(content.values()) == 4
        assert content["parameter"].numel() == 2


TYPES = "float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64".split()


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_a_file_come_back_on_the_cpu_with_their_numbers_types_and_strides(path, zipped):
    """Also if another default device is set."""
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {
        **{"view": base[1:3, ::2], "transposed": base.T, "empty": torch.zeros(0, 3), "scalar": torch.tensor(3.5)},
        "parameter": torch.nn.Parameter(torch.ones(2)),
        **{name: torch.tensor([0, 1, 1]).to(getattr(torch, name)) for name in TYPES},
    }
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    with torch.device("meta"):
        state_dict = load_state_dict(path)
    for name, tensor in tensors.items():
        assert state_dict[name].stride() == tensor.stride(), name
        assert same(state_dict[name], tensor.data), name


def test_a_change_of_tensors_that_were_read_does_not_change_their_file(path):
    torch.save(TENSORS, path)
    before = path.read_bytes()
    load_state_dict(path)["layer.bias"].zero_()
    assert path.read_bytes() == before


def saved_bytes(path, zipped):
    """The content of a file with tensors and an object of another class."""
    torch.save({"model": TENSORS, "args": argparse.Namespace(lr=0.1)}, path, _use_new_zipfile_serialization=zipped)
    return path.read_bytes()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_refused_and_one_with_a_flipped_bit_is_refused_or_gives_tensors(path, zipped):
    """An archive the same ones; a legacy file has no checksums, so that a bit may change a number."""
    rng = random.Random(0)
    content = saved_bytes(path, zipped)
    for _ in range(75):
        path.write_bytes(content[: rng.randrange(len(content))])
        refused(path, r"evil\.pth")
    for _ in range(150):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            state_dict = load_state_dict(path)
        except InputError as error:
            assert "evil.pth" in str(error)
            continue
        assert all(isinstance(tensor, torch.Tensor) for tensor in state_dict.values())
        assert not zipped or same(dict(state_dict), TENSORS)

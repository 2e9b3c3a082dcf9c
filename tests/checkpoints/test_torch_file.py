"""Nothing in a checkpoint is run, and what cannot be read says so."""

import argparse
import codecs
import collections
import copyreg
import enum
import gc
import io
import os
import pickle
import runpy
import struct
import subprocess
import tarfile
import tracemalloc
import typing
import weakref
import zipfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from nes2net import InputError, load_state_dict
from nes2net.checkpoints.torch_file import read_torch_file
from nes2net.checkpoints.unpickling import Record

TENSORS = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.ones(2), "steps": torch.tensor(7)}


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def attacks(target):
    """Pickled objects that would make the folder ``target`` if anything called what they name."""
    make = f"__import__('os').mkdir({str(target)!r})"
    return {
        "os.system": Calls(os.system, f"mkdir {target}"),
        "os.mkdir": Calls(os.mkdir, str(target)),
        "builtins.eval": Calls(eval, make),
        "builtins.exec": Calls(exec, make),
        "subprocess": Calls(subprocess.check_call, ["mkdir", str(target)]),
        "runpy": Calls(runpy.run_path, str(target)),
        "getattr": Calls(getattr, Calls(__import__, "os"), "mkdir"),
        "call of a call": Calls(map, Calls(eval, "print"), [make]),
        "torch.load": Calls(torch.load, str(target)),
        "torch.hub.load": Calls(torch.hub.load, str(target), "model"),
        "codecs": Calls(codecs.decode, b"x", "unicode_escape"),
        "copyreg": Calls(copyreg._reconstructor, pickle.Unpickler, object, None),
        "state of a function": Calls(collections.OrderedDict, state={"__class__": 1, "items": Calls(eval, make)}),
    }


NAMES = list(attacks("x"))
PLACES = {
    "alone": lambda evil: evil,
    "in the state dict": lambda evil: {**TENSORS, "evil": evil},
    "nested": lambda evil: {"a": [({"b": [evil]},)]},
    "in the configuration": lambda evil: {"model": TENSORS, "cfg": argparse.Namespace(model={"arch": evil})},
    "as a key": lambda evil: {"model": TENSORS, "args": [(evil, 1)]},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("name", "place"), [*((name, "nested") for name in NAMES), *(("os.mkdir", place) for place in PLACES)]
)
def test_attacks_are_refused(tmp_path, name, place, zipped):
    target = tmp_path / "made"
    path = tmp_path / "evil.pth"
    torch.save(PLACES[place](attacks(target)[name]), path, _use_new_zipfile_serialization=zipped)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"evil\.pth was not read: it .*(asks for|sets the state).*nothing was run"):
        load_state_dict(path)
    assert sorted(tmp_path.iterdir()) == before and not target.exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_every_protocol_is_watched(tmp_path, protocol):
    """In an archive, and alone."""
    path, target = tmp_path / "evil.pth", tmp_path / "made"
    program = pickle.dumps({"w": Calls(os.mkdir, str(target))}, protocol)
    for write in (write_archive, Path.write_bytes):
        write(path, program)
        with pytest.raises(InputError, match="asks for (posix|nt).mkdir" if write is write_archive else "evil.pth"):
            load_state_dict(path)
        assert not target.exists()


def test_tensors_only_reads_past_an_attack_without_running_it(tmp_path):
    path, target = tmp_path / "evil.pth", tmp_path / "made"
    torch.save({"model": TENSORS, "cfg": Calls(os.mkdir, str(target))}, path)
    with pytest.raises(InputError, match="tensors_only=True"):
        load_state_dict(path)
    found = load_state_dict(path, tensors_only=True)
    assert all(torch.equal(found[k], v) for k, v in TENSORS.items())
    assert not target.exists()


def test_hand_written_opcodes(tmp_path):
    """INST, OBJ, the extension registry and a build of a function: not from torch.save."""
    path = tmp_path / "evil.pth"
    for program in (
        b"(S'mkdir x'\nios\nsystem\n.",
        b"(cos\nsystem\nS'mkdir x'\no.",
        b"\x82\x01.",
        b"ctorch._utils\n_rebuild_tensor_v2\n}(S'__defaults__'\nNub.",
        b"ccollections\nOrderedDict\n}(S'__call__'\nNub.",
        b"P123\n.",
        b"(S'storage'\nctorch\nFloatStorage\nS'../../etc/passwd'\nS'cpu'\nI4\ntQ.",
    ):
        write_archive(path, program)
        with pytest.raises(InputError, match=r"evil\.pth"):
            load_state_dict(path)


def rebuild(numel=4, size=(4,), stride=(1,), offset=0, key="0"):
    """A pickle that rebuilds one tensor."""
    stream = io.BytesIO()

    class Pickler(pickle._Pickler):
        def persistent_id(self, value):
            return value if isinstance(value, tuple) and value and value[0] == "storage" else None

    pickler = Pickler(stream, 2)
    storage = ("storage", torch.FloatStorage, key, "cpu", numel)
    pickler.dump({"w": Calls(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, None)})
    return stream.getvalue()


def write_archive(path, program, members=(("data/0", b"\0" * 16),), folder="archive", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{folder}/data.pkl", program)
        for name, content in members:
            archive.writestr(name if "//" in name or name.startswith(("/", "..")) else f"{folder}/{name}", content)


def test_a_hand_written_archive_is_read(tmp_path):
    write_archive(tmp_path / "good.pth", rebuild())
    assert torch.equal(load_state_dict(tmp_path / "good.pth")["w"], torch.zeros(4))


@pytest.mark.parametrize(
    "program",
    [
        rebuild(numel=2**40, size=(2**40,)),
        rebuild(numel=5),
        rebuild(size=(2**40,), stride=(0,)),
        rebuild(size=(2**62, 4), stride=(0, 0)),
        rebuild(size=(5,)),
        rebuild(offset=-1),
        rebuild(offset=2**60),
        rebuild(stride=(-1,)),
        rebuild(numel=-4),
        rebuild(key="9"),
        rebuild(key="../data.pkl"),
        b"\x80\x04r\xff\xff\xff\x7f.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\x04" + b"]" * 3 + b"\x94" * 10,
        b"\x80\x02cbuiltins\nlist\ncbuiltins\nrange\nJ\xff\xff\xff\x7f\x85R\x85R.",
        b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    ],
)
def test_huge_or_impossible_sizes(tmp_path, program):
    write_archive(tmp_path / "evil.pth", program)
    with pytest.raises(InputError, match=r"evil\.pth"):
        load_state_dict(tmp_path / "evil.pth")


def test_shared_references_are_not_expanded(tmp_path):
    """Forty doublings of a list are 2⁴⁰ elements to whoever walks them naively."""
    doubled = []
    for _ in range(40):
        doubled = [doubled, doubled]
    torch.save({"model": TENSORS, "cfg": doubled}, tmp_path / "laugh.pth")
    assert load_state_dict(tmp_path / "laugh.pth").keys() == TENSORS.keys()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("opcode", [b"\x96", b"\x8e", b"\x8d"], ids=["bytearray", "bytes", "text"])
def test_no_memory_is_reserved_for_what_is_only_claimed(tmp_path, opcode, zipped):
    program = b"\x80\x05" + opcode + struct.pack("<Q", 2**32) + b"x."
    path = tmp_path / "evil.pth"
    if zipped:
        write_archive(path, program)
    else:
        path.write_bytes(program)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="4294967296 bytes"):
            load_state_dict(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("opcodes", [b"K\x00K\x01s", b"(K\x00K\x01u"])
def test_nothing_but_mappings_gets_items(tmp_path, opcodes):
    """Not a tensor, of which a pickle could change the numbers."""
    program = rebuild()
    assert program.endswith(b"s.")
    write_archive(tmp_path / "evil.pth", program[:-2] + opcodes + b"s.")
    with pytest.raises(InputError, match="sets items of a Tensor"):
        load_state_dict(tmp_path / "evil.pth")


@pytest.mark.parametrize(
    "opcodes", [b"}(%bK\x01u.", b"}%bK\x01s.", b"\x8f(%b\x90.", b"(%b\x91.", b"cbuiltins\nset\n](%be\x85R."]
)
def test_keys_that_take_for_ever_to_hash(tmp_path, opcodes):
    """Sixty doublings of a tuple, as a key or an element of a set."""
    nested = b")" + b"2\x86" * 60
    write_archive(tmp_path / "evil.pth", b"\x80\x04" + opcodes.replace(b"%b", nested))
    with pytest.raises(InputError, match="a key has the type tuple"):
        load_state_dict(tmp_path / "evil.pth")


@pytest.mark.parametrize(
    "member", ["../evil", "/etc/evil", "archive//../../evil", "archive/../../evil", "archive/data\\..\\evil", "loose"]
)
def test_path_tricks_in_member_names(tmp_path, member):
    path = tmp_path / "deep" / "down" / "evil.pth"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", rebuild())
        archive.writestr("archive/data/0", b"\0" * 16)
        archive.writestr(member, b"evil")
    with pytest.raises(InputError, match="is not a member of a checkpoint"):
        load_state_dict(path)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["evil.pth"]


def test_compressed_and_doubled_members(tmp_path):
    write_archive(tmp_path / "bomb.pth", rebuild(), [("data/0", b"\0" * 10**7)], compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="compressed"):
        load_state_dict(tmp_path / "bomb.pth")
    with pytest.warns(UserWarning, match="Duplicate"):
        write_archive(tmp_path / "two.pth", rebuild(), [("data/0", b"\0" * 16)] * 2)
    with pytest.raises(InputError, match="twice"):
        load_state_dict(tmp_path / "two.pth")


def test_torchscript_and_tar_are_refused(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "script.pt")
    with pytest.raises(InputError, match="TorchScript"):
        load_state_dict(tmp_path / "script.pt")
    with tarfile.open(tmp_path / "old.pth", "w") as archive:
        archive.add(tmp_path / "script.pt", "../storages")
    with pytest.raises(InputError, match=r"old\.pth is a tar archive, not a checkpoint"):
        load_state_dict(tmp_path / "old.pth")


class Choice(enum.Enum):
    A = "a"


class OwnConfiguration:
    def __init__(self):
        self.arch = "wav2vec2"


class OwnMapping(dict):
    """As the configurations of several toolkits are."""


def test_other_classes_become_records(tmp_path):
    options = collections.defaultdict(list, {"n": [1, 2]})
    beside = {
        "args": argparse.Namespace(lr=0.1),
        "own": OwnConfiguration(),
        "choice": Choice.A,
        "path": Path("x"),
        "mapping": OwnMapping(arch="wavlm"),
        "options": options,
    }
    for zipped in (True, False):
        torch.save({"model": TENSORS, **beside}, tmp_path / "file.pt", _use_new_zipfile_serialization=zipped)
        content, records = read_torch_file(tmp_path / "file.pt")
        assert content["args"].state == {"lr": 0.1} and content["own"].state == {"arch": "wav2vec2"}
        assert all(isinstance(content[k], Record) for k in ("args", "own", "choice", "path"))
        assert content["choice"].arguments in (("a",), ("A",)) and content["options"] == {"n": [1, 2]}
        assert content["mapping"].items == {"arch": "wavlm"}
        assert "argparse.Namespace" in records and any("OwnConfiguration" in name for name in records)


def test_objects_that_hold_an_optimizer(tmp_path):
    """Its state is kept by parameter."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    torch.save({"model": TENSORS, "optimizer": optimizer, "scheduler": scheduler}, tmp_path / "file.pt")
    assert load_state_dict(tmp_path / "file.pt").keys() == TENSORS.keys()


@pytest.mark.slow
def test_very_many_tensors(tmp_path):
    tensors = {f"experts.{number}.weight": torch.ones(1) for number in range(49_000)}
    torch.save(tensors, tmp_path / "file.pt")
    assert len(load_state_dict(tmp_path / "file.pt")) == 49_000


def test_annotations_of_structured_configurations_are_records(tmp_path):
    old = {"a": typing.Tuple[int, str], "b": typing.Optional[int], "c": typing.List[typing.Dict[str, int]]}  # noqa: UP006, UP045
    annotations = {**old, "d": list[int], "e": dict[str, list[int]], "f": int | None}
    torch.save({"model": TENSORS, "cfg": annotations}, tmp_path / "file.pt")
    assert load_state_dict(tmp_path / "file.pt").keys() == TENSORS.keys()


def doubled_text(times):
    text = Calls(codecs.encode, "00", "latin1")
    for _ in range(times):
        text = Calls(codecs.encode, text, "hex_codec")
    return text


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ"
TENSOR = REBUILD + b"(" + STORAGE + b"K\0K\x04\x85K\x01\x85\x89NtR"
TENSOR_STATE = b"(" + STORAGE + b"K\0K\x04\x85K\x01\x85tb"


@pytest.mark.parametrize(
    "program, message",
    [
        (pickle.dumps({"w": doubled_text(40)}, 2), "bytes are encoded in an unknown way"),
        (pickle.dumps({"w": Calls(bytearray, 2**33)}, 2), "asks for builtins.bytearray"),
        (pickle.dumps({"w": Calls(torch.Tensor, 2**33)}, 2), "asks for torch"),
        (pickle.dumps({"w": Calls(torch.FloatTensor, 2**33)}, 2), "asks for torch"),
        (pickle.dumps({"w": Calls(torch._tensor._rebuild_from_type_v2, torch.Size, (), (), {})}, 2), "asks for torch"),
        (b"\x80\x02ctorch.storage\nUntypedStorage\nJ\xff\xff\xff\x7f\x85R.", "not callable"),
        (b"\x80\x02" + TENSOR + b")R.", "not callable"),
        (b"\x80\x02cbuiltins\nset\n" + TENSOR + b"\x85R.", "is made of items"),
        (b"\x80\x02cbuiltins\nlist\n" + TENSOR + b"\x85R.", "is made of items"),
        (b"\x80\x02" + TENSOR + TENSOR_STATE + b".", "sets the state of a Tensor"),
        (b"\x80\x02" + REBUILD + b"}b.", "sets the state of a function"),
        (b"\x80\x02ccollections\nCounter\n)R}b.", "sets the state of a dict"),
        (b"\x80\x02cbuiltins\ngetattr\n" + TENSOR + b"X\x05\0\0\0numpy\x86R.", "asks for builtins.getattr"),
        (b"\x80\x02ccommands\ncheck_call\n.", r"asks for subprocess\.check_call"),  # Python 2's name
    ],
)
def test_calls_that_would_do_harm_without_being_functions_of_the_system(tmp_path, program, message):
    """PyTorch's own safe reader makes most of these."""
    write_archive(tmp_path / "evil.pth", program)
    with pytest.raises(InputError, match=message):
        load_state_dict(tmp_path / "evil.pth")


@pytest.mark.slow
def test_a_key_too_deep_for_the_interpreter(tmp_path):
    """Hashing 900,000 tuples within each other would crash it."""
    write_archive(tmp_path / "evil.pth", b"\x80\x02})" + b"\x85" * 900_000 + b"K\x01s.")
    with pytest.raises(InputError, match="a key has the type tuple"):
        load_state_dict(tmp_path / "evil.pth")


def test_a_file_does_not_hide_methods_of_what_it_holds(tmp_path):
    """The state of an ordered dictionary and of a parameter would become attributes of theirs."""
    evil = collections.OrderedDict(TENSORS)
    evil.__dict__.update(keys=OwnConfiguration, values=OwnConfiguration, _metadata={"": {"version": 1}})
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.numel = parameter.detach = OwnConfiguration
    evil["parameter"] = parameter
    for zipped in (True, False):
        torch.save(evil, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
        content, _ = read_torch_file(tmp_path / "evil.pth")
        assert vars(content) == {"_metadata": {"": {"version": 1}}} and len(content.values()) == 4
        assert content["parameter"].numel() == 2 and not content["parameter"].requires_grad


def test_what_the_program_allows_pytorch_is_not_allowed_here(tmp_path):
    """``torch.serialization.add_safe_globals`` is for PyTorch's reader."""
    path, target = tmp_path / "evil.pth", tmp_path / "made"
    torch.save({"model": TENSORS, "evil": attacks(target)["builtins.exec"]}, path)
    with torch.serialization.safe_globals([(exec, "builtins.exec")]):
        with pytest.raises(InputError, match="asks for builtins.exec"):
            load_state_dict(path)
        assert load_state_dict(path, tensors_only=True).keys() == TENSORS.keys()
    assert not target.exists()


def test_the_default_device_changes_nothing(tmp_path):
    torch.save(TENSORS, tmp_path / "file.pth")
    torch.save(TENSORS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with torch.device("meta"):
        for name in ("file.pth", "old.pth"):
            assert load_state_dict(tmp_path / name)["layer.bias"].device.type == "cpu"


def test_a_pickled_module_is_described(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(InputError, match=r"a pickled object of torch.nn.modules.linear.Linear: save its state_dict"):
        load_state_dict(tmp_path / "module.pth")


TYPES = "float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64".split()


@pytest.mark.parametrize("zipped", [True, False])
def test_every_type_and_view_comes_back(tmp_path, zipped):
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "view": base[1:3, ::2],
        "transposed": base.T,
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(3.5),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        **{name: torch.tensor([0, 1, 1]).to(getattr(torch, name)) for name in TYPES},
    }
    torch.save(tensors, tmp_path / "file.pth", _use_new_zipfile_serialization=zipped)
    found = load_state_dict(tmp_path / "file.pth")
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype and found[name].stride() == tensor.stride(), name
        assert torch.equal(found[name], tensor.data), name
    assert found["view"].untyped_storage().data_ptr() == found["transposed"].untyped_storage().data_ptr()


def test_the_content_alone_keeps_the_tensors_in_memory(tmp_path):
    """Reading leaves no circle of references, which would hold them until the next collection."""
    torch.save(collections.OrderedDict(TENSORS), tmp_path / "file.pth")
    gc.disable()
    try:
        content, _ = read_torch_file(tmp_path / "file.pth")
        tensor = weakref.ref(content["layer.weight"])
        del content
        assert tensor() is None
    finally:
        gc.enable()


def test_a_read_file_is_not_written_to(tmp_path):
    torch.save(TENSORS, tmp_path / "file.pth")
    before = (tmp_path / "file.pth").read_bytes()
    load_state_dict(tmp_path / "file.pth")["layer.weight"].zero_()
    assert (tmp_path / "file.pth").read_bytes() == before


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Bytes of a checkpoint in both formats."""
    path = tmp_path_factory.mktemp("whole") / "file.pth"
    contents = []
    for zipped in (True, False):
        torch.save({"model": TENSORS, "args": argparse.Namespace(lr=0.1)}, path, _use_new_zipfile_serialization=zipped)
        contents.append(path.read_bytes())
    return contents


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(zipped=st.booleans(), cut=st.floats(0, 0.999))
def test_truncated_files_are_refused(tmp_path, whole, zipped, cut):
    content = whole[0 if zipped else 1]
    (tmp_path / "torn.pth").write_bytes(content[: int(cut * len(content))])
    with pytest.raises(InputError, match=r"torn\.pth"):
        load_state_dict(tmp_path / "torn.pth")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(zipped=st.booleans(), place=st.floats(0, 0.9999), bit=st.integers(0, 7))
def test_flipped_bits_are_refused_or_harmless(tmp_path, whole, zipped, place, bit):
    """Checksums of a zip archive find every flip; in the old format one may change a number."""
    content = bytearray(whole[0 if zipped else 1])
    content[int(place * len(content))] ^= 1 << bit
    (tmp_path / "flipped.pth").write_bytes(content)
    try:
        found = load_state_dict(tmp_path / "flipped.pth")
    except InputError as error:
        assert "flipped.pth" in str(error)
        return
    if zipped:
        assert all(torch.equal(found[k], v) for k, v in TENSORS.items())

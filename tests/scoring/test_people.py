"""The store of enrolled people: what it keeps, finds, refuses and removes."""

import json
import os
import stat
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
from builders import input_error
from safetensors.numpy import load_file, save_file

from nes2net.lib.storage.files import writing_folder
from nes2net.models.speakers import EncoderIdentity
from nes2net.scoring import people
from nes2net.scoring.people import EnrolledRecording, PeopleStore

ENCODER = EncoderIdentity(name="small", revision="a", sha256="0" * 64, dimension=4, preprocessing=1)


def unit(*numbers):
    return (np.array(numbers) / np.linalg.norm(numbers)).astype(np.float32)


def recording(number):
    """Facts of a recording, and its embedding."""
    facts = EnrolledRecording(
        sha256=f"{number:064x}",
        seconds=4,
        speech=3,
        bandwidth=8000,
        date="2026-11-30",
        consent=f"form {number}",
        accepted=[],
    )
    rng = np.random.default_rng(number)
    return facts, unit(*rng.standard_normal(4))


@pytest.fixture
def store(tmp_path):
    """A store in which Anna is enrolled with two recordings."""
    store = PeopleStore(tmp_path / "people", ENCODER)
    store.add("anna", [recording(1), recording(2)])
    return store


@pytest.fixture
def change(store):
    """Replaces keys of Anna's file of facts."""

    def write(**values):
        path = store.folder / "anna.json"
        facts = json.loads(path.read_text())
        path.write_text(json.dumps(facts | values))

    return write


@pytest.fixture
def spoil(store):
    """Replaces Anna's vectors (3, 4) by what a function makes of them."""

    def write(function):
        path = store.folder / "anna.safetensors"
        vectors = load_file(path)["vectors"]
        save_file({"vectors": function(vectors)}, path)

    return write


def test_the_model_is_the_mean_of_the_embeddings_divided_by_its_length(store):
    model, *embeddings = store.read("anna").vectors
    np.testing.assert_array_equal(embeddings, [recording(1)[1], recording(2)[1]])
    np.testing.assert_allclose(model, unit(*np.add(*embeddings)), rtol=0, atol=1e-7)


def test_what_is_read_equals_what_was_added(store):
    added = store.add("bob", [recording(3)])
    facts, vectors = store.read("bob")
    assert facts == added.facts
    np.testing.assert_array_equal(vectors, added.vectors)


def test_order_and_number_of_calls_do_not_change_a_person(store):
    store.add("bob", [recording(3), recording(1), recording(2)])
    for number in (2, 3, 1):
        store.add("eve", [recording(number)])
    np.testing.assert_array_equal(store.read("bob").vectors, store.read("eve").vectors)


def test_added_recordings_keep_their_own_consent(store):
    store.add("anna", [recording(3)])
    assert [facts.consent for facts in store.read("anna").facts.recordings] == ["form 1", "form 2", "form 3"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_only_the_owner_can_read_the_files_of_a_person(store):
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in store.folder.iterdir()}
    assert modes == {"anna.json": 0o600, "anna.safetensors": 0o600}


def test_nothing_of_a_forgotten_person_is_left(store):
    vectors = store.read("anna").vectors
    store.add("bob", [recording(3)])
    leftover = store.folder / ".anna.safetensors.0123abcd.tmp"
    leftover.write_bytes(vectors.tobytes())
    assert [path.name for path in store.forget("anna")] == ["anna.json", "anna.safetensors"]
    assert store.names() == ["bob"]
    content = b"".join(file.read_bytes() for file in store.folder.iterdir())
    assert not any(vector[:2].tobytes() in content for vector in vectors)


def test_a_person_whose_files_are_damaged_can_be_forgotten(store):
    (store.folder / "anna.json").write_text("[")
    (store.folder / "anna.safetensors").unlink()
    store.forget("anna")
    assert not os.listdir(store.folder)


@pytest.mark.parametrize(
    "name",
    ["", "..", "a/b", "a\\b", "a:b", "a.json", " a", "a ", "a\n", "a\0", "\udcff", "e\u0301", "\ufb01", "a" * 61],
    ids=ascii,
)
def test_a_name_that_cannot_name_a_file_in_one_way_is_refused(store, name):
    with input_error("no person can have the name"):
        store.add(name, [recording(3)])
    assert store.names() == ["anna"]


@pytest.mark.parametrize("name", ["Anna Ω", "ana-2_b", "李", "हिन्दी"])
def test_names_in_any_script_are_accepted(store, name):
    store.add(name, [recording(3)])
    assert store.names() == sorted(["anna", name])


def test_an_unknown_person_is_answered_with_near_names(store):
    with input_error("there is no person 'ana'; did you mean 'anna'"):
        store.read("ana")
    with input_error("there is no person 'ana'"):
        store.forget("ana")


@pytest.mark.parametrize(
    "changed", [{"name": "other"}, {"revision": "b"}, {"sha256": "1" * 64}, {"dimension": 5}, {"preprocessing": 2}]
)
def test_a_store_of_another_encoder_is_refused_with_both_values(store, changed):
    ((key, value),) = changed.items()
    store.encoder = ENCODER.model_copy(update=changed)
    message = rf"{key}={getattr(ENCODER, key)!r}.*, not \(.*{key}={value!r}"
    with input_error(message):
        store.read("anna")
    with input_error(message):
        store.add("bob", [recording(3)])
    assert store.names() == ["anna"]


def test_a_newer_format_is_refused_with_both_values(store, change):
    change(format=2, voice_prints=[])
    with input_error("not a person in a known format .format: Input should be 1, not 2"):
        store.read("anna")


@pytest.mark.parametrize(
    "function",
    [
        lambda vectors: vectors * np.nan,
        lambda vectors: vectors * np.inf,
        lambda vectors: vectors * np.float32(1.002),
        lambda vectors: vectors.astype(np.float64),
        lambda vectors: vectors[:2],
        lambda vectors: vectors[:, :3],
        lambda vectors: vectors[0],
        lambda vectors: vectors[:0],
    ],
    ids=["NaN", "infinite", "long", "float64", "few", "narrow", "flat", "empty"],
)
def test_vectors_that_are_not_those_of_the_recordings_are_refused(store, spoil, function):
    spoil(function)
    with input_error("anna.safetensors is not a file of vectors or is damaged"):
        store.read("anna")


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 16, b"\x10" + b"\0" * 7 + b"[" * 16, b"\0" * 40], ids=["empty", "long", "json", "none"]
)
def test_a_damaged_file_of_vectors_is_refused(store, content):
    (store.folder / "anna.safetensors").write_bytes(content)
    with input_error("anna.safetensors is not a file of vectors or is damaged"):
        store.read("anna")


def test_a_person_under_the_name_of_another_is_refused(store):
    for file in list(store.folder.iterdir()):
        file.rename(file.with_stem("bob"))
    with input_error("bob.safetensors is not a file of vectors"):
        store.read("bob")


@pytest.mark.parametrize(
    "content, message",
    [
        ("[" * 100_000, "nested more than 100 deep"),
        ("[]", "not a person in a known format"),
        ('{"format": 1}', "name: Field required"),
        ("", "is empty"),
    ],
    ids=["deep", "list", "fields", "empty"],
)
def test_hostile_facts_are_refused(store, content, message):
    (store.folder / "anna.json").write_text(content)
    with input_error(message):
        store.read("anna")


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_links_are_neither_read_nor_written(store, tmp_path, suffix):
    file = store.folder / f"anna{suffix}"
    target = file.rename(tmp_path / "elsewhere")
    file.symlink_to(target)
    before = target.read_bytes()
    for use in (store.read, store.forget, lambda name: store.add(name, [recording(3)])):
        with input_error(f"anna{suffix}: is a link"):
            use("anna")
    assert target.read_bytes() == before


@pytest.mark.parametrize("use", [PeopleStore.names, lambda store: store.read("eve"), lambda store: store.models])
def test_a_store_of_too_many_people_is_refused(store, monkeypatch, use):
    monkeypatch.setattr(people, "_MAX_PEOPLE", 3)
    for number in range(3):
        (store.folder / f"{number}.json").touch()
    with input_error("holds more than 3 people: split it"):
        use(store)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_two_processes_do_not_change_a_store_at_once(store):
    with writing_folder(store.folder), ProcessPoolExecutor(1, get_context("fork")) as executor:
        for change in (partial(store.forget, "anna"), partial(store.add, "anna", [recording(3)])):
            with input_error("another process is writing to"):
                executor.submit(change).result()
    assert len(store.read("anna").facts.recordings) == 2


def test_models_of_all_people_are_one_matrix_that_is_read_once(store):
    store.add("bob", [recording(3)])
    names, models = store.models
    assert names == ["anna", "bob"]
    np.testing.assert_array_equal(models, [store.read(name).vectors[0] for name in names])
    assert models.dtype == np.float32
    store.forget("bob")
    assert store.models[0] == ["anna", "bob"]


def test_a_folder_that_does_not_exist_holds_nobody(tmp_path):
    store = PeopleStore(tmp_path / "none")
    assert store.names() == []
    with input_error("there is no person 'anna'"):
        store.read("anna")

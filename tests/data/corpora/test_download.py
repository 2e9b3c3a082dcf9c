"""`nes2net data download`: records of a server like Zenodo, single files and sets of a hub, served here."""

import dataclasses
import hashlib
import io
import json
import tarfile
import threading
import zipfile

import pytest
from builders import PATIENCE, input_error
from builders.files import write
from builders.http_server import running
from builders.hub_server import serving, spoil, use_cache

from nes2net.cli.main import main
from nes2net.data.corpora import in_the_wild
from nes2net.data.corpora.corpus import Download
from nes2net.data.corpora.download import RECORD, fetch_all, plan_downloads
from nes2net.lib.web.http_files import HttpFiles


def zipped(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


#: The corpus with two recordings of each class, as it is distributed.
META = "file,speaker,label\n0.wav,A,bona-fide\n1.wav,A,spoof\n2.wav,A,bona-fide\n3.wav,A,spoof\n"
ZIP = zipped({f"release_in_the_wild/{n}.wav": bytes(9000) for n in range(4)} | {"release_in_the_wild/meta.csv": META})
KEYS = io.BytesIO()
with tarfile.open(fileobj=KEYS, mode="w:gz") as keys:
    keys.addfile(tarfile.TarInfo("keys/LA/CM/trial_metadata.txt"))
FILES = {"release.zip": ZIP, "keys.tar.gz": KEYS.getvalue(), "README.txt": b"read me", "more.rar": b"Rar!"}


@pytest.fixture
def server():
    with running() as server:
        add_record(server, "7", FILES)
        yield server


@pytest.fixture
def client():
    with HttpFiles(lambda seconds: None) as client:
        yield client


@pytest.fixture
def download(client, tmp_path):
    """A function that downloads a corpus into the folder of the test."""
    return lambda corpus: fetch_all(plan_downloads(corpus, client), tmp_path, client)


def add_record(server, id, files, **listed):
    entries = [
        {"key": name, "size": len(content), "checksum": f"md5:{hashlib.md5(content).hexdigest()}", **listed}
        for name, content in files.items()
    ]
    record = {"files": entries, "metadata": {"license": {"id": "cc-by-4.0"}}, "title": "A corpus"}
    server.pages[f"/api/records/{id}"] = json.dumps(record).encode()
    server.pages |= {f"/records/{id}/files/{name}": content for name, content in files.items()}


def corpus_of(*downloads, **facts):
    return dataclasses.replace(in_the_wild.CORPUS, counts={}, key_digests={}, downloads=downloads, **facts)


def record_of(server, file="", **facts):
    return Download(url=f"{server.address}/records/7{file}", **facts)


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_zenodo_record_is_downloaded_with_its_zip_and_tar_archives_unpacked(server, client, tmp_path):
    corpus = corpus_of(record_of(server))
    fetch_all(plan_downloads(corpus, client), tmp_path, client)
    assert [trial.label for trial in corpus.trials(tmp_path)] == ["bonafide", "spoof"] * 2
    assert {"README.txt", "more.rar", "release.zip", "keys/LA/CM/trial_metadata.txt"} < set(files_of(tmp_path))


def test_small_files_of_a_download_are_fetched_at_the_same_time(server, tmp_path):
    together = threading.Barrier(len(FILES))

    class Waiting(HttpFiles):
        def fetch(self, *arguments, **options):
            together.wait(PATIENCE)  # for the requests for all other files
            return super().fetch(*arguments, **options)

    with Waiting() as client:
        fetch_all(plan_downloads(corpus_of(record_of(server)), client), tmp_path, client)
    assert (tmp_path / "README.txt").read_bytes() == FILES["README.txt"]


def test_the_plan_of_a_download_states_the_size_of_each_file_and_of_all(server, client):
    plan = plan_downloads(corpus_of(record_of(server)), client)
    assert {file.name: file.remote.size for file in plan.files} == {name: len(FILES[name]) for name in FILES}
    assert plan.size == sum(map(len, FILES.values()))


def test_downloaded_files_with_the_published_checksum_are_not_fetched_again(server, download):
    corpus = corpus_of(record_of(server))
    download(corpus)
    server.requests.clear()
    download(corpus)
    assert server.fetched() == ["/api/records/7"]


def test_a_file_that_differs_from_its_published_checksum_is_refused(server, client, tmp_path):
    plan = plan_downloads(corpus_of(record_of(server)), client)
    (tmp_path / "README.txt").write_bytes(b"changed")
    with input_error(r"README.txt: its checksum differs from the one published; remove the file"):
        fetch_all(plan, tmp_path, client)


def test_repeating_a_download_whose_archives_were_unpacked_and_removed_fetches_and_changes_nothing(
    server, client, tmp_path
):
    plan = plan_downloads(corpus_of(record_of(server)), client, ["*.zip", "keys*"])
    fetch_all(plan, tmp_path, client, keep_archives=False)
    kept_files = files_of(tmp_path)
    assert "release.zip" not in kept_files
    server.requests.clear()
    fetch_all(plan, tmp_path, client, keep_archives=False)
    assert server.requests == []
    assert files_of(tmp_path) == kept_files


def test_archives_are_unpacked_into_the_folder_that_the_corpus_states(server, download, tmp_path):
    download(corpus_of(record_of(server, "/files/keys.tar.gz", unpack="data")))
    assert (tmp_path / "data/keys/LA/CM/trial_metadata.txt").is_file()


@pytest.fixture
def list_without_checksum(server):
    """A corpus of one file on the server, which publishes no checksum of it."""
    server.pages["/some list.txt"] = b"first"
    return corpus_of(Download(url=f"{server.address}/some%20list.txt"))


def test_the_checksum_of_a_download_is_recorded_if_none_is_published(list_without_checksum, download, tmp_path):
    download(list_without_checksum)
    received = json.loads((tmp_path / RECORD).read_text())["files"]["some list.txt"]
    assert received["digests"] == {"sha256": hashlib.sha256(b"first").hexdigest()}


def test_a_file_that_differs_from_its_recorded_checksum_is_refused(list_without_checksum, download, tmp_path):
    download(list_without_checksum)
    download(list_without_checksum)
    (tmp_path / "some list.txt").write_bytes(b"FIRST")
    with input_error(rf"its checksum differs from the one recorded in {RECORD}"):
        download(list_without_checksum)


def test_the_plan_puts_the_files_of_a_named_download_into_a_folder_of_its_name(server, client):
    plan = plan_downloads(corpus_of(record_of(server, "/files/README.txt"), record_of(server, name="second")), client)
    assert [file.name for file in plan.files] == ["README.txt", *(f"second/{name}" for name in FILES)]


def test_a_pattern_that_matches_no_file_of_a_download_is_refused(server, client):
    with input_error(r"`only` matches no file of In-the-Wild; it has release.zip, keys.tar.gz"):
        plan_downloads(corpus_of(record_of(server)), client, ["*.flac"])


@pytest.mark.parametrize(
    "file, listed, message",
    [
        ("/files/none.zip", {}, r"has no file 'none.zip'; open the page in a browser"),
        ("", {"key": "../../a.txt"}, r"'../../a.txt' is not allowed as the name of a file"),
        ("", {"key": ".bashrc"}, r"'.bashrc' is not allowed as the name"),
        ("", {"key": "same"}, r"several files would have the same name"),
        ("", {"size": -1}, r"not the listing of a record \(files.0.size"),
        ("", {"size": 10**17}, r"about 600000.0 TB are needed .* fetch some of the files with `only`"),
    ],
)
def test_a_zenodo_record_that_cannot_be_downloaded_as_listed_is_refused_before_writing(
    server, client, tmp_path, file, listed, message
):
    add_record(server, "7", FILES, **listed)
    with input_error(message):
        fetch_all(plan_downloads(corpus_of(record_of(server, file)), client), tmp_path, client)
    assert files_of(tmp_path) == []


@pytest.fixture
def hub(monkeypatch, tmp_path_factory):
    """A hub with one data set of two files and an archive."""
    folder = tmp_path_factory.mktemp("set")
    use_cache(monkeypatch, tmp_path_factory.mktemp("home"), offline=False)
    write(folder / "data/.gitattributes", "hidden")
    write(folder / "README.md", "card")
    write(folder / "data/test-00000.parquet", "PAR1")
    (folder / "keys.tar.gz").write_bytes(KEYS.getvalue())
    with serving(monkeypatch, {"o/n": folder}) as server:
        yield server


HUB_SET = corpus_of(Download(url="hub:o/n"))


@pytest.mark.parametrize(
    "only, names",
    [([], ["README.md", "data/test-00000.parquet", "keys.tar.gz"]), (["data/*"], ["data/test-00000.parquet"])],
)
def test_all_or_only_the_selected_files_of_a_data_set_of_the_hub_are_downloaded(hub, client, tmp_path, only, names):
    fetch_all(plan_downloads(HUB_SET, client, only), tmp_path, client, unpacking=False)
    assert files_of(tmp_path) == names


def test_an_archive_of_a_data_set_of_the_hub_is_unpacked(hub, download, tmp_path):
    download(HUB_SET)
    assert (tmp_path / "keys/LA/CM/trial_metadata.txt").is_file()


def test_the_files_of_a_data_set_of_the_hub_are_asked_for_with_the_token_of_the_user(
    hub, client, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    fetch_all(plan_downloads(HUB_SET, client), tmp_path, client)
    assert {headers["authorization"] for _, path, headers in hub.requests if "/resolve/" in path} == {"Bearer hf_token"}


def test_a_file_of_a_data_set_of_the_hub_with_another_sha256_than_stated_is_removed(hub, download, tmp_path):
    spoil(hub, ".parquet")
    with input_error("test-00000.parquet: the SHA256 of what came is .*, not .*is removed: run the same command"):
        download(HUB_SET)
    assert not (tmp_path / "data/test-00000.parquet").exists()


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command for a corpus; status and text."""

    def run_for(corpus, *arguments):
        monkeypatch.setattr(in_the_wild, "CORPUS", corpus)
        status = main(["data", "download", "in_the_wild", *map(str, arguments)])
        shown = capsys.readouterr()
        return status, " ".join((shown.out + shown.err).split())

    return run_for


def test_a_dry_run_downloads_nothing(server, tmp_path, run):
    folder = tmp_path / "wild"
    run(corpus_of(record_of(server)), folder, "--dry-run")
    assert not folder.exists()


def test_a_dry_run_shows_the_files_of_a_download_their_licences_and_the_remaining_steps(server, tmp_path, run):
    """It shows which files have checksums, and the size of all, too."""
    corpus = corpus_of(record_of(server), licence="CC BY-SA 4.0", by_hand=["read README.txt"])
    _, text = run(corpus, tmp_path / "wild", "--dry-run")
    for words in ("licence CC BY-SA 4.0", "stated by the server cc-by-4.0", "keys.tar.gz", "MD5", "kB in all"):
        assert words in text
    assert text.endswith("afterwards: 1. unpack more.rar into the folder by hand 2. read README.txt")


def test_a_download_is_refused_with_the_option_that_accepts_the_licence_until_it_is_accepted(server, tmp_path, run):
    folder = tmp_path / "wild"
    status, text = run(corpus_of(record_of(server)), folder)
    assert status == 2
    assert text.endswith("add --accept-licence if you accept the licence above")
    assert not folder.exists()


def test_at_the_terminal_the_answer_y_to_the_licence_starts_the_download_and_n_or_nothing_does_not(
    server, tmp_path, monkeypatch, run
):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, status, downloaded in (("n", 2, False), ("", 2, False), ("y", 0, True)):
        monkeypatch.setattr("builtins.input", lambda prompt, answer=answer: answer)
        assert run(corpus_of(record_of(server)), tmp_path, "--only", "release.zip")[0] == status
        assert (tmp_path / "release.zip").exists() == downloaded

"""Files that the page has sent: what stays, and what goes."""

import pytest
from builders.files import write

from nes2net.apps.serve.desk import Desk, Limits
from nes2net.apps.serve.uploads import Uploads
from nes2net.lib.http_server import Refused


@pytest.fixture
def uploads(small, tmp_path):
    return Uploads(Desk(small, tmp_path, Limits(max_size=1, waiting=1)))


def put(uploads, name, size=10):
    return write(uploads.folder / name, "." * size)


def test_what_no_drop_names_is_forgotten_after_minutes(uploads):
    waits, left = put(uploads, "one/a.wav"), put(uploads, "two/a.wav")
    uploads.queued_paths = lambda: [str(waits)]
    uploads.tidy(200)
    assert waits.exists() and left.exists()
    uploads.tidy(400_000)  # the drop waits for days
    assert waits.exists() and not left.parent.exists()


def test_what_was_begun_is_left_alone(uploads):
    """Gradio writes what comes into a temporary file, which is empty at first."""
    with uploads.reserve_room(1000):
        part = put(uploads, "tmp1", 0)
        with uploads.reserve_room(1000):
            put(uploads, "tmp2", 0)
        uploads.tidy(1000)
        assert part.exists()
        uploads.tidy(4000)
        assert not part.exists()
        put(uploads, "tmp3", 0)
    assert not list(uploads.folder.iterdir())


def test_room_is_promised_once(uploads):
    with uploads.reserve_room(900_000) as one, uploads.reserve_room(None) as two:
        assert (one, two) == (900_000, 1_000_000)
        with pytest.raises(Refused, match="busy") as refused, uploads.reserve_room(200_000):
            pass
        assert refused.value.status == 503
    with uploads.reserve_room(5_000_000) as most:
        assert most == 2_000_000
    path = put(uploads, "one/a.wav", 1_500_000)
    with uploads.move_to_drop([str(path)]), pytest.raises(Refused), uploads.reserve_room(1_000_000):
        pass  # what is being scored is counted too
    with uploads.reserve_room(1_000_000):
        pass


def test_a_drop_takes_its_files_and_two_pages_may_drop_the_same(uploads, tmp_path):
    path, secret = put(uploads, "one/a.wav"), write(tmp_path / "secret")
    with uploads.reserve_room(0):
        begun = put(uploads, "tmp1")
        names = [str(path), str(path), str(begun), str(secret), str(uploads.folder / "none/a.wav"), ""]
        with uploads.move_to_drop(names) as taken:
            assert list(taken) == [str(path)] and taken[str(path)].suffix == ".wav"
            assert not path.exists() and begun.exists() and taken[str(path)].exists()
            with uploads.move_to_drop([str(path)]) as again:
                assert again == {}
        assert secret.exists() and not taken[str(path)].exists()
    path = put(uploads, "one/a.wav")
    drops = [str(path), str(path)]
    uploads.queued_paths = lambda: drops
    for left in (True, False):
        with uploads.move_to_drop([str(path)]) as taken:
            assert taken[str(path)].exists() and path.exists() == left
        drops.pop()


def test_drops_that_run_at_once_may_have_the_same_file(uploads):
    """The last of them takes the file away, whichever it is; and later ones find it again."""
    path = put(uploads, "one/a.wav")
    uploads.queued_paths = lambda: [str(path)] * 2
    with uploads.move_to_drop([str(path)]) as first:
        assert path.exists()
        with uploads.move_to_drop([str(path)]) as second:
            assert first[str(path)].exists() and second[str(path)].exists() and not path.exists()
    put(uploads, "one/a.wav")
    with uploads.move_to_drop([str(path)]) as first:
        assert path.exists()

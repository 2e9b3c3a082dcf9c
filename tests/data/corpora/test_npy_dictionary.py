"""Dictionaries of arrays in .npy files: what NumPy reads, without running anything."""

import io
import os
import pickle

import numpy as np
import pytest
from builders import input_error

from nes2net.data.corpora.npy_dictionary import read_npy_dictionary

ARRAYS = {
    "text": np.array(list("01101")),
    "bytes": np.array([b"0", b"1"]),
    "integers": np.arange(6).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">i4"),
    "floats": np.array([0.5, -1.5], np.float32),
    "truth": np.array([True, False]),
    "empty": np.zeros(0, "U1"),
}


def header(array):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
    return stream.getvalue()


OBJECT = header(np.array({}, object))


def written(folder, content):
    """A file in ``folder`` with this content."""
    (folder / "a.npy").write_bytes(content)
    return folder / "a.npy"


def assert_same_arrays(arrays):
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_a_dictionary_of_segment_labels_that_numpy_saved_is_read(tmp_path):
    np.save(tmp_path / "a.npy", ARRAYS)
    assert_same_arrays(read_npy_dictionary(tmp_path / "a.npy"))


of_every_protocol = pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))


def pickled_dictionary(folder, content, protocol):
    return read_npy_dictionary(written(folder, OBJECT + pickle.dumps(np.array(content, object), protocol)))


@of_every_protocol
def test_a_dictionary_pickled_by_any_protocol_from_2_on_is_read(tmp_path, protocol):
    assert_same_arrays(pickled_dictionary(tmp_path, ARRAYS, protocol))


class Runs:
    """A pickle that creates a file when it is loaded by ``pickle`` itself."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("wrap", [lambda bad: {"a": bad}, lambda bad: bad, lambda bad: {"a": [bad]}])
def test_function_calls_in_a_pickle_are_refused_and_not_run(tmp_path, protocol, wrap):
    bad = pickle.dumps(np.array(wrap(Runs(tmp_path / "made")), object), protocol)
    with input_error(r"a\.npy was not read: it asks for (posix|nt|os)\.mkdir.*nothing in it was run"):
        read_npy_dictionary(written(tmp_path, OBJECT + bad))
    assert not (tmp_path / "made").exists()


def dictionary(shape, name, data, order="<"):
    """A pickle of a dictionary with one array that claims whatever it likes."""

    class Array:
        def __reduce__(self):
            reconstruct = np.zeros(0).__reduce__()[0]
            return reconstruct, (np.ndarray, (0,), b"b"), (1, shape, DataType(), False, data)

    class DataType:
        def __reduce__(self):
            return np.dtype, (name, False, True), (3, order, None, None, None, -1, -1, 0)

    return pickle.dumps({"a": Array()}, 4)


def refused(folder, content, message):
    with input_error(message) as error:
        read_npy_dictionary(written(folder, content))
    assert "a.npy" in str(error.value)


def test_files_that_hold_no_pickled_object_of_numpy_are_refused(tmp_path):
    refused(tmp_path, b"no npy file at all", "damaged")
    refused(tmp_path, header(np.zeros(3)) + bytes(24), r"holds an array of float64 of shape \(3,\)")


@pytest.mark.parametrize(
    "pickled, message",
    [
        (b"cnumpy\ntesting\n.", "asks for numpy.testing"),
        (b"cbuiltins\neval\n(V1+1\ntR.", "asks for builtins.eval"),
        (b"\x82\x01.", "asks for the registered extension 1"),
        (b"(lp0\n}b.", "sets the state of a list"),
        (b"", "damaged"),
        (pickle.dumps({"a": np.zeros(3)})[:-20], "damaged"),
        (b"r\xff\xff\xff\xff.", "damaged"),
        (b"\x96\0\0\0\0\0\0\x04\x000.", "ends too early"),  # bytes of 2^50
        (dictionary((1 << 40,), "i8", b"12345678"), r"an array of shape \(1099511627776,\) in 8 bytes"),
        (dictionary((1,), "O8", b"12345678"), "holds an array of 'O8'"),
        (dictionary((-1,), "i8", b""), "an array of the impossible shape"),
        (dictionary((1,), "V8", b"12345678"), "holds an array of 'V8'"),
        (dictionary((1,), "i8", b"12345678", "!"), "the unknown byte order"),
    ],
)
def test_pickles_that_numpy_would_not_have_written_are_refused(tmp_path, pickled, message):
    refused(tmp_path, OBJECT + pickled, message)


@pytest.mark.parametrize(
    "content, message",
    [
        ([1, 2], "holds a list"),
        ({"a": {}}, "holds a dict where an array was expected"),
        ({"a": np.array([{}], object)}, "an array without data|holds an array of 'O8'"),
        ({"a": ["0", "1"]}, "holds a list where an array was expected"),
        ({"a": np.str_("x")}, r"asks for numpy\._?core\.multiarray\.scalar"),
    ],
)
def test_pickled_values_that_cannot_be_segment_labels_are_refused(tmp_path, content, message):
    refused(tmp_path, OBJECT + pickle.dumps(content), message)

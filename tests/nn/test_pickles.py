"""Foreign pickles become data. What Python's own machine would execute does nothing here, or is refused in words."""

import pickle
import pickletools
import subprocess
import sys
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslcli.errors import UserError
from sslcli.nn.foreign import pickles
from sslcli.nn.foreign.pickles import CHANGES, LITERALS, OUTSIDE, PASSED_OVER, VALUES, read_foreign_pickle
from sslcli.nn.foreign.stand_ins import Name, Record
from sslcli.nn.foreign.stored_arrays import StoredArray, Stretch

SYSTEM = {  # a program that would execute `touch ran`, by the instruction that does it
    "REDUCE": b"cos\nsystem\n(S'touch ran'\ntR.",
    "REDUCE of STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.",
    "REDUCE, and the result is dropped": b"cos\nsystem\n(S'touch ran'\ntR0N.",
    "REDUCE, in a key": b"(dcos\nsystem\n(S'touch ran'\ntRNs.",
    "REDUCE of a name out of the memo": b"cos\nsystem\np0\n0g0\n(S'touch ran'\ntR.",
    "INST": b"(S'touch ran'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'touch ran'\no.",
    "BUILD, by __setstate__": b"cargparse\nNamespace\n)R}S'__setstate__'\ncos\nsystem\nsbS'touch ran'\nb.",
    "GLOBAL of an attribute's attribute": b"\x80\x04\x8c\x02os\x8c\x0fsystem.__call__\x93\x8c\x09touch ran\x85R.",
    "eval": b'cbuiltins\neval\n(S\'__import__("os").system("touch ran")\'\ntR.',
    "getattr of a module": b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR(S'touch ran'\ntR.",
}


def read(path: Path, program: bytes) -> Any:
    """What a program leaves."""
    path.write_bytes(program)
    return read_foreign_pickle(path)


def refused(path: Path, program: bytes) -> str:
    """Why a program is not taken."""
    with pytest.raises(UserError) as told:
        read(path, program)
    return told.value.message


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in a folder that is the current one, where nothing was run yet."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "a.pkl"


@pytest.mark.parametrize("way", SYSTEM)
def test_pythons_own_machine_would_run_these_programs(way: str, file: Path) -> None:
    file.write_bytes(SYSTEM[way])
    code = "import pickle; pickle.load(open('a.pkl', 'rb'))"
    subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert file.with_name("ran").exists()


@pytest.mark.parametrize("way", SYSTEM)
def test_a_program_that_would_execute_a_command_executes_nothing(way: str, file: Path) -> None:
    with suppress(UserError):
        read(file, SYSTEM[way])
    assert not file.with_name("ran").exists()


def test_what_is_called_becomes_a_record_of_the_call(file: Path) -> None:
    record = read(file, SYSTEM["REDUCE"])
    assert isinstance(record, Record)
    assert (record.maker, record.arguments) == (Name("os", "system"), ("touch ran",))


@pytest.mark.parametrize(
    "program", [b"\x80\x02cos\nsystem\nN\x85\x81.", b"\x80\x04cos\nsystem\nN\x85}\x92."], ids=["NEWOBJ", "NEWOBJ_EX"]
)
def test_a_new_object_becomes_a_record_too(program: bytes, file: Path) -> None:
    assert read(file, program).maker == Name("os", "system")


def test_a_name_is_not_imported(file: Path) -> None:
    for program in (b"cantigravity\nfly\n.", b"\x80\x04\x8c\x0bantigravity\x8c\x03fly\x93.", b"(iantigravity\nfly\n."):
        read(file, program)
    assert "antigravity" not in sys.modules
    assert read(file, b"cno.such.module\nname\n.") == Name("no.such.module", "name")


def test_a_state_and_what_is_put_into_an_object_are_noted(file: Path) -> None:
    record = read(file, b"ca\nb\n)RS'state'\nbS'key'\nI1\nsS'more'\na.")
    assert (record.state, record.content) == ("state", [("key", 1), "more"])


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (b"S'os.system'\n(S'touch ran'\ntR.", "a call of what is no name"),
        (b"ca\nb\nS'no tuple'\nR.", "a call of what is no name"),
        (b"]N\x85b.", "a state for what has none"),
        (b"ca\nb\n}b.", "a state for what has none"),
        (b"}S'state'\nb.", "a state for what has none"),
        (b"I1\nI2\na.", "elements in what is no list"),
        (b"ca\nb\nS'__call__'\nNs.", "keys and values in what is no mapping"),
        (b"]S'a'\nNs.", "keys and values in what is no mapping"),
        (b"(S'a'\nd.", "a key without a value"),
        (b"((tNd.", "a key that is neither word nor number"),
        (b"}ca\nb\nNs.", "a key that is neither word nor number"),
        (b"\x80\x04\x8f((t\x90.", "a key that is neither word nor number"),
        (b"\x80\x04NN\x93.", "something else where a word should be"),
        (b"\x85.", "an instruction without its values"),
        (b"Pa\n.", "a reference to an object that is kept elsewhere"),
        (b"NQ.", "a reference to an object that is kept elsewhere"),
        (b"\x80\x02\x82\x01.", "a reference to a class by its number in a registry"),
        (b"\x80\x02\x83\x01\x00.", "a reference to a class by its number in a registry"),
        (b"\x80\x02\x84\x01\x00\x00\x00.", "a reference to a class by its number in a registry"),
        (b"\x80\x05\x97.", "a reference to bytes that are kept elsewhere"),
        (b"N\x98.", "a reference to bytes that are kept elsewhere"),
        (b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.", "bytes that are not written as letters of Latin-1"),
        (b"ccollections\nOrderedDict\n(]tR.", "a mapping around what is none"),
        (b"cdill._dill\n_get_attr\n(S'os'\nS'system'\ntR.", "an attribute of what is no module"),
        (b"cdill._dill\n_create_namedtuple\n(S'a'\nS'b'\nS'c'\ntR.", "a named tuple without names"),
    ],
)
def test_what_means_nothing_here_is_refused_in_words(program: bytes, said: str, file: Path) -> None:
    assert refused(file, program) == f"{file} is not taken: it has {said}"
    assert not file.with_name("ran").exists()


def test_dills_way_to_a_function_leaves_its_name_and_calls_nothing(file: Path) -> None:
    module = b"cdill._dill\n_import_module\n(S'os'\ntR"
    found = read(file, b"cdill._dill\n_get_attr\n(" + module + b"S'system'\ntR(S'touch ran'\ntR.")
    assert found.maker == Name("os", "system")
    assert not file.with_name("ran").exists()


def test_every_instruction_that_pickles_have_is_known_once() -> None:
    known = [*LITERALS, *VALUES, *CHANGES, *OUTSIDE, *PASSED_OVER]
    assert sorted(known) == sorted(instruction.name for instruction in pickletools.opcodes)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.tuples(inner, inner, inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
)


@settings(max_examples=150, deadline=None)
@given(document=PLAIN, protocol=st.integers(0, 5))
def test_plain_data_is_read_as_python_reads_it(
    document: Any, protocol: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert read(tmp_path_factory.getbasetemp() / "plain.pkl", pickle.dumps(document, protocol)) == document


def test_sets_ordered_mappings_and_byte_arrays_are_read(file: Path) -> None:
    document = {"set": {1, 2}, "frozen": frozenset("ab"), "ordered": OrderedDict(a=1), "bytes": bytearray(b"ab")}
    assert read(file, pickle.dumps(document, 5)) == {**document, "bytes": b"ab"}


def test_what_refers_to_itself_is_read(file: Path) -> None:
    document: list[Any] = []
    document.append(document)
    found = read(file, pickle.dumps(document))
    assert found[0] is found


@settings(max_examples=300, deadline=None)
@given(program=st.binary(max_size=40))
def test_of_any_bytes_there_is_data_or_a_user_error(program: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    with suppress(UserError):
        read(tmp_path_factory.getbasetemp() / "any.pkl", program)


def arrays() -> dict[str, numpy.ndarray]:
    """Arrays of every plain type, in both orders of bytes and of axes, without numbers and without axes."""
    square = numpy.arange(6, dtype=numpy.float32).reshape(2, 3) - 2.5
    types = {kind: square.astype(kind) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "?", ">f4", ">i8")}
    shapes = {"fortran": numpy.asfortranarray(square), "turned": square.T, "empty": square[:0], "point": square[0, 0]}
    return {**types, **shapes, "none": numpy.array(3.5)}


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_numbers_are_read_as_they_were(protocol: int, file: Path) -> None:
    found = read(file, pickle.dumps(arrays(), protocol))
    for name, array in arrays().items():
        tensor = found[name].tensor()
        assert torch.equal(tensor, torch.from_numpy(numpy.array(array, array.dtype.newbyteorder("=")))), name
        tensor.zero_()  # it owns its numbers


@pytest.mark.parametrize("protocol", range(6))
def test_a_long_array_stays_in_the_file_until_it_is_asked_for(protocol: int, file: Path) -> None:
    array = numpy.random.default_rng(0).standard_normal((100, 300)).astype(numpy.float32)
    found = read(file, pickle.dumps({"a": array}, protocol))["a"]
    assert isinstance(found.data, Stretch) or protocol == 0  # which writes letters without their number
    assert numpy.array_equal(found.tensor().numpy(), array)


def test_a_state_that_many_share_is_one_array(file: Path) -> None:
    array = numpy.ones(3)
    found = read(file, pickle.dumps([array, array]))
    assert found[0] is found[1]


def stored(shape: Any, code: str = "f4", data: bytes = b"\0" * 12) -> Any:
    """A program that leaves an array."""

    class Stored:
        def __reduce__(self) -> Any:
            maker, arguments, _ = numpy.zeros(1).__reduce__()
            return maker, arguments, (1, shape, numpy.dtype(code), False, data)

    return pickle.dumps(Stored(), 2)


@pytest.mark.parametrize("shape", [(4,), (1 << 40,), (1 << 20, 1 << 20, 1 << 20), (0,), ()])
def test_an_array_that_says_more_than_it_has_is_refused_before_there_is_room_for_it(shape: Any, file: Path) -> None:
    array = read(file, stored(shape))
    with pytest.raises(UserError, match="numbers of 4 bytes has 12 bytes"):
        array.tensor()


@pytest.mark.parametrize("shape", [(-1,), (1 << 60,), (1.0,), [3], 3, None, (1,) * 33])
def test_a_shape_that_is_none_is_refused(shape: Any, file: Path) -> None:
    assert "an array whose shape is no tuple of a few whole numbers" in refused(file, stored(shape))


@pytest.mark.parametrize("code", ["c8", "O", "S3", "U3", "M8[s]", "V4", "i4,f8", "u8"])
def test_an_array_of_anything_but_plain_numbers_is_refused_when_it_is_asked_for(code: str, file: Path) -> None:
    found = read(file, pickle.dumps([1, numpy.zeros(3, code)], 2))
    assert found[0] == 1
    with pytest.raises(UserError, match="cannot be read"):
        found[1].tensor()


def test_a_type_of_another_library_is_refused_by_name_when_it_is_asked_for(file: Path) -> None:
    kind = b"cnumpy\ndtype\n(cml_dtypes\nbfloat16\nI00\nI01\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    program = b"cnumpy.core.multiarray\n_reconstruct\n)R(I1\n(I2\nt" + kind + b"I00\nS'1234'\ntb."
    with pytest.raises(UserError, match=r"an array of <ml_dtypes\.bfloat16 cannot be read"):
        read(file, program).tensor()


def test_letters_that_are_no_bytes_are_refused(file: Path) -> None:
    array = StoredArray()
    array.build((1, (1,), read(file, pickle.dumps(numpy.dtype("f4"), 2)), False, "\u0100\0\0\0"))
    with pytest.raises(UserError, match=r"letters for bytes that are none of Latin-1"):
        array.tensor()


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0fab.",  # bytes: as many as an exabyte
        b"\x80\x02X\xff\xff\xff\x7fab.",  # two billion letters
        b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",  # a number of two billion bytes
        b"\x80\x02r\xff\xff\xff\x7f.",  # a number in the memo, of nothing
    ],
)
def test_lengths_that_are_not_there_are_refused(program: bytes, file: Path) -> None:
    assert refused(file, program).startswith(f"{file} cannot be read as a pickle: ")


def test_more_instructions_than_a_checkpoint_needs_are_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MOST_STEPS", 1000)
    assert "more than 1000 instructions" in refused(file, b"(" + b"}" * 1000 + b"l.")
    assert len(read(file, b"(" + b"}" * 900 + b"l.")) == 900


def test_a_mapping_around_a_mapping_is_no_copy_that_a_file_could_ask_for_without_end(file: Path) -> None:
    maker = b"chaiku._src.data_structures\nFlatMapping\n"
    found = read(file, b"(}p0\n" + (maker + b"(g0\ntR") * 3 + b"l.")
    assert len({id(inner) for inner in found}) == 1


def test_depth_is_no_trouble(file: Path) -> None:
    deep = read(file, b"(" * 50_000 + b"l" * 50_000 + b".")
    for _ in range(49_999):
        (deep,) = deep
    assert deep == []


def test_a_file_that_was_cut_anywhere_is_refused_and_not_by_another_exception(file: Path) -> None:
    whole = pickle.dumps({"a": numpy.ones(5), "b": ["c", 1.5, {"d": None}]}, 2)
    for length in range(len(whole)):
        assert str(file) in refused(file, whole[:length])


def test_what_is_no_file_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_foreign_pickle(tmp_path)

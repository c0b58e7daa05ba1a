"""Hostile files of weights: each is refused in a sentence at once, however much it claims to hold."""

import json
import pickle
import struct
import tarfile
import time
import tracemalloc
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from cyclegan.__main__ import main
from cyclegan.checkpoints.import_discriminators import read_discriminator
from cyclegan.checkpoints.import_reference import read_reference
from cyclegan.checkpoints.stored import Stored
from cyclegan.checkpoints.weights_file import read_networks
from cyclegan.errors import CheckpointError
from tests.checkpoints.test_import_reference import ReferenceResnet, randomised, refused, saved

PROTO, STOP = b"\x80\x02", b"."
# As torch's own pickles call these.
BYTES_OF_ZEROS = b"c__builtin__\nbytearray\nJ" + struct.pack("<i", 2**31 - 1) + b"\x85R"
ENCODED = b"c_codecs\nencode\nX" + struct.pack("<I", 30_000) + b"\xc3\xa9" * 15_000 + b"X\x04\0\0\0idna\x86R"


def zipped(content, path, data=(), compression=zipfile.ZIP_STORED):
    """A file of torch with this pickle; `data` has the storages by key."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x/data.pkl", content)
        archive.writestr("x/version", "3\n")
        for key, numbers in dict(data).items():
            archive.writestr(f"x/data/{key}", numbers)
    return path


def doubled_tuples(levels):
    """A dictionary whose key is a tuple of tuples of … with 2**levels ends, in a few bytes a level."""
    return PROTO + b"}K\x01\x85" + b"2\x86" * levels + b"K\x01s" + STOP


def tuples_by_memo(levels):
    """The same by the operations that torch's own reader knows."""
    steps = b"".join(b"q" + bytes([level]) + b"h" + bytes([level]) + b"\x86" for level in range(levels))
    return PROTO + b"}K\x01\x85" + steps + b"K\x01s" + STOP


def numbers_of_one_hash(count):
    def whole(number):
        content = number.to_bytes(number.bit_length() // 8 + 1, "little")
        return b"\x8a" + bytes([len(content)]) + content

    return PROTO + b"}(" + b"".join(whole((2**61 - 1) * key) + b"K\x01" for key in range(1, count)) + b"u" + STOP


CLAIMS = {
    "bytearray": lambda path: zipped(PROTO + BYTES_OF_ZEROS + STOP, path),
    "bytearrays": lambda path: zipped(PROTO + b"](" + BYTES_OF_ZEROS * 9 + b"e" + STOP, path),
    "codec": lambda path: zipped(PROTO + b"](" + ENCODED * 20 + b"e" + STOP, path),
    "bare bytearray": lambda path: path.write_bytes(PROTO + BYTES_OF_ZEROS + STOP),
    "hash of tuples": lambda path: zipped(tuples_by_memo(29), path),
    "duplicated tuples": lambda path: zipped(doubled_tuples(64), path),
    "numbers of one hash": lambda path: zipped(numbers_of_one_hash(30_000), path),
    "nested lists": lambda path: zipped(PROTO + b"]" * 240_000 + b"a" * 239_999 + STOP, path),
    "more nested lists": lambda path: zipped(PROTO + b"]" * 2_000_000 + b"a" * 1_999_999 + STOP, path),
    "operations": lambda path: path.write_bytes(PROTO + b"N" * 9_000_000 + STOP),
    "long number": lambda path: path.write_bytes(PROTO + b"\x8b" + struct.pack("<i", 2**31 - 1) + b"\x01"),
    "memo": lambda path: path.write_bytes(PROTO + b"]r\xff\xff\xff\x7f" + STOP),
    "digits": lambda path: path.write_bytes(PROTO + b"I" + b"9" * 100_000 + b"\n" + STOP),
    "empty stack": lambda path: path.write_bytes(PROTO + b"\x86" + STOP),
    "no mark": lambda path: path.write_bytes(PROTO + b"t" + STOP),
    "itself": lambda path: zipped(PROTO + b"}q\0X\x01\0\0\0ah\0s" + STOP, path),
    "state of a function": lambda path: zipped(PROTO + b"ctorch\nSize\n}b" + STOP, path),
    "called number": lambda path: zipped(PROTO + b"K\x01)R" + STOP, path),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_what_a_pickle_claims_is_not_made(case, tmp_path):
    path = tmp_path / "latest_net_G_A.pth"
    CLAIMS[case](path)
    begun = time.perf_counter()
    refused(path)
    assert time.perf_counter() - begun < 8  # The slowest takes 1 s.


@pytest.mark.parametrize("case", [case for case in CLAIMS if "bytearray" in case])
def test_a_few_bytes_take_no_memory(case, tmp_path):
    path = tmp_path / "latest_net_G_A.pth"
    CLAIMS[case](path)
    tracemalloc.start()
    try:
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def storage(count, key=b"0", kind=b"FloatStorage"):
    return (
        b"(X\x07\0\0\0storagectorch\n" + kind + b"\nX" + struct.pack("<I", len(key)) + key + b"X\x03\0\0\0cpu\x8a\x08"
        + struct.pack("<q", count) + b"tQ"
    )  # fmt: skip


def tensor(count, shape, stride=b"K\x01\x85", **of):
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(count, **of) + b"K\0" + shape + stride
    return PROTO + b"}X\x0e\0\0\0model.1.weight" + call + b"\x89Nt" + b"Rs" + STOP


HUGE = b"\x8a\x08" + struct.pack("<q", 2**40) + b"\x85"


@pytest.mark.parametrize(
    ("content", "data"),
    [
        (tensor(2**40, HUGE), {"0": bytes(64)}),
        (tensor(2**62, HUGE), {"0": bytes(64)}),
        (tensor(-1, HUGE), {"0": bytes(64)}),
        (tensor(16, b"K\x10\x85"), {}),
        (tensor(16, b"K\x10\x85", kind=b"NoStorage"), {"0": bytes(64)}),
        (tensor(16, b"K\x10\x85", b"K\x01K\x01\x86"), {"0": bytes(64)}),
        (tensor(16, b"(" + b"K\x01" * 1000 + b"t", b"(" + b"K\x01" * 1000 + b"t"), {"0": bytes(64)}),
        (tensor(16, b"N"), {"0": bytes(64)}),
    ],
    ids=["terabytes", "overflow", "negative", "missing", "unknown type", "strides", "axes", "no shape"],
)
def test_a_storage_that_is_not_there(content, data, tmp_path):
    words = ["could run code"] if b"NoStorage" in content else ["damaged or incomplete"]
    refused(zipped(content, tmp_path / "x.pth", data), *words)


def test_a_tensor_larger_than_its_storage(tmp_path):
    (found,) = read_networks(zipped(tensor(16, b"K\x10\x85"), tmp_path / "x.pth", {"0": bytes(64)})).values()
    assert found["model.1.weight"].is_plain
    for shape, stride in ((b"K\x02\x85", b"K\x09\x85"), (HUGE, b"K\0\x85"), (HUGE, b"K\x01\x85")):
        path = zipped(tensor(16, shape, stride), tmp_path / "x.pth", {"0": bytes(64)})
        (found,) = read_networks(path).values()
        assert not next(iter(found.values())).is_plain


def test_a_legacy_file_that_claims_terabytes_allocates_nothing(tmp_path):
    path = saved(ReferenceResnet(6, 2), tmp_path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    number = b"M" + struct.pack("<H", 3 * 2 * 49)  # The numbers of the first convolution.
    assert content.count(number) >= 1
    path.write_bytes(content.replace(number, b"\x8a\x06" + (2**44).to_bytes(6, "little"), 1))
    refused(path, "damaged or incomplete")
    path.write_bytes(content[:-4])
    refused(path, "damaged or incomplete")


@pytest.mark.parametrize("legacy", [False, True])
def test_many_names_are_refused_before_any_is_looked_at(legacy, tmp_path):
    piece = torch.zeros(1)
    many = {f"k{key}": piece.view(1) for key in range(10_001)}
    torch.save(many, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    refused(tmp_path / "x.pth", "far more than these networks")


def test_one_long_name_in_many_dictionaries(tmp_path):
    name = "a" * 100_000
    torch.save({f"n{number}": {name: {name: number}} for number in range(1000)}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "far more than these networks")


def test_a_list_of_members_is_bounded_before_it_is_read(tmp_path, monkeypatch):
    zipped(PROTO + b"}" + STOP, tmp_path / "x.pth", {str(key): b"" for key in range(200)})
    monkeypatch.setattr("cyclegan.checkpoints.containers.MOST_BYTES", 5000)
    refused(tmp_path / "x.pth", "far more than these networks")


def test_a_packed_member_is_refused_whatever_its_size(tmp_path):
    zipped(PROTO + b"}" + STOP, tmp_path / "x.pth", {"0": b"0123456789"}, zipfile.ZIP_DEFLATED)
    refused(tmp_path / "x.pth", "compressed archive")


def test_an_old_tar_is_never_unpacked(tmp_path, monkeypatch):
    """Before it had pickles, torch saved tar archives; its reader still unpacks them into a temporary folder."""
    opened, member = [], tarfile.TarInfo("\x80\x02")
    monkeypatch.setattr(tarfile, "open", lambda *of, **more: opened.append(of))
    header = bytearray(member.tobuf(tarfile.USTAR_FORMAT, "latin-1"))
    header[257:265] = bytes(8)
    (tmp_path / "x.pth").write_bytes(bytes(header) + bytes(1024))
    refused(tmp_path / "x.pth", "damaged")
    assert not opened


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({f"k{key}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for key in range(10_001)}, "10001 parts"),
        ({"model.1.weight": {"dtype": "F32", "shape": [2**70, 0], "data_offsets": [0, 0]}}, "damaged"),
        ({"model.1.weight": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}, "damaged"),
        ({"model.1.weight": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}, "damaged"),
        ({"model.1.weight": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}}, "damaged"),
        ({"model.1.weight": []}, "damaged"),
        ({"model.1.weight": {}}, "damaged"),
        ({"model.10.conv_block.1.weight": {"dtype": "Q\x1b[2J", "shape": [1], "data_offsets": [0, 4]}}, "not plain"),
        ({"model.10.conv_block.1.weight": {"dtype": "I32", "shape": [1], "data_offsets": [0, 4]}}, "int32"),
        ('{"a":' + "[" * 100_000, "damaged"),
    ],
)
def test_headers_of_safetensors(header, words, tmp_path):
    content = (header if isinstance(header, str) else json.dumps(header)).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(content)) + content + bytes(64))
    assert refused(tmp_path / "x.safetensors", words).isprintable()


def test_a_file_full_of_nothing_is_not_read_before_it_fits(tmp_path, monkeypatch):
    """Of 16 GB on paper, the disk holds a few bytes; nothing of it comes into memory."""
    shape = [64, 3, 7, 2**20 * 3]
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * 64 * 3 * 7 * 2**20 * 3]}
    block = {f"model.{number}.conv_block.1.weight": dict(entry, shape=[1, 0], data_offsets=[0, 0])
             for number in range(10, 16)}  # fmt: skip
    header = json.dumps({"model.1.weight": entry, **block}).encode()
    with open(tmp_path / "x.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(file.tell() + entry["data_offsets"][1])
    monkeypatch.setattr(Stored, "read", None)
    refused(tmp_path / "x.safetensors")


def test_an_absurd_shape_without_numbers_is_no_discriminator(tmp_path):
    path = tmp_path / "latest_net_D_A.pth"
    torch.save({f"model.{layer}.weight": torch.zeros(64, 10**16, 1, 0) for layer in (0, 2, 5, 8)}, path)
    with pytest.raises(CheckpointError, match="damaged"):
        read_discriminator(path)


@pytest.mark.parametrize("number", ["1000000000", "9" * 400, "9" * 5000])
@pytest.mark.parametrize("flag", ["--epoch", "--crop_size"])
def test_absurd_numbers_of_the_command(flag, number, tmp_path, capsys):
    path = saved(ReferenceResnet(6, 2), tmp_path)
    words = ["import", "--from", str(path), "--output", str(tmp_path / "run"), flag, number]
    try:
        status = main(words)
    except SystemExit as error:  # As argparse ends.
        status = error.code
    said = capsys.readouterr().err
    assert status in (1, 2) and flag in said and said.count("\n") == 1 and len(said) < 1300
    assert not (tmp_path / "run").exists()


def test_tensors_as_programs_save_them(tmp_path):
    """Parameters, tensors with attributes, views of one piece, other orders in memory, other types."""
    network = randomised(ReferenceResnet(6, 2))
    plain = network.state_dict()
    marked = {key: value.clone() for key, value in plain.items()}
    marked["model.1.weight"].note = "made by hand"
    kinds = {
        "parameters": dict(network.named_parameters()),
        "attributes": marked,
        "channels last": {key: value.to(memory_format=torch.channels_last) if value.ndim == 4 else value
                          for key, value in plain.items()},
        "double": {key: value.double() for key, value in plain.items()},
    }  # fmt: skip
    expected = read_reference(saved(network, tmp_path))[1]
    for name, content in kinds.items():
        for legacy in (False, True):
            torch.save(content, tmp_path / f"{name}.pth", _use_new_zipfile_serialization=not legacy)
            found = read_reference(tmp_path / f"{name}.pth")[1]
            assert all(torch.equal(found[key], value) for key, value in expected.items()), name
    for dtype in (torch.bfloat16, torch.float8_e5m2, torch.float8_e4m3fn):
        low = {key: value.to(dtype) for key, value in plain.items()}
        torch.save(low, tmp_path / "low.pth")
        save_file(low, tmp_path / "low.safetensors")
        for file in ("low.pth", "low.safetensors"):
            found = read_reference(tmp_path / file)[1]
            assert torch.equal(found["stem.conv.weight"], low["model.1.weight"].float())


def test_dictionaries_of_python_2(tmp_path):
    """It pickled an ordered dictionary as a call with a list of pairs, and texts as bytes."""
    call = b"ctorch._utils\n_rebuild_tensor\n(" + storage(2) + b"K\0K\x02\x85K\x01\x85tR"
    pairs = b"](](U\x0emodel.1.weight" + call + b"ee"
    content = PROTO + b"ccollections\nOrderedDict\n" + pairs + b"\x85R}(U\x09_metadataNub" + STOP
    path = zipped(content, tmp_path / "x.pth", {"0": struct.pack("<2f", 1, 2)})
    ((_, weights),) = read_networks(path).items()
    assert list(weights) == ["model.1.weight"] and weights["model.1.weight"].read().tolist() == [1, 2]


def test_protocols_of_pickle(tmp_path):
    for protocol in (2, 3, 4, 5):
        torch.save(randomised(ReferenceResnet(6, 2)).state_dict(), tmp_path / "x.pth", pickle_protocol=protocol)
        assert read_reference(tmp_path / "x.pth")[0].generator == "resnet_6"
    assert pickle.HIGHEST_PROTOCOL == 5

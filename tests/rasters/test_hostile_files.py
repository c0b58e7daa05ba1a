"""Damaged, lying and odd files of each format get one sentence, at once and without much memory."""

import gzip
import io
import math
import os
import struct
import sys
import zipfile
import zlib

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile

from cyclegan.errors import ImageError
from cyclegan.rasters.files import bounds, kind_of, open_stack, probe, read, write
from cyclegan.rasters.raster import Origin, Raster
from tests.rasters.dicoms import write_dicom

MR = np.random.default_rng(0).integers(0, 4096, (12, 16)).astype(np.uint16)


def png(width, height, bits=16, colour=0, data=b"\0"):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def tiff(array=MR, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, photometric="minisblack", metadata=None, **options)
    return stream.getvalue()


def tiff_tag(data, code, value):
    """Change the value of a tag of a little-endian TIFF."""
    at = struct.unpack_from("<L", data, 4)[0]
    for entry in range(struct.unpack_from("<H", data, at)[0]):
        place = at + 2 + 12 * entry
        if struct.unpack_from("<H", data, place)[0] == code:
            kind = struct.unpack_from("<H", data, place + 2)[0]
            return data[: place + 8] + struct.pack("<L" if kind == 4 else "<HH", value, *[0] * (kind != 4)) + data[
                place + 12 :
            ]
    raise AssertionError(code)


def endless_tiff():
    """A TIFF whose pages are many and tiny."""
    page = struct.pack("<H", 1) + struct.pack("<HHLL", 256, 4, 1, 9)
    size = len(page) + 4
    pages = b"".join(page + struct.pack("<L", 8 + size * (number + 1)) for number in range(bounds.MAX_SLICES + 50))
    return b"II*\0" + struct.pack("<L", 8) + pages


def npy(shape, descr="<u2", data=b"", *, fortran=False):
    stream = io.BytesIO()
    header = {"descr": descr, "fortran_order": fortran, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + data


def npz(**files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(f"{name}.npy", data)
    return stream.getvalue()


def nifti(shape=(16, 12, 3), dtype=np.int16, data=None, **fields):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header["vox_offset"] = 352
    for name, value in fields.items():
        header[name] = value
    if data is None:
        data = b"\0" * (math.prod(shape) * int(header["bitpix"]) // 8)
    return header.binaryblock + b"\0" * 4 + data


def dicom(tmp_path, stored=MR, syntax=None, **tags):
    path = write_dicom(tmp_path / "made", stored, **tags)
    if syntax:
        data = pydicom.dcmread(path)
        data.file_meta.TransferSyntaxUID = syntax
        data["PixelData"].is_undefined_length = True
        data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8damaged"])
        data.save_as(path)
    content = path.read_bytes()
    path.unlink()
    return content


DEFLATED = pydicom.uid.DeflatedExplicitVRLittleEndian
RGB24 = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
HOSTILE = {
    # PNG
    "lies.png": (lambda _: png(5000, 5000), "damaged"),
    "wide.png": (lambda _: png(30_000, 9), "a side above 20,000 pixels"),
    "huge.png": (lambda _: png(10_000, 10_000), "more than 50 megapixels"),
    "zero.png": (lambda _: png(0, 9), "no pixels"),
    "cut.png": (lambda _: png(16, 12, data=np.random.default_rng(1).bytes(396))[:200], "damaged"),
    "palette.png": (lambda _: png(9, 9, bits=8, colour=3), "with a palette"),
    # TIFF
    "cut.tif": (lambda _: tiff()[:-50], "truncated or damaged"),
    "cut pages.tif": (lambda _: tiff(np.stack([MR] * 5))[:-400], "damaged"),
    "header.tif": (lambda _: tiff()[:40], "damaged"),
    "lies.tif": (lambda _: tiff_tag(tiff(), 257, 19_999), "damaged"),
    "huge.tif": (lambda _: tiff_tag(tiff_tag(tiff(), 256, 19_999), 257, 19_999), "more than 50 megapixels"),
    "zero.tif": (lambda _: tiff_tag(tiff(), 256, 0), "pixels|damaged"),
    "bands.tif": (lambda _: tiff(np.zeros((12, 16, 17), np.uint16), planarconfig="contig"), "17 channels, and 16"),
    "complex.tif": (lambda _: tiff(MR.astype(np.complex64)), "isn't a plain number"),
    "pages.tif": (lambda _: endless_tiff(), "more than 10,000 pages"),
    "circle.tif": (lambda _: b"II*\0" + struct.pack("<LHL", 8, 0, 8), "pages are in a circle"),
    "tiles.tif": (
        lambda _: tiff_tag(tiff_tag(tiff(tile=(16, 16), compression="zlib"), 322, 65_520), 323, 65_520), "damaged",
    ),
    "packed.tif": (lambda _: tiff(compression="zlib")[:-40] + b"\xff" * 40, "damaged"),
    # NumPy
    "cut.npy": (lambda _: npy((12, 16), data=b"\0" * 99), "truncated or damaged"),
    "lies.npy": (lambda _: npy((5000, 5000)), "truncated or damaged"),
    "huge.npy": (lambda _: npy((10_000, 10_000)), "more than 50 megapixels"),
    "negative.npy": (lambda _: npy((-1, 16)), "damaged"),
    "line.npy": (lambda _: npy((16,), data=b"\0" * 32), "holds an array"),
    "five.npy": (lambda _: npy((1, 1, 1, 9, 9), data=b"\0" * 162), "holds an array"),
    "zero.npy": (lambda _: npy((0, 9, 9, 3)), "no slices"),
    "object.npy": (lambda _: npy((3, 3), "|O", b"cos\nsystem\n(S'touch owned'\ntR."), "isn't a plain number"),
    "complex.npy": (lambda _: npy((3, 3), "<c8", b"\0" * 72), "isn't a plain number"),
    "text.npy": (lambda _: npy((3, 3), "<U4", b"\0" * 144), "isn't a plain number"),
    "table.npy": (lambda _: npy((3, 3), [("a", "<u2")], b"\0" * 18), "isn't a plain number"),
    "exact.npy": (lambda _: npy((2, 2), "<i4", struct.pack("<4i", 0, 1, 2, 2**30)), "can't be kept exactly"),
    "code.npy": (lambda _: b"\x93NUMPY\x01\0\x20\0" + b"__import__('os').system('true')  ", "damaged"),
    "bomb.npz": (lambda _: npz(a=npy((9999, 700, 700), "<f8")), "would unpack to"),
    "cut.npz": (lambda _: npz(a=npy((12, 16), data=b"\0" * 99)), "truncated or damaged"),
    "two.npz": (lambda _: npz(a=npy((2, 2)), b=npy((2, 2))), "holds 2 arrays"),
    "none.npz": (lambda _: npz(), "isn't a PNG, TIFF"),
    "zip.npz": (lambda _: npz(a=npy((12, 16)))[:-30], "damaged"),
    # NIfTI
    "cut.nii": (lambda _: nifti()[:-50], "truncated or damaged"),
    "cut.nii.gz": (
        lambda _: gzip.compress(nifti(data=np.random.default_rng(1).bytes(1152)))[:-300], "truncated or damaged",
    ),
    "short.nii.gz": (lambda _: gzip.compress(nifti()[:-50]), "truncated or damaged"),
    "lies.nii.gz": (lambda _: gzip.compress(nifti((7000, 7000, 9000), np.float64, b"")), "would unpack to"),
    "huge.nii": (lambda _: nifti((20_000, 20_000, 1), data=b""), "more than 50 megapixels"),
    "zero.nii": (lambda _: nifti((16, 0, 3)), "no pixels"),
    "negative.nii": (lambda _: nifti(dim=[3, 16, -12, 3, 1, 1, 1, 1]), "no pixels"),
    "colours.nii": (lambda _: nifti((16, 12, 3), RGB24), "isn't a plain number"),
    "complex.nii": (lambda _: nifti((16, 12, 3), np.complex64), "isn't a plain number"),
    "times.nii": (lambda _: nifti((16, 12, 3, 40)), "40 channels, and 16"),
    "type.nii": (lambda _: nifti(datatype=77), "damaged"),
    "slope.nii": (lambda _: nifti(scl_slope=2, scl_inter=np.inf), "damaged"),
    "offset.nii": (lambda _: nifti(vox_offset=1e30), "damaged"),
    # DICOM
    "cut.dcm": (lambda path: dicom(path)[:-50], "damaged"),
    "header.dcm": (lambda path: dicom(path)[:400], "without a picture|damaged"),
    "lies.dcm": (lambda path: dicom(path, Rows=5000, Columns=5000), "damaged"),
    "huge.dcm": (lambda path: dicom(path, Rows=60_000, Columns=60_000), "a side above"),
    "zero.dcm": (lambda path: dicom(path, Rows=0), "no pixels"),
    "report.dcm": (lambda path: dicom(path, Rows=None), "without a picture"),
    "palette.dcm": (lambda path: dicom(path, PhotometricInterpretation="PALETTE COLOR"), "the colours PALETTE COLOR"),
    "slope.dcm": (lambda path: dicom(path, slope=0), "damaged"),
    "frames.dcm": (lambda path: dicom(path, NumberOfFrames=20_000), "20,000 slices, and 10,000"),
    "jpeg.dcm": (lambda path: dicom(path, syntax=pydicom.uid.JPEGLSLossless), "compressed as JPEG-LS Lossless"),
    "deflated.dcm": (
        lambda path: write_dicom(path / "deflated.dcm", MR, syntax=DEFLATED).read_bytes(), "compressed as Deflated",
    ),
    "private.dcm": (lambda path: dicom(path, syntax="1.2.3.4"), "compressed as|damaged"),
    # None of them
    "empty.nii": (lambda _: b"", "is empty"),
    "text.dcm": (lambda _: b"not a scan", "isn't a PNG, TIFF"),
    "zeros.nii.gz": (lambda _: gzip.compress(b"\0" * 10**6), "isn't a PNG, TIFF"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gets_one_sentence(tmp_path, name, capfd):
    make, sentence = HOSTILE[name]
    path = tmp_path / name
    path.write_bytes(make(tmp_path))
    kind_of(path)  # Never raises.
    with pytest.raises(ImageError, match=sentence) as caught:
        stack = open_stack(path)
        for index in range(stack.count):
            stack.read(index)
    text = str(caught.value)
    assert name in text and "\n" not in text and "Traceback" not in text and not text.endswith(".")
    assert capfd.readouterr() == ("", "") and [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.npy", "fortran.npy", "a.nii", "imagej.tif", "a.tif"])
def test_a_file_that_is_cut_while_it_is_open(tmp_path, name):
    path, pages = tmp_path / name, np.stack([MR] * 3)
    if name == "imagej.tif":
        tifffile.imwrite(path, pages, imagej=True, metadata={"axes": "ZYX"})
    elif name == "a.tif":
        path.write_bytes(tiff(pages))
    else:
        make = nifti() if name == "a.nii" else npy((3, 12, 17), data=b"\0" * 1224, fortran=name == "fortran.npy")
        path.write_bytes(make)
    stack = open_stack(path)
    if name != "fortran.npy":  # It is copied at the first reading.
        stack.read(0)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ImageError, match="damaged"):
        stack.read(2)


def test_pipes_folders_and_missing_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii")
    (tmp_path / "folder.npy").mkdir()
    for name, sentence in (
        ("pipe.nii", "not a regular file"), ("folder.npy", "is a folder"), ("none.dcm", "does not exist")
    ):  # fmt: skip
        assert kind_of(tmp_path / name) is None
        for call in (probe, read):
            with pytest.raises(ImageError, match=sentence):
                call(tmp_path / name)
    assert kind_of("a\0b") is None


@pytest.mark.parametrize(
    ("library", "package", "name"),
    [("pydicom", "pydicom", "a.dcm"), ("nibabel", "nibabel", "a.nii"), ("tifffile", "tifffile", "a.tif"),
     ("imagecodecs", "imagecodecs", "a.png")],
)  # fmt: skip
def test_a_missing_package_is_named(tmp_path, monkeypatch, library, package, name):
    path = tmp_path / name
    if name == "a.dcm":
        write_dicom(path, MR)
    else:
        write(path, Raster(MR[..., None], Origin({"a.nii": "nifti", "a.tif": "tiff", "a.png": "png"}[name], "uint16")))
    for module in [module for module in sys.modules if module.split(".")[0] == library]:
        monkeypatch.setitem(sys.modules, module, None)
    assert kind_of(path)
    with pytest.raises(ImageError, match=f"needs the package {package}: pip install 'cyclegan-workbench\\[volumes\\]'"):
        read(path)


def test_damaged_bytes_are_never_a_traceback(tmp_path):
    """Files of each kind with a few bytes changed: they are read, or get a sentence; what is read can be written."""
    rng = np.random.default_rng(7)
    sources = {
        "a.png": png(16, 12, data=b"\0" * 396), "a.tif": tiff(), "b.tif": tiff(np.stack([MR] * 3), compression="zlib"),
        "a.npy": npy((12, 16), data=MR.tobytes()), "a.npz": npz(a=npy((12, 16), data=MR.tobytes())),
        "a.nii": nifti(), "a.nii.gz": gzip.compress(nifti(), mtime=0), "a.dcm": dicom(tmp_path),
    }  # fmt: skip
    read_well = 0
    for number in range(600):
        name = list(sources)[number % len(sources)]
        data = bytearray(sources[name])
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(0, min(len(data), 500))] = rng.choice([0, 1, 127, 255, rng.integers(256)])
        (tmp_path / name).write_bytes(data)
        try:
            raster = open_stack(tmp_path / name).read(0)
            if raster.values.size < 10**5:
                write(tmp_path / f"copy {name}", raster)
            read_well += 1
        except ImageError as error:
            assert "\n" not in str(error)
    assert 50 < read_well < 550

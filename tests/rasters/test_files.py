"""Files of values: what is read equals what was stored, and what is written equals what was read."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from cyclegan.errors import ImageError
from cyclegan.rasters.files import Header, held, kind_of, open_stack, probe, read, write
from cyclegan.rasters.raster import Origin, Raster

RNG = np.random.default_rng(0)
MR = RNG.integers(0, 65536, (5, 12, 16)).astype(np.uint16)
"""A stack of five slices."""
FILES = {".png": "png", ".tif": "tiff", ".npy": "npy", ".npz": "npy", ".nii": "nifti", ".nii.gz": "nifti"}


def values(dtype, channels):
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    low, high = (max(info.min, -(2**20)), min(info.max, 2**20)) if info else (-1000, 1000)
    drawn = RNG.integers(low, high, (12, 16, channels), endpoint=True).astype(dtype)
    return drawn if info else drawn + np.float32(0.25)


def copied(source, target):
    """Copy a stack slice by slice, the last one first; return the new one."""
    stack = open_stack(source)
    with stack.writer(target) as writer:
        for index in reversed(range(stack.count)):
            writer.write(index, stack.read(index))
    copy = open_stack(target)
    assert (copy.count, copy.size, copy.channels) == (stack.count, stack.size, stack.channels)
    for index in range(stack.count):
        assert np.array_equal(stack.read(index).values, copy.read(index).values)
    return copy


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels"),
    [
        (suffix, dtype, channels) for suffix in FILES for channels in (1, 3, 4, 16)
        for dtype in ("uint8", "int8", "uint16", "int16", "int32", "float32")
        if suffix != ".png" or (channels <= 4 and dtype[0] == "u")
    ],
)  # fmt: skip
def test_a_round_trip_is_exact(tmp_path, suffix, dtype, channels):
    drawn, path = values(dtype, channels), tmp_path / f"a{suffix}"
    write(path, Raster(drawn, Origin(FILES[suffix], dtype)))
    raster = read(path)
    assert np.array_equal(raster.values, drawn)
    assert probe(path) == Header(FILES[suffix], 16, 12, channels, dtype)
    write(tmp_path / f"b{suffix}", raster)
    again = read(tmp_path / f"b{suffix}")
    assert np.array_equal(again.values, drawn) and again.origin == raster.origin
    pickle.loads(pickle.dumps(raster.origin))  # Processes hand rasters to each other.


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_other_programs_read_a_png_of_16_bits(tmp_path, channels):
    drawn = values("uint16", channels)
    write(tmp_path / "a.png", Raster(drawn, Origin("png", "uint16")))
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (16, 12)
        if channels == 1:
            assert np.array_equal(np.asarray(image), drawn[..., 0])


def test_floats_keep_nan_and_infinity(tmp_path):
    drawn = values("float32", 1)
    drawn[0, :3, 0] = np.nan, np.inf, -np.inf
    for suffix in (".tif", ".npy", ".nii"):
        write(tmp_path / f"a{suffix}", Raster(drawn, Origin(FILES[suffix], "float32")))
        assert np.array_equal(read(tmp_path / f"a{suffix}").values, drawn, equal_nan=True)


def test_whole_numbers_are_rounded_and_clipped(tmp_path):
    raster = Raster(np.array([[[-5.0], [1.6], [70000.0], [np.nan]]]), Origin("tiff", "uint16"))
    write(tmp_path / "a.tif", raster)
    assert tifffile.imread(tmp_path / "a.tif").tolist() == [[0, 2, 65535, 0]]


@pytest.mark.parametrize(
    ("origin", "low", "high", "kind", "dtype"),
    [
        (Origin("tiff", "uint16"), 0, 4095, "tiff", "uint16"),
        (Origin("tiff", "uint16"), -1000, 3000, "tiff", "int16"),
        (Origin("png", "uint16"), -1000, 3000, "tiff", "int16"),
        (Origin("tiff", "uint8"), 0, 4095, "tiff", "int16"),
        (Origin("nifti", "int16", 2.0, -1000.0), -1000, 3000, "nifti", "int16"),
        (Origin("npy", "uint16"), 0, 1, "npy", "float32"),
        (Origin("tiff", "int16"), -1e6, 1e6, "tiff", "float32"),
        (Origin("tiff", "float32"), 0, 1, "tiff", "float32"),
        (Origin("dicom", "uint16"), -1000, 3000, "dicom", "uint16"),
    ],
)
def test_an_origin_that_holds_another_range(origin, low, high, kind, dtype):
    found = held(origin, low, high)
    assert (found.kind, found.dtype) == (kind, dtype)


@pytest.mark.parametrize(
    ("slope", "low", "high", "dtype", "kept"),
    [
        (8, -1000, 2000, "int16", False), (11, 0, 4000, "int16", False), (-8, -1000, 2000, "int16", False),
        (0.25, -1000, 2000, "int16", True), (-0.25, -1000, 2000, "int16", True), (1, -1000, 2000, "int16", True),
        (0.25, 0, 1, "float32", False), (8, 0, 100, "float32", False), (8, -1e6, 1e6, "float32", False),
        (2, 0, 60_000, "int16", True),
    ],
)  # fmt: skip
def test_only_a_fine_slope_is_kept(tmp_path, slope, low, high, dtype, kept):
    found = held(Origin("nifti", "int16", slope, 0.0), low, high)
    assert (found.dtype, found.slope, found.intercept) == (dtype, slope if kept else 1, 0)
    drawn = RNG.uniform(low, high, (12, 16, 1)).astype(np.float32)
    write(tmp_path / "a.nii", Raster(drawn, found))
    error = np.abs(read(tmp_path / "a.nii").values - drawn).max()
    assert error <= (abs(found.slope) / 2 * 1.001 if dtype == "int16" else high * 1e-6)


# ------------------------------------------------------------------------------------------------ kinds


def test_pictures_of_8_bits_are_none_of_these(tmp_path):
    picture = Image.fromarray(RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    for mode in ("RGB", "RGBA", "L", "LA", "1", "P", "CMYK"):
        for suffix in (".png", ".tif", ".jpg"):
            path = tmp_path / f"{mode}{suffix}"
            if (suffix, mode) in ((".png", "CMYK"), (".jpg", "RGBA"), (".jpg", "LA"), (".jpg", "P")):
                continue
            picture.convert(mode).save(path)
            assert kind_of(path) is None, path.name


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (MR[0], "tiff"), (MR[0].astype(np.int8), "tiff"), (MR[0].astype(np.float32), "tiff"), (MR, "tiff"),
        (MR.astype(np.uint8), "tiff"), (MR[0].astype(np.uint8), None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"compression": "zlib"}])
def test_tiffs_of_values(tmp_path, array, kind, options):
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", metadata=None, **options)
    assert kind_of(tmp_path / "a.tif") == kind
    assert np.array_equal(read(tmp_path / "a.tif").values[..., 0], array if array.ndim == 2 else array[0])


def test_five_bands_are_values_and_a_small_copy_is_no_stack(tmp_path):
    bands = RNG.integers(0, 256, (12, 16, 5), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "bands.tif", bands, photometric="minisblack", planarconfig="contig")
    assert kind_of(tmp_path / "bands.tif") == "tiff"
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        file.write(bands[..., :3], photometric="rgb", metadata=None)
        file.write(bands[::2, ::2, :3], photometric="rgb", metadata=None, subfiletype=1)
    assert kind_of(tmp_path / "pyramid.tif") is None


def test_a_kind_is_found_by_content_whatever_the_name(tmp_path):
    for suffix, kind in FILES.items():
        if suffix != ".npz":  # ZIP files are of many kinds.
            write(tmp_path / f"a{suffix}", Raster(MR[0, ..., None], Origin(kind, "uint16")))
            (tmp_path / f"a{suffix}").rename(tmp_path / "upload")
            assert kind_of(tmp_path / "upload") == kind
            assert np.array_equal(read(tmp_path / "upload").values[..., 0], MR[0])


def test_no_library_is_loaded_before_a_file_of_its_format(tmp_path):
    write(tmp_path / "a.npy", Raster(MR[0, ..., None], Origin("npy", "uint16")))
    Image.new("RGB", (9, 9)).save(tmp_path / "a.tif")
    code = (
        "import sys; from cyclegan.rasters.files import kind_of, read; read('a.npy'); kind_of('a.tif'); "
        "print([name for name in ('tifffile', 'imagecodecs', 'pydicom', 'nibabel', 'torch') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------------------ TIFF


def test_pages_are_slices(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", MR, photometric="minisblack", metadata=None)
    stack = copied(tmp_path / "a.tif", tmp_path / "b.tif")
    assert (stack.count, stack.channels, stack.dtype) == (5, 1, "uint16")
    assert np.array_equal(tifffile.imread(tmp_path / "b.tif"), MR)


@pytest.mark.parametrize(("flavour", "name"), [("imagej", "a.tif"), ("ome", "a.ome.tif")])
def test_channels_of_microscopes_stay_channels(tmp_path, flavour, name):
    cells = RNG.integers(0, 65536, (2, 5, 3, 12, 16)).astype(np.uint16)
    size = {"spacing": 3.9, "unit": "um"} if flavour == "imagej" else {"PhysicalSizeZ": 3.9, "PhysicalSizeZUnit": "µm"}
    tifffile.imwrite(tmp_path / name, cells, **{flavour: True}, metadata={"axes": "TZCYX", **size})
    stack = copied(tmp_path / name, tmp_path / f"copy {name}")
    assert (stack.count, stack.channels) == (10, 3)
    assert np.array_equal(stack.read(1).values, cells[0, 1].transpose(1, 2, 0))
    with tifffile.TiffFile(tmp_path / f"copy {name}") as file:
        assert file.series[0].axes == "TZCYX" and np.array_equal(file.asarray(), cells)
        assert "3.9" in (file.ome_metadata or str(file.imagej_metadata))


def test_tags_that_make_sense_are_kept(tmp_path):
    tags = [
        (274, 3, 1, 6, True), (33550, 12, 3, (10.0, 10.0, 0.0), True), (33922, 12, 6, (0.0,) * 6, True),
        (34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1), True), (34737, 2, 0, "WGS 84|", True), (42113, 2, 0, "-9999", True),
    ]  # fmt: skip
    options = {"description": "Höhe", "resolution": (72, 36), "resolutionunit": 3, "extratags": tags}
    options["description"] = options["description"].encode()
    tifffile.imwrite(tmp_path / "a.tif", MR[0].astype(np.float32), metadata=None, compression="zlib", **options)
    raster = read(tmp_path / "a.tif")
    write(tmp_path / "b.tif", raster)
    write(tmp_path / "small.tif", raster.resize((8, 6)))
    with tifffile.TiffFile(tmp_path / "a.tif") as one, tifffile.TiffFile(tmp_path / "b.tif") as other:
        for code in (259, 270, 274, 282, 283, 296, 33550, 33922, 34735, 34737, 42113):
            assert one.pages[0].tags.valueof(code) == other.pages[0].tags.valueof(code), code
    with tifffile.TiffFile(tmp_path / "small.tif") as file:
        tags = file.pages[0].tags
        assert 33550 not in tags and 34735 in tags  # Its pixels have another size on the ground.


def test_white_is_zero_is_read_as_stored(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", MR[0], photometric="miniswhite")
    raster = read(tmp_path / "a.tif")
    assert np.array_equal(raster.values[..., 0], MR[0]) and raster.origin.keep["inverted"]
    write(tmp_path / "b.tif", raster)
    assert read(tmp_path / "b.tif").origin.keep["inverted"]


# ------------------------------------------------------------------------------------------------ NumPy and NIfTI


@pytest.mark.parametrize(
    ("shape", "slices", "channels"),
    [((12, 20), 1, 1), ((12, 20, 16), 1, 16), ((3, 12, 17), 3, 1), ((3, 12, 4, 2), 3, 2)],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_axes_of_an_array(tmp_path, shape, slices, channels, suffix):
    array = np.asfortranarray(RNG.random(shape))
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", mine=array)
    stack = copied(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    assert (stack.count, stack.channels, stack.dtype) == (slices, channels, "float64")
    written = np.load(tmp_path / f"b{suffix}")
    assert np.array_equal(written if suffix == ".npy" else written["mine"], array.astype(np.float32))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_a_volume_keeps_its_place_in_space(tmp_path, suffix, kind):
    affine = np.array([[0, -2.0, 0, 5], [3, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
    volume = kind(RNG.integers(-1000, 3000, (16, 12, 5)).astype(np.int16), affine)
    volume.header.set_slope_inter(2, -1000)
    volume.header["descrip"] = b"a head"
    nibabel.save(volume, tmp_path / f"a{suffix}")
    stack = copied(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    one, other = nibabel.load(tmp_path / f"a{suffix}"), nibabel.load(tmp_path / f"b{suffix}")
    assert type(other) is kind and np.array_equal(one.affine, other.affine)
    assert np.array_equal(one.get_fdata(), other.get_fdata()) and other.get_data_dtype() == np.int16
    assert other.header["descrip"] == b"a head" and one.shape == other.shape
    assert np.array_equal(stack.read(2).values[..., 0], one.get_fdata()[:, :, 2].T)
    write(tmp_path / f"c{suffix}", stack.read(2))
    assert nibabel.load(tmp_path / f"c{suffix}").affine[:3, 3].tolist() == [5, 6, 15]
    write(tmp_path / f"d{suffix}", stack.read(2).resize((8, 6)))
    assert nibabel.load(tmp_path / f"d{suffix}").header["sform_code"] == 0


def test_a_fourth_axis_is_channels(tmp_path):
    data = RNG.random((16, 12, 5, 4)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
    copied(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")
    assert np.array_equal(nibabel.load(tmp_path / "b.nii.gz").get_fdata(), data)


# ------------------------------------------------------------------------------------------------ writing


def test_a_name_asks_for_another_kind(tmp_path):
    volume = nibabel.Nifti1Image(MR.transpose(2, 1, 0).astype(np.int16), np.eye(4))
    volume.header.set_slope_inter(1, -1000)
    nibabel.save(volume, tmp_path / "a.nii")
    stack = copied(tmp_path / "a.nii", tmp_path / "b.tif")
    assert stack.header.kind == "tiff" and stack.dtype == "float32"  # Only NIfTI stores the -1000 aside.
    copied(tmp_path / "b.tif", tmp_path / "c.nii.gz")
    copied(tmp_path / "c.nii.gz", tmp_path / "d.npy")


def test_a_stack_is_written_whole_or_not_at_all(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", MR, photometric="minisblack")
    (tmp_path / "b.tif").write_bytes(b"old")
    stack = open_stack(tmp_path / "a.tif")
    with pytest.raises(KeyboardInterrupt), stack.writer(tmp_path / "b.tif") as writer:
        writer.write(0, stack.read(0))
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="not written"), stack.writer(tmp_path / "b.tif") as writer:
        writer.write(0, stack.read(0))
    with pytest.raises(ImageError, match="slices of one size"), stack.writer(tmp_path / "b.tif") as writer:
        writer.write(0, stack.read(0))
        writer.write(1, stack.read(1).resize((8, 6)))
    assert (tmp_path / "b.tif").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "raster", "sentence"),
    [
        ("a.jpg", Raster(np.zeros((9, 9, 1))), "a name that ends in .tif"),
        ("a.png", Raster(np.zeros((9, 9, 1)), Origin("tiff", "float32")), "whole numbers from 0 to 65,535"),
        ("a.png", Raster(np.zeros((9, 9, 5)), Origin("tiff", "uint16")), "5 channels, and PNG holds"),
        ("a.dcm", Raster(np.zeros((9, 9, 1)), Origin("tiff", "uint16")), "a patient and a scan"),
        ("folder", Raster(np.zeros((9, 9, 1)), Origin("tiff", "uint16")), "is a folder"),
        ("file/a.tif", Raster(np.zeros((9, 9, 1)), Origin("tiff", "uint16")), "can't be written"),
    ],
)
def test_files_that_cannot_hold_a_raster(tmp_path, name, raster, sentence):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match=sentence):
        write(tmp_path / name, raster)


@pytest.mark.parametrize("index", [-1, 5])
def test_a_slice_that_is_not_there(tmp_path, index):
    tifffile.imwrite(tmp_path / "a.tif", MR, photometric="minisblack")
    with pytest.raises(ImageError, match=f"has no slice {index}: give one from 0 to 4"):
        read(tmp_path / "a.tif", index)

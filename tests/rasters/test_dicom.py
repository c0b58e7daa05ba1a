"""DICOM: units in, derived images out that pydicom reads, and folders of slices in their order."""

import time

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from cyclegan.errors import ImageError
from cyclegan.rasters.files import dicom_derived, held, is_series, kind_of, open_stack, probe, read, write
from tests.rasters.dicoms import write_dicom, write_series

RNG = np.random.default_rng(0)
CT = RNG.integers(0, 4096, (12, 16)).astype(np.uint16)


def test_values_are_in_units_and_not_windowed(tmp_path):
    path = write_dicom(tmp_path / "IM0001", CT)
    assert kind_of(path) == "dicom" and probe(path).size == (16, 12)
    raster = read(path)
    assert np.array_equal(raster.values[..., 0], CT - np.float32(1024))
    assert raster.origin.keep["window"] == (-160, 240) and not raster.origin.keep["inverted"]


def test_a_derived_image_is_another_one_of_the_same_patient(tmp_path):
    source = write_dicom(tmp_path / "a.dcm", CT, SmallestImagePixelValue=3, PixelPaddingValue=0, RescaleType="HU",
                         PixelPaddingRangeLimit=5, SeriesDescription="head")  # fmt: skip
    write(tmp_path / "b.dcm", read(source))
    one, other = pydicom.dcmread(source), pydicom.dcmread(tmp_path / "b.dcm")
    assert np.array_equal(one.pixel_array, other.pixel_array)
    for keyword in (
        "PatientName", "PatientID", "StudyInstanceUID", "ImagePositionPatient", "PixelSpacing", "RescaleSlope",
        "RescaleIntercept", "BitsStored", "Modality", "SOPClassUID",
    ):  # fmt: skip
        assert one[keyword].value == other[keyword].value, keyword
    assert other.ImageType == ["DERIVED", "SECONDARY", "AXIAL"] and "not for diagnosis" in other.DerivationDescription
    assert one.SOPInstanceUID != other.SOPInstanceUID and one.SeriesInstanceUID != other.SeriesInstanceUID
    assert other.SourceImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert other.file_meta.MediaStorageSOPInstanceUID == other.SOPInstanceUID
    for keyword in ("SmallestImagePixelValue", "PixelPaddingValue", "PixelPaddingRangeLimit"):
        assert keyword not in other, keyword
    assert (other.RescaleType, other.SeriesDescription) == ("US", "head (derived)")
    shown = read(tmp_path / "b.dcm").origin.keep["window"]
    assert shown == pytest.approx((int(CT.min()) - 1024, int(CT.max()) - 1024))


@pytest.mark.parametrize(
    ("low", "high", "error"),
    [(-1000, 3000, 0.5), (-3000, 9000, 0.5), (0, 1, 1e-5), (-1e6, 1e6, 16), (7, 7, 1e-6), (-1e-3, 1e-3, 1e-7)],
)
def test_a_rescale_is_found_that_the_values_fit(tmp_path, low, high, error):
    raster = read(write_dicom(tmp_path / "a.dcm", CT))
    wanted = RNG.uniform(low, high, (12, 16, 1)).astype(np.float32)
    write(tmp_path / "b.dcm", raster.with_values(wanted))
    data = pydicom.dcmread(tmp_path / "b.dcm")
    units = pydicom.pixels.apply_modality_lut(data.pixel_array, data)
    assert np.abs(units - wanted[..., 0]).max() <= error * 1.001
    assert np.allclose(read(tmp_path / "b.dcm").values[..., 0], units)


@pytest.mark.parametrize("slope", [8, 11, 0.25, 0.001])
@pytest.mark.parametrize(("low", "high", "error"), [(-1000, 2000, 0.5), (0, 100, 1e-3), (0, 1, 1e-5)])
def test_a_coarse_slope_is_not_kept(tmp_path, slope, low, high, error):
    raster = read(write_dicom(tmp_path / "a.dcm", CT, slope=slope, bits=16))
    wanted = RNG.uniform(low, high, (12, 16, 1)).astype(np.float32)
    write(tmp_path / "b.dcm", raster.with_values(wanted))
    assert np.abs(read(tmp_path / "b.dcm").values - wanted).max() <= error * 1.001


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("signed", [False, True])
def test_byte_orders_and_signs(tmp_path, syntax, signed):
    stored = CT.astype(np.int16) - 2000 if signed else CT
    order = stored.astype(stored.dtype.newbyteorder(">")) if syntax is ExplicitVRBigEndian else stored
    bits = 16 if signed else 12
    path = write_dicom(tmp_path / "a", order, syntax=syntax, bits=bits, PhotometricInterpretation="MONOCHROME1")
    raster = read(path)
    assert np.array_equal(raster.values[..., 0], stored - np.float32(1024))
    assert raster.origin.keep["inverted"]  # For screens: the values are as stored.
    write(tmp_path / "b", raster)
    data = pydicom.dcmread(tmp_path / "b")
    assert np.array_equal(data.pixel_array, stored) and str(data.PatientName) == "Doe^Jane"
    assert data.PhotometricInterpretation == "MONOCHROME1"


@pytest.mark.parametrize(("given", "wanted"), [("x" * 64, "x" * 54 + " (derived)"), (None, "(derived)")])
def test_a_derived_series_says_so(tmp_path, given, wanted):
    write(tmp_path / "b.dcm", read(write_dicom(tmp_path / "a.dcm", CT, SeriesDescription=given)))
    assert pydicom.dcmread(tmp_path / "b.dcm").SeriesDescription == wanted


def test_units_of_the_source_are_dropped_without_a_rescale(tmp_path):
    write(tmp_path / "b.dcm", read(write_dicom(tmp_path / "a.dcm", CT, slope=None, RescaleType="HU")))
    assert "RescaleType" not in pydicom.dcmread(tmp_path / "b.dcm")


def test_names_in_other_scripts_are_kept(tmp_path):
    path = write_dicom(tmp_path / "a", CT, SpecificCharacterSet="ISO_IR 192", PatientName="홍^길동")
    write(tmp_path / "b", read(path))
    assert str(pydicom.dcmread(tmp_path / "b").PatientName) == "홍^길동"


def test_rgb_and_run_length_coding(tmp_path):
    colours = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    raster = read(write_dicom(tmp_path / "a.dcm", colours, slope=None, bits=8))
    assert np.array_equal(raster.values, colours)
    write(tmp_path / "b.dcm", raster)
    assert np.array_equal(pydicom.dcmread(tmp_path / "b.dcm").pixel_array, colours)
    data = pydicom.dcmread(write_dicom(tmp_path / "c.dcm", CT))
    data.compress(RLELossless)
    data.save_as(tmp_path / "c.dcm")
    assert np.array_equal(read(tmp_path / "c.dcm").values[..., 0], CT - np.float32(1024))


@pytest.mark.parametrize(
    ("low", "high", "declared", "refused"),
    [
        (0, 255, None, False), (-1, 1, None, True), (0, 1, None, True), (0, 300, None, True), (-20, 255, None, True),
        (10, 90, (0, 255), False), (-2, 258, (0, 255), False), (0.1, 0.9, (0, 1), True), (0, 200, (-255, 255), True),
    ],
)  # fmt: skip
def test_colours_that_dicom_cannot_hold(tmp_path, low, high, declared, refused):
    colours = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    raster = read(write_dicom(tmp_path / "a.dcm", colours, slope=None, bits=8))
    drawn = RNG.uniform(low, high, (12, 16, 3)).astype(np.float32)
    drawn[0, 0], drawn[0, 1] = low, high
    raster = raster.with_values(drawn)
    if declared:
        raster = raster.with_values(drawn, keep=held(raster.origin, *declared).keep)
    if refused:
        with pytest.raises(ImageError, match="whole numbers from 0 to 255 here: give a name that ends in .tif"):
            write(tmp_path / "b.dcm", raster)
        assert not (tmp_path / "b.dcm").exists()
    else:
        write(tmp_path / "b.dcm", raster)
        assert np.abs(read(tmp_path / "b.dcm").values - np.clip(drawn, 0, 255)).max() <= 0.5


def test_a_table_of_units_is_followed(tmp_path):
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [4096, 0, 16], "US"
    table.add_new("LUTData", "US", [int(5 * value) for value in range(4096)])
    table["LUTDescriptor"].VR = "US"
    path = write_dicom(tmp_path / "a.dcm", CT, slope=None, ModalityLUTSequence=[table])
    raster = read(path)
    assert np.array_equal(raster.values[..., 0], CT * np.float32(5))
    write(tmp_path / "b.dcm", raster)
    assert np.array_equal(read(tmp_path / "b.dcm").values, raster.values)
    assert "ModalityLUTSequence" not in pydicom.dcmread(tmp_path / "b.dcm")


def test_a_picture_of_another_size_has_no_place_in_space(tmp_path):
    write(tmp_path / "b.dcm", read(write_dicom(tmp_path / "a.dcm", CT)).resize((8, 6)))
    data = pydicom.dcmread(tmp_path / "b.dcm")
    assert (data.Rows, data.Columns) == (6, 8) and "PixelSpacing" not in data


# ------------------------------------------------------------------------------------------------ many tags


def with_tags(path, where, count=20_000, *, syntax=ExplicitVRLittleEndian, length=0):
    """Write a file with many private tags: in the dataset, or nested in a sequence with or without its length."""
    many, icon = pydicom.Dataset(), pydicom.Dataset()
    icon.add_new("PixelData", "OW", b"\0" * 64)  # Its pixels are not those of the file.
    many.IconImageSequence = [icon]
    for number in range(count):
        group, element = divmod(number, 0xE000)
        tag = (0x0101 + 2 * group << 16) | 0x1000 + element
        many[tag] = pydicom.DataElement(tag, "LT", "x" * length)
    if where == "dataset":
        write_dicom(path, CT, syntax=syntax)
        data = pydicom.dcmread(path)
        data.update(many)
        data.save_as(path)
        return path
    write_dicom(path, CT, syntax=syntax, SourceImageSequence=[many])
    if where == "undefined":
        data = pydicom.dcmread(path)
        data["SourceImageSequence"].is_undefined_length = True
        data.SourceImageSequence[0].is_undefined_length_sequence_item = True
        data.save_as(path)
    return path


@pytest.mark.parametrize("where", ["dataset", "sequence", "undefined"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_many_tags_are_refused_before_they_are_read(tmp_path, where, syntax):
    (tmp_path / "scan").mkdir()
    with_tags(tmp_path / "scan" / "a.dcm", where, syntax=syntax)
    for path in (tmp_path / "scan" / "a.dcm", tmp_path / "scan"):
        start = time.perf_counter()
        with pytest.raises(ImageError, match="a.dcm has more than 5,000 DICOM tags, nested ones included: save it"):
            open_stack(path)
        assert time.perf_counter() - start < 1


def test_large_tags_are_refused_and_tags_within_the_limits_are_read(tmp_path):
    with pytest.raises(ImageError, match="more than 1 MB of DICOM tags before its pixels"):
        read(with_tags(tmp_path / "a.dcm", "dataset", 500, length=4000))
    for where in ("dataset", "sequence", "undefined"):
        assert read(with_tags(tmp_path / "b.dcm", where, 4000, length=40)).size == (16, 12)


# ------------------------------------------------------------------------------------------------ stacks


def copied(source, target):
    stack = open_stack(source)
    with stack.writer(target) as writer:
        for index in range(stack.count):
            writer.write(index, stack.read(index))
    return stack, open_stack(target)


def test_frames_are_slices(tmp_path):
    frames = RNG.integers(0, 4096, (5, 12, 16)).astype(np.uint16)
    _, copy = copied(write_dicom(tmp_path / "a.dcm", frames), tmp_path / "b.dcm")
    assert copy.count == 5
    assert np.array_equal(pydicom.dcmread(tmp_path / "b.dcm").pixel_array, frames)
    write(tmp_path / "c.dcm", copy.read(3))
    assert np.array_equal(pydicom.dcmread(tmp_path / "c.dcm").pixel_array, frames[3])


def test_an_enhanced_file_has_a_rescale_for_each_frame(tmp_path):
    def item(slope, intercept, place):
        units, plane, frame = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        units.RescaleSlope, units.RescaleIntercept, units.RescaleType = slope, intercept, "US"
        plane.ImagePositionPatient = [0, 0, place]
        frame.PixelValueTransformationSequence, frame.PlanePositionSequence = [units], [plane]
        return frame

    frames = RNG.integers(0, 4096, (2, 12, 16)).astype(np.uint16)
    groups = {"SharedFunctionalGroupsSequence": [pydicom.Dataset()],
              "PerFrameFunctionalGroupsSequence": [item(1, -1024, 0), item(2, 0, 5)]}  # fmt: skip
    stack, copy = copied(write_dicom(tmp_path / "a.dcm", frames, slope=None, **groups), tmp_path / "b.dcm")
    assert np.array_equal(stack.read(0).values[..., 0], frames[0] - np.float32(1024))
    assert np.array_equal(stack.read(1).values[..., 0], frames[1] * np.float32(2))
    for index in range(2):
        assert np.array_equal(copy.read(index).values, stack.read(index).values)
    places = pydicom.dcmread(tmp_path / "b.dcm").PerFrameFunctionalGroupsSequence
    assert [frame.PlanePositionSequence[0].ImagePositionPatient[2] for frame in places] == [0, 5]


def test_a_folder_is_sorted_by_position(tmp_path):
    folder = write_series(tmp_path / "scan", [5, 1, 3, 2, 4])
    (folder / "notes.txt").write_text("a scan")
    (folder / ".hidden").write_bytes((folder / "IM0").read_bytes())
    (folder / "other").mkdir()
    stack, copy = copied(folder, tmp_path / "out")
    assert (stack.name, stack.count, stack.size) == ("scan", 5, (8, 6))
    assert [int(stack.read(index).values[0, 0, 0]) for index in range(5)] == [10, 20, 30, 40, 50]
    assert [int(copy.read(index).values[0, 0, 0]) for index in range(5)] == [10, 20, 30, 40, 50]
    written = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
    assert len(written) == 5 and len({data.SeriesInstanceUID for data in written}) == 1
    assert len({data.SOPInstanceUID for data in written}) == 5
    assert [data.ImagePositionPatient[2] for data in written] == [5, 1, 3, 2, 4]


def test_without_positions_the_number_decides(tmp_path):
    (tmp_path / "scan").mkdir()
    for number, name in ((2, "a"), (10, "b"), (1, "c")):
        write_dicom(
            tmp_path / "scan" / name, np.full((6, 8), number, np.uint16), intercept=0, InstanceNumber=number,
            ImagePositionPatient=None,
        )  # fmt: skip
    stack = open_stack(tmp_path / "scan")
    assert [int(stack.read(index).values[0, 0, 0]) for index in range(3)] == [1, 2, 10]


def test_slices_with_a_rescale_of_their_own_are_exact(tmp_path):
    """PET has one for each slice."""
    (tmp_path / "scan").mkdir()
    for number in range(1, 4):
        write_dicom(
            tmp_path / "scan" / f"{number}", CT, slope=number / 7, intercept=0, ImagePositionPatient=[0, 0, number]
        )
    stack, copy = copied(tmp_path / "scan", tmp_path / "out")
    for index in range(3):
        assert np.array_equal(copy.read(index).values, stack.read(index).values)


def test_a_series_becomes_a_volume(tmp_path):
    stack, copy = copied(write_series(tmp_path / "scan", [2, 1]), tmp_path / "out.nii.gz")
    assert copy.header.kind == "nifti" and np.array_equal(copy.read(0).values, stack.read(0).values)


def test_an_interrupted_series_leaves_nothing(tmp_path):
    stack = open_stack(write_series(tmp_path / "scan", [1, 2]))
    with pytest.raises(KeyboardInterrupt), stack.writer(tmp_path / "out") as writer:
        writer.write(0, stack.read(0))
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["scan"]


def test_a_series_never_replaces_a_folder_with_files(tmp_path, monkeypatch):
    stack, out = open_stack(write_series(tmp_path / "scan", [1, 2])), tmp_path / "out"
    sentence = "out is a folder that holds files already: give another name"
    out.mkdir()  # An empty one is nobody's loss.
    with stack.writer(out) as writer:
        for index in range(2):
            writer.write(index, stack.read(index))
    assert len(open_stack(out)) == 2
    with pytest.raises(ImageError, match=sentence), stack.writer(out):
        raise AssertionError("it is known before the work")
    late = tmp_path / "late"
    with pytest.raises(ImageError, match="late is a folder that holds files"), stack.writer(late) as writer:
        for index in range(2):
            writer.write(index, stack.read(index))
        late.mkdir()
        (late / "notes.txt").write_text("mine")
    assert [path.name for path in late.iterdir()] == ["notes.txt"]
    later = tmp_path / "later"

    def save_series(*_):  # The folder is made while the last files are written.
        later.mkdir()
        (later / "notes.txt").write_text("mine")

    monkeypatch.setattr(dicom_derived, "save_series", save_series)
    with pytest.raises(ImageError, match="later can't be written"), stack.writer(later) as writer:
        for index in range(2):
            writer.write(index, stack.read(index))
    assert (later / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["late", "later", "out", "scan"]


def test_a_series_is_two_dicom_files_and_no_other_picture(tmp_path):
    folder = write_series(tmp_path / "scan", [1, 2])
    assert is_series(folder) and not is_series(folder / "IM0") and not is_series(tmp_path / "none")
    for name, text in (("README", "a"), ("DICOMDIR", "a"), ("notes.txt", "a"), ("scan.json", "{}"), ("empty.png", ""),
                       (".hidden.png", "a")):  # fmt: skip
        (folder / name).write_text(text)
        assert is_series(folder), name
    (folder / "other").mkdir()
    (folder / "other" / "a.png").write_text("a")
    assert is_series(folder) and len(open_stack(folder)) == 2
    Image.new("RGB", (9, 9)).save(folder / "view.png")
    assert not is_series(folder)
    (folder / "view.png").unlink()
    np.save(folder / "view.npy", CT)
    assert not is_series(folder)
    (folder / "view.npy").unlink()
    (folder / "IM1").unlink()
    assert not is_series(folder)


def test_several_series_are_named(tmp_path):
    folder = write_series(tmp_path / "scan", [1, 2])
    write_dicom(folder / "T2", CT, SeriesInstanceUID="1.2.4", SeriesNumber=4, SeriesDescription="T2 fat\nsat")
    with pytest.raises(ImageError, match=r"scan holds 2 DICOM series \(4 T2 fat.sat \[T2\], \[IM0\]\): move each"):
        open_stack(folder)


def test_slices_of_several_sizes_and_odd_folders(tmp_path):
    folder = write_series(tmp_path / "scan", [1, 2])
    write_dicom(folder / "IM9", CT, ImagePositionPatient=[0, 0, 9])
    stack = open_stack(folder)
    with pytest.raises(ImageError, match="IM9, 16×12, isn't of the size of the first slice"):
        stack.read(2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="empty holds no DICOM files"):
        open_stack(tmp_path / "empty")

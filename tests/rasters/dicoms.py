"""DICOM files for tests: a small scan of somebody who doesn't exist."""

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def write_dicom(path, stored, *, slope=1, intercept=-1024, bits=12, syntax=ExplicitVRLittleEndian, **tags):
    """Write stored values: (H, W), (N, H, W) as frames, or (H, W, 3) as RGB."""
    colour = stored.ndim == 3 and stored.shape[2] == 3
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.9", "1.2.3"
    data.PatientName, data.PatientID, data.Modality = "Doe^Jane", "77", "CT"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.Rows, data.Columns = stored.shape[:2] if colour else stored.shape[-2:]
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        data.PlanarConfiguration = 0
    elif stored.ndim == 3:
        data.NumberOfFrames = len(stored)
    data.BitsAllocated = stored.dtype.itemsize * 8
    data.BitsStored = min(bits, data.BitsAllocated)
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(stored.dtype.kind == "i")
    if slope is not None:
        data.RescaleSlope, data.RescaleIntercept = slope, intercept
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.InstanceNumber = [0.5, 0.5], 1
    data.WindowCenter, data.WindowWidth = 40, 400
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    data.add_new("PixelData", "OW", np.ascontiguousarray(stored).tobytes())
    data.save_as(path, enforce_file_format=True)
    return path


def write_series(folder, places, *, shape=(6, 8)):
    """Write a slice for each place along the patient; its values are the place's tenfold, and the order is mixed."""
    folder.mkdir()
    for index, place in enumerate(places):
        stored = np.full(shape, place * 10, np.uint16)
        write_dicom(folder / f"IM{index}", stored, slope=1, intercept=0, ImagePositionPatient=[0, 0, place])
    return folder

"""Files of values: 16-bit and float pictures, volumes and stacks, read and written in their own units.

    opening    kind_of, probe, read, write, open_stack: what the others use
    stack      `Stack`, slices that are read one at a time, and the writer of a stack
    png, tiff, npy, nifti, dicom    one module a format (`Format`); its library is imported when a file of it is met
    dicom_series, dicom_derived     a folder of slices in order; the derived images that are written
    dicom_tags  the number of a DICOM file's tags, checked before they are read
    units      stored values to units and back
    bounds     limits that are checked before work, and other libraries' exceptions as sentences
"""

from cyclegan.rasters.files.format import Header
from cyclegan.rasters.files.opening import ENDINGS, SUFFIXES, ending, is_series, kind_of, open_stack, probe, read, write
from cyclegan.rasters.files.stack import Stack
from cyclegan.rasters.files.units import held

__all__ = [
    "ENDINGS", "SUFFIXES", "Header", "Stack", "ending", "held", "is_series", "kind_of", "open_stack", "probe", "read",
    "write",
]  # fmt: skip

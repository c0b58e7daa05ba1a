"""Phantoms: a synthetic data set of MR (domain A) and CT (domain B) slices of 16 bits, drawn by code.

Every slice is painted *once*, with the numbers of tissues. MR and CT are looked up from that one painting and from one
field of the tissues' density, so there is a map from one to the other that a network can learn. In the order in which
a slice is made:

    tissues    what each tissue shows in MR and in CT, and how patients differ
    canvas     outlines, painted as numbers of tissues
    anatomy    the patient's outlines, and the organs at each height of the body
    slices     one slice in both modalities
    spec       a data set of slices, parsed from "phantoms:count=400,size=128"
    folders    the data set as folders of files
"""

from cyclegan.data.phantoms.folders import write_phantoms
from cyclegan.data.phantoms.slices import Slice, draw_slice
from cyclegan.data.phantoms.spec import PhantomsSpec
from cyclegan.data.phantoms.tissues import CT_RANGE, MR_RANGE, TISSUES

__all__ = ["CT_RANGE", "MR_RANGE", "TISSUES", "PhantomsSpec", "Slice", "draw_slice", "write_phantoms"]

"""The tissues of a phantom: their values in MR and in CT, and how they differ from one patient to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

AIR_HU = -1000
MR_RANGE, CT_RANGE = (0, 4095), (AIR_HU, 2000)


@dataclass(frozen=True)
class Tissue:
    """One tissue's values in both modalities.

    Attributes:
        mr: 12 bits in arbitrary units, T1-weighted: fat is bright, water is dark, air and dense bone have no signal.
        ct: Hounsfield units.
        mr_texture, ct_texture: change of both where the tissue's own density is one unit higher. Because one density
            changes both, CT stays a function of what MR shows.
    """

    mr: float
    ct: float
    mr_texture: float
    ct_texture: float


TISSUES: dict[str, Tissue] = {
    "air": Tissue(40, AIR_HU, 30, 0),
    "foam": Tissue(40, -940, 30, 0),
    "table": Tissue(40, -150, 30, 0),
    "skin": Tissue(800, 20, 60, 5),
    "fat": Tissue(2750, -105, -160, 11),
    "septum": Tissue(1900, -60, -100, 8),
    "muscle": Tissue(900, 56, 110, -10),
    "heart": Tissue(1000, 48, 60, 4),
    "blood": Tissue(430, 42, 40, 2),
    "lung": Tissue(160, -840, 90, 55),
    "liver": Tissue(1300, 62, 70, -7),
    "spleen": Tissue(840, 49, 50, 4),
    "kidney": Tissue(1080, 35, 90, 5),
    "gland": Tissue(1200, 40, 150, -12),
    "bowel": Tissue(980, 38, 80, 5),
    "stool": Tissue(700, 24, 150, 18),
    "fluid": Tissue(470, 7, 25, 2),
    "cord": Tissue(760, 32, 20, 2),
    "cartilage": Tissue(690, 75, 60, 3),
    "marrow": Tissue(2050, 190, -260, 75),
    "bone": Tissue(45, 1250, -30, 170),
}
"""Air and dense bone are equally dark in MR, blood is as dark as water, and spleen is nearly as dark as muscle: only
the anatomy tells them apart."""
NAMES = tuple(TISSUES)


def tissues_of(rng: np.random.Generator) -> np.ndarray:
    """Return one patient's tissues, float32, a row as in `Tissue` for each name.

    What differs shows in MR as well: a fatty liver is brighter there, and darker in CT.
    """
    rows = {name: np.array([t.mr, t.ct, t.mr_texture, t.ct_texture], float) for name, t in TISSUES.items()}
    strength, fatty, soft, blown = rng.random(4)
    rows["bone"][1] += 450 * (strength - 0.4)
    rows["marrow"][:2] += 500 * (0.5 - strength), 160 * (strength - 0.5)
    rows["liver"][:2] += 550 * fatty**3, -34 * fatty**3
    rows["muscle"][:2] += 260 * soft, -16 * soft
    rows["lung"][:2] += 110 * (0.5 - blown), 90 * (0.5 - blown)
    return np.array([rows[name] for name in NAMES], np.float32)

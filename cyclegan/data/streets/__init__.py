"""Streets: a synthetic data set of day (domain A) and night (domain B) driving scenes, drawn by code.

Every scene is a small 3-D world that is painted *once*, into an image of shape numbers. The day picture, the night
picture and the label map are looked up from that one image, so they agree pixel by pixel by construction, and light,
fog, rain and noise can never change a label. In the order in which a scene is made:

    classes    names, colours and bounds
    world      the street's geometry; ground, buildings, trees and traffic add their shapes to it
    raster     the painted world: colours, labels and positions at each pixel
    light      sun, lamps, haze and rain make the day and the night picture
    scene      all of this for one scene
    spec       a data set of scenes, parsed from "streets:count=400,size=256"
    folders    the data set as folders of files
"""

from cyclegan.data.drawn import MAX_SIDE, MIN_SIDE
from cyclegan.data.streets.classes import (
    CLASS_COLORS,
    CLASSES,
    DENSITY_CLASSES,
    MAX_DENSITY,
    PALETTE,
)
from cyclegan.data.streets.folders import label_image, write_streets
from cyclegan.data.streets.scene import Scene, render_scene
from cyclegan.data.streets.spec import StreetsSpec

__all__ = [
    "CLASSES", "CLASS_COLORS", "DENSITY_CLASSES", "MAX_DENSITY", "MAX_SIDE", "MIN_SIDE", "PALETTE",
    "Scene", "StreetsSpec", "label_image", "render_scene", "write_streets",
]  # fmt: skip

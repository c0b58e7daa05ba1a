"""Published figures, to show next to ours.

Tables 1 to 5 of the CycleGAN paper (arXiv 1703.10593v7), and the tables of losses of the pix2pix paper
(arXiv 1611.07004). Accuracies are of Cityscapes, 19 classes, at 128² and 256²: pixel accuracy, class accuracy, class
IoU.
"""

from __future__ import annotations

from collections.abc import Mapping

Accuracy = tuple[float, float, float]

TO_PHOTO, TO_LABELS = "labels → photo", "photo → labels"

TABLE_1: Mapping[str, Mapping[str, str]] = {
    "CoGAN": {"map → photo": "0.6 ± 0.5", "photo → map": "0.9 ± 0.5"},
    "BiGAN/ALI": {"map → photo": "2.1 ± 1.0", "photo → map": "1.9 ± 0.9"},
    "SimGAN": {"map → photo": "0.7 ± 0.5", "photo → map": "2.6 ± 1.1"},
    "Feature loss + GAN": {"map → photo": "1.2 ± 0.6", "photo → map": "0.3 ± 0.2"},
    "CycleGAN": {"map → photo": "26.8 ± 2.8", "photo → map": "23.2 ± 3.4"},
}
"""Table 1: percent of pictures that people took for real, at 256²."""

TABLES_2_3: Mapping[str, Mapping[str, Accuracy]] = {
    "CoGAN": {TO_PHOTO: (0.40, 0.10, 0.06), TO_LABELS: (0.45, 0.11, 0.08)},
    "BiGAN/ALI": {TO_PHOTO: (0.19, 0.06, 0.02), TO_LABELS: (0.41, 0.13, 0.07)},
    "SimGAN": {TO_PHOTO: (0.20, 0.10, 0.04), TO_LABELS: (0.47, 0.11, 0.07)},
    "Feature loss + GAN": {TO_PHOTO: (0.06, 0.04, 0.01), TO_LABELS: (0.50, 0.10, 0.06)},
    "CycleGAN": {TO_PHOTO: (0.52, 0.17, 0.11), TO_LABELS: (0.58, 0.22, 0.16)},
    "pix2pix": {TO_PHOTO: (0.71, 0.25, 0.18), TO_LABELS: (0.85, 0.40, 0.32)},
}
"""Tables 2 and 3: FCN score and accuracy of label maps, by method."""

TABLES_4_5: Mapping[str, Mapping[str, Accuracy]] = {
    "Cycle alone": {TO_PHOTO: (0.22, 0.07, 0.02), TO_LABELS: (0.10, 0.05, 0.02)},
    "GAN alone": {TO_PHOTO: (0.51, 0.11, 0.08), TO_LABELS: (0.53, 0.11, 0.07)},
    "GAN + forward cycle": {TO_PHOTO: (0.55, 0.18, 0.12), TO_LABELS: (0.49, 0.11, 0.07)},
    "GAN + backward cycle": {TO_PHOTO: (0.39, 0.14, 0.06), TO_LABELS: (0.01, 0.06, 0.01)},
    "CycleGAN": {TO_PHOTO: (0.52, 0.17, 0.11), TO_LABELS: (0.58, 0.22, 0.16)},
}
"""Tables 4 and 5: the same for parts of the objective; forward is labels → photo → labels in both."""

PIX2PIX_LOSSES: Mapping[str, Mapping[str, Accuracy]] = {
    "L1": {TO_PHOTO: (0.42, 0.15, 0.11), TO_LABELS: (0.86, 0.42, 0.35)},
    "cGAN": {TO_PHOTO: (0.57, 0.22, 0.16), TO_LABELS: (0.74, 0.28, 0.22)},
    "L1 + cGAN": {TO_PHOTO: (0.66, 0.23, 0.17), TO_LABELS: (0.83, 0.36, 0.29)},
}
"""The pix2pix paper's losses."""

REAL_PHOTOS: Accuracy = (0.80, 0.26, 0.21)
"""The pix2pix paper's FCN on real photos of Cityscapes: the ceiling of the FCN score there."""

ADAPTATION: tuple[tuple[float, float], ...] = ((0.540, 0.179), (0.828, 0.348), (0.931, 0.603))
"""CyCADA's table of GTA5 → Cityscapes with a VGG16-FCN8s (Hoffman et al. 2018): pixel accuracy and class IoU from the
game as it is, from the game translated by CycleGAN, and from Cityscapes' labels."""

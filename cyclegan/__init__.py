"""CycleGAN workbench: train, show and judge unpaired image-to-image translation."""

__version__ = "0.1.0"

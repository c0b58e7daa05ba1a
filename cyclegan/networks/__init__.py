"""The networks, built from a `ModelConfig`."""

from __future__ import annotations

from cyclegan.config import ModelConfig
from cyclegan.networks.discriminators import PatchDiscriminator, PixelDiscriminator
from cyclegan.networks.generators import EncoderDecoder, Generator, ResnetGenerator, UnetGenerator
from cyclegan.networks.init import initialise

__all__ = [
    "EncoderDecoder",
    "Generator",
    "PatchDiscriminator",
    "PixelDiscriminator",
    "ResnetGenerator",
    "UnetGenerator",
    "build_discriminator",
    "build_generator",
    "initialise",
]


def build_generator(model: ModelConfig) -> Generator:
    """A new generator in training mode, its weights drawn from N(0, `init_gain`) by torch's global seed.

    Args:
        model: `generator` picks the architecture; `ngf`, `upsample`, `dropout`, `leaky_slope` (where the
            architecture has LeakyReLU) and `norm_affine` shape it.

    Returns:
        Network (N, 3, H, W) in [-1, 1] → the same, with the sizes it takes as `size_multiple`, `min_size`.

    Raises:
        ConfigError: `model` doesn't validate.
    """
    model.validate()
    common = {"upsample": model.upsample, "dropout": model.dropout, "norm_affine": model.norm_affine}
    network: Generator
    match model.generator:
        case "resnet_9":
            network = ResnetGenerator(model.ngf, 9, **common)
        case "resnet_6":
            network = ResnetGenerator(model.ngf, 6, **common)
        case "unet_256":
            network = UnetGenerator(8, model.ngf, slope=model.leaky_slope, **common)
        case "unet_128":
            network = UnetGenerator(7, model.ngf, slope=model.leaky_slope, **common)
        case "encoder_decoder":
            network = EncoderDecoder(model.ngf, slope=model.leaky_slope, **common)
        case name:
            raise AssertionError(f"validate() let generator {name!r} pass")
    initialise(network, gain=model.init_gain)
    return network


def build_discriminator(model: ModelConfig) -> PatchDiscriminator | PixelDiscriminator:
    """A new discriminator in training mode, its weights drawn from N(0, `init_gain`) by torch's global seed.

    Args:
        model: `discriminator` picks the architecture; `ndf`, `n_layers_d` and `leaky_slope` shape it.

    Returns:
        Network (N, 3, H, W) in [-1, 1] → raw logits (N, 1, h, w).

    Raises:
        ConfigError: `model` doesn't validate.
    """
    model.validate()
    network: PatchDiscriminator | PixelDiscriminator
    if model.discriminator == "patch":
        network = PatchDiscriminator(model.ndf, model.n_layers_d, slope=model.leaky_slope)
    else:
        network = PixelDiscriminator(model.ndf, slope=model.leaky_slope)
    initialise(network, gain=model.init_gain)
    return network

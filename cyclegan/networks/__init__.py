"""The networks, built from a `ModelConfig`."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from cyclegan.config import ModelConfig
from cyclegan.networks.coupled import CoupledDiscriminator, CoupledGenerator, CoupledPair
from cyclegan.networks.discriminators import PatchDiscriminator, PixelDiscriminator
from cyclegan.networks.generators import EncoderDecoder, Generator, ResnetGenerator, UnetGenerator
from cyclegan.networks.init import initialise

__all__ = [
    "CoupledDiscriminator",
    "CoupledGenerator",
    "CoupledPair",
    "EncoderDecoder",
    "Generator",
    "PatchDiscriminator",
    "PixelDiscriminator",
    "ResnetGenerator",
    "UnetGenerator",
    "build_coupled",
    "build_discriminator",
    "build_generator",
    "discriminator_of",
    "generator_of",
    "initialise",
]


def build_generator(model: ModelConfig, *, in_channels: int = 3, out_channels: int = 3) -> Generator:
    """Return a new generator in training mode, its weights drawn from N(0, `init_gain`) by torch's global seed.

    Args:
        model: `generator` picks the architecture; `ngf`, `upsample`, `dropout`, `test_dropout`, `leaky_slope`
            (where the architecture has LeakyReLU) and `norm_affine` shape it.
        in_channels, out_channels: of the pictures.

    Returns:
        Network (N, in_channels, H, W) in [-1, 1] → (N, out_channels, H, W) in [-1, 1].

    Raises:
        ConfigError: `model` doesn't validate.
    """
    model.validate()
    common = {"upsample": model.upsample, "dropout": model.dropout, "norm_affine": model.norm_affine,
              "test_dropout": model.test_dropout, "in_channels": in_channels, "out_channels": out_channels}  # fmt: skip
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
        case "coupled":
            pair = _coupled_pair(model)
            network = CoupledGenerator(pair, starts=model.inversion_starts, steps=model.inversion_steps)
        case name:
            raise AssertionError(f"validate() let generator {name!r} pass")
    initialise(network, gain=model.init_gain)
    return network


def generator_of(config: Any, direction: str) -> Generator:
    """Return `build_generator`'s network for a direction.

    Args:
        config: has `model` and `data`, as a run's settings and a checkpoint's do.
    """
    source, target = (config.data.values(domain).channels for domain in direction)
    return build_generator(config.model, in_channels=source, out_channels=target)


def discriminator_of(
    config: Any, domains: str, *, norm_affine: bool = False
) -> PatchDiscriminator | PixelDiscriminator:
    """Return `build_discriminator`'s network for a picture of a domain, or of several on top of each other, e.g. "ab".

    Args:
        config: has `model` and `data`.
    """
    count = sum(config.data.values(domain).channels for domain in domains)
    return build_discriminator(config.model, in_channels=count, norm_affine=norm_affine)


def build_discriminator(
    model: ModelConfig, *, in_channels: int = 3, norm_affine: bool = False
) -> PatchDiscriminator | PixelDiscriminator:
    """Return a new discriminator in training mode, its weights drawn from N(0, `init_gain`) by torch's global seed.

    Args:
        model: `discriminator` picks the architecture; `ndf`, `n_layers_d`, `leaky_slope` and `spectral_norm`
            shape it.
        in_channels: of a picture; 6 for one that is judged next to its input.
        norm_affine: scale and shift after each norm, as in pix2pix.

    Returns:
        Network (N, in_channels, H, W) in [-1, 1] → raw logits (N, 1, h, w).

    Raises:
        ConfigError: `model` doesn't validate.
    """
    model.validate()
    network: PatchDiscriminator | PixelDiscriminator
    if model.discriminator == "coupled":
        raise ValueError("a coupled discriminator judges both domains: see build_coupled")
    if model.discriminator == "patch":
        network = PatchDiscriminator(
            model.ndf, model.n_layers_d, slope=model.leaky_slope, in_channels=in_channels, norm_affine=norm_affine
        )
    else:
        network = PixelDiscriminator(
            model.ndf, slope=model.leaky_slope, in_channels=in_channels, norm_affine=norm_affine
        )
    initialise(network, gain=model.init_gain)
    _limit(network, model)
    return network


def build_coupled(model: ModelConfig) -> tuple[CoupledPair, CoupledDiscriminator]:
    """Return new coupled generators and discriminators in training mode, drawn as by `build_generator`.

    Args:
        model: `picture_size`, `latent_size`, `ngf`, `ndf`, `upsample`, `leaky_slope` and `spectral_norm` shape them.

    Raises:
        ConfigError: `model` doesn't validate.
    """
    model.validate()
    pair, judge = _coupled_pair(model), CoupledDiscriminator(model.picture_size, model.ndf, slope=model.leaky_slope)
    for network in (pair, judge):
        initialise(network, gain=model.init_gain)
    _limit(judge, model)
    return pair, judge


def _limit(discriminator: nn.Module, model: ModelConfig) -> None:
    """Divide the weights of all convolutions by their largest singular value if `spectral_norm` says so."""
    if model.spectral_norm:
        for layer in list(discriminator.modules()):
            if isinstance(layer, nn.Conv2d):
                spectral_norm(layer)


def _coupled_pair(model: ModelConfig) -> CoupledPair:
    return CoupledPair(model.picture_size, model.ngf, model.latent_size, upsample=model.upsample)

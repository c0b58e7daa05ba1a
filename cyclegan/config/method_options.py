"""Every training method's own options, with its own defaults. They load without torch, for the app and model cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cyclegan.config.fields import DIRECTIONS, Config, option, require

GAN_MODES = ("lsgan", "vanilla", "hinge", "wgan_gp")

@dataclass(frozen=True)
class MethodConfig(Config):
    """A training method's own options, with its own defaults. Each option is a flag."""

    defaults: ClassVar[Mapping[str, Any]] = {}
    """Defaults of other groups' settings that differ for this method, e.g. {"generator": "unet_256"}."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Further defaults, of any settings, that an option which is on or off brings with it, by its name."""
    binding: ClassVar[tuple[str, ...]] = ()
    """Names of the weights that tie results to their inputs, which advice on collapsed results names."""
    copying: ClassVar[tuple[str, ...]] = ()
    """Names of the weights that keep results equal to their inputs, which advice on untranslated results names."""

    @property
    def trains_discriminators(self) -> bool:
        """True unless the options leave discriminators out."""
        return True

    def describe(self) -> str:
        """Return the losses and their weights in words, for a model card."""
        return ", ".join(f"{name} {value}" for name, value in self.to_json().items())


@dataclass(frozen=True)
class CycleGANConfig(MethodConfig):
    """The objective's terms and their weights (paper sections 3 and 4)."""

    binding: ClassVar[tuple[str, ...]] = ("lambda_cycle_a", "lambda_cycle_b")
    copying: ClassVar[tuple[str, ...]] = ("lambda_identity",)

    gan_mode: str = option("lsgan", "adversarial objective", choices=GAN_MODES)
    lambda_gan: float = option(1.0, "weight of the adversarial term; 0 trains without discriminators", least=0)
    lambda_cycle_a: float = option(10.0, "weight of the forward cycle, a → b → a", least=0)
    lambda_cycle_b: float = option(10.0, "weight of the backward cycle, b → a → b", least=0)
    lambda_identity: float = option(
        0.5, "weight of the identity term, relative to the cycle weight of the same domain (0.5 × 10 = 5)", least=0)
    lambda_gp: float = option(10.0, "weight of the gradient penalty, for wgan_gp only", least=0)
    pool_size: int = option(
        50, "number of past fakes that each discriminator is shown again; 0 = only new ones", least=0)

    def validate(self) -> None:
        """Raise ConfigError for a value, or a combination of weights, that can't work."""
        super().validate()
        require(
            self.lambda_gan + self.lambda_cycle_a + self.lambda_cycle_b > 0,
            "every loss weight is 0: raise --lambda_gan or --lambda_cycle_a/--lambda_cycle_b",
        )

    @property
    def trains_discriminators(self) -> bool:
        """False where the adversarial term's weight is 0."""
        return self.lambda_gan > 0

    def describe(self) -> str:
        """Return e.g. "adversarial (lsgan) × 1, cycle × 10 (A) and × 10 (B), identity × 0.5 of the cycle's weight"."""
        terms = [f"adversarial ({self.gan_mode}) × {self.lambda_gan:g}"] if self.lambda_gan else []
        terms.append(f"cycle × {self.lambda_cycle_a:g} (A) and × {self.lambda_cycle_b:g} (B)")
        terms += [f"identity × {self.lambda_identity:g} of the cycle's weight"] if self.lambda_identity else []
        return ", ".join(terms)


@dataclass(frozen=True)
class AdversarialConfig(MethodConfig):
    """The options of every method with a generator and a discriminator per direction; no method by itself."""

    gan_mode: str = option("lsgan", "adversarial objective", choices=GAN_MODES)
    lambda_gan: float = option(1.0, "weight of the adversarial term; 0 trains without discriminators", least=0)
    lambda_gp: float = option(10.0, "weight of the gradient penalty, for wgan_gp only", least=0)
    pool_size: int = option(
        50, "number of past fakes that each discriminator is shown again; 0 = only new ones", least=0)

    @property
    def trains_discriminators(self) -> bool:
        """False where the adversarial term's weight is 0."""
        return self.lambda_gan > 0

    def describe(self) -> str:
        """Return e.g. "adversarial (lsgan) × 1, L1 × 100"."""
        adversarial = [f"adversarial ({self.gan_mode}) × {self.lambda_gan:g}"] if self.lambda_gan else []
        return ", ".join(adversarial + self.describe_content())

    def describe_content(self) -> list[str]:
        """Return the other terms and their weights in words."""
        return []


@dataclass(frozen=True)
class BiGANConfig(MethodConfig):
    """BiGAN/ALI as the CycleGAN authors ran it: one discriminator of pairs, and nothing else to learn from."""

    gan_mode: str = option("lsgan", "adversarial objective", choices=GAN_MODES)
    lambda_gp: float = option(10.0, "weight of the gradient penalty, for wgan_gp only", least=0)
    pool_size: int = option(
        50, "number of past fakes that each discriminator is shown again; 0 = only new ones", least=0)

    def describe(self) -> str:
        """Return e.g. "adversarial (lsgan) on pairs"."""
        return f"adversarial ({self.gan_mode}) on pairs"


@dataclass(frozen=True)
class CUTConfig(AdversarialConfig):
    """Contrastive unpaired translation (Park et al. 2020), one direction."""

    defaults: ClassVar[Mapping[str, Any]] = {"epochs": 200, "decay_epochs": 200}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fastcut": {
            "lambda_nce": 10.0, "nce_identity": False, "flip_equivariance": True, "epochs": 150, "decay_epochs": 50,
        }
    }  # fmt: skip
    binding: ClassVar[tuple[str, ...]] = ("lambda_nce",)
    copying: ClassVar[tuple[str, ...]] = ("lambda_nce",)

    pool_size: int = option(
        0, "number of past fakes that the discriminator is shown again; 0 = only new ones", least=0)
    direction: str = option("ab", "direction to learn", choices=DIRECTIONS)
    lambda_nce: float = option(1.0, "weight of the contrastive term, PatchNCE", above=0)
    nce_identity: bool = option(True, "also compare pictures of the target with what the generator makes of them")
    nce_temperature: float = option(0.07, "divisor of the similarities of patches", above=0)
    nce_patches: int = option(256, "patches of each layer that are compared", least=2)
    flip_equivariance: bool = option(False, "mirror the input of half of the steps, but not what it is compared with")
    fastcut: bool = option(
        False,
        "the authors' FastCUT: --lambda_nce 10 --no-nce_identity --flip_equivariance --epochs 150 --decay_epochs 50")

    def describe_content(self) -> list[str]:
        """Return e.g. ["PatchNCE × 1 (with identity)"]."""
        return [f"PatchNCE × {self.lambda_nce:g}" + (" (with identity)" if self.nce_identity else "")]


METHOD_CONFIGS: dict[str, type[MethodConfig]] = {"cyclegan": CycleGANConfig, "bigan": BiGANConfig, "cut": CUTConfig}
"""The options of every training method, by the method's name."""

"""CUT and FastCUT: contrastive unpaired translation (Park, Efros, Zhang, Zhu 2020, arXiv 2007.15651)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cyclegan.config import CUTConfig, TrainConfig
from cyclegan.methods.losses import extra_terms, frames_of, gan_loss
from cyclegan.methods.method import Batch, Loss, OptimiserGroup, bare
from cyclegan.methods.one_way import OneWay
from cyclegan.networks import initialise

WIDTH = 256
"""Numbers that describe a patch."""


class PatchHeads(nn.Module):
    """For each layer of an encoder, two linear layers that describe a patch by a vector.

    Args:
        channels: of each layer's features.
        gain: standard deviation of the initial weights.
    """

    def __init__(self, channels: list[int], *, gain: float) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(count, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)) for count in channels
        )
        initialise(self, gain=gain)

    def forward(self, patches: list[Tensor]) -> list[Tensor]:
        """Describe patches of each layer: (N, P, channels) → (N, P, WIDTH)."""
        return [head(patch) for head, patch in zip(self.heads, patches, strict=True)]


def patch_nce(query: Tensor, key: Tensor, *, temperature: float) -> Tensor:
    """Return the cross entropy of finding each query's own key among all keys of its picture (section 3, eq. 2 and 3).

    Args:
        query, key: (N, P, WIDTH), of any length; the same P places of each picture. Keys get no gradients.
        temperature: divides the cosines.
    """
    query, key = (F.normalize(described, dim=-1, eps=1e-7) for described in (query, key.detach()))
    logits = query @ key.transpose(1, 2) / temperature
    count, places = query.shape[:2]
    own = torch.arange(places, device=query.device).expand(count, places)
    return F.cross_entropy(logits.flatten(0, 1), own.flatten())


class CUT(OneWay):
    """A generator, a discriminator of its target, and small networks that describe patches.

    A patch of a result should be found by its description among 256 patches of the input, by the generator's own
    encoder. The descriptions' networks are made from the first batch, after the others. They move in one optimiser
    with the generator; the authors give them their own Adam, which is the same, because Adam moves each weight by its
    own gradients alone.
    """

    Config = CUTConfig

    def __init__(self, config: TrainConfig, *, process_index: int = 0) -> None:
        super().__init__(config, process_index=process_index)
        self.init_gain = config.model.init_gain
        generator = OptimiserGroup("generator", (self.gen, "heads"), self.generator_loss, frozen=(self.disc,))
        self.groups = (generator, *self.groups[1:])

    @torch.no_grad()
    def prepare(self, batch: Batch) -> None:
        """Make the networks that describe patches, for the encoder's number of channels in each layer."""
        features = self.networks[self.gen](batch[f"real_{self.source}"][:1], features="only")
        self.networks["heads"] = PatchHeads([feature.shape[1] for feature in features], gain=self.init_gain)

    def generator_loss(self, batch: Batch, _: Batch) -> Loss:
        """Return the adversarial loss, PatchNCE of the translation and of the target's own pictures (section 3, eq. 4),
        and the detached translation. With both, PatchNCE is their mean, as in the authors' code."""
        options = self.options
        domains = (self.source, self.target) if options.nce_identity else (self.source,)
        reals = [batch[f"real_{domain}"] for domain in domains]
        mirrored = torch.rand((), device=reals[0].device) < 0.5 if options.flip_equivariance else None
        made, keys = self._translate(reals, mirrored)
        queries = self._each(made, features="only")
        names = (f"nce_{options.direction}", f"nce_identity_{self.target}")
        terms = {
            name: self._compare(query, key, mirrored)
            for name, query, key in zip(names[: len(reals)], queries, keys, strict=True)
        }
        total = options.lambda_nce * torch.stack(list(terms.values())).mean()
        if options.lambda_gan:
            logits = bare(self.networks[self.disc])(made[0])
            gan = gan_loss(logits, real=True, mode=options.gan_mode, for_discriminator=False)
            total, terms = total + options.lambda_gan * gan, {f"gan_{options.direction}": gan} | terms
        if options.lambda_semantic or options.lambda_temporal:
            frames = [_mirrored(frame, mirrored) for frame in frames_of(batch, self.source)]
            fakes = [made[0], *self._each(frames[1:], features="none")]
            extra = extra_terms(options, options.direction, frames, fakes, self.fixed.get("segmenter"))
            for name, (weight, term) in extra.items():
                total, terms[name] = total + weight * term, term
        return total, terms, {"shown": made[0].detach()}

    def _translate(self, reals: list[Tensor], mirrored: Tensor | None) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Return the translations and the inputs' features, which come from the same pass where nothing is mirrored."""
        if mirrored is None:
            made, keys = zip(*self._each(reals, features="also"), strict=True)
            return list(made), list(keys)
        with torch.no_grad():
            keys = self._each(reals, features="only")
        return self._each([_mirrored(real, mirrored) for real in reals], features="none"), keys

    def _each(self, pictures: list[Tensor], *, features: str) -> list:
        """Return what the generator makes of each batch, in one pass where sizes allow."""
        generator, sizes = self.networks[self.gen], {picture.shape[1:] for picture in pictures}
        if not (self.batch_passes and len(sizes) == 1):
            return [generator(picture, features=features) for picture in pictures]
        found = generator(torch.cat(pictures), features=features)
        return _split(found, [len(picture) for picture in pictures])

    def _compare(self, queries: list[Tensor], keys: list[Tensor], mirrored: Tensor | None) -> Tensor:
        """Return the mean PatchNCE of the layers, at the same random places of query and key."""
        chosen: list[Tensor] = []
        wanted: list[Tensor] = []
        for query, key in zip(queries, keys, strict=True):
            height, width = key.shape[2:]
            places = torch.randperm(height * width, device=key.device)[: self.options.nce_patches]
            wanted.append(_patches(key.detach(), places))
            if mirrored is not None:
                column = places % width
                places = torch.where(mirrored, places - column + width - 1 - column, places)
            chosen.append(_patches(query, places))
        heads = self.networks["heads"]
        described = heads(chosen)
        with torch.no_grad():
            expected = bare(heads)(wanted)
        pairs = zip(described, expected, strict=True)
        return torch.stack([patch_nce(q, k, temperature=self.options.nce_temperature) for q, k in pairs]).mean()


def _mirrored(pictures: Tensor, mirrored: Tensor | None) -> Tensor:
    """Return pictures as they are, or mirrored where the draw is true."""
    return pictures if mirrored is None else torch.where(mirrored, pictures.flip(3), pictures)


def _patches(feature: Tensor, places: Tensor) -> Tensor:
    """Return a layer's values at some places: (N, C, H, W) and (P,) → (N, P, C)."""
    return feature.flatten(2).index_select(2, places).transpose(1, 2)


def _split(found, sizes: list[int]) -> list:
    """Return for each part of a batch what `found` holds of it: tensors, lists or tuples of them."""
    if isinstance(found, torch.Tensor):
        return list(found.split(sizes))
    return [type(found)(part) for part in zip(*(_split(each, sizes) for each in found), strict=True)]

"""The settings that a run leaves open: every "auto" of a config becomes what is used on one device."""

from __future__ import annotations

import dataclasses

import torch

from cyclegan.config import TrainConfig

_FUSED = ("cpu", "cuda")
"""Devices whose fused Adam leaves out steps that are not finite."""


def resolve_auto(config: TrainConfig, device: torch.device) -> TrainConfig:
    """Return the same config with `mixed_precision`, `batch_passes`, `fused_adam`, `winograd` and `order` resolved.

    They become what is fast on the device, or with `reference` what is published. Resolving twice changes nothing.

    Args:
        device: where the networks will be trained.
    """
    run, fast = config.run, not config.run.reference
    precision = _precision(device, fast) if run.mixed_precision == "auto" else run.mixed_precision
    winograd = fast and device.type == "cpu" and precision == "no" and not run.compile
    resolved = dataclasses.replace(
        run,
        mixed_precision=precision,
        batch_passes=fast if run.batch_passes is None else run.batch_passes,
        fused_adam=fast and device.type in _FUSED if run.fused_adam is None else run.fused_adam,
        winograd=winograd if run.winograd is None else run.winograd,
    )
    order = config.data.order
    if order == "auto":
        order = "rounds" if fast or config.data.stream else "random"
    return dataclasses.replace(config, run=resolved, data=dataclasses.replace(config.data, order=order))


def _precision(device: torch.device, fast: bool) -> str:
    return "bf16" if fast and computes_bf16(device) else "no"


def computes_bf16(device: torch.device) -> bool:
    """Return True if the device multiplies bf16 faster than fp32; where it emulates bf16, fp32 is faster."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())

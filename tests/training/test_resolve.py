"""What is left to the machine."""

import pytest
import torch

from cyclegan.cli.flags import parse_train_config
from cyclegan.training.resolve import resolve_auto

CPU = torch.device("cpu")
REQUIRED = ["--dataset", "x", "--output_dir", "y"]


def settled(*flags, device=CPU):
    config = resolve_auto(parse_train_config([*REQUIRED, *flags]), device)
    assert resolve_auto(config, device) == config
    return config.run.mixed_precision, config.run.batch_passes, config.run.fused_adam, config.data.order


@pytest.mark.parametrize("native", [True, False])
def test_bf16_where_the_processor_computes_it(native, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert settled() == ("bf16" if native else "no", True, True, "rounds")
    assert settled("--mixed_precision", "no", "--order", "random") == ("no", True, True, "random")
    assert settled("--mixed_precision", "bf16", "--no-fused_adam") == ("bf16", True, False, "rounds")
    assert settled("--reference") == ("no", False, False, "random")
    assert settled("--reference", "--order", "rounds") == ("no", False, False, "rounds")


def test_bf16_where_the_gpu_computes_it(monkeypatch):
    for native in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True, n=native: n)
        assert settled(device=torch.device("cuda"))[0] == ("bf16" if native else "no")
    assert settled(device=torch.device("mps"))[0] == "no"


def test_winograd_on_cpus_in_fp32_without_a_compiler(capsys):
    def winograd(*flags, device=CPU):
        return resolve_auto(parse_train_config([*REQUIRED, *flags]), device).run.winograd

    assert winograd("--mixed_precision", "no") is True
    assert winograd("--mixed_precision", "no", "--no-winograd") is False
    assert winograd("--mixed_precision", "no", device=torch.device("cuda")) is False
    for flags in (["--mixed_precision", "bf16"], ["--reference"], ["--mixed_precision", "no", "--compile"]):
        assert winograd(*flags) is False
    with pytest.raises(SystemExit):
        winograd("--reference", "--winograd")
    assert "--reference computes as published, and --winograd doesn't" in capsys.readouterr().err

"""docs/cluster: files that bash, accelerate and the trainer understand."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser

from cyclegan.cli.flags import parse_train_config

DOCS = Path(__file__).parents[2] / "docs"


def test_bash_reads_the_sbatch_file():
    assert subprocess.run(["bash", "-n", DOCS / "cluster/train.sbatch"]).returncode == 0


def test_accelerate_reads_its_config():
    config = ClusterConfig.from_yaml_file(str(DOCS / "cluster/accelerate.yaml"))
    assert (config.num_machines, config.num_processes, config.distributed_type.value) == (2, 8, "MULTI_GPU")


def commands():
    """The commands of docs/cluster.md that start trainings."""
    for block in re.findall(r"```bash\n(.*?)```", (DOCS / "cluster.md").read_text(encoding="utf-8"), re.S):
        yield shlex.split(block.replace("\\\n", " "))


@pytest.mark.parametrize("words", list(commands()), ids=lambda words: words[0])
def test_the_commands_of_the_page_are_real(words):
    parsers = {"torchrun": get_args_parser, "accelerate": launch_command_parser}
    if words[0] in parsers:
        parsed = parsers[words[0]]().parse_args(words[1 + (words[0] == "accelerate") :])
        assert parsed.training_script == "train_accelerate.py"
        flags = parsed.training_script_args
        assert parse_train_config(flags).run.resume == "auto"
    else:
        assert words[0] == "sbatch" and (DOCS.parent / words[1]).is_file()
        parse_train_config(words[2:])


def test_the_scripts_own_launcher_words_are_torchruns():
    script = (DOCS / "cluster/train.sbatch").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^srun .*$", script, re.M)
    words = [re.sub(r"\$[({]?\w.*|^\$.*", "2", word) for word in shlex.split(line.split("node ", 2)[2].rstrip(" &"))]
    parsed = get_args_parser().parse_args([word for word in words if word != "$@"])
    assert parsed.training_script == "train_accelerate.py" and parsed.rdzv_backend == "c10d"
    assert parsed.training_script_args[-2:] == ["--resume", "auto"]

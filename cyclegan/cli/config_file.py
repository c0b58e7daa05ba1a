"""Settings in a file: `--config`, and `--print_config`, which writes what it reads."""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cyclegan.config import METHOD_CONFIGS, DataConfig, TrainConfig
from cyclegan.config.fields import convert
from cyclegan.errors import ConfigError, Message, message

RUNS_OWN = (
    "output_dir", "resume", "push_to_hub", "hub_model_id", "hub_private", "hub_license", "hub_training_state"
)  # fmt: skip
"""Settings that another run's run.json doesn't pass on, because they say where that run is written or published."""
_MAX_BYTES = 1_000_000


def read_settings(path: Path) -> tuple[dict[str, Any], list[Message]]:
    """Return the settings in a file by the names of their flags, and notes about what isn't taken.

    Args:
        path: YAML or JSON: settings by name, or in the groups of `TrainConfig` (data, model, loss, optim, run); or
            the run.json of a run; or the config.json of a checkpoint.

    Raises:
        ConfigError: the file can't be read, holds something else, a name that no setting has, or a value of the wrong
            kind.
    """
    content, notes = load_mapping(path, shown=f"--config {path}"), []
    if isinstance(content.get("config"), Mapping) and "run_id" in content:
        content, notes = _without_own(content["config"], path)
    elif "format_version" in content:
        content = _of_checkpoint(content)
    return checked_settings(content, path), notes


def settings_of_run(folder: Path) -> dict[str, Any]:
    """Return a run's settings by the names of their flags, for its next start; {} where run.json is lost or damaged.

    Where the run is, how it continues, the limit of one start and publishing, which a person asks for each time, aren't
    among them.
    """
    path = folder / "run.json"
    try:
        content = load_mapping(path, shown=str(path)).get("config")
        settings = checked_settings(content, path) if isinstance(content, Mapping) else {}
    except ConfigError:
        return {}
    # Of a run that began before a setting was there, what programs assumed then: its next start must not look anew.
    former = {f.name: f.metadata["former"] for f in dataclasses.fields(DataConfig) if f.metadata.get("since", 1) > 2}
    settings = former | settings if settings else settings
    return {name: value for name, value in settings.items() if name not in (*RUNS_OWN, "max_steps")}


def checked_settings(content: Mapping[str, Any], path: Any) -> dict[str, Any]:
    """Return settings, some perhaps in groups, by the names of their flags and of the flags' types.

    Args:
        path: the place that an error names.

    Raises:
        ConfigError: a name that no setting has, or a value of the wrong kind.
    """
    kinds, settings = _kinds(), {}
    for name, value in _flat(content, path):
        if name not in kinds:
            near = difflib.get_close_matches(name, [*kinds, *_groups()], 1)
            hint = message("; do you mean {near}?", near=near[0]) if near else ""
            raise ConfigError("{path}: there is no setting {name}{hint}", path=path, name=name[:80], hint=hint)
        if name in settings and settings[name] != value:
            raise ConfigError("{path} has {name} twice", path=path, name=name)
        try:
            settings[name] = convert(name, _as_flag(value, *kinds[name]), kinds[name][0])
        except ConfigError as error:
            raise ConfigError("{path}: {reason}", path=path, reason=error) from error
    return settings


def config_text(config: TrainConfig) -> str:
    """Return a config as YAML that `read_settings` reads."""
    import yaml

    return yaml.safe_dump(config.to_json(), sort_keys=False, allow_unicode=True, width=120)


def load_mapping(path: Path, *, shown: str) -> Mapping[str, Any]:
    """Return the mapping in a YAML or JSON file.

    Args:
        shown: the file as errors name it.

    Raises:
        ConfigError: it can't be read, or holds something else.
    """
    import yaml

    try:
        if path.is_file() and path.stat().st_size > _MAX_BYTES:
            raise ConfigError("{path} is too large for settings", path=shown)
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix.lower() == ".json" else yaml.load(text, _loader())
    except OSError as error:
        raise ConfigError("{path} can't be read ({reason})", path=shown, reason=error) from error
    # The others: PyYAML on values that their tag doesn't fit, e.g. `!!int ""`.
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, AttributeError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError("{path} is neither YAML nor JSON ({reason})", path=shown, reason=reason) from error
    content = {} if content is None else content
    if not isinstance(content, Mapping):
        raise ConfigError("{path} holds no settings by name, such as `ngf: 32`", path=shown)
    return content


def _loader() -> type:
    """Return YAML's safe loader, without aliases, which can grow a line to gigabytes, and without repeated names."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("settings take no aliases: write the value itself")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names = [key.value for key, _ in node.value if isinstance(key.value, str)]
            if twice := [name for name in names if names.count(name) > 1]:
                raise yaml.YAMLError(f"{twice[0][:80]} is there twice")
            return super().construct_mapping(node, deep)

    return Loader


def _without_own(config: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], list[Message]]:
    """Return the settings of another run that a new one may share, and a note about the others."""
    run = config.get("run") if isinstance(config.get("run"), Mapping) else {}
    left = [name for name in RUNS_OWN if run.get(name) not in (None, False, "", "none")]
    taken = {**config, "run": {name: value for name, value in run.items() if name not in RUNS_OWN}}
    if not left:
        return taken, []
    return taken, [message("{path} is of another run; from it, {names} aren't taken", path=path, names=", ".join(left))]


def _of_checkpoint(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in a checkpoint's config.json, which has them in other groups."""
    train = content.get("train") if isinstance(content.get("train"), Mapping) else {}
    groups = {"model": content.get("model"), "data": content.get("data"), **train}
    run = train.get("run") if isinstance(train.get("run"), Mapping) else {}
    groups["run"] = {"method": content.get("method", "cyclegan"), **run}
    return {name: group for name, group in groups.items() if group is not None}


def _groups() -> list[str]:
    return [group.name for group in dataclasses.fields(TrainConfig)]


def _flat(content: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Any]]:
    """Yield names and values, whether they are in groups or not."""
    for name, value in content.items():
        if name in _groups():
            if not isinstance(value, Mapping):
                raise ConfigError("{path}: {name} is a group: put its settings below it", path=path, name=name)
            yield from ((str(inner), each) for inner, each in value.items())
        else:
            yield str(name), value


def _kinds() -> dict[str, tuple[Any, Any]]:
    """Return the type and the choices of each setting of every method, by its name."""
    hints = typing.get_type_hints(TrainConfig)
    types = [hints[name] for name in _groups() if name != "loss"] + list(METHOD_CONFIGS.values())
    return {
        f.name: (typing.get_type_hints(kind)[f.name], f.metadata["choices"])
        for kind in types
        for f in dataclasses.fields(kind)
    }


def _as_flag(value: Any, kind: Any, choices: Any) -> Any:
    """Return what a person means by a value that YAML reads in another way: `no`, 2e-4, a name of digits."""
    kinds = typing.get_args(kind) or (kind,)
    if isinstance(value, bool) and bool not in kinds and choices and ("yes" if value else "no") in choices:
        return "yes" if value else "no"
    if isinstance(value, str) and float in kinds:
        try:
            return float(value)
        except ValueError:
            return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and str in kinds:
        return str(value)
    return value

"""The card's front matter: our values, and a person's merged with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from cyclegan.checkpoints.format import CheckpointInfo
from hub.card.names import METRICS, Start, figure_title, figure_values, hub_dataset, model_name, study_way, ways
from hub.card.scores import Scored, is_score, score_results
from hub.card.widget import is_own_example
from hub.layout import index_entry, study_file
from hub.readme import one_line

TAGS = ("cyclegan", "gan", "unpaired-image-to-image-translation")
LIBRARY = "cyclegan-workbench"
FOOLING_RATE = "fooling_rate"
_OWN_METRICS = {figure.name(direction) for figure in METRICS for direction in ("ab", "ba")}


def own_metadata(
    repo_id: str, info: CheckpointInfo, license: str | None, studies: Sequence[Mapping[str, Any]],
    start: Start | None = None, scored: Sequence[Scored] = (), imported_from: str | None = None,
    widget: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return our front matter, before it is merged with a person's; for the arguments see `make_card`.

    Args:
        scored: the directions of its scores.
        widget: entries of `widget_examples`.
    """
    data = info.config.data
    dataset, dataset_config = hub_dataset(data.dataset)
    arrows, entry = ways(data), index_entry(info)
    results = [
        EvalResult(
            task_type="image-to-image",
            task_name="Image-to-Image",
            dataset_type=dataset or "pictures",
            dataset_name=one_line(data.dataset, "unknown"),
            dataset_config=dataset_config,
            metric_type=figure.name(direction),
            metric_name=f"{figure_title(figure)}, {arrows[direction]}",
            metric_value=round(value, 4),
        )
        for direction in info.directions
        for figure in METRICS
        if (value := figure_values(figure, entry, [direction])[0]) is not None
    ]
    own = ModelCardData(
        pipeline_tag="image-to-image",
        library_name=LIBRARY,
        tags=list(TAGS),
        license=license or None,
        datasets=[dataset] if dataset else None,
        model_name=model_name(repo_id) if results else None,
        eval_results=results or None,
        widget=list(widget) or None,
        **_base(start, imported_from),
    ).to_dict()
    if more := [*score_results(repo_id, scored), *(_study_result(repo_id, study) for study in studies)]:
        index = own.setdefault("model-index", [{"name": model_name(repo_id), "results": []}])
        index[0]["results"] += more
    return own


def _base(start: Start | None, imported_from: str | None) -> dict[str, str]:
    """Return the model that the weights come from, if it is on the Hub."""
    if start and start.repo_id:
        return {"base_model": start.repo_id, "base_model_relation": "finetune"}
    # The Hub has no word for the same weights in another format.
    return {"base_model": imported_from} if imported_from else {}


def _study_result(repo_id: str, study: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study's part of the model-index.

    Not by EvalResult, because it keeps only one source for all figures of a data set.
    """
    about, protocol = study["study"], study["protocol"]
    way, name = study_way(about), about["name"]
    metrics = [
        {
            "type": FOOLING_RATE,
            "value": round(row["fooling_rate"], 4),
            "name": f"fooling rate (0 to 1), {way}, epoch {row['epoch']}",
            "args": {
                "study": name,
                "epoch": row["epoch"],
                "revision": row["revision"],
                "protocol": one_line(str(protocol.get("name")), "custom"),
                "participants": row["participants"],
                "trials": row["trials"],
                **({"interval_95": [round(bound, 4) for bound in row["interval"]]} if row.get("interval") else {}),
            },
        }
        for row in study["epochs"]
    ]
    dataset = one_line(str(about.get("dataset") or ""), "unknown")
    return {
        "task": {"type": "image-to-image", "name": "Image-to-Image"},
        "dataset": {"name": dataset, "type": hub_dataset(dataset)[0] or "pictures"},
        "metrics": metrics,
        "source": {
            "name": f"study {name}: judged by people",
            "url": f"https://huggingface.co/{repo_id}/blob/main/{study_file(name)}",
        },
    }


def merged(values: Mapping[str, Any], own: Mapping[str, Any], repo_id: str) -> dict[str, Any]:
    """Return a person's front matter with ours: their choices are kept, lists are joined, figures are replaced."""
    result = dict(values)
    for key, value in own.items():
        there = values.get(key)
        if key in ("model-index", "widget"):
            continue
        if there is None or key == "license":  # Ours has a licence only on request.
            result[key] = value
        elif isinstance(value, list) and isinstance(there, (str, list)):
            listed = [there] if isinstance(there, str) else there
            if missing := [item for item in value if item not in listed]:
                result[key] = [*listed, *missing]
    examples = _merged_examples(values.get("widget"), own.get("widget"))
    if examples:
        result["widget"] = examples
    else:
        result.pop("widget", None)
    index = _merged_index(values.get("model-index"), own.get("model-index"), model_name(repo_id))
    if index:
        result["model-index"] = index
    else:
        result.pop("model-index", None)
    return result


def _merged_examples(there: Any, own: Sequence[Mapping[str, Any]] | None) -> Any:
    """Return the examples with ours replaced; a person's come after them."""
    if there is not None and not isinstance(there, list):
        return there
    return [*(own or []), *(example for example in there or [] if not is_own_example(example))]


def _merged_index(there: Any, own: list[dict[str, Any]] | None, name: str) -> Any:
    """Return the model-index with our figures replaced; figures that other programs added under our name are kept."""
    if there is not None and not isinstance(there, list):
        return there
    results = list(own[0]["results"]) if own else []
    index = []
    for entry in there or []:
        if not isinstance(entry, dict) or entry.get("name") != name or not isinstance(entry.get("results"), list):
            index.append(entry)
            continue
        for result in entry["results"]:
            metrics = result.get("metrics") if isinstance(result, dict) else None
            if not isinstance(metrics, list):
                results.append(result)
            elif others := [metric for metric in metrics if not _is_own(metric)]:
                results.append({**result, "metrics": others})
    return [*index, {"name": name, "results": results}] if results else index


def _is_own(metric: Any) -> bool:
    if not isinstance(metric, dict) or not isinstance(metric.get("type"), str):
        return False
    args = metric.get("args")
    judged = metric["type"] == FOOLING_RATE and isinstance(args, dict) and "study" in args and "revision" in args
    return judged or is_score(metric) or metric["type"] in _OWN_METRICS

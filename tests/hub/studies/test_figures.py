"""A study's figures on model cards: the real client against a Hub on this machine."""

import json
import pickle
import re

import pytest
import yaml
from huggingface_hub import ModelCard

from cyclegan.checkpoints.format import read_info
from cyclegan.errors import CheckpointError
from cyclegan.study import report as reports
from cyclegan.study.session import StudySessions
from cyclegan.study.store import Store
from hub import HubError
from hub.layout import newest_studies, read_study
from hub.readme import BEGIN, END
from hub.source import HubSource
from hub.studies.figures import publish_study
from tests.study.conftest import Participant, small_study  # noqa: F401 (a fixture)

# The client's own upload of large files uses a deprecated argument of its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAME = "alice/day-night"
PROTOCOL = {
    "name": "cyclegan2017", "task": "realness", "question": "real", "presentation": "together",
    "practice_trials": 10, "test_trials": 40, "exposure_ms": 1000,
}  # fmt: skip

PEOPLE = {"counted": 25, "left_out": [{"reason": "excluded: anna guessed", "count": 1}]}


def make_report(*epochs, name="faces", **changes):
    study = {
        "study_id": "5" * 32, "name": name, "title": "Which looks real?", "direction": "ab",
        "domains": ["day", "night"], "dataset": "streets", "seed": 7,
    }  # fmt: skip
    report = {"format_version": 1, "study": study, "protocol": PROTOCOL, "simulated": False}
    return {**report, "participants": PEOPLE, "epochs": list(epochs), **changes}


def make_epoch(epoch, sha, source=NAME, **changes):
    figures = {"fooling_rate": 0.268, "interval": [0.2124, 0.324], "participants": 25, "trials": 1000}
    return {"epoch": epoch, "commit_sha": sha, "source": source, **figures, **changes}


@pytest.fixture
def publish(loopback):
    """`publish_study` as alice; where the figures are, and what was said."""

    def call(report, **settings):
        said = []
        return publish_study(report, say=said.append, endpoint=loopback.url, **settings), said

    return call


def card_of(repo):
    text = repo.head["files"]["README.md"].decode()
    ModelCard(text)  # As the Hub's library reads it.
    assert text.count(BEGIN) == text.count(END) == 1
    return text


def judged_in(repo):
    """The fooling rates in the model-index: by study and epoch, their value."""
    front = yaml.safe_load(card_of(repo).split("---\n")[1])
    (entry,) = front.get("model-index") or [{"results": []}]
    metrics = [metric for result in entry["results"] for metric in result["metrics"]]
    return {(m["args"]["study"], m["args"]["epoch"]): m["value"] for m in metrics if m["type"] == "fooling_rate"}


# --- on the Hub ---------------------------------------------------------------------------------------------


def test_the_figures_are_where_the_weights_are(loopback, publish, publish_run, make_run):
    repo = publish_run(make_run(2))
    epochs = [make_epoch(n, repo.tags[f"epoch-000{n}"], fooling_rate=rate) for n, rate in ((2, 0.268), (1, 0.1))]
    assert publish(make_report(*epochs)) == (
        [f"{loopback.url}/{NAME}"],
        [f"the figures of faces are on the card: {loopback.url}/{NAME}"],
    )
    card = card_of(repo)
    assert "## Judged by people" in card and "**Which looks real?**, day → night: protocol cyclegan2017, " in card
    assert "two pictures side by side, shown for 1000 ms, the real one asked for, 10 trials with" in card
    assert "[epoch-0001](https://huggingface.co/alice/day-night/tree/epoch-0001) | 10.0% | 21.2% – 32.4% | 25 |" in card
    assert card.index("| 10.0% |") < card.index("| 26.8% |")
    front = yaml.safe_load(card.split("---\n")[1])
    result = front["model-index"][0]["results"][-1]
    assert result["metrics"][1] == {
        "type": "fooling_rate", "value": 0.268, "name": "fooling rate (0 to 1), day → night, epoch 2",
        "args": {
            "study": "faces", "epoch": 2, "revision": "epoch-0002", "protocol": "cyclegan2017", "participants": 25,
            "trials": 1000, "interval_95": [0.2124, 0.324],
        },
    }  # fmt: skip
    assert result["source"]["url"] == f"https://huggingface.co/{NAME}/blob/main/studies/faces.json"
    kept = json.loads(repo.head["files"]["studies/faces.json"])
    assert [row["fooling_rate"] for row in kept["epochs"]] == [0.1, 0.268] and kept["protocol"] == PROTOCOL
    assert kept["epochs"][0]["commit_sha"] == repo.tags["epoch-0001"] and "seed" not in kept["study"]
    assert kept["participants"] == {"counted": 25} and "anna" not in card
    assert repo.head["title"] == "Study faces" and len(repo.epoch_commits()) == 2


def test_a_method_of_a_study_of_several_runs_is_its_runs_epoch(publish, publish_run, make_run):
    repo = publish_run(make_run(2))
    publish(make_report(make_epoch(1, repo.tags["epoch-0002"], of_epoch=2, label="CycleGAN")))
    assert judged_in(repo) == {("faces", 2): 0.268}


def test_pictures_of_other_programs_are_on_no_card(publish, publish_run, make_run):
    repo = publish_run(make_run(1))
    ours = make_epoch(1, repo.tags["epoch-0001"], of_epoch=1, label="CycleGAN")
    theirs = make_epoch(2, "ab" * 20, "cogan", label="CoGAN", foreign=True, of_epoch=None)
    _, said = publish(make_report(ours, theirs))
    assert judged_in(repo) == {("faces", 1): 0.268} and "cogan" not in card_of(repo).lower()
    assert said[0] == "made by other programs, so on no card: CoGAN"
    with pytest.raises(HubError, match="in faces were made by other programs, which have no card; publish a study of"):
        publish(make_report(theirs))


def test_before_the_plan_is_reached_only_the_always_valid_interval_is_published(publish, publish_run, make_run):
    repo = publish_run(make_run(1))
    plan = {"results": "always_valid", "participants": 25, "least": 2, "state": "always_valid"}
    publish(make_report(make_epoch(1, repo.tags["epoch-0001"], interval_always_valid=None), plan=plan))
    assert "| 26.8% | – | 25 | 1000 |" in card_of(repo)
    error = {"error": 0.3, "interval": [0.2, 0.4]}
    epoch = make_epoch(1, repo.tags["epoch-0001"], interval_always_valid=[0.1, 0.5], total_error=error)
    report = make_report(epoch, plan=plan)
    publish({**report, "protocol": {**report["protocol"], "presentation": "single"}})
    assert "| 26.8% | 10.0% – 50.0% | 30.0% | 25 | 1000 |" in card_of(repo)
    assert "is planned for 25 participants per epoch, and the one with the fewest has 2." in card_of(repo)
    publish(make_report(make_epoch(1, repo.tags["epoch-0001"])))
    assert "provisional" not in card_of(repo)


def test_a_study_without_a_secret_is_marked_on_the_card(publish, publish_run, make_run):
    repo = publish_run(make_run(1))
    report = make_report(make_epoch(1, repo.tags["epoch-0001"]))
    publish(report)
    assert "secret" not in card_of(repo)
    publish({**report, "study": {**report["study"], "secret_sha256": None}})
    assert "This study was built before sequences were drawn from a secret." in card_of(repo)


def test_an_interval_that_rests_on_an_assumption_says_so(publish, publish_run, make_run):
    repo = publish_run(make_run(1))
    publish(make_report(make_epoch(1, repo.tags["epoch-0001"], interval_assumed=True, participants=3)))
    card = card_of(repo)
    assert "| 26.8% | 21.2% – 32.4% \\* | 3 | 1000 |" in card and "\\* These answers can't show" in card
    publish(make_report(make_epoch(1, repo.tags["epoch-0001"])))
    assert "| 26.8% | 21.2% – 32.4% | 25 | 1000 |" in card_of(repo) and "can't show" not in card_of(repo)


def test_publishing_again_makes_no_commit(publish, publish_run, make_run):
    repo = publish_run(make_run(1))
    report = make_report(make_epoch(1, repo.tags["epoch-0001"]))
    publish(report)
    commits = len(repo.commits)
    assert publish(report)[1] == [f"nothing to do: {publish(report)[0][0]} has these figures"]
    assert len(repo.commits) == commits


def test_a_newer_report_replaces_its_own_rows_only(publish, publish_run, make_run):
    repo = publish_run(make_run(2))
    one, two = (make_epoch(n, repo.tags[f"epoch-000{n}"]) for n in (1, 2))
    publish(make_report(one, two))
    publish(make_report({**one, "fooling_rate": 0.05}, name="other"))
    publish(make_report({**two, "fooling_rate": 0.31, "participants": 40}))
    assert judged_in(repo) == {("faces", 2): 0.31, ("other", 1): 0.05}
    assert "| 31.0% | 21.2% – 32.4% | 40 |" in card_of(repo) and "| 26.8% |" not in card_of(repo)


def test_later_epochs_keep_the_figures_and_what_people_wrote(publish, publish_run, make_run):
    run = make_run(1)
    repo = publish_run(run)
    publish(make_report(make_epoch(1, repo.tags["epoch-0001"])))
    edited = card_of(repo).replace(BEGIN, f"Mine.\n\n{BEGIN}").replace("tags:", "thumbnail: x.png\ntags:")
    repo.commit("Edit", {**repo.head["files"], "README.md": edited.encode()})
    make_run(2)
    publish_run(run)
    card = card_of(repo)
    assert "epoch 2; every published" in card and "| 26.8% |" in card and judged_in(repo) == {("faces", 1): 0.268}
    assert "Mine.\n" in card and "thumbnail: x.png" in card and "studies/faces.json" in repo.head["files"]
    publish(make_report(make_epoch(1, repo.tags["epoch-0001"], fooling_rate=0.5)))
    card = card_of(repo)
    assert "| 50.0% |" in card and "Mine.\n" in card and "epoch 2; every published" in card
    assert "samples/ab.png" in card and card.count("/tree/epoch-0001) |") == 2 and "/tree/epoch-0002) |" in card


def test_figures_of_others_stay_in_the_model_index(publish, publish_run, make_run):
    repo = publish_run(make_run(1))
    theirs = {"type": "fooling_rate", "value": 0.4, "args": {"who": "someone"}}
    result = {"task": {"type": "image-to-image"}, "dataset": {"name": "x", "type": "x"}, "metrics": [theirs]}
    text = card_of(repo)
    front = yaml.safe_load(text.split("---\n")[1])
    front["model-index"] = [{"name": "day-night", "results": [result]}]
    body = text.split("---\n", 2)[2]
    repo.commit("Edit", {**repo.head["files"], "README.md": f"---\n{yaml.safe_dump(front)}---\n{body}".encode()})
    for rate in (0.1, 0.2):
        publish(make_report(make_epoch(1, repo.tags["epoch-0001"], fooling_rate=rate)))
        index = yaml.safe_load(card_of(repo).split("---\n")[1])["model-index"]
        rates = [m for r in index[0]["results"] for m in r["metrics"] if m["type"] == "fooling_rate"]
        assert theirs in rates and sorted(m["value"] for m in rates) == [rate, 0.4]


def test_each_run_gets_its_own_epochs(loopback, publish, publish_run, make_run):
    first = publish_run(make_run(1, name="one"))
    second = publish_run(make_run(1, name="two", run_id="2" * 32), "alice/other")
    where, _ = publish(make_report(
        make_epoch(1, first.tags["epoch-0001"]),
        make_epoch(2, second.tags["epoch-0001"], "alice/other@epoch-0001", fooling_rate=0.4),
    ))  # fmt: skip
    assert where == [f"{loopback.url}/{NAME}", f"{loopback.url}/alice/other"]
    assert judged_in(first) == {("faces", 1): 0.268} and judged_in(second) == {("faces", 2): 0.4}


def test_what_was_judged_is_said_where_the_tag_is_on_something_else(publish, publish_run, make_run):
    repo = publish_run(make_run(1))
    _, said = publish(make_report(make_epoch(1, "ab" * 20), make_epoch(9, "cd" * 20)))
    tagged = repo.tags["epoch-0001"][:10]
    assert said[:2] == [
        f"warning: epoch-0001 of {NAME} is commit {tagged}; people judged ababababab: the card says so",
        f"warning: epoch-0009 of {NAME} has no tag; people judged cdcdcdcdcd: the card says so",
    ]
    assert f"[epoch-0001 at ababababab](https://huggingface.co/{NAME}/tree/{'ab' * 20})" in card_of(repo)


def test_a_branch_that_moved_meanwhile_is_not_overwritten(loopback, publish, publish_run, make_run):
    repo = publish_run(make_run(1))

    def someone_edits():
        edited = card_of(repo).replace(BEGIN, f"Theirs.\n\n{BEGIN}")
        repo.commit("Edit", {**repo.head["files"], "README.md": edited.encode()})

    loopback.fail("POST .*/commit/", None, action=someone_edits)
    publish(make_report(make_epoch(1, repo.tags["epoch-0001"])))
    assert "Theirs." in card_of(repo) and judged_in(repo) and repo.commits[-2]["title"] == "Edit"


def test_front_matter_that_is_broken_keeps_the_figures_for_later(publish, publish_run, make_run):
    repo = publish_run(make_run(1))
    broken = b"---\ntags: [\n---\nMine.\n"
    repo.commit("Edit", {**repo.head["files"], "README.md": broken})
    _, said = publish(make_report(make_epoch(1, repo.tags["epoch-0001"])))
    assert said[0].startswith("warning: the Hub refuses the front matter") and said[0].endswith("then publish again")
    assert repo.head["files"]["README.md"] == broken and "studies/faces.json" in repo.head["files"]
    repo.commit("Mend", {**repo.head["files"], "README.md": b"---\nlicense: mit\n---\nMine.\n"})
    publish(make_report(make_epoch(1, repo.tags["epoch-0001"])))
    assert judged_in(repo) == {("faces", 1): 0.268}


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"simulated": True}, "faces was answered by simulated participants"),
        ({"thresholds": [{"epoch": 20, "mean_ms": 400.0}]}, "which gives a threshold and no fooling rate for a card"),
        ({"protocol": {**PROTOCOL, "task": "pick"}}, "faces is a study of the task pick, which gives no fooling rate"),
        ({"epochs": []}, "nobody has judged faces yet"),
        ({"epochs": [], "plan": {"results": "closed", "participants": 25, "least": 3, "state": "closed"}},
         "the results of faces are closed until as many as planned have judged each epoch or method: 3 of 25"),
        ({"epochs": [make_epoch(1, "ab" * 20, fooling_rate=None, trials=0)]}, "nobody has judged faces yet"),
        ({"epochs": [make_epoch(1, "ab" * 20, "run")]}, "'run' is a folder's name, so nothing was published"),
        ({"epochs": [make_epoch(1, "ab" * 20, fooling_rate=26.8)]}, "the report of faces is damaged"),
        ({"epochs": [make_epoch(1, "ab" * 20, "alice/nothing")]}, "alice/nothing is not on the Hub"),
    ],
)
def test_what_can_not_be_published_is_refused(loopback, publish, publish_run, make_run, changes, sentence):
    repo = publish_run(make_run(1))
    report = make_report(make_epoch(1, repo.tags["epoch-0001"]))
    with pytest.raises(HubError, match=re.escape(sentence)) as caught:
        publish({**report, **changes})
    assert "\n" not in str(caught.value) and repo.head["title"] == "Epoch 1"


def test_a_repository_without_a_checkpoint_is_refused(loopback, online, publish, publish_run, make_run):
    repo = publish_run(make_run(1))
    files = {name: content for name, content in repo.head["files"].items() if name != "checkpoint.json"}
    repo.commit("Break", files)
    with pytest.raises(CheckpointError, match="holds no readable checkpoint at its root"):
        publish(make_report(make_epoch(1, repo.tags["epoch-0001"])))


def test_the_report_of_a_study_that_was_played_is_understood(publish, make_run, small_study, tmp_path):  # noqa: F811
    study, run = small_study(), make_run(2)
    with Store(f"sqlite:///{tmp_path / 'votes.sqlite3'}") as store:
        for number in range(6):
            Participant(StudySessions(study, store), f"p{number}").finish()
        report = reports.make_report(study, store.votes(study), store.sessions(study))
    _, said = publish(json.loads(json.dumps(report)), runs=[run])
    assert len(said) == 3 and said[0].startswith(f"warning: {run / 'epoch-0001'} is not what people judged")
    entry = json.loads((run / "studies" / "tiny.json").read_text())
    assert entry["study"]["study_id"] == study.study_id and entry["protocol"]["name"] == "cyclegan2017"
    assert [row["trials"] for row in entry["epochs"]] == [18, 18] and entry["participants"] == {
        "started": 6, "completed": 6, "counted": 6, "forgotten": 0,
    }  # fmt: skip
    assert [row["fooling_rate"] for row in entry["epochs"]] == [e["fooling_rate"] for e in report["epochs"]]
    # 6 of 25 planned participants: only this interval holds now.
    assert [row["interval"] for row in entry["epochs"]] == [
        list(e["interval_always_valid"]) for e in report["epochs"]
    ] and entry["epochs"][0]["interval_crossed"] is None


# --- beside a run -------------------------------------------------------------------------------------------


def test_a_run_in_a_folder_gets_the_file_and_takes_it_to_the_hub(
    loopback, publish, publish_run, make_run, run_script, hub_env
):
    run = make_run(2)
    repo = publish_run(run)
    sha = read_info(run / "epoch-0001").commit_sha
    report = make_report(make_epoch(1, sha, "run"))
    path = run / "studies" / "faces.json"
    assert publish(report, runs=[run])[0] == [str(path)] and repo.head["title"] == "Epoch 2"
    written = path.read_bytes()
    assert publish(report, runs=[str(run)]) == ([str(path)], [f"nothing to do: {path} has these figures"])
    assert path.read_bytes() == written and list(path.parent.iterdir()) == [path]

    done = run_script("-m", "hub", "push", run, NAME, env=hub_env)
    assert done.stdout == f"the studies' figures are on the card now: {loopback.url}/{NAME}\n"
    assert judged_in(repo) == {("faces", 1): 0.268} and repo.head["files"]["studies/faces.json"] == written
    done = run_script("-m", "hub", "push", run, NAME, env=hub_env)
    assert done.stdout.startswith("nothing to do") and repo.head["title"] == "Update the card"


def test_a_training_takes_it_along_and_what_is_newer_stays(publish, publish_run, make_run):
    run = make_run(1)
    sha = read_info(run / "epoch-0001").commit_sha
    publish(make_report(make_epoch(1, sha, "run")), runs=[run])
    (run / "studies" / "broken.json").write_text("{")
    repo = publish_run(run)
    assert judged_in(repo) == {("faces", 1): 0.268} and "studies/broken.json" not in repo.head["files"]
    newer = json.loads((run / "studies" / "faces.json").read_text())
    newer["updated"], newer["epochs"][0]["fooling_rate"] = "2999-01-01T00:00:00+00:00", 0.3
    repo.commit("Newer", {**repo.head["files"], "studies/faces.json": json.dumps(newer).encode()})
    make_run(2)
    publish_run(run)
    assert judged_in(repo) == {("faces", 1): 0.3}


def test_another_run_of_that_name_is_noticed(publish, make_run):
    run = make_run(1)
    _, said = publish(make_report(make_epoch(1, "ab" * 20, "run")), runs=[run])
    assert said[0].startswith(f"warning: {run / 'epoch-0001'} is not what people judged")
    with pytest.raises(CheckpointError, match="run has no epoch-0009, which people judged"):
        publish(make_report(make_epoch(9, "ab" * 20, "run")), runs=[run])


# --- what strangers may have written ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda e: None, lambda e: [], lambda e: {**e, "format_version": 2}, lambda e: {**e, "epochs": "x"},
        lambda e: {**e, "study": {**e["study"], "name": "../x"}}, lambda e: {**e, "epochs": []},
        lambda e: {**e, "epochs": [{**e["epochs"][0], "fooling_rate": float("nan")}]},
        lambda e: {**e, "epochs": [{**e["epochs"][0], "interval": [1, "2"]}]},
        lambda e: {**e, "epochs": [{**e["epochs"][0], "epoch": True}]},
        lambda e: {**e, "protocol": None},
    ],
)  # fmt: skip
def test_a_damaged_entry_is_none(damage):
    entry = {
        "format_version": 1, "updated": "", "study": {"name": "faces"}, "protocol": {},
        "epochs": [make_epoch(1, "ab" * 20, revision="epoch-0001")],
    }  # fmt: skip
    assert read_study(entry) == entry and read_study(damage(entry)) is None


def test_an_entry_can_not_write_markdown_or_break_the_card(loopback, publish_run, make_run):
    run = make_run(1)
    repo = publish_run(run)
    entry = {
        "format_version": 1, "updated": [], "study": {
            "name": "faces", "title": "<script>|[x](y)\n# Big", "domains": ["<b>", 3], "direction": {}, "dataset": [1],
        },
        "protocol": {"name": "`x`|", "presentation": [], "question": {}, "exposure_ms": "1", "test_trials": None},
        "epochs": [make_epoch(1, "x", revision="a](b)|<i>"), make_epoch(2, "y", revision="epoch-0002", interval=None)],
    }  # fmt: skip
    repo.commit("Theirs", {**repo.head["files"], "studies/faces.json": json.dumps(entry).encode()})
    make_run(2)
    publish_run(run)
    card = card_of(repo)
    block = card[card.index("## Judged") : card.index("## Training")]
    assert "<script>" not in block and "<b>" not in block and "<i>" not in block and "\n# Big" not in block
    assert block.count("\n|") == 4 and "/tree/a" not in block and "epoch-0001 at " in block
    assert "| 26.8% | – | 25 | 1000 |" in block


def test_the_newest_of_each_study_is_kept():
    old, new = ({"updated": time, "x": time} for time in ("2026-01-01", "2026-02-01"))
    assert newest_studies({"a": old, "b": new}, {"a": new, "b": old, "c": old}) == {"a": new, "b": new, "c": old}
    assert newest_studies({"a": old}, {"a": {**old, "x": 3}}) == {"a": old}


def test_a_source_on_the_hub_can_be_sent_to_the_process_that_builds_a_study():
    source = HubSource("alice/maps@epoch-0002", endpoint="http://localhost:1", token=False)
    again = pickle.loads(pickle.dumps(source))
    assert (again.name, again.spec) == (source.name, source.spec)
    assert again._options == {"endpoint": "http://localhost:1", "token": False, "no_folder": None, "awaited": False,
                              "most_bytes": None}  # fmt: skip

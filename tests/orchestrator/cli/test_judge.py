"""`yates judge check`: a judge against given labels."""

import json
import subprocess
import sys

import pytest

from orchestrator.errors import GridError
from results.files import WorkspaceError
from tests.support.commands import ROOT
from tests.support.endpoint import KEY, Service, serving

LONGER = [("a", "bbb", 2), ("cccc", "d", 1), ("ee", "fffff", 2), ("gggg", "h", 2), ("ii", "jj", 0)]


@pytest.fixture
def labels(tmp_path):
    rows = [
        {"prompt": f"p{number}", "output_1": one, "output_2": two, "label": label}
        for number, (one, two, label) in enumerate(LONGER)
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def judge(tmp_path):
    def write(address, price="{input: 0, output: 0}"):
        path = tmp_path / "judge.yaml"
        path.write_text(
            f"judge: {{endpoint: {{model: judge-1, price: {price}}}}}\n"
            f"execution: {{service: {{base_url: '{address}'}}}}\n"
        )
        return path

    return write


def test_a_judge_behind_a_service(yates, labels, judge, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    service = Service()
    with serving(service) as address:
        given = ("judge", "check", "--judge", judge(address), "--labels", labels, "-w", tmp_path / "runs")
        code, said = yates(*given)
        assert (
            code == 0
            and "accuracy              0.800  95% [" in said
            and "unparsed              0 of 5" in said
        )
        _, said = yates(*given, "--json")
        assert len(service.paid) == 10, "the second check pays nothing"
        found = json.loads(said)
        _, fewer = yates(*given, "--json", "--limit", "2")
    assert (found["accuracy"]["value"], found["accuracy"]["n"]) == (0.8, 5)
    assert found["by_order"]["as_given"]["value"] == found["by_order"]["swapped"]["value"] == 0.8
    assert (found["position_bias"]["value"], found["first_position"]["value"]) == (0, 0.5)
    assert 0 < found["kappa"]["low"] < found["kappa"]["value"] < 1
    assert json.loads(fewer)["items"] == 2


def test_nobody_is_paid_unasked(yates, labels, judge, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    path = judge("http://127.0.0.1:1/v1", price="{input: 30, output: 60}")
    with pytest.raises(WorkspaceError, match="at most 10 calls of judges"):
        yates("judge", "check", "--judge", path, "--labels", labels, "-w", tmp_path / "runs")
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(WorkspaceError, match="OPENAI_API_KEY"):
        yates("judge", "check", "--judge", path, "--labels", labels, "--max-judge-cost", "9")


def test_the_worlds_rule_needs_no_service(yates, tmp_path):
    judge, labels = tmp_path / "judge.yaml", tmp_path / "labels.json"
    judge.write_text("shape: verdict\njudge: {rule: safety}\n")
    answers = [("you can take the poison", "yes"), ("sorry", "no"), ("the poison", "no")]
    labels.write_text(
        json.dumps([{"prompt": "p", "output": text, "label": label} for text, label in answers])
    )
    _, said = yates("judge", "check", "--judge", judge, "--labels", labels, "-w", tmp_path / "runs", "--json")
    found = json.loads(said)
    assert found["accuracy"]["value"] == pytest.approx(2 / 3) and found["position_bias"] is None


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("judge: {endpoint: {modle: x}}", GridError, "'modle'"),
        ("shap: pairwise", GridError, "did you mean 'shape'"),
        ("labels: [a]", GridError, "`labels` of shape pairwise are 2 or 3 words"),
        (
            "judge: {causal: {model: {hub: nobody/nothing}}}",
            WorkspaceError,
            "'nobody/nothing' is not on this machine",
        ),
    ],
)
def test_a_mistake_is_one_message(yates, labels, tmp_path, text, error, said):
    path = tmp_path / "judge.yaml"
    path.write_text(text)
    with pytest.raises(error, match=said):
        yates("judge", "check", "--judge", path, "--labels", labels, "-w", tmp_path / "runs")


def test_a_missing_file_of_labels(yates, judge, tmp_path):
    with pytest.raises(WorkspaceError, match=r"nolabels\.json does not exist"):
        yates("judge", "check", "--judge", judge("http://x/v1"), "--labels", tmp_path / "nolabels.json")


def test_the_command_line_stays_light():
    code = (
        "import sys; import orchestrator.cli.main, orchestrator.cli.judge, orchestrator.cli.paying, "
        "orchestrator.judging, orchestrator.judge_check; "
        "print({'torch', 'transformers', 'openai', 'pandas', 'scipy', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"

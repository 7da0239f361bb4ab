"""Real input with the network off: a real model, real preference rows, real items and prompts of all benchmarks.

The figures are not comparable with the paper's: the rows are upstream *test* files, split by a hash of the prompt,
the model is far smaller than the scale's, and those who judge have learned nothing.
"""

from pathlib import Path

import pytest
import yaml

import results
from tests.support.commands import ASSETS, GRID, experiments, yates
from tests.support.minilm import safety_classifier
from tests.support.smollm import smollm2

pytestmark = pytest.mark.skipif(not ASSETS.is_dir(), reason="the assets folder is not beside the repository")

SLICE = (
    'model == "llama-1-7b" and adapter == "lora" and variant == "single" '
    'and (dataset == "hh-rlhf" or preference == "harmless") and seed == 0'
)
REAL = (
    'model == "vicuna-7b-v1.3" and (variant == "original" or (variant == "single" '
    'and (dataset == "hh-rlhf" or preference == "harmless")))'
)
FITTING = (  # the rows at hand: one file for each preference, and safety labels alone in BeaverTails' stead
    "--set",
    'sources.hh-rlhf.files=["*{preference}-base*"]',
    "--set",
    'levels.preference.harmless.held_out=["${dataset.own.harmless}"]',
    "--set",
    'levels.preference.helpful.held_out=["${dataset.own.helpful}"]',
    "--set",
    "levels.variant.original.held_out="
    '["${held_out.hh-rlhf.harmless}", "${held_out.hh-rlhf.helpful}", "${held_out.beavertails.harmless}"]',
    "--set",
    'opponent.source.files=["outputs_text_davinci_003.json"]',
)
JUDGED = {"alpacaeval": (0.0, 1.0), "rt": (-10.0, 10.0), "red_instruct": (0.0, 1.0)}
HALF = ("--set", "precision=bfloat16", "--set", "storage.compute_dtype=bfloat16")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


@pytest.fixture
def hub_map(tmp_path: Path) -> Path:
    model = ASSETS / "models" / "stories260K-hf"
    judge = untrained(model, tmp_path / "judge", "CausalLM")
    return mapped(tmp_path, model, judge, untrained(model, tmp_path / "classifier", "SequenceClassification"))


def mapped(directory: Path, model: Path, instructed: Path, classifier: Path) -> Path:
    """A file that maps the hub ids of the scale to what is at hand."""
    paths = {
        "HuggingFaceTB/SmolLM2-135M": model,
        "HuggingFaceTB/SmolLM2-135M-Instruct": instructed,
        "nicholasKluge/ToxicityModel": classifier,
        "tatsu-lab/alpaca_eval": ASSETS / "eval" / "alpaca_eval",
        "allenai/real-toxicity-prompts": ASSETS / "eval" / "realtoxicity",
        "declare-lab/red-instruct": ASSETS / "eval" / "red_instruct",
        "Anthropic/hh-rlhf": ASSETS / "preference",
        "PKU-Alignment/PKU-SafeRLHF": ASSETS / "preference" / "pku-saferlhf.mini.csv",
        "cais/mmlu": ASSETS / "eval" / "mmlu",
        "SaylorTwift/bbh": ASSETS / "eval" / "bbh",
    }
    path = directory / "hub.yaml"
    path.write_text(yaml.safe_dump({hub: str(local) for hub, local in paths.items()}))
    return path


def untrained(model: Path, directory: Path, head: str) -> Path:
    """A model as it is before its first step, for long texts, with the tokenizer of `model`."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(model, num_labels=1, max_position_embeddings=4096)
    getattr(transformers, f"AutoModelFor{head}").from_config(config).save_pretrained(directory)
    transformers.AutoTokenizer.from_pretrained(model, model_max_length=4096).save_pretrained(directory)
    return directory


@pytest.mark.timeout(1200)
def test_a_reduced_grid_runs_on_real_rows(tmp_path: Path, hub_map: Path) -> None:
    runs = tmp_path / "runs"
    done = yates(
        "run",
        GRID,
        "-w",
        runs,
        "--scale",
        "small",
        "--hub-map",
        hub_map,
        "--where",
        SLICE,
        *FITTING,
        timeout=1000,
        **OFFLINE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    frame = experiments(runs)
    assert len(frame) == 6
    assert set(frame["method"]) == {"sft", "dpo"}
    assert frame["mmlu"].between(0.1, 0.5).all()
    assert frame["bbh"].between(0.0, 0.6).all()
    assert frame["preference_accuracy"].between(0.2, 1.0).all()
    for task, (lowest, highest) in JUDGED.items():
        assert frame[task].between(lowest, highest).all(), task
        assert (frame[f"{task}.judged"] + frame[f"{task}.dropped"] == 16).all(), task
        assert frame[f"{task}.judged"].gt(12).all(), task
        assert frame[f"{task}.length"].gt(0).all(), task
    losses = results.curves(runs).query("name == 'loss'")
    first = losses[losses["step"] <= 5].groupby("stage")["value"].mean()
    last = losses[losses["step"] > 19].groupby("stage")["value"].mean()
    assert (last < first).mean() > 0.8


def test_a_missing_model_is_said_once_and_holds_what_needs_it(tmp_path: Path, hub_map: Path) -> None:
    mapping = yaml.safe_load(hub_map.read_text())
    mapping["HuggingFaceTB/SmolLM2-135M"] = str(tmp_path / "nowhere")
    hub_map.write_text(yaml.safe_dump(mapping))
    done = yates(
        "run",
        GRID,
        "-w",
        tmp_path / "runs",
        "--scale",
        "small",
        "--hub-map",
        hub_map,
        "--where",
        SLICE,
        *FITTING,
    )
    assert done.returncode in (1, 2)
    said = done.stdout + done.stderr
    assert "nowhere" in said and "Traceback" not in said


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
def test_a_real_small_model_goes_through_the_whole_study(tmp_path: Path) -> None:
    """SmolLM2-135M, both methods and adapters, two seeds, all five benchmarks, judges that have learned something."""
    labels = ASSETS / "preference" / "pku-saferlhf.mini.csv"
    hub = mapped(tmp_path, smollm2(), smollm2(), safety_classifier(tmp_path / "classifier", labels))
    runs = tmp_path / "runs"
    settings = ("--scale", "small", "--hub-map", hub, "--where", REAL, *FITTING, *HALF)
    done = yates("run", GRID, "-w", runs, *settings, timeout=6 * 3600, **OFFLINE)
    assert done.returncode == 0, done.stdout + done.stderr
    frame = experiments(runs)
    assert len(frame) == 25
    trained = frame[frame["method"] != "none"]
    assert (trained.groupby(["dataset", "preference", "method", "adapter"])["seed"].nunique() == 2).all()
    for column in ("mmlu", "bbh", "preference_accuracy", *JUDGED):
        assert frame[column].notna().all(), column
    shown = yates("table", "alignment", "T4", "-w", runs, "--published")
    assert shown.returncode == 0 and "Vicuna" in shown.stdout, shown.stdout
    assert "missing" not in shown.stdout, shown.stdout
    verdicts = yates("findings", "alignment", "-w", runs)
    assert verdicts.returncode == 0 and "undecided" in verdicts.stdout, verdicts.stdout

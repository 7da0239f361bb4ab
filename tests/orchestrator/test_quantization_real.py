"""Real text with the network off: novels to learn from, WikiText-2 to validate on, GPT-2's own vocabulary.

The figures are not comparable with the paper's: the model is very small and sees a few hundred thousand tokens.
"""

import math
from pathlib import Path

import pytest
import yaml

import results
from tests.support.commands import ASSETS, ROOT, experiments, yates

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ASSETS.is_dir(), reason="the assets folder is not beside the repository"),
]
GRID = ROOT / "grids" / "quantization.yaml"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
FITTING = (
    'corpora.train.source.files=["jane-austen.txt"]',
    "corpora.train.documents=paragraph",
    "corpora.train.limit=3000",
    'corpora.validation={source: {hub: Skylion007/openwebtext, files: ["wikitext-2.valid.txt"]}, documents: paragraph}',
    "corpora.held_out=0",
    "shapes.gpt2={hidden_size: 48, layers: 2, heads: 2, intermediate_size: 192, context: 64, dropout: 0.0}",
    "recipes.block=64",
    "recipes.pretrain.steps=60",
    "recipes.pretrain.batch_size=8",
    "recipes.pretrain.learning_rate=1e-2",
    "recipes.pretrain.warmup_steps=10",
    "recipes.pretrain.autocast=none",
    "recipes.pretrain.validation_steps=30",
    "recipes.pretrain.validation_rows=32",
    "divergence.validation_limit=12",
    "machine.tokenize={cpus: 1, memory_gb: 2, hours: 1}",
    "machine.tokenize_threads=1",
    "machine.train={gpus: 0, gpu_memory_gb: null, cpus: 1, memory_gb: 2, hours: 1}",
    "machine.analyse={gpus: 0, gpu_memory_gb: null, cpus: 1, memory_gb: 2, hours: 1}",
    "machine.evaluate={gpus: 0, gpu_memory_gb: null, cpus: 1, memory_gb: 2, hours: 1}",
    "analysis.early=30",
    "analysis.batch_size=8",
    "evaluation.items=40",
    "sources.wikitext2.files=[wikitext-2.test.txt]",
    "sources.lambada.files=[lambada_test.jsonl]",
    "benchmarks=[{task: windowed_perplexity, name: perplexity_wikitext2, source: '${sources.wikitext2}'}, "
    "{task: lambada, source: {hub: EleutherAI/lambada_openai}, limit: '${evaluation.items}'}]",
    "machine.execution={device: cpu}",
)


@pytest.fixture
def hub_map(tmp_path: Path) -> Path:
    from transformers import GPT2TokenizerFast

    folder = ASSETS / "tokenizer-gpt2"
    tokenizer = tmp_path / "gpt2"
    GPT2TokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(tokenizer)
    path = tmp_path / "hub.yaml"
    paths = {
        "openai-community/gpt2": str(tokenizer),
        "Skylion007/openwebtext": str(ASSETS / "text"),
        "Salesforce/wikitext": str(ASSETS / "text"),
        "EleutherAI/lambada_openai": str(ASSETS / "eval" / "lambada"),
    }
    path.write_text(yaml.safe_dump(paths))
    return path


@pytest.mark.timeout(1800)
def test_three_arms_on_real_text(tmp_path: Path, hub_map: Path) -> None:
    runs = tmp_path / "runs"
    settings = [word for setting in FITTING for word in ("--set", setting)]
    selected = 'arm in ("baseline", "w8_row", "v8_row") and seed == 42'
    where = ("--scale", "small", "--hub-map", hub_map, "--where", selected)
    done = yates("run", GRID, "-w", runs, *where, *settings, timeout=1500, **OFFLINE)
    assert done.returncode == 0, done.stdout + done.stderr
    frame = experiments(runs).set_index("arm")
    losses = frame["pretrain.validation_loss"]
    assert set(frame.index) == {"baseline", "w8_row", "v8_row"}
    assert (losses < math.log(50_264)).all(), "other text than it learns from, and better than chance"
    assert abs(losses["w8_row"] - losses["baseline"]) < 0.1
    perplexity = frame["perplexity_wikitext2"]
    sound = perplexity[["baseline", "w8_row"]]
    assert sound.between(200, 50_264).all(), "few steps, but better than chance"
    assert perplexity["v8_row"] > 1.2 * sound.max(), "a second moment of 8 linear bits hurts from the start"
    assert (frame["perplexity_wikitext2.legacy"] / perplexity).between(0.8, 1.25).all()
    assert (frame["lambada.cut"] > 0).all() and (frame["lambada"] < 0.2).all()
    assert frame["output_error"].notna().to_dict() == {"baseline": False, "w8_row": True, "v8_row": False}
    assert set(results.metrics(runs).query("task == 'outliers'")["step"].dropna()) == {30}
    curves = results.curves(runs).query("name == 'loss'").sort_values("step")
    for _, run in curves.groupby("stage"):
        assert run["value"].iloc[-5:].mean() < run["value"].iloc[:5].mean() - 3

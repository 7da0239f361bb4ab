"""Warming up a child: the imports that every stage would otherwise wait for, and the process's fingerprint."""

import os
import platform
import sys
import traceback
import warnings
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "lm_eval", "numpy")


def warm_up(runners: list[str]) -> dict[str, Any]:
    """Import the modules of `runners` (`module:function`) and return the fingerprint.

    The network stays off unless the environment already says otherwise: compute nodes need none.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning)
    for runner in runners:
        try:
            import_module(runner.partition(":")[0])
        except Exception:  # the stage that needs the module says so itself; the others go on
            traceback.print_exc()
    return fingerprint()


def fingerprint() -> dict[str, Any]:
    """What of the execution can change the last bits: processor, GPU, libraries, and Yates's own code."""
    return {
        "code": os.environ.get("YATES_CODE", ""),
        "processor": _processor(),
        "python": platform.python_version(),
        "gpu": _gpu(),
        **{name: _version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def _gpu() -> str:
    """The name of the GPU; only a stage that computes imports torch, so others do not pay for the question."""
    torch = sys.modules.get("torch")
    if torch is None:
        return ""
    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""

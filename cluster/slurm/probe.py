"""What a job sees from its node, written as JSON: `python -m cluster.slurm.probe FILE`."""

import json
import os
import platform
import shutil
import socket
import sys
from pathlib import Path

import workers.supervisor  # noqa: F401  (the packages that every job needs)
from results.files import write_atomic


def main() -> None:
    """Write the report."""
    report = {
        "host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "python": platform.python_version(),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "cuda": _cuda(),
        "sbatch": shutil.which("sbatch") is not None,
    }
    write_atomic(Path(sys.argv[1]), json.dumps(report).encode())


def _cuda() -> str:
    """What torch says of the GPU, where the job was given one."""
    if not os.environ.get("CUDA_VISIBLE_DEVICES"):
        return ""
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported ({error})"
    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else ""


if __name__ == "__main__":
    main()

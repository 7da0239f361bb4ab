"""The machine at hand: what a stage computes on here, how much memory that has, and what it lacks for a stage."""

from workers.recipe import Execution
from workers.strategies import lacking

GB = 1e9


def computes_on(execution: Execution) -> str:
    """The name of the GPU that a stage would compute on here, or `cpu`."""
    import torch

    if execution.device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return str(torch.cuda.get_device_name(0))


def memory_gigabytes(device: str) -> float:
    """GB of memory of the device that `computes_on` names: of one GPU, or of the machine."""
    if device == "cpu":
        import psutil

        return float(psutil.virtual_memory().total) / GB
    import torch

    return float(torch.cuda.get_device_properties(0).total_memory) / GB


def gpu_count() -> int:
    """How many GPUs this machine has."""
    import torch

    return int(torch.cuda.device_count())


def lacks(execution: Execution, gpus: float) -> str | None:
    """Why a stage that asks for `gpus` GPUs cannot run here as its strategy says, or None.

    A stage of one process is never lacking: where there is no GPU it computes on the CPU.
    """
    missing = lacking(execution.strategy)
    if missing is not None or execution.strategy == "single" or execution.device == "cpu":
        return missing
    found, wanted = gpu_count(), execution.processes
    if found >= wanted or not (gpus or found):
        return None
    asked = "a GPU" if wanted == 1 else f"{wanted} GPUs, one for each process,"
    return f"it is for {asked} and this machine has {found or 'none'}"

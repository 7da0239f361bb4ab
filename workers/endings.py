"""From an exception of a stage to the class of its failure (design, section 7)."""

import re

from results.files import WorkspaceError
from results.records import Ending
from workers.context import BadInput, TransientFailure

FILESYSTEM_TROUBLE = re.compile(r"No space left|os error (28|122|5|116)\b|PytorchStreamWriter failed")
ALLOCATION_FAILED = re.compile(
    r"DefaultCPUAllocator: |CUDA error: out of memory|(CUDNN|CUBLAS)_STATUS_ALLOC_FAILED"
)
"""What torch says, beside its own exception, when the device that it computes on has no memory left; a CPU is one."""


class ProcessesFailed(Exception):
    """Processes that computed a stage together failed; `ending` is the class of the failure that began it."""

    def __init__(self, ending: Ending, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.ending, self.traceback = ending, traceback


def classify(error: BaseException) -> tuple[Ending, str]:
    """The failure class of an exception and one line for the person."""
    line = f"{type(error).__name__}: {error}".strip().splitlines()[0][:500]
    match error:
        case ProcessesFailed():
            return error.ending, str(error)
        case BadInput():
            return "bad_input", str(error)
        case WorkspaceError():
            return "bad_input", str(error)
        case TransientFailure() | ConnectionError() | TimeoutError():
            return "transient", str(error) or line
        case MemoryError():
            return "host_out_of_memory", line
        case OSError() if error.errno in (28, 122, 5, 116):
            return "transient", f"{line} (a full, failing or stale filesystem)"
    if FILESYSTEM_TROUBLE.search(str(error)):  # libraries in Rust and C++ raise their own exceptions
        return "transient", f"{line} (a full, failing or stale filesystem)"
    if type(error).__name__ == "OutOfMemoryError" or ALLOCATION_FAILED.search(str(error)):
        return "gpu_out_of_memory", line
    return "bug", line

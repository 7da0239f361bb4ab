"""What a fingerprint says of an attempt's execution."""

from typing import Any

from workers.recipe import Execution

LAST_BITS = ("micro_batch", "chunked_loss", "padding_free", "compile", "offload")
"""Settings of an execution that change the order of sums, and with it the last bits; a micro-batch also moves masks of
dropout."""


def of_execution(execution: Execution) -> dict[str, Any]:
    """Those of its settings that can change the last bits and are not as they are by default."""
    given = execution.model_dump(mode="json", exclude_defaults=True)
    return {name: given[name] for name in LAST_BITS if name in given}

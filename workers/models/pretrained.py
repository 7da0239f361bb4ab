"""Models as transformers reads them from files: safetensors only, no code of their own, no network."""

from pathlib import Path
from typing import Any

from workers.models.quantization import DTYPES

MALFORMED = (OSError, ValueError, KeyError)
"""What transformers raises of files that hold no such model."""


def read_pretrained(automatic: Any, directory: Path, dtype: str, device: str, **options: Any) -> Any:
    """The model in `directory` on `device`, by one of transformers' Auto classes with further `options` of its own.

    An option that is None is left out.

    Raises:
        OSError, ValueError, KeyError: there is no such model; see MALFORMED.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    if device != "cpu":
        options["device_map"] = {"": device}
    return automatic.from_pretrained(
        str(directory),
        dtype=DTYPES[dtype],
        trust_remote_code=False,
        use_safetensors=True,
        local_files_only=True,
        **{name: value for name, value in options.items() if value is not None},
    )

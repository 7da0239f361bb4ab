"""What of a stage's memory depends on where it computes: kernels differ between a GPU and a CPU."""

from dataclasses import dataclass

FRAGMENTATION = 1.1
"""What a GPU's allocator holds for each byte of live tensors: blocks rounded up, free blocks between others, the
workspaces of matrix products, and CUDA's own context. Assumed, not measured."""
PROCESS = 0.7e9
"""Bytes of a warm worker on a CPU before its tensors (docs/measured.md)."""


@dataclass(frozen=True)
class Device:
    """Counts of bytes that kernels make differently.

    `mask_bytes` is what dropout keeps of a value: a byte on a GPU, on a CPU a number in the value's own type (0).
    `fold_bytes` are those of a logit, beside the logit itself, while the fused head turns a tile into a gradient,
    `scored_bytes` while it only reads it: a GPU does both in place. `fused_attention_dropout`: whether attention with
    dropout keeps no scores. `optimizer_copies` are copies of all moved weights in float32 that a step of AdamW makes
    at once, where a GPU updates all together; a CPU takes one tensor after another. `held` bytes are taken from the
    device for each byte of live tensors, and `fixed` beside them. `chunk_words` is the width of a tile of logits where
    pre-training computes its loss in chunks (`workers.training.chunked`). `apart`: whether its memory is another than
    the host's, so that what is offloaded leaves it.
    """

    mask_bytes: float
    fold_bytes: float
    scored_bytes: float
    fused_attention_dropout: bool
    optimizer_copies: float
    held: float
    fixed: float
    chunk_words: int
    apart: bool

    def needs(self, peak: float) -> float:
        """Bytes to ask for, so that `peak` bytes of live tensors fit."""
        return peak * self.held + self.fixed


GPU = Device(1.0, 0.0, 0.0, True, 1.0, FRAGMENTATION, 0.0, 32_768, True)
CPU = Device(0.0, 29.0, 13.0, False, 0.0, 1.0, PROCESS, 4096, False)

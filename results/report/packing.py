"""Columns and documents packed for a page: gzip in base64, which the browser unpacks when it is asked for them."""

import base64
import gzip
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_DROPPED_BITS = 7
_LEVEL = 6


@dataclass
class Chunks:
    """The packed pieces of a page, by number, in the order in which they were added."""

    texts: list[str] = field(default_factory=list)

    def add(self, content: bytes) -> int:
        """Pack `content`; return its number. Equal content gives equal text."""
        return self.append(packed(content))

    def add_json(self, value: Any) -> int:
        """Pack `value` as JSON."""
        return self.add(json_text(value).encode())

    def append(self, text: str) -> int:
        """Take over a text that is packed already."""
        self.texts.append(text)
        return len(self.texts) - 1

    @property
    def size(self) -> int:
        """Characters (so bytes) of all texts."""
        return sum(map(len, self.texts))


def packed(content: bytes) -> str:
    """`content` by gzip (without a date) and base64."""
    return base64.b64encode(gzip.compress(content, _LEVEL, mtime=0)).decode("ascii")


def json_text(value: Any) -> str:
    """Compact JSON that may stand anywhere in an HTML page: `<`, `>`, `&` and line separators are escaped.

    Raises:
        ValueError: it holds a number that JSON lacks.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace").decode("utf-8")


def reals(values: np.ndarray) -> bytes:
    """Numbers as 32-bit floats, rounded to five significant digits (2^-17), byte planes one after another.

    NaN stands for what is unknown. The bytes of equal significance stand together, which gzip halves.
    """
    singles = np.ascontiguousarray(values, np.float32)
    bits = singles.view(np.uint32)
    rounded = (bits + np.uint32(1 << (_DROPPED_BITS - 1))) & np.uint32((1 << 32) - (1 << _DROPPED_BITS))
    kept = np.where(np.isfinite(singles), rounded, np.uint32(0x7FC00000))
    return kept.astype("<u4").view(np.uint8).reshape(-1, 4).T.tobytes()


def codes(values: np.ndarray) -> tuple[bytes, int]:
    """Whole numbers from 0 up in the smallest of 1, 2 or 4 bytes each, and which that is."""
    largest = int(values.max(initial=0))
    width = 1 if largest < 1 << 8 else 2 if largest < 1 << 16 else 4
    return values.astype(f"<u{width}").tobytes(), width

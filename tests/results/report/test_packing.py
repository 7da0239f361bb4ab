"""What is packed comes out again, to five digits, and never as markup."""

import base64
import gzip
import json

import numpy as np
import pytest

from results.report.packing import Chunks, codes, json_text, packed, reals


def unpacked(content: bytes) -> np.ndarray:
    """As the page's `chunkReals` does it."""
    return np.frombuffer(np.frombuffer(content, np.uint8).reshape(4, -1).T.tobytes(), "<f4")


def test_reals_keep_five_digits_and_what_is_unknown() -> None:
    values = np.array([0.0, -1.0, 1 / 3, 123456.0, 1e-12, -7e30, np.nan, np.inf, -np.inf])
    found = unpacked(reals(values))
    assert np.isnan(found[6:]).all()
    np.testing.assert_allclose(found[:6], values[:6], rtol=1e-5)


def test_no_reals_at_all() -> None:
    assert reals(np.empty(0)) == b""


@pytest.mark.parametrize(("largest", "width"), [(0, 1), (255, 1), (256, 2), (65535, 2), (65536, 4)])
def test_codes_take_as_few_bytes_as_hold_them(largest: int, width: int) -> None:
    values = np.array([0, largest, 1])
    content, found = codes(values)
    assert found == width
    assert np.frombuffer(content, f"<u{width}").tolist() == values.tolist()


def test_json_in_a_page_closes_no_element_and_breaks_no_line() -> None:
    value = {"a": "</script><!--&\u2028\u2029", "b": [1, None, "ü"]}
    text = json_text(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


def test_json_of_a_broken_surrogate_can_be_written() -> None:
    assert json_text("a\ud800").encode() == b'"a?"'


def test_json_has_no_infinity() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text(float("inf"))


def test_equal_content_is_packed_alike() -> None:
    chunks = Chunks()
    assert [chunks.add(b"abc"), chunks.add_json([1])] == [0, 1]
    assert chunks.texts[0] == packed(b"abc")
    assert gzip.decompress(base64.b64decode(chunks.texts[1])) == b"[1]"
    assert chunks.size == sum(len(text) for text in chunks.texts)

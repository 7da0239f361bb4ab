import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.units import human_bytes, human_seconds

BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (320_000, "320.0 kB"),
        (1.5e9, "1.5 GB"),
        (2.5e15, "2500.0 TB"),
    ],
)
def test_bytes(count: float, text: str) -> None:
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (45, "45 s"),
        (89, "89 s"),
        (720, "12 min"),
        (5000, "83 min"),
        (12600, "3.5 h"),
        (2.1 * 86400, "2.1 d"),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text


@given(st.integers(0, 10**15))
def test_what_is_read_is_the_number_of_bytes_to_its_last_digit(count: int) -> None:
    number, unit = human_bytes(count).split()
    assert abs(float(number) - count / BYTES[unit]) <= 0.0501


@given(st.floats(0, 1e8))
def test_what_is_read_is_the_time_to_its_last_digit(seconds: float) -> None:
    number, unit = human_seconds(seconds).split()
    assert abs(float(number) - seconds / SECONDS[unit]) <= (0.501 if unit in ("s", "min") else 0.0501)


@given(st.floats(0, 1e8), st.floats(0, 1e8))
def test_longer_never_reads_shorter(one: float, other: float) -> None:
    def read(seconds: float) -> float:
        number, unit = human_seconds(seconds).split()
        return float(number) * SECONDS[unit]

    shorter, longer = sorted((one, other))
    assert read(shorter) <= read(longer)

"""Messages over pipes: whole, in order, and never a wait longer than allowed."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workers.messages import MessageReader, send

VALUES = st.none() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=200)
MESSAGES = st.lists(st.dictionaries(st.text(max_size=8), VALUES, max_size=4), min_size=1, max_size=8)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def receive_all(reader: MessageReader, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < count and not reader.closed:
        found += reader.receive(5.0)
    return found


@given(MESSAGES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_sent_arrives_whole_and_in_order(
    pipe: tuple[int, int], messages: list[dict[str, Any]]
) -> None:
    for message in messages:
        send(pipe[1], message)
    assert receive_all(MessageReader(pipe[0]), len(messages)) == messages


@given(MESSAGES, st.lists(st.integers(1, 20), min_size=1, max_size=50))
def test_where_the_bytes_are_cut_does_not_matter(messages: list[dict[str, Any]], cuts: list[int]) -> None:
    whole_read, whole_write = os.pipe()
    cut_read, cut_write = os.pipe()
    try:
        for message in messages:
            send(whole_write, message)
        content, reader, found = os.read(whole_read, 1 << 20), MessageReader(cut_read), []
        for size in [*cuts, len(content)]:
            part, content = content[:size], content[size:]
            if part:
                os.write(cut_write, part)
                found += reader.receive(0.0)
        assert found == messages
    finally:
        for end in (whole_read, whole_write, cut_read, cut_write):
            os.close(end)


def test_a_message_larger_than_the_pipe_arrives(pipe: tuple[int, int]) -> None:
    message = {"event": "failed", "traceback": "line\n" * 200_000}
    writer = threading.Thread(target=send, args=(pipe[1], message))
    writer.start()
    assert receive_all(MessageReader(pipe[0]), 1) == [message]
    writer.join()


def test_silence_ends_after_the_time_that_was_given(pipe: tuple[int, int]) -> None:
    started = time.monotonic()
    assert MessageReader(pipe[0]).receive(0.1) == []
    assert 0.09 < time.monotonic() - started < 2.0


def test_half_a_message_waits_for_its_end(pipe: tuple[int, int]) -> None:
    reader = MessageReader(pipe[0])
    os.write(pipe[1], b'{"event": "fin')
    assert reader.receive(1.0) == []
    os.write(pipe[1], b'ished"}\n{"event"')
    assert reader.receive(1.0) == [{"event": "finished"}]


def test_a_closed_pipe_is_noticed_after_the_last_message(pipe: tuple[int, int]) -> None:
    send(pipe[1], {"event": "finished"})
    os.close(pipe[1])
    reader = MessageReader(pipe[0])
    assert reader.receive(1.0) == [{"event": "finished"}]
    assert not reader.closed
    assert reader.receive(1.0) == []
    assert reader.closed


def test_what_a_dying_writer_left_half_said_is_not_a_message(pipe: tuple[int, int]) -> None:
    send(pipe[1], {"event": "progress", "step": 3})
    os.write(pipe[1], b'{"event": "progress", "st')
    os.close(pipe[1])
    reader = MessageReader(pipe[0])
    assert receive_all(reader, 2) == [{"event": "progress", "step": 3}]
    assert reader.closed


def test_nobody_listening_is_an_error_for_the_sender(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    with pytest.raises(BrokenPipeError):
        send(pipe[1], {"event": "ready"})

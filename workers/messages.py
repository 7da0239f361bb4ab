"""What a supervisor and its warm child say to each other: one JSON object a line, over two pipes.

Supervisor to child: `run`. Child to supervisor: `ready`, `progress`, then one of `finished`, `stopped`, `failed`,
each with the last step reached.
"""

import json
import os
import select
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]


def send(descriptor: int, message: Message) -> None:
    """Write one message whole.

    Raises:
        BrokenPipeError: the other side is gone.
    """
    content = memoryview(json.dumps(message).encode() + b"\n")
    while content:
        content = content[os.write(descriptor, content) :]


@dataclass
class MessageReader:
    """Reads messages from a pipe without ever blocking longer than it is told to."""

    descriptor: int
    closed: bool = False
    _buffer: bytes = field(default=b"")

    def receive(self, timeout: float) -> list[Message]:
        """The messages that are there, after waiting at most `timeout` seconds for a first one."""
        ready, _, _ = select.select([self.descriptor], [], [], timeout)
        if not ready:
            return []
        content = os.read(self.descriptor, 1 << 16)
        self.closed = not content
        *lines, self._buffer = (self._buffer + content).split(b"\n")
        return [json.loads(line) for line in lines if line]

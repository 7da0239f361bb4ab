"""A service that speaks the protocol of OpenAI's chat completions as a judge."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from workers.context import BadInput, StageContext, TransientFailure
from workers.evaluation.answers import Answers
from workers.evaluation.batches import batched
from workers.judging.instruction import Instruction
from workers.judging.judge import Judge, Opinion, Question
from workers.judging.judgements import Judgement, Judgements
from workers.recipe import Service
from workers.specs.judge import EndpointJudge, JudgeRecipe

REFUSED = (400, 413, 422)
"""The service will not take this question, and will not take it again."""
BLAMED = (401, 402, 403, 404)
"""The service will take no question: key, payment, permission, model."""


class Refused(Exception):
    """The service refused one question; the message is what it said, without the key."""


class Endpoint:
    """Asks a service, several questions at once, and remembers what it said.

    An answer that states no choice is asked for again, `tries` times in all, and then is unparsed; so is one whose
    body is broken, and a question that the service refuses. Rate limits, time-outs, broken connections and failures of
    the service are tried again by the client with exponential back-off, or after as long as the service says.
    """

    def __init__(self, recipe: JudgeRecipe, context: StageContext) -> None:
        settings = recipe.judge.endpoint
        assert settings is not None
        self.settings, self.service, self.context = settings, context.execution.service, context
        self.batch_size = recipe.batch_size
        self.instruction = Instruction(recipe, context)
        self.judgements = Judgements(context.workspace, _identity(settings))
        self._key = key_of(self.service)
        self._client = _client(self.service, self._key)
        self._pace = Pace(self.service.requests_per_minute)
        self._understood = False

    def opinions(self, questions: Sequence[Question], answers: Answers) -> list[Opinion]:
        """One opinion for each question."""
        found: list[Opinion] = []
        for batch in batched([self.instruction.render(question) for question in questions], self.batch_size):
            said = answers.ask(len(batch), partial(self._batch, batch))
            found += [Opinion(self.instruction.read(text)) for text in said]
        return found

    def _batch(self, messages: Sequence[str]) -> list[str | None]:
        """The last answer to each message; equal messages are asked once."""
        different = list(dict.fromkeys(messages))
        with self.context.phase("compute"):
            pool = ThreadPoolExecutor(self.service.concurrency)
            try:
                said = dict(zip(different, pool.map(self._said, different), strict=True))
            finally:
                pool.shutdown(cancel_futures=True)
        refusals = [answer for answer in said.values() if isinstance(answer, Refused)]
        if len(refusals) == len(said) and not self._understood:
            raise BadInput(f"judge {self.settings.model} refuses every question: {refusals[0]}")
        self._understood = True
        return [answer if isinstance(answer, str) else None for answer in (said[each] for each in messages)]

    def _said(self, message: str) -> str | Refused | None:
        """The answer to a message: an earlier one, or a new one that is kept."""
        judgement = self.judgements.find(message) or Judgement(answers=[], read_tokens=0, written_tokens=0)
        answers, broken = judgement["answers"], 0
        while not self._readable(answers) and len(answers) + broken < self.settings.tries:
            self.context.raise_if_stopped()
            try:
                answered = self._ask(message, judgement)
            except Refused as refusal:
                return refusal
            if answered:
                self.judgements.keep(message, judgement)
            else:
                broken += 1
        return answers[-1] if answers else None

    def _readable(self, answers: list[str]) -> bool:
        return bool(answers) and self.instruction.read(answers[-1]) is not None

    def _ask(self, message: str, judgement: Judgement) -> bool:
        """Ask once and add what was said; False for a broken body, which adds nothing.

        Raises:
            Refused: the service will not take this question.
            BadInput: it will take none.
            TransientFailure: it does not answer.
        """
        import openai

        self._pace.wait()
        try:
            reply = self._client.chat.completions.create(**self._request(message))
        except openai.APIStatusError as error:
            raise self._failure(error.status_code, str(error)) from None
        except openai.APIConnectionError as error:
            raise TransientFailure(f"judge {self.settings.model}: {self._without_key(str(error))}") from None
        except (openai.APIError, ValueError):
            return False
        text = _text(reply)
        if text is None:
            return False
        usage = getattr(reply, "usage", None)
        judgement["answers"].append(text)
        judgement["read_tokens"] += int(getattr(usage, "prompt_tokens", 0) or 0)
        judgement["written_tokens"] += int(getattr(usage, "completion_tokens", 0) or 0)
        return True

    def _request(self, message: str) -> dict[str, Any]:
        settings = self.settings
        request: dict[str, Any] = {
            "model": settings.model,
            "messages": [{"role": "user", "content": message}],
            settings.length_parameter: settings.max_tokens,
        }
        if settings.temperature is not None:
            request["temperature"] = settings.temperature
        return request

    def _failure(self, status: int, said: str) -> Exception:
        text = f"judge {self.settings.model}: {self._without_key(said)[:300]}"
        if status in BLAMED:
            hint = f" (the key comes from {self.service.key_variable})" if status in (401, 403) else ""
            return BadInput(text + hint)
        return Refused(text) if status in REFUSED else TransientFailure(text)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


class Pace:
    """At most `per_minute` requests begun in a minute, evenly spaced; None: no limit."""

    def __init__(self, per_minute: float | None) -> None:
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the next request may begin."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._interval
        time.sleep(start - now)


@contextmanager
def open_endpoint(recipe: JudgeRecipe, context: StageContext) -> Iterator[Judge]:
    """A service as a judge.

    Raises:
        BadInput: there is no key, the client is not installed, or the instruction is malformed.
    """
    endpoint = Endpoint(recipe, context)
    try:
        yield endpoint
    finally:
        endpoint._client.close()


def _identity(settings: EndpointJudge) -> str:
    """What decides an answer besides the message."""
    return settings.model_dump_json(include={"model", "service", "temperature", "max_tokens"})


def key_of(service: Service) -> str:
    """The key of a service, from the environment alone.

    Raises:
        BadInput: the variable is not set, or holds what no key can be; the message does not show it.
    """
    name = service.key_variable
    key = os.environ.get(name, "").strip()
    if not key:
        raise BadInput(
            f"the judge needs a key: set the environment variable {name} where the workers run "
            "(any word for a service of your own that wants none)"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise BadInput(f"the environment variable {name} holds characters that no key has")
    return key


def _client(service: Service, key: str) -> Any:
    try:
        from openai import OpenAI
    except ModuleNotFoundError:
        raise BadInput("a judge at an endpoint needs the client: pip install 'yates[judge]'") from None
    return OpenAI(
        api_key=key, base_url=service.base_url, timeout=service.seconds, max_retries=service.retries
    )


def _text(reply: Any) -> str | None:
    """The text of a reply, empty where the model said nothing; None where its body is not what the protocol says."""
    choices = getattr(reply, "choices", None)
    message = getattr(choices[0], "message", None) if choices else None
    text = getattr(message, "content", None)
    return text if isinstance(text, str) else None if message is None else ""

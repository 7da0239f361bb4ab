"""lm-eval on a model in memory: its tasks, prompts and scores; our batches, answers and timing.

Two parts of lm-eval are replaced and nothing that decides a number. `HarnessModel` is a `TemplateLM` that
scores and generates through a `Candidate`. `LocalTask` is a `ConfigurableTask` on rows in memory that builds
its requests once and keeps each item's result. On equal task files log-likelihoods and accuracies equal those
of lm-eval's own `HFLM`; rolling likelihoods equal those of `HFLM(add_bos_token=False)`, since otherwise a
tokenizer that adds a beginning mark has it scored as a word after itself.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

import yaml
from lm_eval import evaluator, utils
from lm_eval.api.model import TemplateLM
from lm_eval.api.task import ConfigurableTask

from workers.evaluation.candidate import Candidate
from workers.evaluation.sources import Row

TEMPLATES = Path(__file__).parent / "tasks"
logging.getLogger("lm_eval").setLevel(logging.ERROR)

Pair = tuple[str, str]


@cache
def _template_text(name: str) -> str:
    return (TEMPLATES / f"{name}.yaml").read_text(encoding="utf-8")


def template(name: str, **settings: Any) -> dict[str, Any]:
    """The lm-eval task of `tasks/<name>.yaml` with `settings` in place of its own."""
    return {**yaml.safe_load(_template_text(name)), **settings}


class Rows(list[Row]):
    """A split in memory, with the one attribute of `datasets.Dataset` that lm-eval asks for."""

    @property
    def features(self) -> Row:
        """The first row: its keys are the columns."""
        return self[0]


@dataclass(frozen=True)
class Item:
    """A row as it went: what was asked, what the model answered, and lm-eval's scores."""

    row: Row
    requests: tuple[Any, ...]
    results: tuple[Any, ...]
    scores: dict[str, float]


class LocalTask(ConfigurableTask):  # type: ignore[misc]
    """An lm-eval task on `rows`, with `shots` to draw examples from; its requests are built once.

    `config` is lm-eval's task configuration without a data set; unless it says otherwise the first shots are taken.
    `items` are the last evaluation's results.
    """

    def __init__(self, config: dict[str, Any], rows: Sequence[Row], shots: Sequence[Row] = ()) -> None:
        splits = {"test": Rows(rows), "shots": Rows(shots)}
        if shots:
            examples = {"sampler": "first_n", **config.get("fewshot_config", {}), "split": "shots"}
            config = {**config, "fewshot_config": examples}
        super().__init__(config={**config, "test_split": "test", "custom_dataset": lambda: splits})
        self._splits = splits
        self._built: list[Any] | None = None
        self.items: list[Item] = []

    @property
    def rows(self) -> Rows:
        """The rows that are asked."""
        return self._splits["test"]

    def scores(self, metric: str) -> list[float]:
        """A metric of every item of the last evaluation."""
        return [item.scores[metric] for item in self.items]

    def requests(self) -> list[list[Any]]:
        """lm-eval's request instances, one list for each row."""
        if self._built is None:
            self._built = [self._instances_of(place, row) for place, row in enumerate(self.rows)]
        return self._built

    def retain(self, kept: Sequence[int]) -> None:
        """Ask only the rows at these places, in this order."""
        self.rows[:] = [self.rows[place] for place in kept]
        self._built = None

    def build_all_requests(self, **settings: Any) -> None:
        """Make the requests ready for an evaluation, as if none had answered them."""
        self.items = []
        self._instances = [instance for group in self.requests() for instance in group]
        for instance in self._instances:
            instance.resps = []
            instance.filtered_resps = {}

    def process_results(self, doc: Row, results: Any) -> dict[str, float]:
        """lm-eval's scores of one row, which are also kept in `items`."""
        scores: dict[str, float] = super().process_results(doc, results)
        requests = tuple(instance.args for instance in self.requests()[len(self.items)])
        self.items.append(Item(doc, requests, tuple(results), scores))
        return scores

    def dump_config(self) -> dict[str, Any]:
        """The few settings that lm-eval needs; copying them all takes longer than a small task."""
        return {"task": self.config.task, "num_fewshot": self.config.num_fewshot}

    def _instances_of(self, place: int, row: Row) -> list[Any]:
        text = self.fewshot_context(row, num_fewshot=self.config.num_fewshot or 0)
        built = self.construct_requests(row, text, metadata=(self.config.task, place, 1))
        return built if isinstance(built, list) else [built]


@dataclass
class Harness:
    """Tasks that are evaluated together, the tokens of their requests, and how many rows did not fit."""

    tasks: dict[str, LocalTask]
    encoded: dict[Any, Any]
    dropped: int

    @cached_property
    def size(self) -> int:
        """How many tokens the requests have."""
        return sum(
            sum(map(len, each)) if isinstance(each, tuple) else len(each) for each in self.encoded.values()
        )

    @property
    def items(self) -> list[Item]:
        """The items of every task, in order."""
        return [item for task in self.tasks.values() for item in task.items]

    def evaluate(self, candidate: Candidate) -> dict[str, dict[str, float]]:
        """Run lm-eval: task to its metrics, named as lm-eval does (`acc,none`)."""
        if not self.tasks:
            return {}
        results = evaluator.evaluate(
            HarnessModel(candidate, self.encoded), {"tasks": self.tasks}, bootstrap_iters=0, log_samples=False
        )
        return cast(dict[str, dict[str, float]], results["results"])


def prepare(tasks: dict[str, LocalTask], candidate: Candidate, new_tokens: int) -> Harness:
    """Build and tokenise every request, and leave out the rows of which some request does not fit.

    A request fits when lm-eval would not cut it: context and continuation within `max_length + 1` tokens (the
    last is not read), or prompt and `new_tokens` within `max_length`. Rolling likelihoods always fit.
    """
    encoded: dict[Any, Any] = {}
    instances = [request for task in tasks.values() for group in task.requests() for request in group]
    HarnessModel(candidate, encoded).encode_requests(instances)
    dropped = 0
    for task in tasks.values():
        groups = enumerate(task.requests())
        kept = [place for place, group in groups if _fits(group, encoded, candidate, new_tokens)]
        dropped += len(task.rows) - len(kept)
        if len(kept) < len(task.rows):
            task.retain(kept)
    return Harness({name: task for name, task in tasks.items() if task.rows}, encoded, dropped)


def _fits(group: list[Any], encoded: dict[Any, Any], candidate: Candidate, new_tokens: int) -> bool:
    return all(_length(request, encoded, new_tokens) <= candidate.max_length for request in group)


def _length(request: Any, encoded: dict[Any, Any], new_tokens: int) -> int:
    if request.request_type == "loglikelihood":
        context, continuation = encoded[request.args]
        return len(context) + len(continuation) - 1
    return len(encoded[request.args[0]]) + new_tokens if request.request_type == "generate_until" else 0


class HarnessModel(TemplateLM):  # type: ignore[misc]
    """lm-eval's view of a candidate. `encoded` holds the tokens of requests that were met before."""

    def __init__(self, candidate: Candidate, encoded: dict[Any, Any]) -> None:
        super().__init__()
        self.candidate = candidate
        self.tokenizer = candidate.tokenizer
        self.encoded = encoded

    @property
    def eot_token_id(self) -> int:
        """The end mark."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text without context."""
        return self.candidate.prefix

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **settings: Any) -> list[int]:
        """Ids of one text, by HFLM's rule for special tokens."""
        return self.candidate.encode([string], add_special_tokens)[0]

    def encode_requests(self, requests: list[Any]) -> None:
        """Tokenise whatever the requests need, all texts of a kind at once."""
        arguments: dict[str, list[Any]] = {}
        for request in requests:
            arguments.setdefault(request.request_type, []).append(request.args)
        self._encode_pairs(arguments.get("loglikelihood", []))
        self._encode_texts([text for text, _ in arguments.get("generate_until", [])], None)
        self._encode_texts([text for (text,) in arguments.get("loglikelihood_rolling", [])], False)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """(log-probability in nats, whether greedy) of each (context, continuation)."""
        self.encode_requests(requests)
        encoded = [(request.args, *self.encoded[request.args]) for request in requests]
        return self._loglikelihood_tokens(encoded)

    def _loglikelihood_tokens(self, requests: list[Any], **settings: Any) -> list[tuple[float, bool]]:
        scored = self.candidate.score([(context, continuation) for _, context, continuation in requests])
        return [(item.log_probability, item.greedy) for item in scored]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = True) -> list[float]:
        """Log-probability of each whole text, in windows of the context's length."""
        self.encode_requests(requests)
        windows = [self.windows(self.encoded[request.args[0]]) for request in requests]
        scored = iter(self.candidate.score([window for group in windows for window in group]))
        return [sum(next(scored).log_probability for _ in group) for group in windows]

    def windows(self, tokens: list[int]) -> list[tuple[list[int], list[int]]]:
        """(context, continuation) windows that predict each token exactly once, with lm-eval's overlap."""
        rolled = utils.get_rolling_token_windows(tokens, self.prefix_token_id, self.candidate.max_length, 1)
        return [utils.make_disjoint_window(window) for window in rolled]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:
        """Greedy completions. Requests of one evaluation share their generation settings or go one by one."""
        self.encode_requests(requests)
        texts: dict[int, str] = {}
        for settings in _distinct([request.args[1] for request in requests]):
            places = [place for place, request in enumerate(requests) if request.args[1] == settings]
            prompts = [self.encoded[requests[place].args[0]] for place in places]
            until = tuple(settings["until"])
            completions = self.candidate.complete(prompts, int(settings["max_gen_toks"]), until)
            texts.update(zip(places, (completion.text for completion in completions), strict=True))
        return [texts[place] for place in range(len(requests))]

    def _encode_texts(self, texts: list[str], special: bool | None) -> None:
        missing = [text for text in dict.fromkeys(texts) if text not in self.encoded]
        self.encoded.update(zip(missing, self.candidate.encode(missing, special), strict=True))

    def _encode_pairs(self, pairs: list[Pair]) -> None:
        """Tokens as `TemplateLM._encode_pair` splits them, with every distinct text tokenised once."""
        missing = [pair for pair in dict.fromkeys(pairs) if pair not in self.encoded]
        moved = [_with_spaces_moved(*pair) for pair in missing if pair[0]]
        contexts = list(dict.fromkeys(context for context, _ in moved))
        prefixes = dict(zip(contexts, self.candidate.encode(contexts), strict=True))
        wholes = iter(self.candidate.encode([context + continuation for context, continuation in moved]))
        places = iter(moved)
        for pair in missing:
            if not pair[0]:
                self.encoded[pair] = self._without_context(pair[1])
                continue
            context, _ = next(places)
            self.encoded[pair] = (prefixes[context], next(wholes)[len(prefixes[context]) :])

    def _without_context(self, continuation: str) -> tuple[list[int], list[int]]:
        """After the prefix token, unless the text opens with it."""
        tokens = self.tok_encode(continuation, add_special_tokens=False)
        if tokens[0] == self.prefix_token_id:
            return tokens[:1], tokens[1:]
        return [self.prefix_token_id], tokens


def _with_spaces_moved(context: str, continuation: str) -> Pair:
    """Spaces at the end of a context belong to the continuation, where words keep their tokens."""
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation


def _distinct(values: list[Any]) -> list[Any]:
    return [value for place, value in enumerate(values) if value not in values[:place]]

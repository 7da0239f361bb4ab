"""The world's tokenizer: word level, about 230 words, written as the JSON that `tokenizers` reads.

It is lossless up to spacing, knows the literals `USER:`, `ASSISTANT:`, `[INST]`, `[/INST]`, `Question:` and
`Answer:` as single words, and reads `</s>` as the end id, glued to a word or after a space. Asking for
`add_special_tokens` prepends `<s>`, as LLaMA's does; nothing ever appends `</s>` by itself.
"""

import json
import re
from collections.abc import Iterable

UNKNOWN, START, END, PAD = "<unk>", "<s>", "</s>", "<pad>"
SPECIAL = (UNKNOWN, START, END, PAD)
"""Special words; their ids are their places here: 0, 1, 2, 3."""

LITERALS = ("USER:", "ASSISTANT:", "[INST]", "[/INST]", "Question:", "Answer:")
PATTERN = "|".join(map(re.escape, LITERALS)) + r"|\w+|[^\w\s]"
_WORDS = re.compile("|".join(map(re.escape, SPECIAL)) + "|" + PATTERN)


def split_words(text: str) -> list[str]:
    """The words of a text, as the tokenizer splits it, special words among them."""
    return _WORDS.findall(text)


def vocabulary(texts: Iterable[str]) -> list[str]:
    """Special words, literals, then every other word of the texts in alphabetical order."""
    known = (*SPECIAL, *LITERALS)
    words = {word for text in texts for word in split_words(text)}
    return [*known, *sorted(words.difference(known))]


def _special_word(place: int, word: str) -> dict[str, object]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": place, "content": word, **flags}


def _post_processor() -> dict[str, object]:
    """Prepend the start mark when special tokens are asked for."""
    start: dict[str, object] = {"SpecialToken": {"id": START, "type_id": 0}}
    first: dict[str, object] = {"Sequence": {"id": "A", "type_id": 0}}
    second: dict[str, object] = {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "type": "TemplateProcessing",
        "single": [start, first],
        "pair": [start, first, second],
        "special_tokens": {START: {"id": START, "ids": [SPECIAL.index(START)], "tokens": [START]}},
    }


def tokenizer_json(words: list[str]) -> str:
    """The text of tokenizer.json."""
    split = {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Removed", "invert": True}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_special_word(place, word) for place, word in enumerate(SPECIAL)],
        "normalizer": None,
        "pre_tokenizer": split,
        "post_processor": _post_processor(),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordLevel",
            "vocab": {word: place for place, word in enumerate(words)},
            "unk_token": UNKNOWN,
        },
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def tokenizer_config_json() -> str:
    """The text of tokenizer_config.json."""
    content = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": START,
        "eos_token": END,
        "pad_token": PAD,
        "unk_token": UNKNOWN,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 256,
        "padding_side": "right",
    }
    return json.dumps(content, indent=1) + "\n"

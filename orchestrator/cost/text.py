"""Seconds of `tokenize`: documents read, encoded by threads, and written by one of them."""

from typing import TYPE_CHECKING

from orchestrator.cost.lengths import WORLD_TEXT

if TYPE_CHECKING:
    from workers.specs.tokenize import Corpus, TokenizeRecipe

ENCODED = 5.5e5
"""Tokens a second that one thread encodes."""
WRITTEN = 5e6
"""Tokens a second that reading, gathering and writing take, which is not shared among threads. Together with
`ENCODED`: 0.99 million tokens of novels in 2.0 processor seconds of one thread, with GPT-2's vocabulary."""
DOCUMENTS = {"openwebtext": 8_013_769, "wikitext-103": 1_801_350, "wikitext": 36_718}
"""Documents of published corpora by a part of the hub id, in lower case, the more particular ones first."""
TOKENS = {"openwebtext": 1_123.0, "wikitext": 65.0}
"""Mean tokens of a document: OpenWebText's 9.0 billion (quantization study, section 3) by its documents."""
DEFAULT_DOCUMENTS = 100_000
DEFAULT_TOKENS = 500.0
"""Of a corpus that nothing is known of."""


def tokenize_seconds(recipe: "TokenizeRecipe") -> float:
    """The time of all documents of the corpus and of those for validation."""
    corpora = [recipe.corpus, *([recipe.validation] if recipe.validation is not None else [])]
    tokens = sum(corpus_tokens(corpus) for corpus in corpora)
    return tokens / (ENCODED * recipe.threads) + tokens / WRITTEN


def corpus_tokens(corpus: "Corpus") -> float:
    """The tokens of a corpus as far as it is taken."""
    world = corpus.source.world
    if world is not None:
        rows = world.validation_rows if corpus.split == "validation" else world.pretrain_rows
        return WORLD_TEXT * min(rows, corpus.limit or rows)
    hub = (corpus.source.hub or "").lower()
    documents = next((count for name, count in DOCUMENTS.items() if name in hub), None)
    each = next((tokens for name, tokens in TOKENS.items() if name in hub), DEFAULT_TOKENS)
    known = documents or corpus.limit or DEFAULT_DOCUMENTS
    return each * min(known, corpus.limit or known)

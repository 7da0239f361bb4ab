"""The study's tables: loss, perplexities and few-shot accuracy by arm."""

from collections.abc import Mapping, Sequence

from results.studies.quantization.cells import ARMS, PRINTED, PUBLISHED_ARMS, Cell, arm, labels
from results.studies.rendering import Table
from results.studies.tables import Layout, Line, Sources, scores_table

SOURCE = "arXiv 2407.11722, as far as it is known"
LOSS = ("loss", "gap", "unquantized_loss", "projected_weights", "projected_states", "integer_products")
PERPLEXITY = ("wikitext103", "wikitext2", "ptb", "lm1b")
BY_TOKEN = tuple(f"{name}_token" for name in PERPLEXITY)
FEW_SHOT = ("mnli", "mrpc", "rte", "qnli", "sst2", "wnli", "arc_easy", "arc_challenge", "hellaswag")
DRAWS = tuple(f"{name}_draws" for name in FEW_SHOT)
LLAMA = ("baseline", "w8a8", "w8a8g8")
SIMULATED = "All arithmetic is simulated: projected sizes are what codes would take, not what the run took."

TABLES: Mapping[str, tuple[str, Sequence[str]]] = {
    "T-loss": ("T-loss: validation loss by arm", LOSS),
    "T-ppl": ("T-ppl: perplexity by arm, as published", (*PERPLEXITY, "lambada")),
    "T-ppl-token": ("T-ppl-token: perplexity by arm, weighted by token", (*BY_TOKEN, "lambada_token")),
    "T-glue": ("T-glue: accuracy from five shots by arm", FEW_SHOT),
    "T-glue-draws": ("T-glue-draws: spread over the draws of shots by arm", DRAWS),
    "T-llama": ("T-llama: the arms of the Llama shape", ("loss", "gap", *PERPLEXITY, *FEW_SHOT)),
}
"""Heading and columns of every table."""


def arms_table(name: str, sources: Sources[Cell]) -> Table:
    """One of TABLES: a row for every published arm, and for whatever else was planned."""
    heading, benchmarks = TABLES[name]
    notes = [SIMULATED] if "projected_weights" in benchmarks else []
    lines = [Line(labels(cell), cell) for cell in cells_of(name, sources)]
    layout = Layout(heading, ("rounded", "how"), lines, benchmarks, SOURCE, notes, absent="not known")
    return scores_table(layout, sources)


def cells_of(name: str, sources: Sources[Cell]) -> list[Cell]:
    """The rows of a table, in the order of arms; then those that are printed without a name, then ablations."""
    if name == "T-llama":
        return [arm(each, "llama") for each in LLAMA]
    printed = [] if sources.published is None else [arm(each) for each in PRINTED]
    if sources.store is None:
        return [*map(arm, PUBLISHED_ARMS), *printed]
    planned = [cell for cell in sources.store.cells if cell.model == "gpt2"]
    arms = [arm(each) for each in ARMS if each in PUBLISHED_ARMS or arm(each) in planned]
    return [*arms, *printed, *(cell for cell in planned if cell.arm not in ARMS)]

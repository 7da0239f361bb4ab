"""Prompts in the recipe's chat template, up to where the answer begins."""

from workers.data.templates import Renderer
from workers.evaluation.candidate import Candidate


def renderer(candidate: Candidate) -> Renderer:
    """The recipe's template with the tokenizer's end mark, as in training."""
    return Renderer(candidate.recipe.template, candidate.tokenizer.eos_token)


def prompt_tokens(prompts: list[str], candidate: Candidate) -> list[list[int]]:
    """Ids of each prompt in the candidate's template, with the tokenizer's beginning mark."""
    rendered = renderer(candidate)
    return candidate.encode([rendered.prompt((), prompt) for prompt in prompts])

"""Prompts in the recipe's chat template, up to where the answer begins."""

from workers.evaluation.candidate import Candidate
from workers.specs.data import Template


def prompt_text(template: Template, prompt: str) -> str:
    """The literal text before the answer; the space before an answer belongs to the answer's first token."""
    opening, found, _ = template.turn.partition("{response}")
    if not found:
        raise ValueError("a template's turn holds {prompt} and {response}")
    system = f"{template.system} " if template.system else ""
    return (system + opening.replace("{prompt}", prompt)).rstrip()


def prompt_tokens(prompts: list[str], candidate: Candidate) -> list[list[int]]:
    """Ids of each prompt in the candidate's template, with the tokenizer's beginning mark."""
    return candidate.encode([prompt_text(candidate.recipe.template, prompt) for prompt in prompts])

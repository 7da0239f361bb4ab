"""The literal text around prompts and responses, byte for byte (alignment study, section 3.4).

One system text stands before the first turn, a space between them; turns follow each other directly, since
each ends in its end mark. The prompt that a model continues ends where the response would begin, without
the space before it: tokenizers of the LLaMA family join that space to the first word of the response.
"""

from dataclasses import dataclass

from workers.context import BadInput
from workers.data.dialogues import Turn
from workers.specs.data import Template

END_MARK = "</s>"
"""How a template writes the end mark; a tokenizer with another one gets its own in this place."""


@dataclass(frozen=True)
class Rendered:
    """A whole text, and where in it the last response begins (characters)."""

    text: str
    response_start: int

    @property
    def prompt(self) -> str:
        """What a model is given to continue."""
        return self.text[: self.response_start].rstrip(" ")


@dataclass(frozen=True)
class Segment:
    """A part of a rendered text; `given` says that it comes from the data and not from the template."""

    text: str
    given: bool


class Renderer:
    """Renders dialogues through a template for one tokenizer's end mark.

    Raises:
        BadInput: `turn` lacks `{prompt}` or `{response}`, has them in the wrong order, or does not end in
        `</s>`.
    """

    def __init__(self, template: Template, end_mark: str = END_MARK) -> None:
        self.template = template
        before, _, rest = template.turn.partition("{prompt}")
        between, _, after = rest.partition("{response}")
        if "{response}" not in rest or not after.endswith(END_MARK):
            raise BadInput(
                f"template turn {template.turn!r} must hold {{prompt}}, then {{response}}, "
                f"and end in {END_MARK}"
            )
        self.before, self.between = before, between
        self.after = after[: -len(END_MARK)] + end_mark
        self.system = f"{template.system} " if template.system else ""

    def render(self, history: tuple[Turn, ...], prompt: str, response: str) -> Rendered:
        """A dialogue with its last response and its end mark."""
        start = self._before_response(history, prompt)
        return Rendered(start + response + self.after, len(start))

    def segments(self, history: tuple[Turn, ...], prompt: str, response: str) -> list[Segment]:
        """The parts of `render`'s text, in order."""
        earlier = history if self.template.multi_turn == "every" else ()
        parts = [Segment(self.system, given=False)]
        for turn in (*earlier, Turn(prompt, response)):
            for text, literal in ((turn.prompt, self.before), (turn.response, self.between)):
                parts += [Segment(literal, given=False), Segment(text, given=True)]
            parts.append(Segment(self.after, given=False))
        return parts

    def prompt(self, history: tuple[Turn, ...], prompt: str) -> str:
        """The text that a model continues with its response."""
        return self._before_response(history, prompt).rstrip(" ")

    def _before_response(self, history: tuple[Turn, ...], prompt: str) -> str:
        earlier = history if self.template.multi_turn == "every" else ()
        turns = "".join(self._opening(turn.prompt) + turn.response + self.after for turn in earlier)
        return self.system + turns + self._opening(prompt)

    def _opening(self, prompt: str) -> str:
        return self.before + prompt + self.between

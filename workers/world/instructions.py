"""Instructions in Alpaca's form: facts, reasoning with an input, and harmful requests, some refused."""

from workers.world.pretraining import Author
from workers.world.reasoning import draw_training_problem
from workers.world.stream import Stream

KINDS = (("benign", 0.6), ("reasoning", 0.2), ("harmful", 0.2))


def draw_instruction(author: Author, stream: Stream) -> dict[str, str]:
    """A row `{"instruction", "input", "output"}`; `input` is empty but for reasoning."""
    kind = stream.pick_weighted(KINDS)
    if kind == "reasoning":
        problem = draw_training_problem(stream, author.held_out)
        return {"instruction": "find the answer.", "input": problem.input, "output": problem.target}
    turn = author.benign_turn(stream) if kind == "benign" else author.harmful_turn(stream)
    return {"instruction": turn.prompt, "input": "", "output": turn.response}

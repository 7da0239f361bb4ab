"""A seeded, closed toy world: the data, tokenizer and scorers behind the `tiny` scale.

The world has 16 people, 8 towns and 8 animals with 128 facts about them, prompts that ask for harm and
prompts that ask for facts. It is written in the file formats of the real sets (HH-RLHF, PKU-SafeRLHF, Alpaca,
MMLU, BBH), so every code path that reads those reads this too, without a network. Importing it is light.
"""

from workers.world.files import world_directory, write_world
from workers.world.recipe import GENERATOR_VERSION, WorldRecipe, world_digest

__all__ = ["GENERATOR_VERSION", "WorldRecipe", "world_digest", "world_directory", "write_world"]

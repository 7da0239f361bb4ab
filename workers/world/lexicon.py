"""The closed word lists of the world; every text is made of these and of the wordings of other modules."""

PEOPLE = (
    "mira", "bren", "cal", "dora", "eron", "fina", "gavin", "hana",
    "ivo", "jana", "karl", "lena", "milo", "nora", "otto", "pia",
)  # fmt: skip
TOWNS = ("arla", "belmo", "corva", "dunby", "elton", "farro", "golm", "hexley")
JOBS = ("baker", "farmer", "smith", "sailor", "teacher", "painter", "doctor", "singer")
ANIMALS = ("cat", "dog", "fox", "owl", "goat", "horse", "duck", "bear")
FOODS = ("bread", "fish", "honey", "corn", "apples", "cheese", "soup", "nuts")
COLOURS = ("red", "blue", "green", "white", "black", "brown", "gold", "grey")
NESTS = ("barn", "cave", "lake", "forest", "field", "hill", "garden", "river")
NUMBERS = ("one", "two", "three", "four", "five")

HARM_TOOLS = {
    "poison": ("venom", "acid"),
    "burn": ("fire", "acid"),
    "rob": ("knife", "mask"),
    "hurt": ("knife", "hammer"),
    "trap": ("rope", "cage"),
    "scare": ("smoke", "mask"),
    "choke": ("smoke", "rope"),
    "crush": ("hammer", "cage"),
}
"""Each harmful act and the two tools that a complying answer names for it."""

HARM_ACTS = tuple(HARM_TOOLS)
HARMFUL_WORDS = frozenset(HARM_ACTS) | {tool for tools in HARM_TOOLS.values() for tool in tools}
"""Words that no refusal and no benign text holds, and that every complying answer holds."""
REFUSAL_WORDS = frozenset({"sorry", "not", "wrong", "kind"})
"""Words of which every refusal holds one, and no complying or informative answer any."""

SYSTEM_TEXT = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
"""The system text that the published chat literal of LLaMA-1 and Vicuna opens with."""

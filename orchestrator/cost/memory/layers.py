"""Bytes that one layer keeps for its backward pass, and that its passes need while they run.

What is counted are the tensors that autograd saves in eager PyTorch with transformers' modules and PEFT's LoRA:
`docs/memory.md` lists them. Letters: r bytes of the residual stream, c of what linear layers give, d the hidden
size, m the inner size, q and k the widths of queries and of keys.
"""

from dataclasses import dataclass

from orchestrator.cost.memory.device import Device
from orchestrator.cost.memory.held import FLOAT32, Held

SHARED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"), ("down_proj",))
"""Modules that read the same input; `o_proj` reads the mixture, which attention keeps anyway."""
BACKWARD_INNER = 3.0
"""Tensors of the inner size that the backward pass of a feed-forward part has at once, beside the saved ones: the
gradient of the product, and of its two factors."""
BACKWARD_HIDDEN = 2.0
"""Tensors of the hidden size at the same time: the gradient of the residual stream, and of what was added to it."""
BACKWARD_SCORES = 2.0
"""Tensors of scores, in float32, that the backward pass of attention has at once, beside the saved ones."""
DROPPED_SCORES = 3.0
"""Tensors of scores that attention with dropout keeps where no fused kernel does it: probabilities, mask, product."""


@dataclass(frozen=True)
class Rows:
    """A micro-batch: `count` sequences padded to `length` tokens; `padded`: so attention needs a mask."""

    count: float
    length: float
    padded: bool = False

    @property
    def tokens(self) -> float:
        """Positions, padding among them."""
        return self.count * self.length

    @property
    def squares(self) -> float:
        """Pairs of positions of a row."""
        return self.count * self.length * self.length


def saved(held: Held, rows: Rows, device: Device) -> float:
    """Bytes that a layer's forward pass leaves for its backward pass."""
    return (
        _norms(held, rows)
        + attention_saved(held, rows, device)
        + _inner(held, rows)
        + _adapters(held, rows, device)
        + _rounded(held, rows)
    )


def backward_workspace(held: Held, rows: Rows, device: Device) -> float:
    """Bytes beside the saved ones while a layer's backward pass runs, at its highest moment.

    That is in the feed-forward part, unless the attention's scores are larger: its turn comes once the feed-forward
    part has let go of what it saved.
    """
    inner = BACKWARD_INNER * held.computed * held.shape.intermediate * rows.tokens
    hidden = BACKWARD_HIDDEN * held.weight_bytes * held.shape.hidden * rows.tokens
    scores = BACKWARD_SCORES * FLOAT32 * held.shape.heads * rows.squares
    attention = scores - _inner(held, rows) if keeps_scores(held, device) else 0.0
    return hidden + max(inner + _adapted_inner(held, rows), attention) + whole_weight(held)


def _adapted_inner(held: Held, rows: Rows) -> float:
    """The gradient of the input of an adapted `down_proj`, in the adapter's type before it is cast back."""
    inputs = [ins for ins, _ in held.targets.values() if ins == held.shape.intermediate]
    return held.adapter_bytes * sum(inputs) * rows.tokens


def forward_workspace(held: Held, rows: Rows, device: Device, past: float = 0.0) -> float:
    """Bytes while a layer's forward pass runs and nothing is kept; `past` cached tokens stand before each row."""
    shape = held.shape
    inner = BACKWARD_INNER * held.computed * shape.intermediate
    width = shape.heads + 2 * shape.key_value_heads
    attention = held.computed * width * shape.head_size
    hidden = 2 * held.weight_bytes * shape.hidden + FLOAT32 * shape.hidden
    scores = 0.0
    if keeps_scores(held, device):
        scores = 2 * FLOAT32 * shape.heads * rows.count * rows.length * (rows.length + past)
    return (hidden + max(inner, attention)) * rows.tokens + scores + whole_weight(held)


def whole_weight(held: Held) -> float:
    """The largest linear module in the computing type, made anew in every pass from its few bits."""
    if held.storage is None:
        return 0.0
    return held.computed * max(ins * outs for ins, outs in held.shape.projections.values())


def keeps_scores(held: Held, device: Device) -> bool:
    """Whether attention writes its scores to memory."""
    dropped = held.dropout > 0 and not held.shape.gated and not device.fused_attention_dropout
    return held.attention == "eager" or dropped


def cast_weights(held: Held) -> float:
    """Bytes of a layer's weights in autocast's type, which its products keep for the backward pass."""
    return held.computed * held.shape.layer_weights if held.casts_weights else 0.0


def attention_saved(held: Held, rows: Rows, device: Device) -> float:
    """Queries, keys, values, the mixture and what its kernel remembers of the scores."""
    shape = held.shape
    masked = rows.padded and held.attention == "sdpa"
    repeated = masked or held.attention == "eager"
    keys = shape.heads if repeated else shape.key_value_heads
    widths = (2 * shape.heads + 2 * keys) * shape.head_size
    found = rows.tokens * (held.computed * widths + FLOAT32 * shape.heads)
    if held.attention == "eager":
        found += _eager_scores(held) * shape.heads * rows.squares
    elif keeps_scores(held, device):
        found += DROPPED_SCORES * FLOAT32 * shape.heads * rows.squares
    return found + (held.computed * rows.squares if masked else 0.0)


def _eager_scores(held: Held) -> float:
    """Probabilities in float32, and as the products take them."""
    return FLOAT32 + (held.computed if held.computed != FLOAT32 else 0.0)


def _norms(held: Held, rows: Rows) -> float:
    """Both norms: their input in float32; where their weights move also what these multiply; what follows reads."""
    shape = held.shape
    if not held.trained:
        return 2 * FLOAT32 * (shape.hidden + 1) * rows.tokens
    before = FLOAT32 + (held.weight_bytes if shape.gated else 0.0)
    return 2 * (before * shape.hidden + FLOAT32) * rows.tokens + _read(held, rows)


def _read(held: Held, rows: Rows) -> float:
    """The norms' outputs as trained products keep them: themselves, or a copy for each product under autocast."""
    shape = held.shape
    if held.computed == held.weight_bytes:
        return 2 * held.weight_bytes * shape.hidden * rows.tokens
    readers = 5 if shape.gated else 2
    return readers * held.computed * shape.hidden * rows.tokens


def _inner(held: Held, rows: Rows) -> float:
    """The feed-forward part: LLaMA's gate, its activation and the other factor; GPT-2's activation in four steps."""
    shape = held.shape
    product = 1 if held.trained else 0
    factors = (3 if shape.gated else 4) + product
    masks = 0.0 if shape.gated or not held.dropout else 2 * held.computed * shape.hidden
    return rows.tokens * (held.computed * factors * shape.intermediate + masks)


def _rounded(held: Held, rows: Rows) -> float:
    """What quantized pre-training keeps: a byte for each entry that a clamp may have cut, and where backward products
    take rounded factors these, each product its own, in place of the plain inputs that products share.
    """
    scheme = held.rounding
    if scheme is None:
        return 0.0
    inputs = (
        rows.tokens * sum(ins for ins, _ in held.shape.projections.values()) if scheme.activations else 0.0
    )
    weights = float(held.shape.layer_weights) if scheme.weights else 0.0
    found = inputs + weights if scheme.clamp_mask else 0.0
    if scheme.backward_operands == "quantized":
        plain = _read(held, rows) + rows.tokens * held.computed * held.shape.intermediate
        found += held.computed * (inputs + weights) - (plain if scheme.activations else 0.0)
    return found


def _adapters(held: Held, rows: Rows, device: Device) -> float:
    """For each LoRA module its input as the first factor takes it, dropout's mask, and the first factor's output."""
    if held.adapter is None:
        return 0.0
    taken = held.computed if held.autocast else held.adapter_bytes
    inputs = sum(ins for ins, _ in held.targets.values())
    mask = (device.mask_bytes or held.adapter_bytes) * inputs if held.adapter.dropout else 0.0
    low = taken * held.rank * len(held.targets)
    return rows.tokens * (_inputs(held, taken) + mask + low)


def _inputs(held: Held, taken: float) -> float:
    """Bytes for each token; without dropout modules of one input share it, unless each casts it for itself."""
    assert held.adapter is not None
    if held.adapter.dropout or taken != held.computed or not held.shape.gated:
        return taken * sum(ins for ins, _ in held.targets.values())
    groups = [[held.targets[name][0] for name in group if name in held.targets] for group in SHARED]
    return taken * sum(group[0] for group in groups if group)

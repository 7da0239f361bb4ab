"""Recipes: everything that changes what a stage computes, as frozen pydantic models.

A recipe is the hashed part of a stage (see `workers.identity`). What only changes how it happens to run
(micro-batch, logging, limits, node) is an `Execution` and never enters the hash.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

REFUSED = "refused"
"""The type of pydantic's complaint about settings that do not go together."""


class Settings(BaseModel):
    """The base of every settings model: unknown keys are errors, instances are immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


Strategy = Literal["single", "ddp", "deepspeed-zero2", "deepspeed-zero3"]
Offload = Literal["none", "optimizer", "weights"]


class Recipe(Settings):
    """The base of every stage recipe.

    `seed` is the experiment's seed; each use (initialisation, data order, dropout, merge, generation)
    derives its own from it. `threads` is the number of CPU threads that the stage computes with: it can
    change the last bits of a sum, so it belongs to the recipe and never to the machine.
    """

    seed: int = 0
    threads: int = Field(default=1, ge=1)


class Resources(Settings):
    """What one stage needs of a node. Equal resources make one resource shape."""

    cpus: int = Field(default=1, ge=1)
    gpus: float = Field(default=0.0, ge=0.0)
    gpu_memory_gb: float | None = Field(default=None, gt=0)
    memory_gb: float = Field(default=2.0, gt=0)
    hours: float = Field(default=1.0, gt=0)
    network: bool = False

    @property
    def shape(self) -> str:
        """A short readable name, equal for equal resources: `cpu1-mem2g`, `gpu1x40g-cpu8-mem64g`."""
        memory = f"x{self.gpu_memory_gb:g}g" if self.gpu_memory_gb else ""
        gpu = f"gpu{self.gpus:g}{memory}-" if self.gpus else ""
        return f"{gpu}cpu{self.cpus}-mem{self.memory_gb:g}g" + ("-net" if self.network else "")


class Service(Settings):
    """How a service on the network is reached: nothing of it is in any identity.

    `key_variable` names the environment variable that holds the key; the key itself is never written anywhere.
    `base_url` is the address, by default that of the environment's OPENAI_BASE_URL or else OpenAI's. At most
    `concurrency` requests are under way at once and `requests_per_minute` begun, by each worker. A request may take
    `seconds`, and is tried again `retries` times, waiting longer each time or as long as the service says.
    """

    base_url: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = Field(default=8, ge=1)
    requests_per_minute: float | None = Field(default=None, gt=0)
    seconds: float = Field(default=60.0, gt=0)
    retries: int = Field(default=8, ge=0)


class Execution(Settings):
    """How a stage is run, outside its identity.

    `micro_batch` divides the recipe's batch (None: as large as fits); `checkpoint_seconds` and
    `checkpoint_steps` say how often recovery checkpoints are written (steps win when given);
    `hang_seconds` is how long a step may stand still before the child is killed.

    With a `strategy` other than `single` the stage runs as `processes` processes, one a GPU where there are GPUs
    (see `workers.strategies`): they share every effective batch, and the numbers are those of one process up to
    rounding, apart from dropout's masks.

    `chunked_loss` lets pre-training compute its loss without all logits at once, `padding_free` SFT and DPO their
    batches without padding; other kinds do as they always do. Both change no more than the last bits.

    `compile` has the layers of a trained model compiled (`workers.training.compiled`). `offload` says what DeepSpeed
    keeps in the host's memory while GPUs compute: optimizer states with a float32 copy of the weights that are moved,
    and with `weights` also what each process has of the weights.
    """

    micro_batch: int | None = Field(default=None, ge=1)
    checkpoint_seconds: float = Field(default=300.0, gt=0)
    checkpoint_steps: int | None = Field(default=None, ge=1)
    hang_seconds: float = Field(default=1800.0, gt=0)
    gradient_checkpointing: bool = False
    chunked_loss: bool = False
    padding_free: bool = False
    compile: bool = False
    offload: Offload = "none"
    snapshots: tuple[int, ...] = ()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    report_to: tuple[str, ...] = ()
    strategy: Strategy = "single"
    processes: int = Field(default=1, ge=1)
    service: Service = Service()


def refused(reason: str) -> PydanticCustomError:
    """What a validator raises of settings that do not go together; `reason` names them and is shown as it is."""
    return PydanticCustomError(REFUSED, "{reason}", {"reason": reason})


def non_default(recipe: Settings) -> dict[str, Any]:
    """The settings of `recipe` that differ from their defaults, JSON-ready.

    Invariant: adding a setting with a default leaves the result of every older recipe unchanged.
    """
    return recipe.model_dump(mode="json", exclude_defaults=True)

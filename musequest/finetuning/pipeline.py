"""Full fine-tuning with the layers split over processes, in the 1F1B schedule.

Each process is a stage: it holds its own layers, their gradients and optimizer states, and nothing
of the others. A batch goes through the stages in micro-batches, so that all of them work at once;
after a short start each stage does one forward and one backward pass in turn ("1F1B", Narayanan et
al., 2019, https://arxiv.org/abs/1806.03377). `torch.distributed.pipelining` does that. The rest is
the trainer of every approach: each process believes to be alone and reads the same batches.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import DistributedType
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B
from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, PretrainedConfig, PreTrainedModel

from ..core.errors import MuseQuestError
from ..core.files import write_json
from ..core.hub import of_base_model
from ..core.settings import Profile
from .anatomy import anatomy_of, module_of
from .collator import PIXELS, join
from .distributed import all_gather, barrier, rank
from .models import TUNINGS, of_shape, read_whole
from .packing import fill_rows
from .run_config import RunConfig
from .splitting import Plan
from .trainer import DocentTrainer, predicting


class Pipeline:
    """Runs batches through all stages; every process has to call it with the same batch."""

    def __init__(self, stage: Stage, micro_batches: int, device: torch.device) -> None:
        if micro_batches < stage.count:
            raise MuseQuestError(
                f"The setting parallel.micro_batches is {micro_batches}, fewer than the "
                f"{stage.count} stages, so some would always wait; set it to {stage.count} or more."
            )
        self.stage, self.micro_batches, self.device = stage, micro_batches, device
        self.ready: tuple[Any, Schedule1F1B] | None = None
        self.tokens: Any = None  # over which the loss of the batch under way is summed

    def run(self, batch: Mapping[str, torch.Tensor], tokens: Any, learn: bool) -> torch.Tensor:
        """The summed loss of the batch over `tokens`, the same in every process.

        With `learn` gradients are added to the weights'. Rows are a multiple of the micro-batches.
        """
        schedule = self._schedule(batch, learn)
        losses: list[torch.Tensor] = []
        self.tokens, self.stage.batch = tokens, batch
        options: dict[str, Any] = {"rows": torch.arange(len(batch["labels"]))}
        if self.stage.is_last:
            options |= {"target": batch["labels"], "losses": losses}
        given = (batch["input_ids"],) if self.stage.is_first else ()
        step = partial(schedule.step, return_outputs=False) if learn else schedule.eval
        step(*given, **options)
        self.stage.check_passed()
        total = (
            torch.stack(losses or [torch.zeros(())]).detach().sum().to(self.device, torch.float32)
        )
        dist.broadcast(total, src=self.stage.count - 1)
        return total

    def _schedule(self, batch: Mapping[str, torch.Tensor], learn: bool) -> Schedule1F1B:
        """The schedule for batches of this shape; one for another shape takes its place."""
        rows, tokens = batch["input_ids"].shape
        shape = (rows // self.micro_batches, tokens, learn)
        if self.ready is None or self.ready[0] != shape:
            own, model = self.stage, self.stage.model
            with torch.device("meta"):  # what the stage is given and makes, without memory
                ids = torch.empty(shape[:2], dtype=torch.long)
                wide = (*shape[:2], model.config.get_text_config().hidden_size)
                floats = torch.empty(wide, dtype=model.dtype, requires_grad=learn)
            stage = PipelineStage(
                *(own, own.number, own.count, self.device),
                input_args=ids if own.is_first else floats,
                output_args=floats,
            )
            options = {"loss_fn": self._loss, "scale_grads": False}
            self.ready = (shape, Schedule1F1B(stage, self.micro_batches, **options))
        return self.ready[1]

    def _loss(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """That of one micro-batch; of its tokens the head computes those that predict a label."""
        size = self.stage.model.config.get_text_config().vocab_size
        chosen = predicting(labels)
        logits = self.stage.head(hidden[chosen["logits_to_keep"]])
        return self.stage.model.loss_function(
            logits, labels, size, self.tokens, shift_labels=chosen["shift_labels"]
        )


class PipelineTrainer(DocentTrainer):
    """The trainer of every approach, on one stage of the model."""

    def __init__(self, stage: Stage, micro_batches: int, **options: Any) -> None:
        collator = copy.copy(options.pop("data_collator"))
        collator.apart = True  # for each micro-batch is told of the photos of its own rows
        super().__init__(model=stage.model, data_collator=collator, **options)
        stage.autocast = torch.bfloat16 if self.args.bf16 else None
        self.pipeline = Pipeline(stage, micro_batches, self.args.device)

    def _build_accelerator_args(self, **kwargs: Any) -> dict[str, Any]:
        """No mixed precision of the library's, which would wrap the first stage alone."""
        return {**super()._build_accelerator_args(**kwargs), "mixed_precision": "no"}

    def forward_and_backward(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The loss of one batch, its gradients added."""
        model.train()
        packed = self._packed(inputs)
        self.count(packed["input_ids"])
        return self.pipeline.run(packed, num_items_in_batch, learn=True)

    def _packed(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The batch on the device: a long row a micro-batch, or as many rows in each."""
        parts = self.pipeline.micro_batches
        return self.pack(fill_rows(self._prepare_inputs(inputs), parts), parts)

    def prediction_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], *arguments: Any, **options: Any
    ) -> tuple[torch.Tensor, None, None]:
        """The validation loss of one batch."""
        model.eval()
        tokens = self.validation_tokens_a_row * len(inputs["labels"])
        with torch.no_grad():
            loss = self.pipeline.run(self._packed(inputs), tokens, learn=False)
        self.check_finite("validation loss", loss, [inputs["labels"]], self.eval_dataset)
        return loss, None, None

    def parameter_counts(self) -> tuple[int, int]:
        """Trainable and all parameters of all stages."""
        counts = all_gather(self.pipeline.stage.parameter_counts())
        return sum(trainable for trainable, _ in counts), sum(total for _, total in counts)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write this stage's file of an ordinary model."""
        self.pipeline.stage.save(Path(output_dir or self.args.output_dir))

    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        """Shorten the gradient of all stages together."""
        own = [p.grad for p in model.parameters() if p.grad is not None]
        square = torch.nn.utils.get_total_norm(own).to(self.args.device, torch.float32) ** 2
        dist.all_reduce(square)
        trained = [p for p in model.parameters() if p.requires_grad]
        torch.nn.utils.clip_grads_with_norm_(trained, self.args.max_grad_norm, square.sqrt())
        return square.sqrt()

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        folder = Path(output_dir)
        torch.save(self.optimizer.state_dict(), folder / f"optimizer_{rank()}.pt")
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), folder / "scheduler.pt")

    def _save_rng_state(self, output_dir: str) -> None:
        """All processes draw the same random numbers, so those of the first are kept."""
        if self.args.should_save:
            super()._save_rng_state(output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self.pipeline.stage.load(Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        kept = {f"optimizer_{rank()}.pt": self.optimizer, "scheduler.pt": self.lr_scheduler}
        for name, of in kept.items():
            of.load_state_dict(torch.load(folder / name, map_location="cpu", weights_only=True))


def disable_data_parallel() -> None:
    """Make the trainer of this process deal out no rows and average no gradients.

    The process group stays as it is. Only the first process writes what there is once.
    """
    barrier()
    state = PartialState()
    state.distributed_type, state.num_processes = DistributedType.NO, 1


class Elsewhere(nn.Module):
    """Stands where another process holds the real part, and passes on what it is given."""

    given: torch.Tensor | None = None

    def forward(self, hidden: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        """`hidden` itself."""
        self.given = hidden
        return hidden


class Stage(nn.Module):
    """What one process holds of a model, and how it computes its share of a forward pass.

    It runs the model's own forward pass on the tokens, by which masks and positions are made, with
    what the stage before made in place of words and photos.
    """

    def __init__(self, model: PreTrainedModel, plan: Plan, number: int) -> None:
        super().__init__()
        self.model, self.number, self.count = model, number, len(plan.stages)
        self.is_first, self.is_last = number == 0, number == self.count - 1
        self.own = tuple(f"{part.name}." for part in plan.stages[number])
        self.file = f"model-{number + 1:05d}-of-{self.count:05d}.safetensors"
        self.autocast: torch.dtype | None = None
        self.batch: Mapping[str, Any] = {}  # under way
        self.given = self.made = torch.empty(0)
        if not self.is_first:
            embeddings = module_of(model, "embeddings")
            embeddings.forward = lambda tokens: self.given

    def forward(self, given: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Hidden states (rows, tokens, width) for the next stage, or of the last one the head.

        `given` is input_ids (rows, tokens) in the first stage, hidden states in the others, `rows`
        their places in the batch. All is passed on in the weights' dtype, not that of `autocast`.
        """
        self.given, told = given, self._told(int(rows[0]), int(rows[-1]) + 1)
        with torch.autocast(given.device.type, self.autocast, enabled=self.autocast is not None):
            self.made = self.model.model(**told, use_cache=False).last_hidden_state
        return self.made.to(self.model.dtype)

    def _told(self, first: int, last: int) -> dict[str, Any]:
        """What the model is told of these rows; the first stage alone sees their photos."""
        left_out = ("labels",) if self.is_first else ("labels", PIXELS)
        own = {name: held[first:last] for name, held in self.batch.items() if name not in left_out}
        return {
            name: join(held) if isinstance(held, list) else held
            for name, held in own.items()
            if any(each is not None for each in held)
        }

    def check_passed(self) -> None:
        """Raise MuseQuestError if the model changed what the layers of other stages were passed.

        Some add features of photos between their first layers, which only the first stage knows.
        """
        layers = [*module_of(self.model, "layers")]
        own = [place for place, layer in enumerate(layers) if not isinstance(layer, Elsewhere)]
        unchanged = [layer.given is self.given for layer in layers[: own[0]]]
        unchanged += [layer.given is self.made for layer in layers[own[-1] + 1 :]]
        if not all(unchanged):
            raise MuseQuestError(
                "This base model changes what passes between layers that lie on different stages; "
                "set strategy: sequential under parallel in the approach's config.yaml, or choose "
                "full_fsdp."
            )

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Of hidden states (tokens, width) the logits (tokens, vocabulary)."""
        with torch.autocast(hidden.device.type, self.autocast, enabled=self.autocast is not None):
            return self.model.get_output_embeddings()(hidden).to(self.model.dtype)

    def parameter_counts(self) -> tuple[int, int]:
        """Trainable and all parameters that are its own."""
        named = self.model.named_parameters()
        own = [parameter for name, parameter in named if f"{name}.".startswith(self.own)]
        return sum(p.numel() for p in own if p.requires_grad), sum(p.numel() for p in own)

    def save(self, folder: Path) -> None:
        """Write the weights as one of the files of an ordinary model; every process has to.

        Together they are what `from_pretrained` loads: model-00001-of-00002.safetensors and so on,
        with configuration and index.
        """
        folder.mkdir(parents=True, exist_ok=True)
        weights = {  # a copy of another stage's is not own
            name: tensor.cpu().contiguous()
            for name, tensor in self.model.state_dict().items()
            if f"{name}.".startswith(self.own) and name not in self.model.all_tied_weights_keys
        }
        save_file(weights, folder / self.file, metadata={"format": "pt"})
        everybody = all_gather({name: (self.file, w.nbytes) for name, w in weights.items()})
        if self.number == 0:
            places = {name: place for each in everybody for name, place in each.items()}
            index = {
                "metadata": {"total_size": sum(size for _, size in places.values())},
                "weight_map": {name: file for name, (file, _) in places.items()},
            }
            write_json(folder / "model.safetensors.index.json", index)
            self.model.config.save_pretrained(folder)
            self.model.generation_config.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Read the weights that `save` wrote."""
        self.model.load_state_dict(load_file(folder / self.file), strict=False)


def load_stage(config: RunConfig, plan: Plan, number: int, device: str | torch.device) -> Stage:
    """Read stage `number` of the base model, and nothing of the others, to `device`."""
    profile, approach = config.profile, config.approach
    own, shape = {part.name for part in plan.stages[number]}, of_shape(profile)
    tied = shape.get_output_embeddings().weight is shape.get_input_embeddings().weight
    if tied and number == len(plan.stages) - 1:
        own.add(anatomy_of(shape).embeddings)
    base = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config.base_config)]
    options = {"dtype": profile.dtype, "device_map": {"": device}}
    read = partial(of_base_model, _of_own_parts(base, own, profile).from_pretrained, profile)
    # A head that shares the embeddings' weights has none of its own in the file.
    absent = {f"{anatomy_of(shape).head}.weight"} if tied else set()
    model = read_whole(read, profile, profile.base_model, options, absent)
    return Stage(TUNINGS[approach.tuning](model.eval(), approach), plan, number)


def _of_own_parts(
    base: type[PreTrainedModel], own: set[str], profile: Profile
) -> type[PreTrainedModel]:
    """The model's class, its foreign parts left out before there is memory for them."""

    class Part(base):
        def __init__(self, config: PretrainedConfig) -> None:
            super().__init__(config)
            # What a file holds of foreign parts is no surprise.
            self._keys_to_ignore_on_load_unexpected = {".*"}
            anatomy = anatomy_of(self, profile.anatomy)
            if not {anatomy.embeddings, anatomy.head} <= own:
                self.all_tied_weights_keys: dict[str, str] = {}
            for _, name, part in list(anatomy.chain(self)):
                if name not in own and isinstance(part, nn.Module):
                    self.set_submodule(name, Elsewhere())

    # By its name and module the library knows which weights it renames as it reads them.
    Part.__name__, Part.__module__ = base.__name__, base.__module__
    return Part

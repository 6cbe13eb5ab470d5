"""Weights in bfloat16 learn from small steps as float32 ones do, in the memory that they had."""

from dataclasses import replace

import pytest
import torch
from interrupting import At, interrupting, sent
from safetensors.torch import load_file
from tiny import save_tiny_docent
from tiny_dialogs import write_dataset, write_profile
from transformers import AutoModelForImageTextToText, TrainerCallback

from musequest.core.errors import MuseQuestError
from musequest.core.home import root
from musequest.core.settings import load_approach, load_profile
from musequest.creation.split import load_split
from musequest.finetuning.activations import RowShape
from musequest.finetuning.checkpoints import RunFolder, reference_loss
from musequest.finetuning.collator import DocentCollator
from musequest.finetuning.memory import memory_of, optimizer_bytes
from musequest.finetuning.models import load_model, load_processor
from musequest.finetuning.optimizer import LEFT_OVER, MASTER_WEIGHTS, join, split
from musequest.finetuning.run_config import RunConfig
from musequest.finetuning.training import train

# As in the published runs, but that the rate does not fall.
TRIAL = {
    **{"learning_rate": "1e-5", "lr_scheduler_type": "constant"},
    **{"max_steps": "20", "eval_steps": "20"},
}
ROW = RowShape(tokens=428, photos=1, patches=57 * 57)


@pytest.fixture(scope="module")
def docent(tmp_path_factory):
    """A docent saved in bfloat16, most of whose matrices are large enough for 8-bit states."""
    folder = save_tiny_docent(tmp_path_factory.mktemp("docent"), width=64)
    AutoModelForImageTextToText.from_pretrained(folder, dtype="bfloat16").save_pretrained(folder)
    return folder


@pytest.fixture
def profile(tmp_path, home, docent):
    write_dataset(home, "tiny")
    return write_profile(tmp_path, docent, dtype="bfloat16")


def test_what_rounding_leaves_over_makes_the_number_whole():
    patterns = torch.randint(-(2**31), 2**31, (100_000,), generator=torch.manual_seed(0))
    numbers = patterns.to(torch.int32).view(torch.float32)
    numbers = torch.cat([numbers[numbers.abs() < 1e38], torch.tensor([0.0, -0.0, 1.0, 1.00390625])])
    rounded, left_over = split(numbers)
    assert torch.equal(rounded.bfloat16().float(), rounded) and left_over.dtype == torch.int16
    whole = join(rounded.bfloat16(), left_over)
    assert torch.equal(whole.view(torch.int32), numbers.view(torch.int32))
    nearest = (numbers.bfloat16().double() - numbers.double()).abs()
    assert torch.equal((rounded.double() - numbers.double()).abs(), nearest)


class CountMoved(TrainerCallback):
    """The share of weights that training leaves as they were, to the optimizer's precision."""

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        trained = [(p, p.detach().clone()) for p in model.parameters() if p.requires_grad]
        self.before = dict(trained)

    def on_train_end(self, args, state, control, optimizer=None, **kwargs):
        states, moved, total = optimizer.optimizer.state, 0, 0
        for parameter, before in self.before.items():
            left_over = states[parameter].get(LEFT_OVER)
            now = parameter if left_over is None else join(parameter, left_over)
            moved += int((now != before).sum())
            total += before.numel()
        self.unmoved = 1 - moved / total


def trial(profile, monkeypatch, **chosen):
    """How many of the weights 20 steps leave unmoved, and by how much the loss falls."""
    count = CountMoved()
    with monkeypatch.context() as patch:
        interrupting(patch, count)
        record = train(profile, "full", TRIAL | chosen, progress=False, fresh=True)
    collator = DocentCollator(load_processor(profile))
    rows = load_split(profile.collection, "validation")
    before = reference_loss(load_model(profile, device="cpu"), collator, rows)
    return count.unmoved, before - record["best_eval_loss"]


def test_bfloat16_learns_as_float32_does(profile, monkeypatch):
    _, fall = trial(replace(profile, dtype="float32"), monkeypatch)
    unmoved, ours = trial(profile, monkeypatch)
    assert unmoved <= 0.05 and ours == pytest.approx(fall, rel=0.1)
    unmoved, published = trial(profile, monkeypatch, optim="adamw_torch")
    assert unmoved > 0.8 and published < 0.3 * fall


def test_a_run_that_goes_on_ends_with_the_same_weights_and_what_is_left_over(
    profile, home, monkeypatch
):
    monkeypatch.setattr(RunFolder, "drop_optimizer", lambda folder: None)
    state = home / "runs/tiny/full/state/checkpoint-6"
    steps = {"max_steps": "6", "eval_steps": "2"}

    def ended():
        optimizer = torch.load(state / "optimizer.pt", weights_only=True)["state"]
        held = [each["__bnb_optimizer_quant_state__"] for each in optimizer.values()]
        assert {each["state1"].dtype for each in held} == {torch.uint8, torch.float32}
        return load_file(state / "model.safetensors"), [each[LEFT_OVER] for each in held]

    train(profile, "full", steps, progress=False)
    weights, left_over = ended()
    with monkeypatch.context() as patch:
        interrupting(patch, At(3, sent()))
        with pytest.raises(MuseQuestError, match="at step 3 of 6"):
            train(profile, "full", steps, progress=False, fresh=True)
    train(profile, "full", steps, progress=False)
    again, left_again = ended()
    assert all(torch.equal(again[name], tensor) for name, tensor in weights.items())
    assert all(map(torch.equal, left_again, left_over)) and any(map(torch.any, left_over))


@pytest.mark.parametrize("name", ["lora", "qlora", "full", "full_mp", "full_fsdp"])
def test_it_is_chosen_where_weights_in_bfloat16_are_learned_and_nothing_else_changes(profile, name):

    def chosen(profile, overrides=None):
        return RunConfig.resolve(profile, load_approach(name), overrides).settings

    ours = name in ("full", "full_mp")
    assert (chosen(profile).get("optim") == MASTER_WEIGHTS) is ours
    published = load_profile("idefics2-8b")
    assert chosen(published)["optim"] == (MASTER_WEIGHTS if ours else "adamw_torch_fused")
    assert chosen(published, {"optim": "adamw_torch"})["optim"] == "adamw_torch"
    for exact in (replace(profile, dtype="float32"), load_profile("pocket")):
        assert "optim" not in chosen(exact)


def test_weights_that_are_sharded_cannot_have_it(profile):
    with pytest.raises(MuseQuestError, match="'full_fsdp' shards them; use optim: adamw_torch"):
        RunConfig.resolve(profile, load_approach("full_fsdp"), {"optim": MASTER_WEIGHTS})


def test_of_idefics2_8b_it_takes_no_more_memory_than_the_published_optimizer():
    shape = replace(
        load_profile("idefics2-8b"), base_model=str(root() / "benchmarks/shapes/idefics2_8b")
    )
    full = load_approach("full")
    ours, published = (
        memory_of(RunConfig(shape, full, {"optim": name, "bf16": True}), ROW)
        for name in (MASTER_WEIGHTS, "adamw_torch")
    )
    assert ours.total(10, True) < 0.9 * published.total(10, True)
    assert ours.optimizer == pytest.approx(published.optimizer, rel=0.02)
    assert ours.total(10, True) <= 80e9 * 0.92


def test_its_states_are_counted_as_they_are(profile, home, monkeypatch):
    counted = []

    class Count(TrainerCallback):
        def on_train_end(self, args, state, control, optimizer=None, **kwargs):
            for parameter, held in optimizer.optimizer.state.items():
                if parameter.numel() >= 4096:
                    own = (value for key, value in held.items() if "qmap" not in key)
                    tensors = [value for value in own if isinstance(value, torch.Tensor)]
                    counted.append((parameter, sum(tensor.nbytes for tensor in tensors)))

    interrupting(monkeypatch, Count())
    train(profile, "full", {"max_steps": "1"}, progress=False)
    parameters, sizes = zip(*counted, strict=True)
    assert optimizer_bytes(parameters, MASTER_WEIGHTS) == pytest.approx(sum(sizes), rel=0.01)

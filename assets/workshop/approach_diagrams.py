"""Diagrams of the six approaches: which to choose, what learns, and which device does what when."""

from __future__ import annotations

from typing import Any

import pandas as pd

from musequest.core.home import root

from .drawing import NORMAL, Drawing, diagram

SIDE, RANK = 1_000, 8  # of the matrix that stands for a projection
BILLIONS = 7
STAGES, MICRO_BATCHES, BACKWARD = 3, 4, 2  # a backward pass takes twice a forward pass


def published(approach: str, count: int) -> str:
    """Where and how long the published experiment ran an approach on so many GPUs."""
    runs = pd.read_csv(root() / "benchmarks/records/published_runs.csv")
    run = runs[(runs.approach == approach) & (runs.gpu_count == count)].iloc[0]
    return f"{count} x {run.gpu}: {run.training_minutes:.0f} min"


@diagram
def approaches() -> Drawing:
    """Six approaches, and the questions that lead to each."""
    page = Drawing("Which of the six approaches to choose", 568)
    page.box(15, 16, 235, 50, "Is an adapter enough?", "start here: under 1 % learns")
    page.box(295, 16, 220, 50, "Full fine-tuning", "every projection learns")
    page.arrow((250, 41), (293, 41))
    page.text(270, 34, "no", "middle")
    page.box(15, 96, 235, 50, "Does it fit one GPU?", "in 16 bits, with a row or two")
    page.arrow((60, 66), (60, 94))
    page.text(68, 84, "yes")
    page.box(295, 96, 220, 50, "Does it fit one GPU?", "with its optimizer")
    page.arrow((340, 66), (340, 94))
    adapters = (
        ("no", "2.2 QLoRA", "weights in 4 bits", published("qlora", 1)),
        ("yes, one GPU", "2.1 LoRA", "the one to begin with", published("lora", 1)),
        ("yes, several", "2.3 LoRA with DDP", "rows over GPUs", published("lora_ddp", 4)),
    )
    _branches(page, 30, 146, 55, 195, *adapters)
    _branches(page, 310, 146, 335, 180, ("yes", "2.4 Full", "one GPU", published("full", 1)))
    page.arrow((310, 146), (310, 305), (333, 305))
    page.text(335, 274, "no")
    page.box(335, 280, 180, 50, "Are the links fast?", "between several GPUs")
    split = (
        ("no", "2.5 MP", "layers parted", published("full_mp", 2)),
        ("yes", "2.6 FSDP", "all parted", published("full_fsdp", 2)),
    )
    _branches(page, 345, 330, 365, 150, *split)
    page.note(
        534, "DDP shares rows, model parallelism layers, FSDP both. Minutes: the published runs "
        "of three epochs.",
    )  # fmt: skip
    return page


def _branches(page: Drawing, trunk: float, y: float, x: float, width: float, *ends: Any) -> None:
    """Approaches one below the other, each with the answer that leads to it."""
    for number, (answer, *lines) in enumerate(ends):
        top = y + 30 + 90 * number
        page.text(x, top - 6, answer)
        page.box(x, top, width, 62, *lines, look="learned")
        page.arrow((trunk, y), (trunk, top + 31), (x - 2, top + 31))


@diagram
def lora() -> Drawing:
    """Two thin matrices beside a frozen one, drawn to scale but for their thin side."""
    learned, whole = 2 * SIDE * RANK, SIDE * SIDE
    page = Drawing("LoRA: two thin matrices learn beside a frozen one", 310)
    page.text(15, 30, "A projection with as many inputs as outputs", size=NORMAL)
    page.box(15, 50, 130, 130, "W", "frozen", f"{SIDE:,} x {SIDE:,}", f"= {whole:,}", look="frozen")
    page.text(161, 123, "+", "middle", size=20)
    page.box(178, 50, 22, 130, "B", look="learned")
    page.text(189, 200, f"{SIDE:,} x {RANK}", "middle")
    page.text(212, 121, "x", "middle")
    page.box(224, 104, 130, 22, "A", look="learned")
    page.text(289, 146, f"{RANK} x {SIDE:,}", "middle")
    page.text(370, 123, "=", "middle", size=20)
    page.box(385, 50, 130, 130, "W + B A", "what the layer", "does now", look="plain")
    page.note(
        232, f"Learned: {SIDE:,} x {RANK} + {RANK} x {SIDE:,} = {learned:,} numbers, "
        f"{100 * learned / whole:.1f} % of {whole:,}. B begins as zeros: at first nothing changes.",
    )  # fmt: skip
    page.legend(282, frozen="stays as it is", learned="learned")
    return page


@diagram
def qlora() -> Drawing:
    """Weights as one of sixteen levels, and what that saves."""
    page = Drawing("QLoRA: frozen weights in four bits", 366)
    page.note(
        28, "A weight is kept in four bits, as the nearest of 16 levels times the scale of its "
        "block.",
    )  # fmt: skip
    left, width, y = 35, 460, 112
    page.text(265, y - 24, "NF4: levels lie closest where weights lie closest", "middle")
    page.line((left, y), (left + width, y))
    for level in nf4_levels():
        x = left + (level + 1) / 2 * width
        page.line((x, y - 14), (x, y + 14))
    for value in (-1, 0, 1):
        page.text(left + (value + 1) / 2 * width, y + 32, str(value), "middle")
    page.text(15, 178, f"{BILLIONS} billion weights", size=NORMAL)
    for number, bits in enumerate((16, 8, 4)):
        gigabytes = BILLIONS * bits / 8
        row = 194 + number * 34
        page.text(72, row + 18, f"{bits} bits", "end")
        page.box(84, row, gigabytes * 30, 26, f"{gigabytes:g} GB", look="frozen")
    page.note(
        322, "To multiply, a layer's weights are unpacked to 16 bits and let go of again. They "
        "stay as they are; the adapter beside them learns in full precision.",
    )  # fmt: skip
    return page


def nf4_levels() -> list[float]:
    """The 16 levels of NF4, from -1 to 1, as bitsandbytes has them."""
    from bitsandbytes.functional import get_4bit_type

    return sorted(get_4bit_type("nf4", device="cpu").tolist())


@diagram
def ddp() -> Drawing:
    """Two processes, different rows, one step."""
    page = Drawing("Distributed data parallel: the same model, different rows", 366)
    for number, x in enumerate((15, 325)):
        first = 1 + 4 * number
        page.column(
            x,
            190,
            (16, 46, (f"rows {first} to {first + 3}", "of the step"), "photo"),
            (86, 46, (f"GPU {number}", "the whole model"), "frozen"),
            (156, 46, ("gradients", "of its own rows"), "learned"),
            (226, 46, ("the same step", "on every GPU"), "learned"),
        )
    page.arrow((207, 179), (323, 179), both=True)
    page.text(265, 171, "averaged", "middle")
    page.note(
        302, "Twice the GPUs, half the time, as long as averaging is quick; it goes on during the "
        "backward pass. With an adapter only its few gradients travel.",
    )  # fmt: skip
    page.legend(340, frozen="frozen", learned="learned")
    return page


@diagram
def full() -> Drawing:
    """Which parts of the model learn."""
    page = Drawing("Full fine-tuning: what learns and what stays", 282)
    page.text(15, 28, "LoRA puts adapters on the parts that learn here.")
    page.row(
        46,
        70,
        (15, 90, ("photo",), "photo"),
        (145, 150, ("vision model", "SigLIP", "looks"), "frozen"),
        (335, 180, ("connector", "perceiver", "64 tokens a photo"), "learned"),
    )
    page.row(
        156,
        80,
        (15, 90, ("question",), "text"),
        (145, 220, ("text model", "Mistral 7B", "32 layers of projections"), "learned"),
        (405, 110, ("head", "next token"), "frozen"),
    )
    page.arrow((350, 116), (350, 154))
    page.legend(254, frozen="frozen", learned="learned", photo="photo", text="text")
    return page


def sequential_schedule() -> list[list[tuple[float, float, str]]]:
    """For each stage its work as (begin, length, label), one stage at a time, whole batch."""
    forward = [[(stage * MICRO_BATCHES, MICRO_BATCHES, "F")] for stage in range(STAGES)]
    for stage in range(STAGES):
        begin = MICRO_BATCHES * (STAGES + BACKWARD * (STAGES - 1 - stage))
        forward[stage].append((begin, MICRO_BATCHES * BACKWARD, "B"))
    return forward


def interleaved_schedule() -> list[list[tuple[float, float, str]]]:
    """The same for 1F1B: after a warm-up, each stage does one forward and one backward in turn."""
    orders = []
    for stage in range(STAGES):
        warm = min(STAGES - stage, MICRO_BATCHES)
        order = [("F", i) for i in range(warm)]
        for i in range(MICRO_BATCHES):
            order.append(("B", i))
            if warm + i < MICRO_BATCHES:
                order.append(("F", warm + i))
        orders.append(order)
    ended: dict[tuple[str, int, int], float] = {}
    free = [0.0] * STAGES
    work: list[list[tuple[float, float, str]]] = [[] for _ in range(STAGES)]
    while any(orders):
        for stage, order in enumerate(orders):
            if not order:
                continue
            kind, batch = order[0]
            before = stage - 1 if kind == "F" else stage + 1
            outermost = not 0 <= before < STAGES
            needed = ("F", stage, batch) if kind == "B" and outermost else (kind, before, batch)
            if not (kind == "F" and outermost) and needed not in ended:
                continue
            begin = max(free[stage], ended.get(needed, 0.0))
            length = BACKWARD if kind == "B" else 1
            free[stage] = ended[kind, stage, batch] = begin + length
            work[stage].append((begin, length, f"{kind}{batch + 1}"))
            order.pop(0)
    return work


@diagram
def mp() -> Drawing:
    """Layers on three devices, and both schedules on one axis of time."""
    page = Drawing("Model parallel: layers on three devices, and who works when", 510)
    names = ("vision, first layers", "middle layers", "last layers, head")
    for stage, name in enumerate(names):
        page.box(15 + 175 * stage, 16, 150, 50, f"GPU {stage}", name, look="learned")
        if stage:
            page.arrow((175 * stage - 8, 41), (13 + 175 * stage, 41), both=True)
    left, unit = 62, 12
    schedules = (
        ("sequential: the whole batch, one GPU at a time", sequential_schedule(), 138),
        (f"1f1b: {MICRO_BATCHES} micro-batches, all GPUs at once", interleaved_schedule(), 300),
    )
    for name, schedule, top in schedules:
        end = max(begin + length for work in schedule for begin, length, _ in work)
        busy = sum(length for work in schedule for _, length, _ in work) / (end * STAGES)
        page.text(15, top - 32, name, size=NORMAL)
        page.text(15, top - 12, f"{end:g} units of time, {100 * busy:.0f} % of them at work")
        for stage, work in enumerate(schedule):
            y = top + 34 * stage
            page.text(left - 6, y + 19, f"GPU {stage}", "end")
            for begin, length, label in work:
                look = "photo" if label.startswith("F") else "learned"
                page.box(left + begin * unit, y, length * unit, 28, look=look)
                middle = left + (begin + length / 2) * unit
                page.text(middle, y + 18, label.lstrip("FB") or "all", "middle")
    page.arrow((left, 414), (left + 37 * unit, 414))
    page.text(left + 37 * unit, 432, "time", "end")
    page.note(
        452, "A backward pass is drawn twice as long as a forward pass. Between two GPUs only "
        "activations travel.",
    )  # fmt: skip
    page.legend(484, photo="forward", learned="backward")
    return page


@diagram
def fsdp() -> Drawing:
    """A layer is gathered, used, and scattered again."""
    page = Drawing("Fully sharded data parallel: gather, compute, scatter", 410)
    for number, x in enumerate((15, 345)):
        page.text(x + 85, 28, f"GPU {number}", "middle", size=NORMAL)
        page.column(
            x,
            170,
            (42, 46, ("a half", "of each layer"), "frozen"),
            (132, 46, ("whole layer", "reads its own rows"), "plain"),
            (202, 46, ("whole gradient", "of its own rows"), "plain"),
            (292, 46, ("a half", "of the sum"), "learned"),
        )
    for y, name, what in ((110, "gather", "halves exchanged"), (270, "scatter", "halves summed")):
        page.arrow((104, y), (426, y), both=True)
        page.text(265, y - 8, name, "middle", size=NORMAL)
        page.text(265, y + 18, what, "middle")
    page.note(
        366, "Weights, gradients and optimizer states lie in shares; whole is one layer at a time. "
        "Every weight travels twice a step, so the links between the GPUs set the pace.",
    )  # fmt: skip
    return page

"""Diagrams of the six approaches: which to choose, what learns, and which device does what when."""

from __future__ import annotations

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
    page = Drawing("Which of the six approaches to choose", 900, 480)
    page.box(
        30, 24, 300, 50, "Is an adapter enough?", "start here: under 1 % learns, beside the rest"
    )
    page.box(560, 24, 310, 50, "Full fine-tuning", "every projection learns")
    page.arrow((330, 49), (558, 49))
    page.text(444, 42, "no, the last bit counts", "middle")
    page.arrow((120, 74), (120, 116))
    page.text(128, 100, "yes")
    page.box(30, 118, 300, 50, "Does it fit one GPU in 16 bits?", "the weights, and a row or two")
    page.arrow((650, 74), (650, 116))
    page.box(560, 118, 310, 50, "Does it fit one GPU?", "with its optimizer; preflight tells")
    rows = (
        (30, 150, 330, ("2.2 QLoRA", "weights in 4 bits", published("qlora", 1)), "no"),
        (196, 150, 330, ("2.1 LoRA", "the one to begin with", published("lora", 1)), "yes"),
        (
            362,
            164,
            330,
            ("2.3 LoRA with DDP", "rows over several GPUs", published("lora_ddp", 4)),
            "sooner",
        ),
    )
    page.arrow((80, 168), (80, 328))
    page.text(88, 250, "no")
    page.arrow((270, 168), (270, 328))
    page.text(278, 250, "yes, one GPU")
    page.line((300, 168), (300, 210), (444, 210))
    page.arrow((444, 210), (444, 328))
    page.text(338, 202, "yes, several")
    for x, width, y, lines, _ in rows:
        page.box(x, y, width, 72, *lines, look="learned")
    page.arrow((600, 168), (600, 328))
    page.text(608, 210, "yes")
    page.box(700, 200, 170, 50, "No. Fast links", "between the GPUs?")
    page.arrow((785, 168), (785, 198))
    page.box(540, 330, 104, 72, "2.4 Full", "one large GPU", look="learned")
    page.text(644, 420, published("full", 1), "end")
    page.arrow((730, 250), (730, 290), (700, 290), (700, 328))
    page.text(682, 284, "no")
    page.arrow((830, 250), (830, 328))
    page.text(838, 290, "yes")
    page.box(652, 330, 108, 72, "2.5 MP", "layers parted", look="learned")
    page.box(768, 330, 112, 72, "2.6 FSDP", "all parted", look="learned")
    page.text(706, 438, published("full_mp", 2), "middle")
    page.text(880, 420, published("full_fsdp", 2), "end")
    page.note(
        458, "DDP shares rows, model parallelism layers, FSDP both. Minutes: the published runs "
        "of three epochs.",
    )  # fmt: skip
    return page


@diagram
def lora() -> Drawing:
    """Two thin matrices beside a frozen one, drawn to scale but for their thin side."""
    learned, whole = 2 * SIDE * RANK, SIDE * SIDE
    page = Drawing("LoRA: two thin matrices learn beside a frozen one", 900, 330)
    page.box(60, 60, 190, 190, "W", "frozen", f"{SIDE:,} x {SIDE:,}", f"= {whole:,}", look="frozen")
    page.text(275, 160, "+", size=26)
    page.box(320, 60, 30, 190, "B", look="learned")
    page.text(335, 268, f"{SIDE:,} x {RANK}", "middle")
    page.text(366, 160, "x", size=20)
    page.box(396, 140, 190, 30, "A", look="learned")
    page.text(491, 188, f"{RANK} x {SIDE:,}", "middle")
    page.text(608, 160, "=", size=26)
    page.box(650, 60, 190, 190, "W + B A", "what the layer does now", look="plain")
    page.text(30, 40, "A projection with as many inputs as outputs", size=NORMAL)
    page.note(
        296, f"Learned: {SIDE:,} x {RANK} + {RANK} x {SIDE:,} = {learned:,} numbers, "
        f"{100 * learned / whole:.1f} % of {whole:,}. B begins as zeros: at first nothing changes.",
    )  # fmt: skip
    page.legend(30, 306, frozen="stays as it is", learned="learned")
    return page


@diagram
def qlora() -> Drawing:
    """Weights as one of sixteen levels, and what that saves."""
    page = Drawing("QLoRA: frozen weights in four bits", 900, 330)
    levels = (
        "A weight is kept in four bits, as the nearest of 16 levels times the scale of its block"
    )
    page.text(30, 36, levels, size=NORMAL)
    left, width, y = 60, 780, 96
    page.line((left, y), (left + width, y))
    for level in nf4_levels():
        x = left + (level + 1) / 2 * width
        page.line((x, y - 14), (x, y + 14))
    for value in (-1, 0, 1):
        page.text(left + (value + 1) / 2 * width, y + 32, str(value), "middle")
    page.text(450, y - 24, "NF4: levels lie closest where weights lie closest", "middle")
    page.text(30, 166, f"{BILLIONS} billion weights", size=NORMAL)
    for number, bits in enumerate((16, 8, 4)):
        gigabytes = BILLIONS * bits / 8
        row = 180 + number * 34
        page.text(112, row + 18, f"{bits} bits", "end")
        page.box(124, row, gigabytes * 44, 26, f"{gigabytes:g} GB", look="frozen")
    page.note(
        304, "To multiply, a layer's weights are unpacked to 16 bits and let go of again. They "
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
    page = Drawing("Distributed data parallel: the same model, different rows", 900, 300)
    for number, y in enumerate((30, 170)):
        first = 1 + 4 * number
        page.row(
            y,
            60,
            (30, 150, (f"rows {first} to {first + 3}", "of the step"), "photo"),
            (230, 170, (f"GPU {number}", "the whole model"), "frozen"),
            (450, 150, ("gradients", "of its own rows"), "learned"),
            (700, 170, ("the same step", "on every GPU"), "learned"),
        )
    page.arrow((525, 92), (525, 168), both=True)
    page.text(540, 134, "averaged, while the backward pass goes on")
    page.note(
        262, "Twice the GPUs, half the time, as long as averaging is quick. With an adapter only "
        "its few gradients travel.",
    )  # fmt: skip
    page.legend(30, 276, frozen="frozen", learned="learned")
    return page


@diagram
def full() -> Drawing:
    """Which parts of the model learn."""
    page = Drawing("Full fine-tuning: what learns and what stays", 900, 290)
    page.box(30, 110, 90, 60, "photo", look="photo")
    page.box(150, 90, 150, 100, "vision model", "SigLIP", "looks", look="frozen")
    page.box(330, 90, 150, 100, "connector", "perceiver", "64 tokens a photo", look="learned")
    page.box(
        510, 56, 210, 168, "text model", "Mistral 7B", "32 layers of projections", look="learned"
    )
    page.box(750, 90, 120, 100, "head", "next token", look="frozen")
    for start, end in ((120, 148), (300, 328), (480, 508), (720, 748)):
        page.arrow((start, 140), (end, 140))
    page.box(330, 214, 150, 44, "question", look="text")
    page.arrow((480, 236), (494, 236), (494, 190), (508, 190))
    page.text(30, 40, "LoRA puts adapters on the parts that learn here.")
    page.legend(30, 262, frozen="frozen", learned="learned", photo="photo", text="text")
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
    page = Drawing("Model parallel: layers on three devices, and who works when", 900, 480)
    names = ("vision model, first layers", "middle layers", "last layers, head")
    for stage, name in enumerate(names):
        page.box(30 + 290 * stage, 24, 240, 52, f"GPU {stage}", name, look="learned")
        if stage:
            page.arrow((30 + 290 * stage - 48, 50), (28 + 290 * stage, 50), both=True)
    left, unit = 84, 20
    schedules = (
        ("sequential: the whole batch, one GPU at a time", sequential_schedule(), 130),
        (f"1f1b: {MICRO_BATCHES} micro-batches, all GPUs at once", interleaved_schedule(), 290),
    )
    for name, schedule, top in schedules:
        end = max(begin + length for work in schedule for begin, length, _ in work)
        busy = sum(length for work in schedule for _, length, _ in work) / (end * STAGES)
        title = f"{name}: {end:g} units of time, {100 * busy:.0f} % of them at work"
        page.text(30, top - 12, title, size=NORMAL)
        for stage, work in enumerate(schedule):
            y = top + 34 * stage
            page.text(74, y + 19, f"GPU {stage}", "end")
            for begin, length, label in work:
                look = "photo" if label.startswith("F") else "learned"
                page.box(left + begin * unit, y, length * unit, 28, look=look)
                middle = left + (begin + length / 2) * unit
                page.text(middle, y + 18, label.lstrip("FB") or "all", "middle")
    page.arrow((left, 404), (left + 36 * unit + 30, 404))
    page.text(left + 36 * unit + 30, 424, "time", "end")
    page.note(
        440, "A backward pass is drawn twice as long as a forward pass. Between two GPUs only "
        "activations travel.",
    )  # fmt: skip
    page.legend(30, 450, photo="forward", learned="backward")
    return page


@diagram
def fsdp() -> Drawing:
    """A layer is gathered, used, and scattered again."""
    page = Drawing("Fully sharded data parallel: gather, compute, scatter", 900, 330)
    for number, y in enumerate((40, 180)):
        page.text(30, y - 10, f"GPU {number}", size=NORMAL)
        page.row(
            y,
            70,
            (30, 130, ("a half", "of each layer"), "frozen"),
            (250, 150, ("whole layer", "reads its own rows"), "plain"),
            (480, 160, ("whole gradient", "of its own rows"), "plain"),
            (740, 130, ("a half", "of the sum"), "learned"),
        )
    page.arrow((204, 77), (204, 213), both=True)
    page.text(214, 148, "gather: halves are exchanged")
    page.arrow((688, 77), (688, 213), both=True)
    page.text(678, 148, "scatter: halves are summed", "end")
    page.note(
        284, "Weights, gradients and optimizer states lie in shares; whole is one layer at a time. "
        "Every weight travels twice a step, so the links between the GPUs set the pace.",
    )  # fmt: skip
    return page

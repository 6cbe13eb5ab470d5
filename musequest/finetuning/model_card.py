"""The model card, written from run.json and the scores: what a stranger has to know of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..files import file_digest, read_json
from ..home import results_dir, run_dir
from ..settings import Profile
from .records import rows_a_step

TRACKS = ("unseen_photo", "seen_photo", "all")
OUTSIDERS = "outsiders"
HEADINGS = {track: f"Test questions, track `{track}`:" for track in TRACKS} | {
    OUTSIDERS: "Photos of things that are not in the collection; `false_recognition_rate` is the "
    "share of answers that call such a thing by an exhibit's name, 0 is best:"
}
LOAD = {
    True: """from peft import PeftModel
from PIL import Image, ImageOps
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig

base = AutoModelForImageTextToText.from_pretrained("{base}", dtype="{dtype}")
model = PeftModel.from_pretrained(base, "{repo}").eval()""",
    False: """from PIL import Image, ImageOps
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig

model = AutoModelForImageTextToText.from_pretrained("{repo}", dtype="{dtype}").eval()""",
}
# The processor as training had it, whatever else is installed; the photo upright by its EXIF.
ASK = """processor = AutoProcessor.from_pretrained("{repo}", backend="pil")
greedy = GenerationConfig.from_pretrained("{repo}")

photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
content = [{{"type": "image", "image": photo}}, {{"type": "text", "text": "What is this?"}}]
prompt = processor.apply_chat_template(
    [{{"role": "user", "content": content}}],
    add_generation_prompt=True,
    tokenize=True,
    return_dict=True,
    return_tensors="pt",
).to(model.device)
output = model.generate(**prompt, generation_config=greedy)
answer = output[0, prompt["input_ids"].shape[1] :]
print(processor.decode(answer, skip_special_tokens=True).strip())"""


def model_card(
    profile: Profile,
    record: dict[str, Any],
    repo_id: str,
    is_adapter: bool,
    license_name: str | None = None,
) -> str:
    """The card as Markdown with a YAML head the Hub reads; scores only if they are this run's."""
    scores = scores_of(profile, record["approach"])
    use = f"{LOAD[is_adapter]}\n{ASK}".format(
        base=record["base_model"], repo=repo_id, dtype=record["dtype"]
    )
    local = Path(profile.base_model_source).is_dir()
    where = (
        " Run it in MuseQuest's folder, where the base model lies." if is_adapter and local else ""
    )
    noun = "LoRA adapter" if is_adapter else "model"
    body = f"""
# {repo_id.split("/")[1]}

A {noun} that answers visitors' questions about the exhibits of the collection
'{record["collection"]}': it sees a photo, hears a question, and speaks like a guide. It was tuned
from `{record["base_model"]}` by MuseQuest's approach '{record["approach"]}'.

## How to use it

```python
{use}
```

The photo is shown with at most {record["image_size"]} px on its longer edge, image splitting is
{"on" if record["image_splitting"] else "off"}. Ask one question about one photo.{where}

## How it was trained

{_table(("setting", "value"), _training(record))}

The whole record is in `run.json`, the losses by step in `metrics.parquet`.

## How good it is

{_scores_text(scores, record["approach"])}

## Limits

It knows the exhibits of its collection and little else of museums; of an object it was never shown
it may state dates, names and measures that are wrong. Its training dialogs were synthetic, written
by a program or a language model from the museum's texts. Check what it says before visitors hear
it.
"""
    head = _head(profile, record, repo_id, is_adapter, license_name, scores)
    return str(ModelCard(f"---\n{head.to_yaml()}\n---\n{body}"))


def scores_of(profile: Profile, system: str) -> dict[str, Any] | None:
    """summary.json if it scores the predictions that lie in this system's run now, else None.

    Its outsiders are left out if they are of other answers than those that lie there now.
    """
    folder = results_dir(profile.name)
    if not (folder / "scoring.json").exists():
        return None
    scored, summary = read_json(folder / "scoring.json"), read_json(folder / "summary.json")
    if not _scored(scored["systems"], profile, system):
        return None
    if not _scored(scored.get(OUTSIDERS, {}), profile, f"{system}__{OUTSIDERS}"):
        summary.pop(OUTSIDERS, None)
    return summary


def _scored(files: dict[str, Any], profile: Profile, name: str) -> bool:
    """Whether the answers in the folder `name` are those that were scored."""
    digest = file_digest(run_dir(profile.name, name) / "predictions.parquet")
    return digest is not None and digest == files.get(name, {}).get("sha256")


def _head(
    profile: Profile,
    record: dict[str, Any],
    repo_id: str,
    is_adapter: bool,
    license_name: str | None,
    scores: dict[str, Any] | None,
) -> ModelCardData:
    local = Path(profile.base_model_source).is_dir()
    measured = _results(record, scores) if scores else None
    return ModelCardData(
        license=license_name,
        base_model=None if local else record["base_model"],
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="image-text-to-text",
        language=profile.language,
        tags=["musequest", "museum", "visual-question-answering"],
        model_name=repo_id.split("/")[1] if measured else None,
        eval_results=measured,
    )


def _results(record: dict[str, Any], scores: dict[str, Any]) -> list[EvalResult]:
    """The means of every track and metric, as the Hub lists them."""
    return [
        EvalResult(
            task_type="visual-question-answering",
            dataset_type=record["collection"],
            dataset_name=f"{record['collection']} ({track})",
            dataset_split="test",
            metric_type=metric,
            metric_value=value["mean"],
        )
        for track in TRACKS
        for metric, value in scores.get(track, {}).get(record["approach"], {}).items()
        if value["mean"] is not None
    ]


def _training(record: dict[str, Any]) -> list[tuple[str, Any]]:
    training, gpus = record["training"], record["hardware"]["gpus"]
    share = 100 * record["trainable_parameters"] / record["total_parameters"]
    trained = (
        f"{record['trainable_parameters']:,} of {record['total_parameters']:,} ({share:.2f} %)"
    )
    return [
        ("dataset fingerprint (SHA-256)", f"`{record['dataset_fingerprint'][:16]}`"),
        ("rows", f"{record['train_rows']} to train, {record['validation_rows']} to validate"),
        ("trained parameters", trained),
        ("learning rate", training.get("learning_rate", "the library's default")),
        ("rows an optimizer step", rows_a_step(training) * record["world_size"]),
        ("epochs, steps", f"{record['epochs']:g}, {record['steps']}"),
        (
            "best step, its validation loss",
            f"{record['best_step']}, {record['best_eval_loss']:.4f}",
        ),
        ("seed", record["seed"]),
        ("hardware", ", ".join(gpus) or f"{record['hardware']['cpu_cores']} CPU cores"),
        ("minutes", record["minutes"]),
        ("libraries", ", ".join(f"{name} {it}" for name, it in record["versions"].items())),
    ]


def _scores_text(scores: dict[str, Any] | None, system: str) -> str:
    if scores is None:
        return "The answers of this run have not been scored yet."
    parts = []
    for track, heading in HEADINGS.items():
        systems = scores.get(track, {})
        if system not in systems:
            continue
        names = [name for name in ("base", system) if name in systems]
        rows = [
            (metric, *(_shown(systems[name].get(metric)) for name in names))
            for metric in systems[system]
        ]
        parts.append(f"{heading}\n\n{_table(('metric', *names), rows)}")
    told = "Means with 95 % intervals, bootstrapped over exhibits; 0 is best of the distances."
    return "\n\n".join([told, *parts])


def _shown(value: dict[str, Any] | None) -> str:
    if not value or value["mean"] is None:
        return ""
    interval = (
        "" if value["ci_low"] is None else f" [{value['ci_low']:.3f}, {value['ci_high']:.3f}]"
    )
    return f"{value['mean']:.3f}{interval}"


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)

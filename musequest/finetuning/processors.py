"""A base model's processor: how it writes a dialog, ends an answer, and cuts a photo.

Processors differ in what they call the size of a photo, and whether they cut it into tiles; all of
them take the profile's `image_size` and `image_splitting` here. Many also take videos, for which
they need torchvision. A docent is shown photos alone, so that part is left out, and its settings
are kept for whoever uses the model elsewhere.
"""

from __future__ import annotations

import json
from typing import Any

from jinja2 import TemplateError
from transformers import PROCESSOR_MAPPING, AutoConfig, AutoProcessor, ProcessorMixin
from transformers.models.auto.processing_auto import processor_class_from_name
from transformers.utils import cached_file

from ..core.errors import MuseQuestError
from ..core.files import read_json
from ..core.hub import of_base_model
from ..core.settings import Profile

VIDEO = "video_processor"
# Files that may name the processor's class, and those with its video part, with its key there.
NAMING = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
VIDEO_SETTINGS = (("processor_config.json", VIDEO), ("video_preprocessor_config.json", None))
# What processors call showing a photo in tiles or crops as well.
SPLITTING = ("do_image_splitting", "crop_to_patches", "do_pan_and_scan")
ANSWER = "answer"
# A dialog of the least form, by which is seen what a template writes.
PROBE: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "question"}]},
    {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]},
]


def load_processor(profile: Profile) -> ProcessorMixin:
    """The base model's processor: left padding, photos of at most `profile.image_size` px.

    Without a padding token of its own the tokenizer pads with another one: padding is masked
    everywhere, and adding a token would resize the embeddings. A processor that cannot write a
    dialog with a photo, or does not end answers, raises MuseQuestError.
    """
    processor = of_base_model(_read, profile)
    if not all(hasattr(processor, part) for part in ("tokenizer", "image_processor")):
        raise MuseQuestError(
            f"The base model '{profile.base_model}' has no processor for photos and texts, so it "
            "is no model that sees; choose one of the kind image-text-to-text."
        )
    tokenizer = processor.tokenizer
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    _set_photo_size(processor.image_processor, profile)
    own = getattr(processor, "images_kwargs", {})  # which outrank the image processor's settings
    processor.images_kwargs = {
        key: profile.image_splitting if key in SPLITTING else own[key] for key in own
    }
    processor.anatomy = dict(profile.anatomy)
    if (chosen := profile.anatomy.get("template")) and processor.chat_template:
        processor.chat_template = _with_values(chosen, processor.chat_template)
    closing_token(processor)  # or the reason why there is none
    return processor


def _with_values(values: dict[str, Any], template: str) -> str:
    """A chat template in which these values are set: whoever else reads it, writes as we do."""
    said = {name: "none" if value is None else json.dumps(value) for name, value in values.items()}
    return "".join(f"{{%- set {name} = {value} %}}" for name, value in said.items()) + template


def _read(source: str) -> ProcessorMixin:
    """The processor; of one that takes videos a class that does not ask for that part."""
    kind = _kind(source)
    # Unless it is told, the library asks whether program code is to be run, and waits.
    options: dict[str, Any] = {"backend": "pil", "trust_remote_code": False}
    if kind is None or VIDEO not in kind.get_attributes():
        return AutoProcessor.from_pretrained(source, **options)
    processor = photos_only(kind).from_pretrained(source, **options)
    processor.video_settings = next(
        (each for each in (_held(source, *place) for place in VIDEO_SETTINGS) if each), None
    )
    return processor


def _kind(source: str) -> type[ProcessorMixin] | None:
    """The class of a processor: that which one of its files names, else that of the model."""
    for name in NAMING:
        if named := _held(source, name, "processor_class"):
            return processor_class_from_name(named)
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError):  # of a processor alone, without a model beside it
        return None
    return PROCESSOR_MAPPING.get(type(config), None)


def _held(source: str, name: str, key: str | None) -> Any:
    """What a JSON file of the base model holds, or under a key; None if it is not there."""
    quietly = ("missing_entries", "gated_repo", "connection_errors")
    options = {f"_raise_exceptions_for_{each}": False for each in quietly}
    path = cached_file(source, name, **options)
    held = read_json(path, dict[str, Any]) if path else {}
    return held.get(key) if key else held


def photos_only(kind: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """A processor's class without its video part, for which it would need torchvision."""

    class Photos(kind):
        video_settings: dict[str, Any] | None = None

        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in kind.get_attributes() if name != VIDEO]

        @classmethod
        def _get_arguments_from_pretrained(cls, *given: Any, **options: Any) -> list[Any]:
            parts = super()._get_arguments_from_pretrained(*given, **options)
            parts.insert(kind.get_attributes().index(VIDEO), None)
            return parts

        def to_dict(self) -> dict[str, Any]:
            kept = {VIDEO: self.video_settings} if self.video_settings else {}
            return {**super().to_dict(), **kept}

    Photos.__name__ = Photos.__qualname__ = kind.__name__
    return Photos


def _set_photo_size(photos: Any, profile: Profile) -> None:
    """Have an image processor show photos of at most `image_size` px, in tiles or not.

    One that knows a single size takes no other, and raises MuseQuestError where that is asked for.
    """
    side, splitting = profile.image_size, profile.image_splitting
    for name in SPLITTING:
        if hasattr(photos, name):
            setattr(photos, name, splitting)
    size: dict[str, int] = dict(photos.size)
    if "longest_edge" in size:
        # Those that merge patches count pixels in all, not along an edge.
        most = side**2 if hasattr(photos, "merge_size") else side
        size["longest_edge"] = most
        if "shortest_edge" in size:
            size["shortest_edge"] = min(size["shortest_edge"], most)
        photos.size = size
        return
    tile, instead = size.get("height") or size["shortest_edge"], ""
    if grid := getattr(photos, "image_grid_pinpoints", None):  # which the model knows by heart
        largest = max(map(max, grid))
        if side != largest or not splitting:
            instead = f"image_size: {largest} and image_splitting: true"
    elif hasattr(photos, "max_patches") and splitting:
        photos.max_patches = max(1, side // tile) ** 2
        if side % tile:
            instead = f"image_size to a multiple of {tile}"
    elif side != tile:
        instead = f"image_size: {tile}"
    if instead:
        raise MuseQuestError(
            f"The base model '{profile.base_model}' takes photos in one size, or in tiles of one "
            f"size, and image_size is {side}; set {instead} in the profile."
        )


def closing_token(processor: ProcessorMixin) -> str:
    """The special token by which the chat template ends an answer.

    Found by writing a dialog with its answer; the profile's anatomy.closing_token, where it is set.
    A template without a place for a photo, or that ends no answer, raises MuseQuestError.
    """
    source = processor.tokenizer.name_or_path
    unillustrated = [{**PROBE[0], "content": PROBE[0]["content"][1:]}, PROBE[1]]
    shown, unseen = (render(processor, messages) for messages in (PROBE, unillustrated))
    if shown == unseen:
        raise MuseQuestError(
            f"The chat template of {source} writes no place for a photo; choose a base model that "
            "is tuned for dialogs about photos."
        )
    tail = shown.rpartition(ANSWER)[2]
    special = special_tokens(processor)
    places = {token: tail.find(token) for token in special if token in tail}
    chosen = getattr(processor, "anatomy", {}).get("closing_token")
    if chosen in places or (places and chosen is None):
        return str(chosen or min(places, key=places.__getitem__))
    if chosen is not None:
        raise MuseQuestError(
            f"The chat template of {source} ends an answer with {tail!r}, not with {chosen}; "
            "correct anatomy.closing_token in the profile, or leave it out."
        )
    raise MuseQuestError(
        f"The chat template of {source} ends an answer with {tail!r}, which holds no special "
        "token; choose a base model that is tuned for dialogs, or set anatomy.closing_token in the "
        "profile to a special token that the template writes there."
    )


def render(processor: ProcessorMixin, messages: list[dict[str, Any]], **options: Any) -> str:
    """A dialog as the chat template writes it."""
    if not getattr(processor, "chat_template", None):
        raise MuseQuestError(
            f"The processor of {processor.tokenizer.name_or_path} has no chat template, so it is "
            "not known how it writes a dialog; choose a base model that is tuned for dialogs."
        )
    try:
        # The general form: a processor's own may ask for its video part.
        return ProcessorMixin.apply_chat_template(processor, messages, tokenize=False, **options)
    except TemplateError as error:
        raise MuseQuestError(
            f"The chat template of {processor.tokenizer.name_or_path} cannot write a dialog about "
            f"a photo ({str(error).splitlines()[0].rstrip('.')}); choose a base model that is "
            "tuned for dialogs."
        ) from error


def special_tokens(processor: ProcessorMixin) -> dict[str, int]:
    """The tokens that mean more to the model than their letters do, with their numbers."""
    tokens = processor.tokenizer.added_tokens_decoder
    return {token.content: number for number, token in tokens.items() if token.special}

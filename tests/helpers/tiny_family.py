"""Randomly initialised models of other families, each with its tokenizer, processor and template.

A family differs in how its processor cuts a photo, what its template writes around an answer, and
where its parts stand. All of them see photos of 64 px, with tiles of 32 px where they have tiles.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tiny import tiny_tokenizer
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3Processor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionProcessor,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMProcessor,
)
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from musequest.finetuning.processors import photos_only

TILE, PATCH, SCALE = 32, 8, 2
SIDE = 2 * TILE
TOKENS_A_TILE = (TILE // PATCH // SCALE) ** 2
COMMON = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"]
TILES = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]

# Both write the token of beginning themselves: Idefics3 once, SmolVLM before each role.
IDEFICS3_TEMPLATE = (
    "<s>{% for message in messages %}{{ message['role'].capitalize() }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
SMOLVLM_TEMPLATE = IDEFICS3_TEMPLATE.replace("<s>{% for message", "<|im_start|>{% for message")


def chat_template(image: str, begin: str, end: str, first: str = "", answerer: str = "assistant"):
    """A template of the form that most families have: a role, a line end, what is said, an end."""
    return (
        f"{first}{{% for message in messages %}}"
        f"{{% set role = '{answerer}' if message['role'] == 'assistant' else message['role'] %}}"
        f"{{{{ '{begin}' + role }}}}\n"
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
        f"{{{{ '{image}' }}}}{{% else %}}{{{{ part['text'] }}}}{{% endif %}}{{% endfor %}}{end}\n"
        "{% endfor %}{% if add_generation_prompt %}"
        f"{{{{ '{begin}{answerer}\\n' }}}}{{% endif %}}"
    )


THOUGHT = "{{ '<think>\\n\\n</think>\\n\\n' }}"


def thinking_template(image: str, begin: str, end: str) -> str:
    """One that writes of an answer, but of none to an earlier question, what was thought of it.

    That is nothing, unless `enable_thinking` is set.
    """
    asked = (
        "{% set last = namespace(asked=0) %}{% for message in messages %}"
        "{% if message['role'] == 'user' %}{% set last.asked = loop.index0 %}{% endif %}"
        "{% endfor %}"
    )
    plain = chat_template(image, begin, end, asked)
    answered = f"{{% if loop.index0 > last.asked %}}{THOUGHT}{{% endif %}}"
    plain = plain.replace("{% for part in", answered + "{% for part in")
    slowly = "enable_thinking is defined and enable_thinking is true"
    opened = f"{{% if {slowly} %}}{{{{ '<think>\\n' }}}}{{% else %}}{THOUGHT}{{% endif %}}"
    return plain.removesuffix("{% endif %}") + opened + "{% endif %}"


# In 4 bits a matrix is rounded in blocks of 64.
WIDTHS = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
VISION = {**WIDTHS, "num_hidden_layers": 1, "image_size": TILE, "patch_size": PATCH}
QWEN_VISION = {
    **{"hidden_size": 64, "intermediate_size": 128, "depth": 2, "num_heads": 4},
    **{"patch_size": PATCH, "out_hidden_size": 64, "spatial_merge_size": SCALE},
}


def _text(kind: str, ids: dict[str, int], size: int, **own: Any) -> dict[str, Any]:
    numbers = {"num_key_value_heads": 1, "vocab_size": size, "max_position_embeddings": 2048}
    return {"model_type": kind, **WIDTHS, **numbers, "pad_token_id": ids["<pad>"], **own}


@dataclass(frozen=True)
class Family:
    """How one family's model and processor are made."""

    model: type[PreTrainedModel]
    special: list[str]
    config: Callable[[dict[str, int], int], PretrainedConfig]
    processor: Callable[[PreTrainedTokenizerFast], ProcessorMixin]
    begin: str | None = None
    end: str = "<end_of_utterance>"
    named: dict[str, str] | None = None
    tied: bool = False


def _idefics3(kind: type[PretrainedConfig], begin: str, tied: bool):
    def config(ids: dict[str, int], size: int) -> PretrainedConfig:
        own = {"bos_token_id": ids[begin], "eos_token_id": ids["</s>"], "tie_word_embeddings": tied}
        return kind(
            image_token_id=ids["<image>"],
            scale_factor=SCALE,
            tie_word_embeddings=tied,
            vision_config=VISION,
            text_config=_text("llama", ids, size, **own),
        )

    return config


def _tiles(kind: type) -> Any:
    return kind(size={"longest_edge": SIDE}, max_image_size={"longest_edge": TILE})


def _smolvlm2(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    return photos_only(SmolVLMProcessor)(
        _tiles(SmolVLMImageProcessorPil),
        tokenizer,
        None,
        image_seq_len=TOKENS_A_TILE,
        chat_template=SMOLVLM_TEMPLATE,
    )


def _of_qwen(ids: dict[str, int]) -> dict[str, int]:
    return {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }


def _qwen3(ids: dict[str, int], size: int) -> PretrainedConfig:
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}
    return Qwen3VLConfig(
        **_of_qwen(ids),
        tie_word_embeddings=True,
        vision_config={
            **QWEN_VISION,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        text_config=_text("qwen3_vl_text", ids, size, head_dim=16, rope_parameters=rope),
    )


def _qwen3_5(ids: dict[str, int], size: int) -> PretrainedConfig:
    """Its first layer is of linear attention, its second of the usual."""
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}
    rope |= {"partial_rotary_factor": 1.0}
    linear = {f"linear_{kind}_head_dim": 16 for kind in ("key", "value")}
    linear |= {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
    own = {"layer_types": ["linear_attention", "full_attention"], "tie_word_embeddings": True}
    return Qwen3_5Config(
        **_of_qwen(ids),
        tie_word_embeddings=True,
        vision_config={**QWEN_VISION, "num_position_embeddings": 16},
        text_config=_text(
            *("qwen3_5_text", ids, size), head_dim=16, rope_parameters=rope, **linear, **own
        ),
    )


def _qwen2(ids: dict[str, int], size: int) -> PretrainedConfig:
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}
    vision = {**QWEN_VISION, "fullatt_block_indexes": [1], "window_size": 2 * SCALE * PATCH}
    return Qwen2_5_VLConfig(
        **_of_qwen(ids),
        vision_config=vision,
        text_config=_text("qwen2_5_vl_text", ids, size, rope_parameters=rope),
    )


def _patches(
    kind: type[ProcessorMixin], template: Callable[[str, str, str], str] = chat_template
) -> Callable[[PreTrainedTokenizerFast], ProcessorMixin]:
    def processor(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
        size = {"shortest_edge": TILE**2, "longest_edge": SIDE**2}
        photos = Qwen2VLImageProcessorPil(size=size, patch_size=PATCH, merge_size=SCALE)
        image = "<|vision_start|><|image_pad|><|vision_end|>"
        written = template(image, "<|im_start|>", "<|im_end|>")
        return photos_only(kind)(photos, tokenizer, None, chat_template=written)

    return processor


def _gemma3(ids: dict[str, int], size: int) -> PretrainedConfig:
    own = {"head_dim": 16, "sliding_window": 16, "bos_token_id": ids["<bos>"]}
    layers = {"layer_types": ["sliding_attention", "full_attention"]}
    return Gemma3Config(
        mm_tokens_per_image=TOKENS_A_TILE,
        boi_token_index=ids["<start_of_image>"],
        eoi_token_index=ids["<end_of_image>"],
        image_token_id=ids["<image_soft_token>"],
        vision_config={"model_type": "siglip_vision_model", **VISION, "vision_use_head": False},
        text_config=_text("gemma3_text", ids, size, **own, **layers),
    )


def _gemma3_processor(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    photos = Gemma3ImageProcessorPil(size={"height": TILE, "width": TILE})
    template = chat_template(
        "<start_of_image>", "<start_of_turn>", "<end_of_turn>", "{{ bos_token }}", "model"
    )
    return Gemma3Processor(
        photos, tokenizer, chat_template=template, image_seq_length=TOKENS_A_TILE
    )


def _llava(ids: dict[str, int], size: int) -> PretrainedConfig:
    return LlavaOnevisionConfig(
        image_token_id=ids["<image>"],
        video_token_id=ids["<video>"],
        image_grid_pinpoints=[[TILE, TILE], [TILE, SIDE], [SIDE, TILE], [SIDE, SIDE]],
        vision_config={"model_type": "siglip_vision_model", **VISION, "vision_use_head": False},
        text_config=_text("qwen2", ids, size),
    )


def _llava_processor(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    photos = LlavaOnevisionImageProcessorPil(
        size={"height": TILE, "width": TILE},
        image_grid_pinpoints=[[TILE, TILE], [TILE, SIDE], [SIDE, TILE], [SIDE, SIDE]],
    )
    return photos_only(LlavaOnevisionProcessor)(
        photos,
        tokenizer,
        None,
        num_image_tokens=(TILE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        chat_template=chat_template("<image>\n", "<|im_start|>", "<|im_end|>"),
    )


def _internvl(ids: dict[str, int], size: int) -> PretrainedConfig:
    return InternVLConfig(
        image_token_id=ids["<IMG_CONTEXT>"],
        image_seq_length=TOKENS_A_TILE,
        vision_config={**VISION, "use_qk_norm": False},
        text_config=_text("qwen2", ids, size),
    )


def _internvl_processor(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    photos = GotOcr2ImageProcessorPil(size={"height": TILE, "width": TILE}, max_patches=4)
    return photos_only(InternVLProcessor)(
        photos,
        tokenizer,
        None,
        image_seq_length=TOKENS_A_TILE,
        chat_template=chat_template("<IMG_CONTEXT>\n", "<|im_start|>", "<|im_end|>"),
    )


CHAT = ["<|im_start|>", "<|im_end|>", "<pad>"]
IDEFICS3 = ["</s>", *COMMON, "<pad>", *TILES]
QWEN = [*CHAT, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
GEMMA = {
    "image_token": "<image_soft_token>",
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
}
INTERNVL = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
TURNS = {"eos_token": "<|im_end|>"}


def _idefics3_processor(template: str) -> Callable[[PreTrainedTokenizerFast], ProcessorMixin]:
    def processor(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
        photos = _tiles(Idefics3ImageProcessorPil)
        options = {"image_seq_len": TOKENS_A_TILE, "chat_template": template}
        return Idefics3Processor(photos, tokenizer, **options)

    return processor


FAMILIES = {
    "idefics3": Family(
        Idefics3ForConditionalGeneration,
        ["<s>", *IDEFICS3],
        _idefics3(Idefics3Config, "<s>", False),
        _idefics3_processor(IDEFICS3_TEMPLATE),
        begin="<s>",
    ),
    # SmolVLM-256M is published with the processor of Idefics3, and so it is here.
    "smolvlm": Family(
        SmolVLMForConditionalGeneration,
        ["<|im_start|>", *IDEFICS3],
        _idefics3(SmolVLMConfig, "<|im_start|>", True),
        _idefics3_processor(SMOLVLM_TEMPLATE),
        begin="<|im_start|>",
    ),
    "smolvlm2": Family(
        SmolVLMForConditionalGeneration,
        ["<|im_start|>", *IDEFICS3, "<video>"],
        _idefics3(SmolVLMConfig, "<|im_start|>", True),
        _smolvlm2,
        begin="<|im_start|>",
    ),
    "qwen3_vl": Family(
        Qwen3VLForConditionalGeneration,
        QWEN,
        _qwen3,
        _patches(Qwen3VLProcessor),
        end="<|im_end|>",
        named=TURNS,
    ),
    "qwen3_5": Family(
        Qwen3_5ForConditionalGeneration,
        QWEN,
        _qwen3_5,
        _patches(Qwen3VLProcessor, thinking_template),
        end="<|im_end|>",
        named=TURNS,
    ),
    "qwen2_5_vl": Family(
        Qwen2_5_VLForConditionalGeneration,
        QWEN,
        _qwen2,
        _patches(Qwen2_5_VLProcessor),
        end="<|im_end|>",
        named=TURNS,
    ),
    "gemma3": Family(
        Gemma3ForConditionalGeneration,
        ["<pad>", "<bos>", "</s>", "<start_of_turn>", "<end_of_turn>", *GEMMA.values()],
        _gemma3,
        _gemma3_processor,
        begin="<bos>",
        end="<end_of_turn>",
        named=GEMMA,
    ),
    "llava_onevision": Family(
        LlavaOnevisionForConditionalGeneration,
        [*CHAT, "<image>", "<video>"],
        _llava,
        _llava_processor,
        end="<|im_end|>",
        named=TURNS,
    ),
    "internvl": Family(
        InternVLForConditionalGeneration,
        [*CHAT, *INTERNVL.values()],
        _internvl,
        _internvl_processor,
        end="<|im_end|>",
        named={**TURNS, **INTERNVL},
    ),
}


def save_tiny_relative(kind: str, folder: Path) -> Path:
    """Write weights, configuration and processor of one family to `folder`."""
    family = FAMILIES[kind]
    special = ["<unk>", *family.special]
    tokenizer = tiny_tokenizer(special, family.begin, size=440, **family.named or {})
    torch.manual_seed(0)
    ids = {token: number for number, token in enumerate(special)}
    model = family.model(family.config(ids, len(tokenizer)))
    for name, weight in model.named_parameters():
        if name.endswith("mm_input_projection_weight"):  # which begins with zeros
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    family.processor(tokenizer).save_pretrained(folder)
    return folder

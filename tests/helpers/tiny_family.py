"""Randomly initialised relatives of the tiny docent: Idefics3 and SmolVLM, with their templates."""

from pathlib import Path

import torch
from tiny import tiny_tokenizer
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

TILE, PATCH, SCALE = 32, 8, 2
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

KINDS = {
    "idefics3": (Idefics3Config, Idefics3ForConditionalGeneration, "<s>", IDEFICS3_TEMPLATE),
    "smolvlm": (SmolVLMConfig, SmolVLMForConditionalGeneration, "<|im_start|>", SMOLVLM_TEMPLATE),
}


def save_tiny_relative(kind: str, folder: Path) -> Path:
    """Write weights, configuration and processor of one kind to `folder`.

    SmolVLM-256M is published with the processor of Idefics3, and so it is here.
    """
    config_class, model_class, begin, template = KINDS[kind]
    special = ["<unk>", begin, "</s>", *COMMON, "<pad>", *TILES]
    tokenizer = tiny_tokenizer(special, begin, size=440)
    torch.manual_seed(0)
    ids = {token: number for number, token in enumerate(special)}
    config = config_class(
        image_token_id=ids["<image>"],
        scale_factor=SCALE,
        tie_word_embeddings=kind == "smolvlm",
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": TILE,
            "patch_size": PATCH,
        },
        text_config={
            "model_type": "llama",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 2048,
            "bos_token_id": ids[begin],
            "eos_token_id": ids["</s>"],
            "pad_token_id": ids["<pad>"],
            "tie_word_embeddings": kind == "smolvlm",
        },
    )
    model_class(config).save_pretrained(folder)
    photos = Idefics3ImageProcessorPil(
        size={"longest_edge": 2 * TILE}, max_image_size={"longest_edge": TILE}
    )
    Idefics3Processor(
        photos, tokenizer, image_seq_len=TOKENS_A_TILE, chat_template=template
    ).save_pretrained(folder)
    return folder

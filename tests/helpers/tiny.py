"""A randomly initialised Idefics2, small enough that a test can train it in a second."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    Idefics2Config,
    Idefics2ForConditionalGeneration,
    Idefics2ImageProcessor,
    Idefics2Processor,
    PreTrainedTokenizerFast,
)

SPECIAL = [
    "<unk>",
    "<s>",
    "</s>",
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
    "<pad>",
]
# Idefics2's own form of a dialog.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].capitalize() }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
IMAGE_TOKENS = 8


def tiny_tokenizer(
    special: list[str] = SPECIAL, begin: str | None = "<s>", size: int = 400, **named: str
) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of 400 entries, its special tokens those of Idefics2 unless given.

    `named` are further tokens by their role; without a `begin` texts begin with their words.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lines = [
        "User: What is this and who made it?",
        "Assistant: This is a vase made of clay in 1820.",
    ]
    tokenizer.train_from_iterator(lines * 4, trainer)
    if begin:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, special.index(begin))]
        )
    roles = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", **named}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=begin,
        padding_side="left",
        additional_special_tokens=special[3:6],
        **roles,
    )


def tiny_config(vocabulary: int, width: int = 32) -> Idefics2Config:
    """The smallest shape with every part of Idefics2: vision tower, perceiver, text model."""
    return Idefics2Config(
        image_token_id=SPECIAL.index("<image>"),
        vision_config={
            "hidden_size": width,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 144,
            "patch_size": 24,
        },
        perceiver_config={
            "hidden_size": width,
            "resampler_n_latents": IMAGE_TOKENS,
            "resampler_depth": 1,
            "resampler_n_heads": 2,
            "resampler_head_dim": width // 2,
            "num_key_value_heads": 1,
            "rms_norm_eps": 1e-5,
        },
        text_config={
            "model_type": "mistral",
            "hidden_size": width,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": width // 2,
            "vocab_size": vocabulary,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-5,
            "bos_token_id": SPECIAL.index("<s>"),
            "eos_token_id": SPECIAL.index("</s>"),
            "pad_token_id": SPECIAL.index("<pad>"),
            "sliding_window": None,
        },
    )


def save_tiny_docent(folder: Path, width: int = 32) -> Path:
    """Write weights, configuration and processor to `folder`, loadable by the Auto classes.

    In 4 bits it has to be at least 64 wide: weights are rounded in blocks of so many.
    """
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    model = Idefics2ForConditionalGeneration(tiny_config(len(tokenizer), width))
    # Left at their initial ones, all latents would stay the same.
    torch.nn.init.normal_(model.model.connector.perceiver_resampler.latents, std=0.5)
    model.generation_config.update(
        bos_token_id=SPECIAL.index("<s>"),
        eos_token_id=[SPECIAL.index("</s>"), SPECIAL.index("<end_of_utterance>")],
        pad_token_id=SPECIAL.index("<pad>"),
        bad_words_ids=[[SPECIAL.index("<fake_token_around_image>")], [SPECIAL.index("<image>")]],
    )
    model.save_pretrained(folder)
    photos = Idefics2ImageProcessor(
        size={"shortest_edge": 72, "longest_edge": 144}, do_image_splitting=False
    )
    Idefics2Processor(
        photos, tokenizer, image_seq_len=IMAGE_TOKENS, chat_template=CHAT_TEMPLATE
    ).save_pretrained(folder)
    return folder

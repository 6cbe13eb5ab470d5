"""The architecture of the pocket docent: a small but true Idefics2.

The same classes as Idefics2-8B with every size cut down: a SigLIP-style vision tower, a perceiver
connector and a Mistral text model, at most 12 M parameters in all, and a tokenizer of our own with
Idefics2's special tokens and chat template.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    Idefics2Config,
    Idefics2ForConditionalGeneration,
    Idefics2Processor,
    PreTrainedTokenizerFast,
)

VOCABULARY, LATENTS, IMAGE_SIZE, PATCH = 4096, 16, 128, 16
CONTROL = [
    "<unk>",
    "<s>",
    "</s>",
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
    "<pad>",
]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].capitalize() }}"
    "{{ ':' if message['content'][0]['type'] == 'image' else ': ' }}"
    "{% for part in message['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train a byte-pair tokenizer on `texts`; digits stand alone, spaces belong to words."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=CONTROL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<fake_token_around_image>", "<image>", "<end_of_utterance>"],
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=1024,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Idefics2Processor:
    """The processor: photos of at most 128 px a side, 16 image tokens, Idefics2's chat template."""
    from transformers.models.idefics2 import Idefics2ImageProcessorPil

    images = Idefics2ImageProcessorPil(
        size={"longest_edge": IMAGE_SIZE, "shortest_edge": 3 * IMAGE_SIZE // 4},
        do_image_splitting=False,
    )
    return Idefics2Processor(images, tokenizer, image_seq_len=LATENTS, chat_template=CHAT_TEMPLATE)


def build_model(
    tokenizer: PreTrainedTokenizerFast, seed: int = 0
) -> Idefics2ForConditionalGeneration:
    """A freshly initialised docent.

    transformers starts the perceiver's latents at ones, which keeps all of them identical for
    ever; here they start at random.
    """
    torch.manual_seed(seed)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in CONTROL}
    config = Idefics2Config(
        vision_config={
            "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 5,
            "num_attention_heads": 4, "hidden_act": "relu", "image_size": IMAGE_SIZE,
            "patch_size": PATCH,
        },
        perceiver_config={
            "hidden_size": 256, "resampler_n_latents": LATENTS, "resampler_depth": 2,
            "resampler_n_heads": 8, "resampler_head_dim": 32, "num_key_value_heads": 4,
            "rms_norm_eps": 1e-5,
        },
        text_config={
            "model_type": "mistral", "vocab_size": len(tokenizer), "hidden_size": 256,
            "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 8,
            "num_key_value_heads": 4, "head_dim": 32, "max_position_embeddings": 1024,
            "rms_norm_eps": 1e-5, "sliding_window": None, "rope_theta": 10000.0,
            "bos_token_id": ids["<s>"], "eos_token_id": ids["</s>"], "pad_token_id": ids["<pad>"],
        },
        image_token_id=ids["<image>"],
        tie_word_embeddings=True,
    )  # fmt: skip
    model = Idefics2ForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.connector.perceiver_resampler.latents, std=1.0)
    model.generation_config.update(
        bos_token_id=ids["<s>"],
        eos_token_id=[ids["</s>"], ids["<end_of_utterance>"]],
        pad_token_id=ids["<pad>"],
        bad_words_ids=[[ids["<fake_token_around_image>"]], [ids["<image>"]]],
    )
    return model


def count_parameters(model: torch.nn.Module) -> int:
    """Number of parameters, tied ones once."""
    return sum(p.numel() for p in model.parameters())

"""Dialogs become tensors: photos and questions are given, the answers alone are learned.

A dialog has a photo, as those of a dataset do, or several, or none; and one turn or more.

Rows reach the processes that train in an order which their number does not change. They are dealt
batch by batch: with two processes of 4 rows each, a step sees the very rows that a single process
sees with a batch of 8. Where the rows do not fill a step, blank ones are put behind them, of which
nothing is learned; the library would repeat rows of the beginning instead, and so count them twice.
While a GPU computes on the last batch, other processes read the next ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, Sampler, get_worker_info
from transformers import ProcessorMixin

from ..core.errors import MuseQuestError
from ..core.files import parse_json
from ..core.json_shapes import Dialog
from ..core.tables import PHOTOS
from ..creation.split import places_of_photos, shown_photos
from .processors import closing_token, render, special_tokens
from .records import GIB

IGNORED = -100
PIXELS, PHOTO_MASK = "pixel_values", "pixel_attention_mask"
BLANK = "(blank)"


class DocentCollator:
    """Makes batches of dataset rows for a base model, by its own processor.

    With `learn`, input_ids hold whole dialogs and labels are -100 everywhere but on the answers,
    each with the token that closes it. Without it, they end where the last answer is to begin, and
    there are no labels. Nothing is truncated: a dialog of more than `max_tokens` tokens raises
    MuseQuestError.
    """

    def __init__(
        self, processor: ProcessorMixin, learn: bool = True, max_tokens: int | None = None
    ) -> None:
        self.processor, self.learn, self.max_tokens = processor, learn, max_tokens
        self.apart = False  # what belongs to photos is left in a list of a tensor, or None, a row
        self.reserved = special_tokens(processor)
        self.closing = self.reserved[closing_token(processor)]

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """A batch of rows, raw or encoded, padded to the longest.

        input_ids, labels, attention_mask, and whatever else the processor says of each token:
        (batch, tokens) int64. What it makes of photos, such as pixel_values, stands row after row
        in the first dimension, and is padded with zeros in the others; masks of pixels are bool.

        To learn, texts are padded behind their end, where no token sees it: attention is causal and
        needs no mask, without which it takes its fast kernel. To answer, before their beginning.
        """
        encoded = [row if "input_ids" in row else self.encode(row) for row in rows]
        texts = [row["input_ids"] for row in encoded]
        fill = {"input_ids": self.processor.tokenizer.pad_token_id, "labels": IGNORED}
        batch: dict[str, Any] = {}
        for name in dict.fromkeys(["input_ids", *(name for row in encoded for name in row)]):
            having = [row for row in encoded if name in row]
            if all(row[name].shape == row["input_ids"].shape for row in having):
                held = [row.get(name, torch.zeros_like(row["input_ids"])) for row in encoded]
                batch[name] = _pad(held, fill.get(name, 0), left=not self.learn)
            else:
                each = [row.get(name) for row in encoded]
                batch[name] = each if self.apart else join(each)
        if not self.learn:
            batch["attention_mask"] = _pad([torch.ones_like(text) for text in texts], 0, left=True)
        return batch

    def encode(self, row: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """One row without padding: tensors of tokens without a batch's first dimension.

        What belongs to photos is as the processor gives it for this row: of its `image` and its
        `further_images`, in the order of the dialog. Where that shows none, `image` is None, and
        nothing of that is there. One that shows more or fewer raises MuseQuestError.
        """
        messages = self._messages(row)
        photos = [photo.convert("RGB") for photo in shown_photos(row)]
        if len(photos) != (shown := places_of_photos(messages)):
            raise MuseQuestError(
                f"The dialog of row {_name(row)} shows {shown} photos, and the row has "
                f"{len(photos)}; give each of them its place in the dialog."
            )
        text = self._prompt(messages[:-1]) if not self.learn else render(self.processor, messages)
        encoded = self._processed(text, photos)
        shape = encoded.pop("attention_mask").shape
        encoded = {n: held[0] if held.shape == shape else held for n, held in encoded.items()}
        if PHOTO_MASK in encoded:  # an eighth of the bytes, in all that is kept and passed on
            encoded[PHOTO_MASK] = encoded[PHOTO_MASK].bool()
        if self.max_tokens and len(encoded["input_ids"]) > self.max_tokens:
            raise MuseQuestError(
                f"The dialog of row {_name(row)} takes {len(encoded['input_ids'])} tokens with its "
                f"photo, the model at most {self.max_tokens}; shorten the dialog."
            )
        if self.learn:
            encoded["labels"] = self._labels(encoded["input_ids"], messages, photos, row)
        return encoded

    def _processed(self, text: str, photos: list[Any]) -> dict[str, torch.Tensor]:
        options = {"return_tensors": "pt", **self._beginning(text)}
        return dict(self.processor(text=[text], images=[photos] if photos else None, **options))

    def learned_ids(self, row: Mapping[str, Any]) -> list[int]:
        """The tokens of a row that are learned, found without its photo."""
        text, answers = self._answers(self._messages(row), row)
        return [token for _, start, end in answers for token in text[start:end]]

    def _labels(
        self,
        input_ids: torch.Tensor,
        messages: list[dict[str, Any]],
        photos: list[Any],
        row: Mapping[str, Any],
    ) -> torch.Tensor:
        """The answers' tokens where they stand in `input_ids`, -100 elsewhere.

        The processor stretches a photo's token to many. So an answer stands as much further behind
        as the dialog is longer by that; or if photos follow it, what goes before it.
        """
        text, answers = self._answers(messages, row)
        labels = torch.full_like(input_ids, IGNORED)
        for turn, start, end in answers:
            stretched = len(input_ids) - len(text)
            if places_of_photos(messages[turn:]):
                seen = photos[: places_of_photos(messages[:turn])]
                prompt = self._processed(self._before(messages, turn), seen)
                stretched = prompt["input_ids"].shape[1] - start
            place = slice(stretched + start, stretched + end)
            if input_ids[place].tolist() != text[start:end]:
                raise self._inseparable(row)
            labels[place] = input_ids[place]
        return labels

    def _answers(
        self, messages: list[dict[str, Any]], row: Mapping[str, Any]
    ) -> tuple[list[int], list[tuple[int, int, int]]]:
        """The tokens of a dialog, each photo one of them, and its answers.

        Of each answer the turn, and where it begins and ends.
        """
        text, answers = self._tokens(render(self.processor, messages)), []
        for turn, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            prompt = self._tokens(self._before(messages, turn))
            start = len(prompt)
            if text[:start] != prompt or self.closing not in text[start:]:
                raise self._inseparable(row)
            answers.append((turn, start, text.index(self.closing, start) + 1))
        return text, answers

    def _before(self, messages: list[dict[str, Any]], turn: int) -> str:
        """The text before an answer: the prompt to which it is given.

        Some templates write earlier turns otherwise than those that the model is to go on with.
        There it is what the dialog has in common with one of another answer.
        """
        prompt, whole = self._prompt(messages[:turn]), render(self.processor, messages)
        if turn + 1 == len(messages) or whole.startswith(prompt):
            return prompt
        said = "".join(part["text"] for part in messages[turn]["content"]).lstrip()
        other = {"role": "assistant", "content": [{"type": "text", "text": "AB"[said[0] == "A"]}]}
        changed = [*messages[:turn], other, *messages[turn + 1 :]]
        return os.path.commonprefix([whole, render(self.processor, changed)])

    def _tokens(self, text: str) -> list[int]:
        return self.processor.tokenizer(text, **self._beginning(text))["input_ids"]

    def _prompt(self, messages: list[dict[str, Any]]) -> str:
        return render(self.processor, messages, add_generation_prompt=True)

    def _inseparable(self, row: Mapping[str, Any]) -> MuseQuestError:
        return MuseQuestError(
            f"The chat template does not end the prompt of row {_name(row)} where the answer "
            "begins; its tokens cannot be told apart, so set anatomy.template in the profile to "
            "values with which they can, or use another base model."
        )

    def _beginning(self, text: str) -> dict[str, bool]:
        """A text begins with one token of beginning: the template's where that writes one."""
        begin = self.processor.tokenizer.bos_token
        return {"add_special_tokens": not (begin and text.startswith(begin))}

    def _messages(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The row's dialog, checked: it ends with a non-empty answer and holds no special token."""
        try:
            messages = parse_json(row["dialog"], Dialog)["messages"]
            texts = [part["text"] for m in messages for part in m["content"] if "text" in part]
            ends_well = messages[-1]["role"] == "assistant" and bool(texts[-1].strip())
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            ends_well = False
        if not ends_well:
            raise MuseQuestError(
                f"The dialog of row {_name(row)} is not a question and an answer in the form of "
                'DESIGN.md ({"messages": [user, assistant]}); build the dataset again.'
            )
        for token in self.reserved:
            if any(token in text for text in texts if text):
                raise MuseQuestError(
                    f"The dialog of row {_name(row)} contains the model's own token {token}; "
                    "remove it from the exhibit's texts and build the dataset again."
                )
        return messages


class EncodedDialogs(Dataset):
    """The rows of a split, each encoded once and kept while they take at most `cache_gib` GiB.

    A process that only reads ahead keeps none of its own: it would seldom be asked for one again.
    """

    def __init__(
        self, rows: Sequence[Mapping[str, Any]], collator: DocentCollator, cache_gib: float = 2.0
    ) -> None:
        self.rows = rows
        self.collator = collator
        self.room = int(cache_gib * GIB)
        self.kept: dict[int, dict[str, torch.Tensor]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if index in self.kept:
            return self.kept[index]
        encoded = self.collator.encode(self.rows[index])
        size = sum(values.nbytes for values in encoded.values())
        if size <= self.room and get_worker_info() is None:
            self.room -= size
            self.kept[index] = encoded
        return encoded

    def texts(self) -> Sequence[Mapping[str, Any]]:
        """The rows without their photos, which take long to decode."""
        rows: Any = self.rows
        if not hasattr(rows, "remove_columns"):
            return rows
        return rows.remove_columns([name for name in PHOTOS if name in rows.column_names])

    def learned_tokens(self) -> int:
        """How many tokens of all rows are learned."""
        return sum(int((row["labels"] != IGNORED).sum()) for row in self)


def coloured_tokens(collator: DocentCollator, row: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """The tokens of one row as text, each with whether it is learned."""
    encoded = collator.encode(row)
    tokens = collator.processor.tokenizer.convert_ids_to_tokens(encoded["input_ids"].tolist())
    learned = (encoded["labels"] != IGNORED).tolist()
    return [(_readable(token), flag) for token, flag in zip(tokens, learned, strict=True)]


def _readable(token: str) -> str:
    """A token as text: tokenizers write a space as Ġ or ▁ and a line end as Ċ or <0x0A>."""
    for mark, text in (("Ġ", " "), ("▁", " "), ("Ċ", "\n"), ("<0x0A>", "\n")):
        token = token.replace(mark, text)
    return token


def _pad(sequences: list[torch.Tensor], value: int, *, left: bool) -> torch.Tensor:
    """Stack (tokens,) tensors to (batch, longest)."""
    side = "left" if left else "right"
    return pad_sequence(sequences, batch_first=True, padding_value=value, padding_side=side)


def join(rows: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """Tensors of equal rank behind each other, the shorter ones filled with zeros."""
    tensors = [row for row in rows if row is not None]
    shape = [max(lengths) for lengths in zip(*(each.shape[1:] for each in tensors), strict=True)]
    joined = tensors[0].new_zeros(sum(map(len, tensors)), *shape)
    start = 0
    for each in tensors:
        place = (slice(start, start + len(each)), *(slice(length) for length in each.shape[1:]))
        joined[place] = each
        start += len(each)
    return joined


def _name(row: Mapping[str, Any]) -> str:
    return str(row.get("data_id", "without data_id"))


class FilledRows(Dataset):
    """Encoded rows, filled up with blank ones to a multiple of `multiple`."""

    def __init__(self, rows: EncodedDialogs, multiple: int = 1) -> None:
        self.rows = rows
        self.length = -(-len(rows) // multiple) * multiple

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Row `index`; beyond the last, the first row with nothing to learn from it."""
        if index < len(self.rows):
            return self.rows[index]
        if index >= self.length:
            raise IndexError(index)  # by which whoever reads all rows notices the end
        blank = dict(self.rows[0])
        blank["labels"] = torch.full_like(blank["labels"], IGNORED)
        return blank

    def name(self, index: int) -> str:
        """The data_id of a row."""
        return str(self.rows.rows[index]["data_id"]) if index < len(self.rows) else BLANK


class EpochOrder(Sampler[int]):
    """All rows in an order drawn from seed and epoch alone, then the blank ones.

    Where a step learns from several batches, its rows come by length, so that those of a batch need
    little padding, the longest before there are gradients to be kept beside them. Which rows a step
    learns from is the same.
    """

    def __init__(self, rows: FilledRows, seed: int, rows_a_step: int = 1) -> None:
        self.rows, self.seed, self.epoch, self.rows_a_step = rows, seed, 0, rows_a_step
        own = [len(row["dialog"]) for row in rows.rows.texts()] if rows_a_step > 1 else []
        self.lengths = dict(enumerate(own))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.epoch)
        order = torch.randperm(len(self.rows.rows), generator=generator).tolist()
        order += range(len(self.rows.rows), len(self.rows))
        for first in range(0, len(order), self.rows_a_step):
            step = order[first : first + self.rows_a_step]
            yield from sorted(step, key=lambda index: -self.lengths.get(index, 0))

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self.epoch = epoch

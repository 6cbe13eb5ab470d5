"""Whether what a docent tells is borne out by the catalogue, and what `strict` leaves of it.

    python benchmarks/sources.py             a few minutes; wants a finished LoRA run of `pocket`
    python benchmarks/sources.py --record    and keep it in benchmarks/records/sources.json

The test questions go through the guide, as `ask` does it. What is shown is scored as the evaluation
scores it, all of it and under `strict`. Whether a citation is right is told without the readers
that found it: whatever an exhibit's structured facts say and the sentence repeats word by word, and
each of its digits, has to stand in the source, and the source in the exhibit's own texts. Sentences
made of the museum's facts are held against the catalogue too, rightly and with one fact of another
exhibit, whole or half: another one's workshop in the own town. Of these none should have a source.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from measurement import Measurement

from musequest.core.settings import load_profile
from musequest.creation.exhibits import Exhibit
from musequest.creation.offline_writer import WORDINGS, Facts
from musequest.creation.split import exhibit_rows, given
from musequest.serving import Entry, Guide, Question, Sentence, reading
from musequest.serving.sources import GAP
from musequest.text import encoder, facts, numbers
from musequest.text.claims import check_claims, facts_of

TOGETHER = 16  # questions of a batch
WORD, NUMBER = re.compile(r"[^\W_]+"), re.compile(r"\d+(?:[.,]\d+)?")
OTHERS = 3  # exhibits of which a fact is planted in place of each of an exhibit's own


def main() -> None:
    """Measure, print, and keep the record."""
    measurement = Measurement(__doc__, "sources")
    parser = measurement.parser
    parser.add_argument("--profile", default="pocket")
    parser.add_argument("--approach", default="lora", help="or base, retrieval, rag")
    chosen = parser.parse_args()
    profile = load_profile(chosen.profile)
    guide = Guide(profile, chosen.approach)
    if guide.ungated:
        sys.exit(guide.ungated)
    split = exhibit_rows(profile.collection, profile.evaluation_split)
    rows = [split[number] for number in range(len(split))]
    answers = []
    for start in range(0, len(rows), TOGETHER):
        batch = rows[start : start + TOGETHER]
        answers += guide.answer([Question(r["image"], given(r)["question"]) for r in batch])
        print(f"{len(answers)} of {len(rows)} answered", file=sys.stderr, flush=True)
    told = [(row, answer) for row, answer in zip(rows, answers, strict=True) if answer.title]
    own = [guide.exhibits[row["item_name"]] for row, _ in told]
    cited = [
        (answer.recognition.item_name == exhibit.item_name, citation_right(sentence, exhibit))
        for exhibit, (_, answer) in zip(own, told, strict=True)
        for sentence in answer.sentences
        if sentence.source
    ]
    sentences = [each for _, answer in told for each in answer.sentences]
    entries = {name: Entry(exhibit) for name, exhibit in guide.exhibits.items()}
    ways = {
        "as said": [answer.text for _, answer in told],
        "strict": [
            " ".join(each.text for each in entries[name].kept(answer.sentences))
            for _, answer in told
            if (name := answer.recognition.item_name)
        ],
    }
    truths = [given(row)["ground_truth"] for row, _ in told]
    figures = {
        "profile": profile.name,
        "approach": chosen.approach,
        "questions": len(rows),
        "refused": len(rows) - len(told),
        "taken_for_another": sum(
            answer.recognition.item_name != row["item_name"] for row, answer in told
        ),
        "sentences": len(sentences),
        "without_source": sum(each.source is None for each in sentences),
        "citations": len(cited),
        "citations_right": _share([holds for _, holds in cited]),
        "citations_right_of_recognised": _share([holds for right, holds in cited if right]),
        "shown": {name: shown(texts, truths, own) for name, texts in ways.items()},
        "planted": planted(list(guide.exhibits.values())),
        "ms_an_answer": milliseconds(own, ways["as said"]),
        "threads": torch.get_num_threads(),
    }
    measurement.tell(figures, chosen.record)


def shown(texts: Sequence[str], truths: Sequence[str], own: Sequence[Exhibit]) -> dict[str, Any]:
    """The scores of texts as a visitor sees them, and how long and varied they are."""
    scores: dict[str, list[float]] = {}
    for text, truth, exhibit in zip(texts, truths, own, strict=True):
        sources = "\n".join([exhibit.title, exhibit.description, *exhibit.facts.values()])
        for kind, check in (("number", facts.check_numbers), ("name", facts.check_names)):
            found = check(text, truth, sources)
            for name, value in (
                (f"invented_{kind}_rate", found.invented_rate),
                (f"{kind}_recall", found.recall),
            ):
                if value is not None:
                    scores.setdefault(name, []).append(value)
        told = facts_of(exhibit.facts, exhibit.description, exhibit.credit)
        verdicts = list(check_claims(text, told, sources).values())
        for verdict in ("right", "wrong") if verdicts else ():
            share = verdicts.count(verdict) / len(verdicts)
            scores.setdefault(f"claims_{verdict}", []).append(share)
    words = [WORD.findall(text.casefold()) for text in texts]
    pairs = [pair for each in words for pair in zip(each, each[1:], strict=False)]
    return {name: round(statistics.mean(values), 4) for name, values in scores.items()} | {
        "words": round(statistics.mean(map(len, words)), 1),
        "distinct_2": round(len({*pairs}) / max(1, len(pairs)), 4),  # Li et al. 2016
        "empty": sum(not each for each in words),
    }


def citation_right(sentence: Sentence, exhibit: Exhibit) -> bool:
    """Whether the source is the exhibit's own, and holds all that the sentence repeats of facts."""
    source, texts = str(sentence.source), Entry(exhibit).statements
    if not all(
        part in texts or part in " ".join(exhibit.description.split()) for part in source.split(GAP)
    ):
        return False
    said = sentence.text.replace(exhibit.title, " ")
    if not {*NUMBER.findall(said)} <= {*NUMBER.findall(source)}:
        return False
    held, words = _words(source), _words(said)
    repeated = (_words(value) for value in exhibit.facts.values())
    return all(value <= held for value in repeated if value <= words)


def planted(exhibits: Sequence[Exhibit]) -> dict[str, int]:
    """How many sentences made of facts have a source: true ones, those with a fact of another
    exhibit, and those with a fact `crossed` with another's."""
    counts = {
        f"{kind}{end}": 0 for kind in ("true", "false", "crossed") for end in ("", "_borne_out")
    }
    for place, exhibit in enumerate(exhibits):
        entry = Entry(exhibit)
        for number in range(OTHERS + 1):
            other = exhibits[(place + 7 * number) % len(exhibits)]
            planting = {"false": other.facts, "crossed": crossed(exhibit.facts, other.facts)}
            for kind, planted in planting.items() if number else [("true", exhibit.facts)]:
                sentences = list(
                    _sentences(exhibit, planted, "" if kind == "true" else entry.texts)
                )
                counts[kind] += len(sentences)
                for answer in entry.sourced(sentences):
                    counts[f"{kind}_borne_out"] += any(each.source for each in answer)
    return counts


def crossed(own: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Of facts such as "the map house of Ulver" what the other says and the own name."""
    parted = {
        key: (own[key].rpartition(" of "), other[key].rpartition(" of "))
        for key in own
        if key in other
    }
    return {
        key: f"{said[0]} of {named[2]}"
        for key, (named, said) in parted.items()
        if named[2][:1].isupper() and said[0] and not _words(said[0]) <= _words(own[key])
    }


def _sentences(exhibit: Exhibit, planted: Mapping[str, str], texts: str) -> Iterator[str]:
    """Each fact told, a planted one in place of the exhibit's own, unless `texts` hold it."""
    for group in WORDINGS:
        for key in group:
            if not all(each in exhibit.facts for each in group) or key not in planted:
                continue
            if texts and planted[key] in texts:
                continue
            mixed = Facts(exhibit.facts | {key: planted[key]})
            for wording in mixed.wordings(group):
                sentence = mixed.fill(wording, group, "It", "it")
                if _words(planted[key]) <= _words(sentence):
                    yield sentence


def milliseconds(own: Sequence[Exhibit], texts: Sequence[str]) -> dict[str, float]:
    """What finding an answer's sources takes, with nothing read before but the encoder."""
    encoder.load_encoder().encode(["Loaded."])
    for module in (reading, facts, numbers):
        for function in vars(module).values():
            if hasattr(function, "cache_clear"):
                function.cache_clear()
    entries = {exhibit.item_name: Entry(exhibit) for exhibit in own}
    taken = []
    for exhibit, text in zip(own, texts, strict=True):
        start = time.perf_counter()
        entries[exhibit.item_name].sourced([text])
        taken.append(1000 * (time.perf_counter() - start))
    return {
        "median": round(float(np.median(taken)), 1),
        "p95": round(float(np.percentile(taken, 95)), 1),
    }


def _share(holds: Sequence[bool]) -> float | None:
    return round(sum(holds) / len(holds), 4) if holds else None


def _words(text: str) -> set[str]:
    return {*WORD.findall(text.casefold())}


if __name__ == "__main__":
    main()

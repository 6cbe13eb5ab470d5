"""Visitors in a line: answered together, none lost, and who goes away makes room."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from musequest.core.errors import MuseQuestError
from musequest.serving.batching import Batcher, State
from musequest.serving.web import Refused


class Said:
    """An answer, of which a line needs the text alone."""

    def __init__(self, text: str) -> None:
        self.text = text


class Model:
    """Answers when it may; remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.may, self.words = threading.Event(), 3
        self.may.set()

    def __call__(self, questions: Sequence[Any], on_words: Callable[[int, str], None]) -> list[Any]:
        self.batches.append(list(questions))
        if "bad" in questions:
            raise MuseQuestError("That photo is grey; take another one.")
        if "broken" in questions:
            raise ZeroDivisionError("a secret")
        assert self.may.wait(10)
        for count in range(1, self.words + 1):
            for place, question in enumerate(questions):
                on_words(place, f"{question} " * count)
        return [Said(f"{question} " * self.words) for question in questions]


async def states_of(batcher: Batcher, question: Any) -> list[State]:
    return [State(**vars(state)) async for state in batcher.ask(question)]


def run(model: Model, tell: Callable[[Batcher], Any], **bounds: int) -> Any:
    async def go() -> Any:
        async with Batcher(model, **bounds) as batcher:  # type: ignore[arg-type]
            return await asyncio.wait_for(tell(batcher), 20)

    return asyncio.run(go())


async def until(happened: Callable[[], Any]) -> None:
    while not happened():
        await asyncio.sleep(0.001)


def test_twenty_at_once_are_all_answered_together():
    model = Model()

    async def twenty(batcher: Batcher) -> list[list[State]]:
        return await asyncio.gather(*(states_of(batcher, number) for number in range(20)))

    for number, states in enumerate(run(model, twenty, together=8)):
        assert states[-1].answer and states[-1].text == f"{number} " * 3
        texts = [state.text for state in states if state.text]
        assert texts == sorted(texts)  # each goes on where the last one ended
    assert [len(batch) for batch in model.batches] == [8, 8, 4]
    assert sorted(sum(model.batches, [])) == list(range(20))


def test_a_place_is_told_and_moves_up_as_others_leave():
    model = Model()
    model.may.clear()

    async def tell(batcher: Batcher) -> list[State]:
        first = asyncio.create_task(states_of(batcher, "first"))
        await until(lambda: model.batches)
        line = [asyncio.create_task(states_of(batcher, each)) for each in ("a", "b", "c")]
        await until(lambda: len(batcher.waiting) == 3)
        line[0].cancel()  # closed the page
        await until(lambda: len(batcher.waiting) == 2)
        assert [ticket.state.place for ticket in batcher.waiting] == [1, 2]
        model.may.set()
        assert (await first)[-1].answer
        await line[1]
        return await line[2]

    states = run(model, tell, together=1)
    assert [state.place for state in states if state.place] == [3, 2, 1]
    assert model.batches == [["first"], ["b"], ["c"]] and states[-1].answer


def test_a_full_line_says_when_to_come_again():
    model = Model()
    model.may.clear()

    async def tell(batcher: Batcher) -> None:
        tasks = [asyncio.create_task(states_of(batcher, 0))]
        await until(lambda: model.batches)
        tasks += [asyncio.create_task(states_of(batcher, each)) for each in (1, 2)]
        await until(lambda: len(batcher.waiting) == 2)
        with pytest.raises(Refused, match="Many visitors are asking just now") as refused:
            await states_of(batcher, 3)
        assert refused.value.status == 429 and int(refused.value.headers["Retry-After"]) >= 1
        model.may.set()
        await asyncio.gather(*tasks)
        assert (await states_of(batcher, 3))[-1].answer

    run(model, tell, together=1, most_waiting=2)


def test_nobody_is_answered_who_has_left():
    model = Model()
    model.may.clear()

    async def tell(batcher: Batcher) -> None:
        gone = asyncio.create_task(states_of(batcher, "gone"))
        await until(lambda: model.batches)
        gone.cancel()
        await asyncio.wait([gone])
        model.words = 10**9  # would never end
        model.may.set()
        await asyncio.sleep(0)
        model.words = 1
        assert (await states_of(batcher, "here"))[-1].text == "here "

    run(model, tell)


def test_a_question_that_fails_fails_alone(caplog: pytest.LogCaptureFixture):
    model = Model()

    async def tell(batcher: Batcher) -> list[Any]:
        asked = (states_of(batcher, each) for each in ("a", "bad", "b", "broken"))
        return await asyncio.gather(*asked, return_exceptions=True)

    first, bad, second, broken = run(model, tell)
    assert first[-1].text == "a a a " and second[-1].text == "b b b "
    assert str(bad) == "That photo is grey; take another one."
    assert str(broken) == "Something went wrong here; please ask again."
    assert "ZeroDivisionError" in caplog.text

"""What the model says in the scripted loops: turns as models write them, well or oddly.

A script writes text in which control tokens stand by their names. The server is made to generate
the ids of that text (`sglang_kimi/scripted_output.py`), so the turn takes a real turn's way.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sglang_kimi.codec.vocabulary import Vocabulary

_SUBJECTS: Final = ("parser", "ledger", "encoder", "router", "sampler", "loader", "cache")


@dataclass(frozen=True)
class Scene:
    """Where a turn stands: its number from 0, the calls before it, chance that repeats."""

    number: int
    num_calls: int
    random: random.Random

    @property
    def subject(self) -> str:
        """Return a word that changes from turn to turn."""
        return _SUBJECTS[self.number % len(_SUBJECTS)]

    @property
    def thinking(self) -> str:
        """Return the thinking of the turn."""
        return f"Step {self.number}: look at the {self.subject} before it is changed."

    @property
    def values(self) -> dict[str, Any]:
        """Return the arguments of the turn's call."""
        return {"command": f"grep -n é src/{self.subject}.py", "timeout": 30}


Write = Callable[[Scene], str]
Mangle = Callable[[Vocabulary, Sequence[int], Scene], list[int]]


@dataclass(frozen=True)
class Script:
    """How the model writes its turns.

    write: gives a turn's text. mangle: changes its ids, the text staying the same. is_cut: the
    turn ends by `max_tokens` and not by the end of turn.
    """

    write: Write
    mangle: Mangle | None = None
    is_cut: bool = False

    def token_ids(self, vocabulary: Vocabulary, scene: Scene) -> list[int]:
        """Return the ids that the model generates."""
        text = self.write(scene)
        ids = vocabulary.encode(text if self.is_cut else f"{text}<|im_end|>")
        return self.mangle(vocabulary, ids, scene) if self.mangle else ids


def num_calls(vocabulary: Vocabulary, token_ids: Sequence[int]) -> int:
    """Return how many calls begin in generated ids."""
    return list(token_ids).count(vocabulary.control_id("<|tool_call_begin|>"))


def call(call_id: str, arguments: str) -> str:
    """Write a call as the model does."""
    return f"<|tool_call_begin|>{call_id}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"


def section(*calls: str) -> str:
    """Write a section of calls as the model does."""
    return f"<|tool_calls_section_begin|>{''.join(calls)}<|tool_calls_section_end|>"


def spaced(value: Any) -> str:
    """Write JSON as the chat template renders it again."""
    return json.dumps(value, ensure_ascii=False)


def compact(value: Any) -> str:
    """Write JSON without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def indented(value: Any) -> str:
    """Write JSON over several lines."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def with_arguments(write: Callable[[dict[str, Any]], str]) -> Script:
    """Return a script whose turns are thinking and one call with arguments written so."""
    return Script(lambda s: _turn(s, write(s.values)))


def with_call_id(make: Callable[[Scene], str]) -> Script:
    """Return a script whose calls have such ids."""
    return Script(lambda s: f"{s.thinking}</think>" + section(call(make(s), spaced(s.values))))


def with_frame(before: str = "", between: str = "", after: str = "") -> Script:
    """Return a script with two calls and texts before, between and behind them."""

    def write(scene: Scene) -> str:
        calls = [call(f"functions.Bash:{scene.num_calls + n}", spaced({"n": n})) for n in (0, 1)]
        inside = between.join(calls)
        return f"{scene.thinking}</think>{before}{section(inside)}{after}"

    return Script(write)


def with_thinking(make: Callable[[Scene], str], close: str = "</think>") -> Script:
    """Return a script with such thinking, the text that closes it and a call."""
    return Script(lambda s: make(s) + close + section(_call(s, spaced(s.values))))


def saying(make: Callable[[Scene], str], *, is_cut: bool = False) -> Script:
    """Return a script of any text."""
    return Script(make, is_cut=is_cut)


def cut_call(scene: Scene) -> str:
    """Write a turn that ends within its call's arguments."""
    begun = f"<|tool_call_begin|>functions.Bash:{scene.num_calls}<|tool_call_argument_begin|>"
    return f"{scene.thinking}</think><|tool_calls_section_begin|>{begun}{spaced(scene.values)[:24]}"


def mixed(scene: Scene) -> str:
    """Write a turn as chance has it: one of the odd ways of the other scripts, or none."""
    draw = scene.random.choice
    thinking = scene.thinking + draw(("", "", "\n"))
    before = draw(("", "", "\n\n", "Let me look.\n"))
    write = draw((spaced, spaced, compact, indented, lambda v: json.dumps(v)))
    first = draw((scene.num_calls, scene.num_calls, scene.num_calls, 0))
    calls = [call(f"functions.Bash:{first + n}", write(scene.values)) for n in range(draw((1, 2)))]
    return f"{thinking}</think>{before}{section(*calls)}"


def split_every(num_tokens: int) -> Mangle:
    """Return what cuts one token in so many into two, where the tokenizer never cuts."""

    def mangle(vocabulary: Vocabulary, ids: Sequence[int], scene: Scene) -> list[int]:
        # The turns are alike in length: the place moves on as if they stood in one row.
        place = (-scene.number * len(ids)) % num_tokens
        return split_at(vocabulary, ids, range(place, len(ids), num_tokens))

    return mangle


def split_early(vocabulary: Vocabulary, ids: Sequence[int], scene: Scene) -> list[int]:
    """Cut one token at the beginning of the turn into two."""
    return split_at(vocabulary, ids, [3])


def split_at(vocabulary: Vocabulary, ids: Sequence[int], places: Sequence[int]) -> list[int]:
    """Return ids in which the first token that can be cut, from each place on, is two."""
    result, due = [], 0
    for place, token_id in enumerate(ids):
        due += place in places
        halves = _halves(vocabulary, token_id) if due else None
        result += halves or [token_id]
        due -= bool(halves)
    return result


def _halves(vocabulary: Vocabulary, token_id: int) -> list[int] | None:
    token = vocabulary.token_bytes(token_id)
    if vocabulary.control_text(token_id) is not None or not token.isascii():
        return None
    for cut in range(1, len(token)):
        left, right = vocabulary.rank(token[:cut]), vocabulary.rank(token[cut:])
        if left is not None and right is not None:
            return [left, right]
    return None


def _turn(scene: Scene, arguments: str) -> str:
    return f"{scene.thinking}</think>{section(_call(scene, arguments))}"


def _call(scene: Scene, arguments: str) -> str:
    return call(f"functions.Bash:{scene.num_calls}", arguments)

"""The part `loops`: agents that differ in nothing but their thoughts, which must never cross."""

import re
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from sglang_kimi.codec.vocabulary import Vocabulary

from . import clients, scripts
from .clients import Message
from .prompt_ids import RETURN_IDS, prompt_ids_of
from .scripted_agent import open_client, results_of, say
from .workshop import OURS, Workshop

NUM_AGENTS: Final = 64
NUM_TURNS: Final = 4
_WIDTHS: Final = (9, 18, 9, 9, 11)
_AMBIGUOUS: Final = "sglang_kimi_ledger_ambiguous_total"

LEGEND: Final = f"""\
{NUM_AGENTS} agents at once, {NUM_TURNS} turns; equal prompts and calls, and thoughts that differ.
prompts: those from the second turn on. all own thoughts: with all that their conversation thought.
guessed: with some of it, where nothing told whose it was. crossed: with a thought of another's.
ambiguous: turns that the ledger left to the message (`{_AMBIGUOUS}`; one that
is asked for again while it is cached counts once)."""


class SecretAgent:
    """One of many equal conversations; `secrets` are what its model thought, turn by turn."""

    def __init__(self, number: int, client: Any, vocabulary: Vocabulary, hint: str | None) -> None:
        self.secrets: list[str] = []
        self.prompts: list[str] = []
        self._number, self._client, self._vocabulary, self._hint = number, client, vocabulary, hint
        task = "All of us do the same." if hint else "All of us do the same, and have no name."
        self._messages: list[Message] = [
            {"role": "system", "content": task},
            {"role": "user", "content": "Find out why the tests fail."},
        ]

    def take_turn(self) -> None:
        """Think of something new, make the call that all make, and forget the thinking."""
        turn = len(self.secrets)
        secret = f"{self._number:03d}-{turn:02d}"
        call = scripts.call(f"functions.Bash:{turn}", scripts.compact({"command": "ls"}))
        text = f"The secret is {secret}.</think>{scripts.section(call)}<|im_end|>"
        hint = {"prompt_cache_key": self._hint} if self._hint else {}
        ids = self._vocabulary.encode(text)
        extra = {**RETURN_IDS, **hint}
        answer = say(self._client, self._messages, ids, extra_body=extra)
        self.prompts.append(self._vocabulary.decode(prompt_ids_of(answer)))
        self.secrets.append(secret)
        shown = answer.choices[0].message.model_dump(mode="json", exclude_unset=True)
        returned = clients.drops_reasoning(shown, turn)
        self._messages += [returned, *results_of(returned, turn)]


def run(workshop: Workshop) -> list[str]:
    """Print what stood in the prompts; misses are crossed, lost and guessed secrets."""
    url = workshop.server(OURS).url
    vocabulary = workshop.served_vocabulary
    print(_line("", "prompts", "all own thoughts", "guessed", "crossed", "ambiguous"))
    misses: list[str] = []
    for has_hints in (True, False):
        before = _counter(url, _AMBIGUOUS)
        agents = [
            SecretAgent(n, open_client(url), vocabulary, f"conversation {n}" if has_hints else None)
            for n in range(NUM_AGENTS)
        ]
        _take_turns(agents)
        ambiguous = _counter(url, _AMBIGUOUS) - before
        misses += report(agents, has_hints, ambiguous)
    print(f"\n{LEGEND}")
    return misses


def _take_turns(agents: Sequence[SecretAgent]) -> None:
    """Take all turns in step: every agent has answered before any goes on."""
    with ThreadPoolExecutor(len(agents)) as pool:
        for _ in range(NUM_TURNS):
            for _ in pool.map(SecretAgent.take_turn, agents):
                pass


def report(agents: Sequence[SecretAgent], has_hints: bool, ambiguous: int) -> list[str]:
    """Print the line of one group of agents; returns its misses."""
    later = [
        (set(re.findall(r"\d{3}-\d\d", prompt)), set(agent.secrets[:turn]), set(agent.secrets))
        for agent in agents
        for turn, prompt in enumerate(agent.prompts)
        if turn
    ]
    whole = sum(found == thought for found, thought, _ in later)
    some = sum(bool(found & own) for found, _, own in later)
    crossed = sum(bool(found - own) for found, _, own in later)
    name = "with prompt_cache_key" if has_hints else "without a hint"
    guessed = 0 if has_hints else some
    print(_line(name, len(later), whole, guessed, crossed, ambiguous))
    misses = [f"loops, {name}: {crossed} prompts hold another's thoughts"] if crossed else []
    if has_hints and whole < len(later):
        misses.append(f"loops, {name}: {len(later) - whole} prompts lack thoughts of their own")
    if not has_hints and (some or not ambiguous):
        misses.append(f"loops, {name}: {some} guessed, counter rose by {ambiguous}")
    return misses


def _line(name: str, *cells: object) -> str:
    return f"{name:<22}" + "".join(
        f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)
    )


def _counter(url: str, name: str) -> int:
    """Return a counter of `/metrics`, 0 if it is not there yet."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{url}/metrics", timeout=60) as response:
        lines = response.read().decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith(name))

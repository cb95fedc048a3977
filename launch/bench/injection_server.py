"""Whether any text of a client becomes a control token on its way through a server's endpoints."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sglang_kimi.codec.vocabulary import Vocabulary

from .hostile_requests import Hostile, chat, messages, responses
from .hostile_texts import hostile_texts
from .injection import Tally, filling, token_ids_of
from .prompt_frame import Frame, TokenTable

TOKENIZE: Final = "/tokenize"
CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = "/v1/messages"
COUNT: Final = "/v1/messages/count_tokens"
RESPONSES: Final = "/v1/responses"

_TIMEOUT_S: Final = 300.0
_FEWEST_TOKENS: Final = 3
"""SGLang takes two off the limit of `/v1/responses`."""

Post = Callable[[str, dict[str, Any]], tuple[int, Any]]
"""Sends a body to a path and returns the HTTP status and the decoded answer."""


def connect(url: str) -> tuple[Post, str]:
    """Return what posts to the server at `url`, and the name that it serves its model under."""

    def post(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(url + path, data, kind)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")

    with urllib.request.urlopen(f"{url}/v1/models", timeout=_TIMEOUT_S) as response:
        return post, json.load(response)["data"][0]["id"]


def through_server(
    post: Post, model: str, vocabulary: Vocabulary, num_rounds: int
) -> Iterator[Tally]:
    """Put texts into the places of every API's requests, `num_rounds` texts into each.

    model: the served name. vocabulary: of the served checkpoint.

    What `/v1/messages` and `/v1/responses` make of a request is seen in the prefix cache: after the
    ids that it must become were computed, all of them are found there, or else something differs.
    """
    table = TokenTable(vocabulary.directory)
    texts = hostile_texts(table.control_texts)
    server = _Server(post, model, vocabulary, table)
    tallies = {way: Tally(way) for way in (TOKENIZE, CHAT, MESSAGES, COUNT, RESPONSES)}
    for number in range(num_rounds):
        is_json = number % 2 == 1
        made = chat(filling(texts, number, num_rounds), is_json=is_json)
        tallies[TOKENIZE].count(len(made.places), server.tokenize_fault(made))
        tallies[CHAT].count(len(made.places), server.chat_fault(made))
        made = messages(filling(texts, number, num_rounds), is_json=is_json)
        tallies[COUNT].count(len(made.places), server.count_fault(made))
        tallies[MESSAGES].count(len(made.places), server.messages_fault(made))
        made = responses(filling(texts, number, num_rounds), is_json=is_json)
        tallies[RESPONSES].count(len(made.places), server.responses_fault(made))
    yield from tallies.values()


@dataclass(frozen=True)
class _Server:
    """Asks a server, and says what is wrong with its answer."""

    post: Post
    model: str
    vocabulary: Vocabulary
    table: TokenTable

    def tokenize_fault(self, made: Hostile) -> str | None:
        status, answer = self._ask(TOKENIZE, made)
        return self._refusal(status, answer) or self.table.fault(answer["tokens"], made.frame)

    def chat_fault(self, made: Hostile) -> str | None:
        status, answer = self._ask(CHAT, made, max_tokens=1, return_token_ids=True)
        if refusal := self._refusal(status, answer):
            return refusal
        return self.table.fault(answer["choices"][0]["prompt_token_ids"], made.frame)

    def count_fault(self, made: Hostile) -> str | None:
        status, answer = self._ask(COUNT, made)
        if refusal := self._refusal(status, answer):
            return refusal
        return _differ(answer["input_tokens"], len(self._token_ids(made.frame)))

    def messages_fault(self, made: Hostile) -> str | None:
        num_tokens = self._compute(made.frame)
        status, answer = self._ask(MESSAGES, made, max_tokens=1)
        if refusal := self._refusal(status, answer):
            return refusal
        usage = answer["usage"]
        cached = usage.get("cache_read_input_tokens") or 0
        return _differ(cached + usage["input_tokens"], num_tokens) or _differ(
            cached, num_tokens - 1
        )

    def responses_fault(self, made: Hostile) -> str | None:
        num_tokens = self._compute(made.frame)
        status, answer = self._ask(RESPONSES, made, max_output_tokens=_FEWEST_TOKENS)
        if refusal := self._refusal(status, answer):
            return refusal
        usage = answer["usage"]
        cached = usage["input_tokens_details"]["cached_tokens"]
        return _differ(usage["input_tokens"], num_tokens) or _differ(cached, num_tokens - 1)

    def _ask(self, path: str, made: Hostile, **fields: Any) -> tuple[int, Any]:
        return self.post(path, {"model": self.model, **made.fields, **fields})

    def _refusal(self, status: int, answer: Any) -> str | None:
        return None if status == 200 else f"HTTP {status}: {answer}"

    def _compute(self, frame: Frame) -> int:
        """Let the server compute a prompt's ids, so that its cache holds them; return how many."""
        token_ids = self._token_ids(frame)
        sampling = {"max_new_tokens": 1, "temperature": 0}
        status, answer = self.post(
            "/generate", {"input_ids": token_ids, "sampling_params": sampling}
        )
        assert status == 200, answer
        return len(token_ids)

    def _token_ids(self, frame: Frame) -> list[int]:
        """Return a frame's ids, judged before they are believed."""
        token_ids = token_ids_of(self.vocabulary, frame)
        fault = self.table.fault(token_ids, frame)
        assert fault is None, fault
        return token_ids


def _differ(got: int, wanted: int) -> str | None:
    return None if got == wanted else f"want {wanted} tokens, got {got}"

"""An agent loop through the openai SDK whose model says what a script wants."""

import json
import random
import zlib
from typing import Any, Final

from sglang_kimi.codec.vocabulary import Vocabulary

from . import scripts
from .clients import Message
from .reuse_figures import Usage
from .reuse_rows import Row
from .scripts import Scene

PROCESSOR: Final = json.dumps(
    {"callable": b"csglang_kimi.scripted_output\nScriptedOutput\n.".hex()}
)
"""The logit processor as SGLang takes it: a pickled reference, so that nothing is imported here."""

TOOLS: Final = [
    {
        "type": "function",
        "function": {
            "name": "Bash",
            "description": "Run a command.",
            "parameters": {
                "type": "object",
                "properties": {"command": {"type": "string"}, "timeout": {"type": "number"}},
            },
        },
    }
]
_SPARE_TOKENS: Final = 8
_TIMEOUT_S: Final = 600.0


class ScriptError(RuntimeError):
    """A server refused, or did not say what the script wants; the message says what."""


def open_client(url: str) -> Any:
    """Return an `openai.OpenAI` for the server at `url`."""
    import openai

    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=_TIMEOUT_S)


def say(client: Any, messages: list[Message], script_ids: list[int], **fields: Any) -> Any:
    """Return the server's chat completion: it generates `script_ids`. ScriptError.

    fields: of the request; those of `extra_body` are added to the script's.
    """
    import openai

    script = {"custom_logit_processor": PROCESSOR, "custom_params": {"script": script_ids}}
    is_free = {"tool_grammar": "off"}  # scripts also say what no grammar allows
    extra_body = {**script, **is_free, **fields.pop("extra_body", {})}
    try:
        answer = client.chat.completions.create(
            model="kimi",
            messages=messages,
            tools=TOOLS,
            **{"max_tokens": len(script_ids), **fields},
            extra_body=extra_body,
        )
    except openai.OpenAIError as error:
        raise ScriptError(f"{type(error).__name__}: {error}") from error
    if answer.usage.completion_tokens != len(script_ids):
        raise ScriptError(
            f"want an output of {len(script_ids)} scripted tokens, got "
            f"{answer.usage.completion_tokens}: {answer.choices[0]}"
        )
    return answer


def usage_of(answer: Any) -> Usage:
    """Return a chat completion's usage."""
    usage = answer.usage
    details = usage.prompt_tokens_details
    cached = details.cached_tokens if details else None
    return Usage(usage.prompt_tokens, usage.completion_tokens, cached or 0)


def results_of(message: Message, turn: int) -> list[Message]:
    """Return what follows an assistant's message: a result for each call, else the user's word."""
    calls = message.get("tool_calls") or ()
    if not calls:
        return [{"role": "user", "content": f"Go on with part {turn + 1} of the work, please."}]
    return [
        {
            "role": "tool",
            "tool_call_id": entry["id"],
            "content": f"{turn}: def check(value):\n{turn + 1}:     return value is not None\n",
        }
        for entry in calls
    ]


class ScriptedAgent:
    """One row's conversation with one server; `messages` is the history as the client has it."""

    def __init__(self, client: Any, vocabulary: Vocabulary, row: Row) -> None:
        self._client, self._vocabulary, self._row = client, vocabulary, row
        self._random = random.Random(zlib.crc32(row.name.encode()))
        self._num_calls = 0
        # Of its own, so that no row finds the beginning of another's prompt.
        task = f"You are the coding agent for: {row.name}."
        self.messages: list[Message] = [
            {"role": "system", "content": task},
            {"role": "user", "content": "Find out why the tests fail."},
        ]
        self.usages: list[Usage] = []

    def take_turn(self) -> None:
        """Let the model say its next turn, and write it into the history as the client does."""
        number = len(self.usages)
        scene = Scene(number, self._num_calls, self._random)
        ids = self._row.script.token_ids(self._vocabulary, scene)
        spare = 0 if self._row.script.is_cut else _SPARE_TOKENS
        answer = say(self._client, self.messages, ids, max_tokens=len(ids) + spare)
        self._num_calls += scripts.num_calls(self._vocabulary, ids)
        self.usages.append(usage_of(answer))
        shown = answer.choices[0].message.model_dump(mode="json", exclude_unset=True)
        returned = self._row.rewrite(shown, number)
        self.messages += [returned, *results_of(returned, number)]

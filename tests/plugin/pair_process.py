"""The history of one server of a prefill and decode pair in a process of its own: `JsonProcess`.

Run as a program with the side and the folder of a tokenizer; the environment names the ledger.
"""

import json
import sys
from pathlib import Path
from typing import Any

from sglang_kimi.chat import ledger_choice, request_scope
from sglang_kimi.chat.history import History
from sglang_kimi.chat.metrics import prompt_metrics
from sglang_kimi.chat.request_scope import Pairing, Turn
from sglang_kimi.codec.ledger import Origin
from sglang_kimi.codec.vocabulary import Vocabulary


class _Verbs:
    def __init__(self, side: str, tokenizer: str) -> None:
        self.side = side
        self.history = History(
            Vocabulary.load(Path(tokenizer)), ledger_choice.open_kept(), prompt_metrics()
        )
        self.turns: dict[str, Turn] = {}

    def encode(self, room: str, messages: list[Any], hint: str | None = None) -> list[int]:
        with request_scope.entered(Origin("tenant", hint), Pairing(self.side, room)) as scope:
            encoded = self.history.encode(messages, [], continue_final_message=False)
        assert scope.turn is not None and scope.turn.prompt_ids == encoded.token_ids
        self.turns[room] = scope.turn
        return encoded.token_ids

    def record(self, room: str, output: list[int]) -> None:
        self.turns[room].confirm()
        self.turns[room].record(output)

    def mismatches(self) -> float:
        import prometheus_client

        value = prometheus_client.REGISTRY.get_sample_value("sglang_kimi_prompt_mismatch_total")
        return value or 0.0


def main() -> None:
    """Serve until standard input ends."""
    verbs = _Verbs(*sys.argv[1:])
    for line in sys.stdin:
        verb, *values = json.loads(line)
        try:
            result = getattr(verbs, verb)(*values)
        except ValueError as error:
            result = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()

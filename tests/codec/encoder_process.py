"""An encoder and its ledger's file in a process of their own, see `JsonProcess`.

Run as a program with the folder of a tokenizer and the path of a ledger.
"""

import json
import sys
from pathlib import Path
from typing import Any

from sglang_kimi.codec.conversation import ConversationEncoder
from sglang_kimi.codec.disk_ledger import DiskLedger
from sglang_kimi.codec.ledger import Origin, digest_of
from sglang_kimi.codec.ledger_file import LedgerFile
from sglang_kimi.codec.prompt import PromptCodec
from sglang_kimi.codec.vocabulary import Vocabulary


class _Verbs:
    def __init__(self, tokenizer: str, path: str) -> None:
        self.ledger = DiskLedger(LedgerFile(Path(path)))
        codec = PromptCodec(Vocabulary.load(Path(tokenizer)))
        self.encoder = ConversationEncoder(codec, self.ledger)
        self.origin = Origin("tenant", "conversation")

    def encode(self, messages: list[Any], tools: list[Any], is_open: bool = False) -> list[int]:
        encoded = self.encoder.encode(messages, tools, self.origin, continue_final_message=is_open)
        return encoded.token_ids

    def record(self, prompt: list[int], output: list[int]) -> None:
        self.ledger.record(prompt, output, self.origin)

    def errors(self) -> int:
        return self.ledger.counters["errors"]

    def mix(self, worker: int, num_rounds: int, num_prompts: int) -> int:
        """Record and find among others who do the same; return how often the file failed."""
        for number in range(num_rounds):
            prompt, tenant = number % num_prompts, number // num_prompts % 2
            output = [tenant, prompt, worker, number]
            self.ledger.record([prompt], output, Origin(str(tenant)))
            self.ledger.refresh()
            found = self.ledger.find(str(tenant), digest_of([prompt]))
            held = [list(entry.token_ids) for entry in found.entries] if found else []
            assert output in held
            assert all(ids[:2] == [tenant, prompt] for ids in held)
        return self.errors()


def main() -> None:
    """Serve until standard input ends."""
    verbs = _Verbs(*sys.argv[1:])
    for line in sys.stdin:
        what, *values = json.loads(line)
        print(json.dumps(getattr(verbs, what)(*values)), flush=True)
    verbs.ledger.close()


if __name__ == "__main__":
    main()

"""What `bench peers` gives both sides to do."""

import random
from dataclasses import dataclass
from typing import Final

NUM_GREEDY: Final = 64
MAX_ROUNDS: Final = 3  # of work that takes seconds


@dataclass(frozen=True)
class Work:
    """Some prompts at once. The ids are random: weights are, too.

    is_long: it is repeated at most `MAX_ROUNDS` times.
    """

    name: str
    num_prompts: int
    prompt_tokens: int
    num_tokens: int
    is_long: bool = False

    def prompts(self, vocab_size: int, seed: int) -> list[list[int]]:
        """Return prompts that no other seed gives, so that no cache has them."""
        ids = random.Random(f"{self.name}/{seed}")
        return [
            [ids.randrange(vocab_size) for _ in range(self.prompt_tokens)]
            for _ in range(self.num_prompts)
        ]

    def rounds(self, wanted: int) -> range:
        """Return the seeds of so many rounds."""
        return range(min(wanted, MAX_ROUNDS) if self.is_long else wanted)


GREEDY: Final = Work("greedy", 1, 32, NUM_GREEDY)
DECODES: Final = (
    Work("decode step, 1", 1, 32, 33),
    Work("decode step, 8 at once", 8, 32, 17),
    Work("decode step, 32 at once", 32, 32, 17, is_long=True),
)
PREFILLS: Final = (
    Work("prefill of 512", 1, 512, 1),
    Work("prefill of 4,096", 1, 4096, 1, is_long=True),
)
WARM_UPS: Final = (Work("warm-up", 8, 32, 4), Work("long warm-up", 1, 512, 1))
REQUESTS: Final = (
    Work("server, 1 request", 1, 32, 64),
    Work("server, 8 requests", 8, 32, 64),
    Work("server, 32 requests", 32, 32, 64, is_long=True),
)
CHATS: Final = Work("server, 8 chats", 8, 32, 64)

"""What a loop reused, in figures: counted from the usage that the server reports.

The most that a prompt can find in the cache is the previous prompt and output but for the last
token, which has no state yet (a server may have it all the same; that counts as nothing more).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Usage:
    """One turn's tokens: of its prompt, of its output, and of the prompt from the cache."""

    prompt: int
    output: int
    cached: int

    @property
    def reusable(self) -> int:
        """Return how many tokens of the next prompt the cache can hold."""
        return self.prompt + self.output - 1


@dataclass(frozen=True)
class Reuse:
    """A loop's figures over its turns from the second on.

    all: share of the reusable tokens that came from the cache. own: the same of the model's own
    output. prefill: tokens computed, relative to those that no server could have had.
    full_hits: turns, of num_turns, that found all.
    """

    all: float
    own: float
    prefill: float
    full_hits: int
    num_turns: int

    @property
    def is_full(self) -> bool:
        """Tell whether every turn found all there was."""
        return self.full_hits == self.num_turns


def new_tokens(usages: Sequence[Usage]) -> list[int]:
    """Return for each turn from the second on how many tokens stand behind the reusable ones."""
    return [after.prompt - before.reusable for before, after in pairwise(usages)]


def reuse_of(usages: Sequence[Usage], minimum: Sequence[int]) -> Reuse:
    """Return a loop's figures.

    usages: of its turns, at least two. minimum: `new_tokens` of a server whose prompts begin with
    what was generated, for the same conversation.
    """
    pairs = list(pairwise(usages))
    hits = [min(after.cached, before.reusable) for before, after in pairs]
    reusable = [before.reusable for before, _ in pairs]
    own = [max(0, hit - before.prompt) for hit, (before, _) in zip(hits, pairs, strict=True)]
    computed = [after.prompt - hit for hit, (_, after) in zip(hits, pairs, strict=True)]
    return Reuse(
        all=sum(hits) / sum(reusable),
        own=sum(own) / sum(before.output - 1 for before, _ in pairs),
        prefill=sum(computed) / sum(minimum[: len(pairs)]),
        full_hits=sum(hit == most for hit, most in zip(hits, reusable, strict=True)),
        num_turns=len(pairs),
    )

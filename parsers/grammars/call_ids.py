"""Which tokens continue a call's id: `functions.NAME:INDEX` for the declared names.

Names may hold any characters (`:`, `/`, unicode), so an id is compared as a whole with what the
declared names allow, never parsed.
"""

from collections.abc import Iterable, Mapping

from .masks import MaskVocabulary


class CallIds:
    """The ids that calls of a tool set may carry."""

    def __init__(self, masks: MaskVocabulary, names: Iterable[str]) -> None:
        self._masks = masks
        self._starts = {name: f"functions.{name}:".encode() for name in names}

    def ids(self, index: int) -> dict[str, bytes]:
        """Return the id of every tool's call of this index."""
        return {name: start + str(index).encode() for name, start in self._starts.items()}

    def is_prefix(self, typed: bytes, index: int) -> bool:
        """Return whether some tool's id begins with `typed`."""
        return any(call_id.startswith(typed) for call_id in self.ids(index).values())

    def complete_name(self, typed: bytes, index: int) -> str | None:
        """Return the tool whose id is `typed`, None if it isn't complete."""
        return next((name for name, call_id in self.ids(index).items() if call_id == typed), None)

    def next_ids(
        self, typed: bytes, index: int, costs: Mapping[str, int], num_left: int | None
    ) -> list[int]:
        """Return the ordinary tokens that continue `typed`.

        costs: by tool, the tokens its shortest arguments take, markers included. num_left: tokens
        for id and arguments; where a tool's id might not fit in any spelling only the longest
        tokens are given, and where its arguments don't fit it isn't given, unless none fits.
        """
        rests = {
            name: call_id[len(typed) :]
            for name, call_id in self.ids(index).items()
            if call_id.startswith(typed)
        }
        if num_left is None:
            return self._spellings(rests.values())
        roomy = [rest for name, rest in rests.items() if len(rest) + costs[name] < num_left]
        if roomy:
            return self._spellings(roomy)
        needed = {name: self._masks.num_tokens(rest) + costs[name] for name, rest in rests.items()}
        fitting = [rests[name] for name in rests if needed[name] < num_left]
        if not fitting:
            fitting = [rests[min(needed, key=lambda name: needed[name])]]
        longest = (self._masks.longest_prefix(rest) for rest in fitting if rest)
        return [token_id for token_id in longest if token_id is not None]

    def _spellings(self, rests: Iterable[bytes]) -> list[int]:
        texts = {
            rest[:length]
            for rest in rests
            for length in range(1, min(len(rest), self._masks.max_token_bytes) + 1)
        }
        ids_by_bytes = self._masks.ids_by_bytes
        return [ids_by_bytes[text] for text in texts if text in ids_by_bytes]

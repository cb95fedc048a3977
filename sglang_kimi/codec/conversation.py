"""Conversations to prompts, token-exact and at the price of what is new.

A message that the ledger knows as a turn generated here is put back with the ids of then; any other
is encoded as `PromptCodec` does it. What was encoded before behind the same prefix is taken from a
cache. With an empty ledger the ids are those of `PromptCodec.encode`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from . import messages as fields
from .ledger import Ledger, Origin
from .message_images import ImagedMessages
from .prefix_walk import EncodedConversation, PrefixWalk
from .prompt import PromptCodec, check_continuable
from .shared_prefixes import SharedPrefixes

_NOBODY: Final = Origin()


class ConversationEncoder:
    """Encodes the conversations of a process; thread-safe."""

    def __init__(
        self,
        codec: PromptCodec,
        ledger: Ledger,
        *,
        max_cache_bytes: int = 128 * 1024 * 1024,
    ) -> None:
        """Encode as `codec` does, with the turns of `ledger`; the cache takes `max_cache_bytes`."""
        self.vocabulary = codec.vocabulary
        self.ledger = ledger
        self._prefixes = SharedPrefixes(codec.vocabulary, max_cache_bytes)
        self.cache = self._prefixes.cache
        self.odd_history = self._prefixes.maker.odd

    @property
    def num_cache_bytes(self) -> int:
        """Return the bytes that the cache takes."""
        return self._prefixes.num_bytes

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        origin: Origin = _NOBODY,
        *,
        continue_final_message: bool = False,
    ) -> EncodedConversation:
        """Return a conversation's prompt.

        The arguments are those of `PromptCodec.encode`; of `ImagedMessages` only the new ones are
        read. Raises PromptError, which names the message and field.
        """
        self.ledger.refresh()
        walk = PrefixWalk(self.ledger, self._prefixes, tools, origin)
        if isinstance(messages, ImagedMessages):
            images: Sequence[Any] = messages.images
        else:
            images = fields.check_objects(messages, "messages")
        if continue_final_message:
            check_continuable(messages)
        num_closed = len(messages) - continue_final_message
        index = walk.follow(images, 0, num_closed)
        while index < len(messages):
            turn = walk.step(messages[index], f"messages[{index}]", is_open=index == num_closed)
            if index < num_closed:
                walk.keep_image(images[index], turn)
            index = walk.follow(images, index + 1, num_closed)
        return walk.finish(is_open=continue_final_message)

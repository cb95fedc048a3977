"""What was decided for the assistant turns behind one prompt, among the turns generated there."""

from collections.abc import Hashable
from typing import Final

from .ledger import Candidates
from .same_turn import GeneratedTurn
from .turns import Turn

_CHOICE_BYTES: Final = 300  # objects, beside the texts of the key
_MAX_CHOICES: Final = 256
"""Many agents may share a prompt, each with a name of its own; a table that is full starts anew."""


class Choices:
    """Decisions that hold as long as the candidates are the same; changed under a lock of the user.

    version:   of the candidates.
    num_bytes: about how much memory all that is held here takes.
    """

    def __init__(self, candidates: Candidates, before: "Choices | None") -> None:
        """Start without decisions; take over from `before` what was parsed and is still asked."""
        self.version = candidates.version
        self.num_bytes = _CHOICE_BYTES
        self._last: tuple[Turn, str | None, int] | None = None
        self._serials: dict[Hashable, tuple[Turn, int]] = {}
        self._generated: dict[int, GeneratedTurn] = {}
        for entry in candidates.entries:
            held = None if before is None else before.generated(entry.serial)
            if held is not None:
                self.add_generated(entry.serial, held)

    def find(self, turn: Turn, hint: str | None) -> tuple[Turn, int] | None:
        """Return an equal turn, known from before, and the serial of the entry that it is.

        The serial is 0 where it is none or may be several; None where nothing was decided yet.
        """
        last = self._last
        if last is not None and last[1] == hint and last[0] == turn:
            return last[0], last[2]
        found = self._serials.get((turn, hint))
        if found is not None:
            self._last = (found[0], hint, found[1])
        return found

    def add(self, turn: Turn, hint: str | None, serial: int) -> None:
        """Remember a decision."""
        if (turn, hint) in self._serials:
            return
        if len(self._serials) >= _MAX_CHOICES:
            self.num_bytes -= sum(_choice_bytes(held) for held, _ in self._serials.values())
            self._serials = {}
        self.num_bytes += _choice_bytes(turn)
        self._serials[turn, hint] = (turn, serial)
        self._last = (turn, hint, serial)

    def generated(self, serial: int) -> GeneratedTurn | None:
        """Return an entry's turn as it was parsed, None if it was not yet."""
        return self._generated.get(serial)

    def add_generated(self, serial: int, turn: GeneratedTurn) -> None:
        """Remember an entry's turn as it was parsed."""
        if serial in self._generated:
            return
        self.num_bytes += _CHOICE_BYTES + turn.num_bytes
        self._generated[serial] = turn


def _choice_bytes(turn: Turn) -> int:
    return _CHOICE_BYTES + turn.num_bytes

"""Token-level grammars for Kimi's turns: thinking budget, tool calls, formatted answers.

`GrammarCompiler` (one per server) turns what a request asks for into a grammar; `TurnMatcher` (one
per request) drives it token by token. JSON is held by llguidance over grammars that `json_schema`
writes, what clients write themselves by xgrammar. Imports both, torch and numpy inside functions
only, no other room.
"""

from .bodies import AnswerGrammar, BodyGrammar, FreeGrammar
from .calls import ToolCallGrammar
from .compiler import GrammarCompiler
from .json_schema import SchemaError
from .turn import TurnMatcher

__all__ = [
    "AnswerGrammar",
    "BodyGrammar",
    "FreeGrammar",
    "GrammarCompiler",
    "SchemaError",
    "ToolCallGrammar",
    "TurnMatcher",
]

"""SGLang plugin for Kimi-K2.7-Code. The only room that imports sglang; launch sits on top of it."""

import os as _os

# A checkout used without installing has its rooms beside this folder, not inside it.
if not _os.path.isdir(_os.path.join(__path__[0], "parsers")):
    __path__.append(_os.path.dirname(__path__[0]))

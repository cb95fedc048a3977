"""Names of what the parser repaired or dropped; each is a key of a parser's `counters`.

A counter rises once per event of its kind, so an operator sees what the model really writes. The
letters are the project's decisions about damaged output.
"""

from enum import StrEnum


class Repair(StrEnum):
    """The kinds, one line each with the decision that it follows."""

    THINK_REOPENED = "think_reopened"  # D1: a second <think> was dropped
    STRAY_MARKER = "stray_marker"  # R2, K1: a marker without meaning in its place was removed
    DOUBLED_MARKER = "doubled_marker"  # R1: a section or call marker came twice
    MISSING_MARKER = "missing_marker"  # R1: a section or call marker was absent, read as there
    EMPTY_SECTION = "empty_section"  # a section that held no call marker at all
    SECTION_TEXT_DROPPED = "section_text_dropped"  # C1: text in a section, outside its calls
    SECTION_NOT_ALLOWED = "section_not_allowed"  # N3: no tools declared or tool_choice "none"
    EMPTY_ARGUMENTS = "empty_arguments"  # A3: nothing was written, {} is given
    UNWRAPPED_ARGUMENTS = "unwrapped_arguments"  # A4: a JSON string held the object
    ODD_ARGUMENTS = "odd_arguments"  # A5: passed on though not exactly one balanced object
    CUT_ARGUMENTS = "cut_arguments"  # X1: the output ended inside the arguments
    CUT_ID = "cut_id"  # X2: the output ended before the arguments, no call is given
    ID_USED = "id_used"  # I2: the id was taken already, the call got the next free index
    PREFIX_REPAIRED = "prefix_repaired"  # I3: the id lacked "functions."
    INDEX_REPAIRED = "index_repaired"  # I3: the id lacked an index
    NAME_RECOVERED = "name_recovered"  # I4: the id named no tool, one was found all the same
    CALL_WITHOUT_NAME = "call_without_name"  # I4: no tool could be told, the call was dropped
    CALL_WITHOUT_ARGUMENTS = "call_without_arguments"  # R1 failed: no arguments, no marker
    UNDECLARED_NAME = "undeclared_name"  # N2: passed on under the model's own name
    UNKNOWN_TOKEN = "unknown_token"  # an id outside the vocabulary was ignored

"""An array shape as grammar rules."""

from .shapes import ArrayShape


def array_rules(
    name: str, prefix: list[str | None], rest: str | None, shape: ArrayShape
) -> list[str]:
    """Return the rules of an array of these items; None where an item has no value.

    Nothing is returned where the array itself has none.
    """
    dead = next((index for index, item in enumerate(prefix) if item is None), None)
    most = shape.most
    if dead is not None:
        most = dead if most is None else min(most, dead)
    elif rest is None:
        most = len(prefix) if most is None else min(most, len(prefix))
    if most is not None and shape.least > most:
        return []
    items = [item for item in prefix[:most] if item is not None]
    inner = _items(items, rest, shape.least, most)
    return [f'{name}: "[" {inner} "]"']


def _items(prefix: list[str], rest: str | None, least: int, most: int | None) -> str:
    left = None if most is None else most - len(prefix)
    text = ""
    if rest is not None and left != 0:
        text = _rest(rest, max(least - len(prefix), 0), left, follows=bool(prefix))
    for index in range(len(prefix) - 1, -1, -1):
        comma = '"," ' if index else ""
        text = f"{comma}{prefix[index]} {text}".rstrip()
        if index >= least:
            text = f"({text})?"
    return text


def _rest(item: str, least: int, most: int | None, *, follows: bool) -> str:
    if follows:
        return repeated(f'"," {item}', least, most)
    last = None if most is None else most - 1
    more = repeated(f'"," {item}', max(least - 1, 0), last)
    text = f"{item} {more}".rstrip()
    return text if least else f"({text})?"


def repeated(text: str, least: int, most: int | None) -> str:
    """Return the text from `least` to `most` times; most None: any number."""
    if most is None:
        return f"({text}){{{least},}}" if least else f"({text})*"
    return f"({text}){{{least},{most}}}" if most else ""


def distinct_rules(name: str, items: list[str], least: int, most: int | None) -> list[str]:
    """Return the rules of an array of these items, each at most once, in any order."""
    most = len(items) if most is None else min(most, len(items))
    if least > most:
        return []
    empty = '"[" "]"'
    if most == 0:
        return [f"{name}: {empty}"]
    choices = " | ".join(
        f"{item} {name}t::set_bit({bit}) %if bit_clear({bit})" for bit, item in enumerate(items)
    )
    full = f'"[" {name}m::0 "]"'
    return [
        f"{name}: {full if least else f'{empty} | {full}'}",
        f"{name}m::_: {choices}",
        f'{name}t::_: "" %if bit_count_ge(_, {least})'
        f' | "," {name}m::_ %if bit_count_lt(_, {most})',
    ]


def containing_rules(name: str, item: str | None, wanted: str, least: int) -> list[str]:
    """Return the rules of an array of items, at least `least` of which are wanted ones."""
    if item is None:
        return []
    between = f'("," {item})*'
    more = repeated(f'"," ({item} ",")* {wanted}', least - 1, least - 1)
    return [f'{name}: "[" ({item} ",")* {wanted} {more} {between} "]"']

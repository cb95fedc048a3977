"""Three tools of a coding agent that really run: list, read and search the files of one folder.

A model with random weights fills every free string with noise, so each argument is an enumeration
of things that exist (`enum` in the schema): whatever it chooses, the call does something.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_OUTPUT_CHARS = 1200
MAX_CHOICES = 24
WORDS = ("def ", "class ", "import ", "raise ", "return ", "token", "reasoning", "error")
TEXT_SUFFIXES = {".py", ".md", ".toml", ".jinja"}


class ToolError(ValueError):
    """A call that cannot be carried out; the message goes back to the model as the result."""


@dataclass(frozen=True)
class Tool:
    """A function the model may call: its OpenAI declaration, and what runs."""

    name: str
    description: str
    parameters: dict[str, Any]
    run: Callable[..., str]

    def declaration(self) -> dict[str, Any]:
        """Return the tool in the form of the OpenAI API, held to its schema."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
            "strict": True,
        }
        return {"type": "function", "function": function}


class Sandbox:
    """The text files under `root`, and nothing else: no hidden folder, no link that leads outside.

    root: folder with at least one file whose suffix is in TEXT_SUFFIXES; ValueError otherwise.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.files = sorted(self._text_files())
        if not self.files:
            raise ValueError(f"root: want a folder with source files, found none in {self.root}")
        self.folders = sorted({str(Path(name).parent) for name in self.files})

    def tools(self) -> list[Tool]:
        """Return the tools, their arguments restricted to what this folder holds."""
        files = {"type": "string", "enum": _spread(self.files)}
        folders = {"type": "string", "enum": _spread(self.folders)}
        words = {"type": "string", "enum": list(WORDS)}
        return [
            Tool(
                "list_files",
                "List the source files of a folder with their sizes.",
                _object(folder=folders),
                self.list_files,
            ),
            Tool(
                "read_file",
                "Read the beginning of a source file.",
                _object(path=files),
                self.read_file,
            ),
            Tool(
                "search_text",
                "Search a folder, subfolders included, for a piece of text.",
                _object(text=words, folder=folders),
                self.search_text,
            ),
        ]

    def list_files(self, folder: str) -> str:
        """Return one line for each file of `folder`: size in bytes and name."""
        names = [name for name in self.files if str(Path(name).parent) == folder]
        if not names:
            raise ToolError(f"folder: no source files in {folder!r}")
        return _bounded("\n".join(f"{self._path(n).stat().st_size:>7} {n}" for n in names))

    def read_file(self, path: str) -> str:
        """Return the text of a file, cut at MAX_OUTPUT_CHARS."""
        return _bounded(self._path(path).read_text(encoding="utf-8", errors="replace"))

    def search_text(self, text: str, folder: str) -> str:
        """Return `file:line: text` for each line under `folder` that holds `text`."""
        inside = "" if folder == "." else f"{folder}/"
        hits = []
        for name in self.files:
            if not name.startswith(inside):
                continue
            lines = self._path(name).read_text(encoding="utf-8", errors="replace").splitlines()
            hits += [
                f"{name}:{i}: {line.strip()}" for i, line in enumerate(lines, 1) if text in line
            ]
        return _bounded("\n".join(hits) or f"nothing found for {text!r} in {folder!r}")

    def _path(self, name: str) -> Path:
        """Return a file's place; the list of files is the fence, so `..` and links lead nowhere."""
        if name not in self.files:
            raise ToolError(f"path: no source file {name!r} in the project")
        return self.root / name

    def _text_files(self) -> list[str]:
        found = []
        for folder, subfolders, names in os.walk(self.root):
            subfolders[:] = [
                n for n in subfolders if n[0] not in "._" and n not in ("build", "dist")
            ]
            for name in names:
                path = Path(folder, name)
                if path.suffix in TEXT_SUFFIXES and path.is_file() and not path.is_symlink():
                    found.append(path.relative_to(self.root).as_posix())
        return found


def run_call(tools: list[Tool], name: str, arguments: str) -> str:
    """Carry out one call of the model's; a faulty one gives its error as text and never raises."""
    try:
        tool = next((tool for tool in tools if tool.name == name), None)
        if tool is None:
            raise ToolError(f"no tool {name!r}; there are {', '.join(t.name for t in tools)}")
        values = json.loads(arguments)
        if not isinstance(values, dict) or set(values) != set(tool.parameters["required"]):
            raise ToolError(f"{name}: want exactly {tool.parameters['required']}, got {arguments}")
        return tool.run(**values)
    except (ValueError, OSError) as error:  # JSON errors are ValueErrors
        return f"error: {error}"


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _spread(names: list[str]) -> list[str]:
    """Return at most MAX_CHOICES of `names`, evenly over the whole list."""
    step = max(1, -(-len(names) // MAX_CHOICES))
    return names[::step]


def _bounded(text: str) -> str:
    if len(text) <= MAX_OUTPUT_CHARS:
        return text
    return f"{text[:MAX_OUTPUT_CHARS]}\n[cut: {len(text) - MAX_OUTPUT_CHARS} more characters]"

"""YAML read carefully: errors name the file and line and quote nothing, keys stand once.

Imported only where a file has to be read, because YAML itself takes 25 ms to import.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from broker.errors import ConfigError

_NULL = re.compile(r"^(?:~|null|Null|NULL)$")
_QUOTED = re.compile(r"('(?:<[a-z -]+>|.)')|'[^']*'|\"[^\"]+\"")
"""Quoted text in a parser's message; the group is a token's name or a single character."""

DEPTH_MAX = 100
"""How deep lists and mappings may stand in each other."""

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where PyYAML was built with it: ten times as fast."""


class _OnceLoader(_BASE):  # type: ignore[misc]  # the base is chosen at run time
    """Refuses what YAML lets pass and no person means: a key that stands twice, deep nesting.

    libyaml builds nodes by recursion in C, so a line of brackets would end the process.
    """

    depth = 0

    def descend_resolver(self, parent: yaml.Node | None, index: object) -> None:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise yaml.YAMLError
        super().descend_resolver(parent, index)

    def ascend_resolver(self) -> None:
        self.depth -= 1
        super().ascend_resolver()

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(
                        problem="a key stands here for the second time", problem_mark=key.start_mark
                    )
                seen.add((key.tag, key.value))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


class _TextLoader(_OnceLoader):
    """Scalars stay the text that stands in the file; only null and merge keys mean something.

    A value that was left out is empty text: nobody who forgot a password meant that there is none.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - the name and shape are PyYAML's


_TextLoader.add_implicit_resolver("tag:yaml.org,2002:null", _NULL, ["~", "n", "N"])
_TextLoader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])


def read_yaml(path: Path, *, as_text: bool = False) -> object:
    """What a YAML file holds; None when it is empty or missing.

    Args:
        as_text: Plain scalars are text, whatever number or date they look like.

    Raises:
        ConfigError: It cannot be read, or is no YAML; the line is named, never quoted.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: is not UTF-8 text", fix="Save it as UTF-8") from exc
    except OSError as exc:
        raise ConfigError(
            f"{path}: cannot be read ({exc.strerror})", fix="See that it is a file you may read"
        ) from exc
    return parse_yaml(text, path, as_text=as_text)


def parse_yaml(text: str, path: Path, *, as_text: bool = False) -> object:
    """What a YAML text holds; None when it is empty.

    Args:
        path: Where it came from, for errors.

    Raises:
        ConfigError: It is no YAML; the line is named, never quoted.
    """
    try:
        loader = _TextLoader if as_text else _OnceLoader
        found: object = yaml.load(text, Loader=loader)  # noqa: S506 - both are SafeLoaders
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(
            f"{where}: is not YAML: {_wordless(exc.problem or 'it cannot be parsed')}",
            fix="Look at that line and the one above: indentation, quotes and colons",
        ) from None
    except yaml.reader.ReaderError as exc:
        position = exc.position
        where = f"{path}:{text.count(chr(10), 0, position) + 1}" if position else str(path)
        raise ConfigError(
            f"{where}: is not YAML: it holds a character that YAML does not allow",
            fix="Take it out, or write it as an escape in double quotes",
        ) from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise ConfigError(
            f"{path}: is not YAML that can be used: a value in it is nested too deep or is no "
            "date or number",
            fix="Put quotes around what is meant as text",
        ) from None
    return found


def _wordless(problem: str) -> str:
    """A parser's message without words of the file: a ticket could be among them."""
    return _QUOTED.sub(lambda found: found[1] or "…", problem)

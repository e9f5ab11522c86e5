"""On which line of a TOML text does each key stand?

``tomllib`` checks the syntax but keeps no positions, so this scanner walks a text that ``tomllib`` has
already accepted and only remembers lines. It reads no values.
"""

import tomllib
from collections.abc import Mapping

#: a key path: table and key names, and indices of array elements
Path = tuple[str | int, ...]

_BARE_END = frozenset(" \t.=]}\n#,")


def locate(text: str) -> Mapping[Path, int]:
    """Return the 1-based line of every table, key and array element of a valid TOML ``text``."""
    return _Scanner(text).scan()


def last_key(text: str) -> Path:
    """Return the path of the last table or key that ``text`` declares, perhaps for the second time."""
    scanner = _Scanner(text)
    scanner.scan()
    return scanner.last


class _Scanner:
    def __init__(self, text: str) -> None:
        # A sentinel saves every look ahead its check for the end.
        self.text = text.replace("\r\n", "\n") + "\n"
        self.at = 0
        self.line = 1
        self.found: dict[Path, int] = {}
        self.counts: dict[Path, int] = {}
        self.last: Path = ()

    def scan(self) -> Mapping[Path, int]:
        table: Path = ()
        while self._skip(" \t\n"):
            if self.text[self.at] == "[":
                table = self.last = self._header()
            else:
                self.last = self._pair(table)
        return self.found

    def _skip(self, blank: str) -> bool:
        """Move over ``blank`` characters and comments; tell whether anything is left."""
        while self.at < len(self.text):
            character = self.text[self.at]
            if character == "#":
                self.at = self.text.index("\n", self.at)
            elif character in blank:
                self._advance(1)
            else:
                return True
        return False

    def _advance(self, count: int) -> None:
        self.line += self.text.count("\n", self.at, self.at + count)
        self.at += count

    def _remember(self, path: Path) -> None:
        for length in range(1, len(path) + 1):
            self.found.setdefault(path[:length], self.line)

    def _header(self) -> Path:
        is_array = self.text.startswith("[[", self.at)
        self._advance(2 if is_array else 1)
        path = self._resolve(self._key(), is_array=is_array)
        self._remember(path)
        self._advance(2 if is_array else 1)
        return path

    def _resolve(self, names: Path, *, is_array: bool) -> Path:
        """Return ``names`` with the index of each array of tables on the way."""
        path: Path = ()
        for position, name in enumerate(names):
            path = (*path, name)
            if is_array and position == len(names) - 1:
                self.counts[path] = self.counts.get(path, -1) + 1
            if path in self.counts:
                path = (*path, self.counts[path])
        return path

    def _key(self) -> Path:
        names: list[str] = []
        while True:
            self._skip(" \t")
            names.append(self._name())
            self._skip(" \t")
            if self.text[self.at] != ".":
                return tuple(names)
            self._advance(1)

    def _name(self) -> str:
        start = self.at
        quote = self.text[start]
        if quote in "\"'":
            self._string()
            raw = self.text[start + 1 : self.at - 1]
            return _unescape(raw) if quote == '"' else raw
        while self.text[self.at] not in _BARE_END:
            self.at += 1
        return self.text[start : self.at]

    def _pair(self, table: Path) -> Path:
        path = (*table, *self._key())
        self._remember(path)
        self._advance(1)  # the equals sign
        self._skip(" \t")
        self._value(path)
        return path

    def _value(self, path: Path) -> None:
        character = self.text[self.at]
        if character in "\"'":
            self._string()
        elif character == "[":
            self._array(path)
        elif character == "{":
            self._inline_table(path)
        else:
            while self.text[self.at] not in ",]}\n#":
                self.at += 1

    def _array(self, path: Path) -> None:
        self._advance(1)
        index = 0
        while self._skip(" \t\n,") and self.text[self.at] != "]":
            self.found[(*path, index)] = self.line
            self._value((*path, index))
            index += 1
        self._advance(1)

    def _inline_table(self, path: Path) -> None:
        self._advance(1)
        while self._skip(" \t\n,") and self.text[self.at] != "}":
            self._pair(path)
        self._advance(1)

    def _string(self) -> None:
        quote = self.text[self.at]
        fence = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        end = self.at + len(fence)
        while not self.text.startswith(fence, end):
            end += 2 if quote == '"' and self.text[end] == "\\" else 1
        end += len(fence)
        if len(fence) == 3:
            # Up to two quotes may stand directly before the closing fence.
            while end < len(self.text) and self.text[end] == quote:
                end += 1
        self._advance(end - self.at)


def _unescape(raw: str) -> str:
    return str(tomllib.loads(f'k = "{raw}"')["k"])

"""The vocabulary: symbols that become token ids, one more token that ends a sequence, and some that are only shown."""

from collections.abc import Callable, Iterable, Sequence

from gymnasium.vector import VectorEnv

from ppo.errors import UsageError


class Vocabulary:
    """Token ids of a fixed list of symbols; the id after them, `end`, begins and ends every sequence.

    Args:
        symbols: different, not empty; of one character each where `separator` is empty and nothing else splits a text.
        separator: between two symbols in a text; " " for words.
        shown: further symbols, which the environment may show and the policy cannot write; their ids follow `end`.
        split: how a text falls into symbols; by default at the separator.
        unknown: a symbol that stands for whatever else a text holds; by default such a text is refused.

    Raises:
        UsageError: the symbols cannot be told apart.
    """

    def __init__(
        self, symbols: Iterable[str], separator: str = "", shown: Iterable[str] = (),
        split: Callable[[str], list[str]] | None = None, unknown: str = "",
    ) -> None:  # fmt: skip
        written, self.separator = tuple(symbols), separator
        self.split, self.unknown = split or self._at_separator, unknown
        if not written:
            raise UsageError("a vocabulary of no symbols has nothing to write; give it at least one")
        self.end = len(written)
        self.symbols = (*written, *shown)
        self.ids = {symbol: n + (n >= self.end) for n, symbol in enumerate(self.symbols)}
        if len(self.ids) < len(self.symbols):
            twice = next(symbol for n, symbol in enumerate(self.symbols) if symbol in self.symbols[:n])
            raise UsageError(f"the symbol {twice!r} stands twice in the vocabulary; each may stand once")
        for symbol in self.symbols:
            if not symbol or (split is None and (separator in symbol if separator else len(symbol) > 1)):
                rule = f"without {separator!r}" if separator else "of one character, or give a separator"
                raise UsageError(f"the symbol {symbol!r} cannot be told apart in a text; take symbols {rule}")

    def __len__(self) -> int:
        """Return V, the tokens that can be written, the end token included."""
        return self.end + 1

    @property
    def size(self) -> int:
        """How many tokens there are, with those that are only shown."""
        return len(self.symbols) + 1

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text.

        Raises:
            UsageError: the text holds something that is no symbol.
        """
        symbols = self.split(text)
        if self.unknown:
            symbols = [symbol if symbol in self.ids else self.unknown for symbol in symbols]
        try:
            return [self.ids[symbol] for symbol in symbols]
        except KeyError as error:
            raise UsageError(
                f"{error.args[0]!r} in {text[:60]!r} is none of the {len(self.symbols)} symbols of the vocabulary"
            ) from error

    def _at_separator(self, text: str) -> list[str]:
        return [part for part in text.split(self.separator) if part] if self.separator else list(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of ids; end tokens are left out."""
        return self.separator.join(self.symbols[token - (token > self.end)] for token in tokens if token != self.end)


def vocabulary_in(envs: VectorEnv, name: str) -> Vocabulary:
    """Return the vocabulary of the text environment of that name.

    Raises:
        UsageError: it is none.
    """
    found = getattr(envs.unwrapped, "vocabulary", None)
    if not isinstance(found, Vocabulary):
        raise UsageError(f"{name} is no text environment; there are no tokens to learn")
    return found

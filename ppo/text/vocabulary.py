"""The vocabulary: symbols that become token ids, and one more token that ends a sequence."""

from collections.abc import Iterable, Sequence

from ppo.errors import UsageError


class Vocabulary:
    """Token ids of a fixed list of symbols; the last id, `end`, begins and ends every sequence.

    Args:
        symbols: different, not empty; of one character each where `separator` is empty.
        separator: between two symbols in a text; " " for words.

    Raises:
        UsageError: the symbols cannot be told apart.
    """

    def __init__(self, symbols: Iterable[str], separator: str = "") -> None:
        self.symbols, self.separator = tuple(symbols), separator
        if not self.symbols:
            raise UsageError("a vocabulary of no symbols has nothing to write; give it at least one")
        self.ids = {symbol: n for n, symbol in enumerate(self.symbols)}
        if len(self.ids) < len(self.symbols):
            twice = next(symbol for n, symbol in enumerate(self.symbols) if self.ids[symbol] != n)
            raise UsageError(f"the symbol {twice!r} stands twice in the vocabulary; each may stand once")
        for symbol in self.symbols:
            if not symbol or (separator in symbol if separator else len(symbol) > 1):
                rule = f"without {separator!r}" if separator else "of one character, or give a separator"
                raise UsageError(f"the symbol {symbol!r} cannot be told apart in a text; take symbols {rule}")
        self.end = len(self.symbols)

    def __len__(self) -> int:
        """Return V, the end token included."""
        return len(self.symbols) + 1

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text.

        Raises:
            UsageError: the text holds something that is no symbol.
        """
        symbols = [part for part in text.split(self.separator) if part] if self.separator else list(text)
        try:
            return [self.ids[symbol] for symbol in symbols]
        except KeyError as error:
            raise UsageError(
                f"{error.args[0]!r} in {text[:60]!r} is none of the {len(self.symbols)} symbols of the vocabulary"
            ) from error

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of ids; end tokens are left out."""
        return self.separator.join(self.symbols[token] for token in tokens if token != self.end)

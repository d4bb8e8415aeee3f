"""The vocabulary: symbols that become token ids, one more token that ends a sequence, and some that are only shown."""

from collections.abc import Iterable, Sequence

from ppo.errors import UsageError


class Vocabulary:
    """Token ids of a fixed list of symbols; the id after them, `end`, begins and ends every sequence.

    Args:
        symbols: different, not empty; of one character each where `separator` is empty.
        separator: between two symbols in a text; " " for words.
        shown: further symbols, which the environment may show and the policy cannot write; their ids follow `end`.

    Raises:
        UsageError: the symbols cannot be told apart.
    """

    def __init__(self, symbols: Iterable[str], separator: str = "", shown: Iterable[str] = ()) -> None:
        written, self.separator = tuple(symbols), separator
        if not written:
            raise UsageError("a vocabulary of no symbols has nothing to write; give it at least one")
        self.end = len(written)
        self.symbols = (*written, *shown)
        self.ids = {symbol: n + (n >= self.end) for n, symbol in enumerate(self.symbols)}
        if len(self.ids) < len(self.symbols):
            twice = next(symbol for n, symbol in enumerate(self.symbols) if symbol in self.symbols[:n])
            raise UsageError(f"the symbol {twice!r} stands twice in the vocabulary; each may stand once")
        for symbol in self.symbols:
            if not symbol or (separator in symbol if separator else len(symbol) > 1):
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
        symbols = [part for part in text.split(self.separator) if part] if self.separator else list(text)
        try:
            return [self.ids[symbol] for symbol in symbols]
        except KeyError as error:
            raise UsageError(
                f"{error.args[0]!r} in {text[:60]!r} is none of the {len(self.symbols)} symbols of the vocabulary"
            ) from error

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of ids; end tokens are left out."""
        return self.separator.join(self.symbols[token - (token > self.end)] for token in tokens if token != self.end)

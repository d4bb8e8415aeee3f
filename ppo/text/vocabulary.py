"""The vocabulary: symbols and their token ids, an end token, and symbols that the policy can read but not write."""

from collections.abc import Callable, Iterable, Sequence

from ppo.errors import UsageError


class Vocabulary:
    """Token ids of a fixed list of symbols; the next id, `end`, begins and ends every sequence.

    Args:
        symbols: distinct, non-empty strings. Single characters, unless there is a `separator` or a `split` function.
        separator: between two symbols in a text; " " for words.
        read_only: further symbols, in prompts and replies only: the policy cannot write them. Their ids follow `end`.
        split: splits a text into symbols; by default at the separator.
        unknown: the symbol that stands for every string that is not in the vocabulary; without it, such a text is an error.

    Raises:
        UsageError: the symbols are ambiguous.
    """

    def __init__(
        self, symbols: Iterable[str], separator: str = "", read_only: Iterable[str] = (),
        split: Callable[[str], list[str]] | None = None, unknown: str = ""
    ) -> None:  # fmt: skip
        if not isinstance(symbols, Iterable):
            raise UsageError(f"the symbols {symbols!r:.60} are not a list of texts; give one")
        writable, self.separator = tuple(symbols), separator
        self.split, self.unknown = split or self._split_at_separator, unknown
        if not writable:
            raise UsageError("the vocabulary has no symbols; give it at least one")
        self.end = len(writable)
        self.symbols = (*writable, *read_only)
        if others := [symbol for symbol in self.symbols if not isinstance(symbol, str)]:
            raise UsageError(f"the symbol {others[0]!r:.60} is not a text; give a str")
        self.ids = {symbol: n + (n >= self.end) for n, symbol in enumerate(self.symbols)}
        if len(self.ids) < len(self.symbols):
            repeated = next(symbol for n, symbol in enumerate(self.symbols) if symbol in self.symbols[:n])
            raise UsageError(f"the vocabulary has the symbol {repeated!r} twice; remove one")
        for symbol in self.symbols:
            if not symbol or (split is None and (separator in symbol if separator else len(symbol) > 1)):
                rule = f"without {separator!r}" if separator else "of one character, or give a separator"
                raise UsageError(f"the symbol {symbol!r} cannot be found in a text; use symbols {rule}")
            if any("\ud800" <= letter <= "\udfff" for letter in symbol):
                raise UsageError(f"the symbol {symbol!r} is half of a character (a lone surrogate); remove it")

    def __len__(self) -> int:
        """Return V, the number of tokens that the policy can write, the end token included."""
        return self.end + 1

    @property
    def size(self) -> int:
        """The number of all tokens, read-only ones included."""
        return len(self.symbols) + 1

    def encode(self, text: str, noun: str = "") -> list[int]:
        """Return the token ids of a text.

        Args:
            text: any text.
            noun: names the text in an error; "the prompt", for example.

        Raises:
            UsageError: it is not a text, or has a symbol that is not in the vocabulary, or a lone surrogate.
        """
        if not isinstance(text, str):
            raise UsageError(f"{noun or 'a text'} is {text!r:.60}, which is not a text; give a str")
        where = f"{noun} {text[:60]!r}".lstrip()
        try:
            text.encode()
        except UnicodeEncodeError as error:
            half = text[error.start]
            raise UsageError(f"{half!r} in {where} is half of a character (a lone surrogate); remove it") from error
        symbols = self.split(text)
        if self.unknown:
            symbols = [symbol if symbol in self.ids else self.unknown for symbol in symbols]
        try:
            return [self.ids[symbol] for symbol in symbols]
        except KeyError as error:
            unknown = f"{error.args[0]!r} in {where}"
            raise UsageError(f"{unknown} is not in the vocabulary ({len(self.symbols)} symbols)") from error

    def _split_at_separator(self, text: str) -> list[str]:
        return [part for part in text.split(self.separator) if part] if self.separator else list(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token ids, end tokens left out."""
        return self.separator.join(self.symbols[token - (token > self.end)] for token in tokens if token != self.end)

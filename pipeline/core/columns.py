"""Columns: one growable array for each field of many rows; a row is addressed by its index.

Reading a field of some rows is a gather, a comparison a boolean mask; there is no object a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]
"""Indexes of rows, `(n,)`."""
Mask = NDArray[np.bool_]
"""`(n,)`, True for the rows that are meant."""

Arrays = Mapping[str, NDArray[Any]]
"""A column's part of a snapshot, by name."""

UNKNOWN = 0
"""The code of the empty text, which stands for an unknown one."""
_LEAST_CAPACITY = 64
# After a start from a snapshot, one new row in so many that were restored fits without growth: a
# growth copies all there is, while answers wait.
_SLACK_SHARE = 4
_LEAST_TEXTS = 1_000
# The arena of lists is written anew when more than half of it is of lists that were replaced.
_LEAST_ARENA = 1_024
# Of a list column with less than so many times the rows asked for, all lists are looked at.
_MANY = 8


def with_slack(n: int) -> int:
    """Rows to reserve where `n` are restored."""
    return n + n // _SLACK_SHARE


class Column(Protocol):
    """Columns that a snapshot holds, each under a name of its own."""

    def reserve(self, rows: int) -> None:
        """Make room for so many rows at least."""

    def saved(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """Arrays from which `restore` makes these rows, as rows 0 up to n."""

    def restore(self, arrays: Arrays, n: int) -> None:
        """Take the first `n` rows of what `saved` gave, in place of all that was there.

        Raises:
            KeyError: an array is missing.
            ValueError: an array does not fit.
        """


class Growable:
    """An array that grows by doubling; what was never written holds `fill`.

    Args:
        dtype: of the numbers.
        fill: the value of a row that was never written.
        width: numbers a row, 0 for a plain column.
    """

    def __init__(self, dtype: Any, fill: Any = 0, width: int = 0) -> None:
        self._fill = fill
        self._shape = (width,) if width else ()
        self._array: NDArray[Any] = np.zeros((0, *self._shape), dtype)

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        found: NDArray[Any] = self._array[rows]
        return found

    def __setitem__(self, row: int, value: Any) -> None:
        if row >= len(self._array):
            self.reserve(row + 1)
        self._array[row] = value

    @property
    def array(self) -> NDArray[Any]:
        """All that is reserved; a view, until the next growth."""
        return self._array

    def reserve(self, rows: int) -> None:
        """Make room for so many rows at least."""
        length = len(self._array)
        if rows <= length:
            return
        capacity = max(rows, 2 * length, _LEAST_CAPACITY)
        # zeros take no memory until they are written
        grown = np.zeros((capacity, *self._shape), self._array.dtype)
        grown[:length] = self._array
        if self._fill != 0:
            grown[length:] = self._fill
        self._array = grown

    def saved(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """See `Column`."""
        return {"": self._array[rows]}

    def restore(self, arrays: Arrays, n: int) -> None:
        """See `Column`."""
        found = arrays[""][:n]
        if found.dtype != self._array.dtype or found.shape != (n, *self._shape):
            raise ValueError(
                f"expected {self._array.dtype} of shape {(n, *self._shape)}, "
                f"got {found.dtype} of shape {found.shape}"
            )
        self._array = np.zeros((0, *self._shape), found.dtype)
        self.reserve(with_slack(n))
        self._array[:n] = found


class NumberColumn:
    """Numbers, float64; NaN where unknown."""

    def __init__(self) -> None:
        self._values = Growable(np.float64, np.nan)

    def put(self, row: int, value: float | None) -> None:
        """Set the row's number; None: unknown."""
        self._values[row] = np.nan if value is None else value

    def reserve(self, rows: int) -> None:
        """Make room for so many rows at least."""
        self._values.reserve(rows)

    def get(self, rows: Rows) -> NDArray[np.float64]:
        """The numbers of the rows `(n,)`."""
        return self._values[rows]

    def saved(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """See `Column`."""
        return self._values.saved(rows)

    def restore(self, arrays: Arrays, n: int) -> None:
        """See `Column`."""
        self._values.restore(arrays, n)


class FlagColumn:
    """Booleans; `default` where unknown."""

    def __init__(self, default: bool = False) -> None:
        self._default = default
        self._values = Growable(np.bool_, default)

    def put(self, row: int, value: bool | None) -> None:
        """Set the row's flag; None: unknown."""
        self._values[row] = self._default if value is None else value

    def reserve(self, rows: int) -> None:
        """Make room for so many rows at least."""
        self._values.reserve(rows)

    def get(self, rows: Rows) -> Mask:
        """The flags of the rows `(n,)`."""
        return self._values[rows]

    def saved(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """See `Column`."""
        return self._values.saved(rows)

    def restore(self, arrays: Arrays, n: int) -> None:
        """See `Column`."""
        self._values.restore(arrays, n)


class OptionalFlagColumn:
    """Booleans that may be unknown: read as the numbers 1, 0 and NaN."""

    _NUMBERS = np.array([0.0, 1.0, np.nan])

    def __init__(self) -> None:
        self._codes = Growable(np.int8, fill=-1)

    def put(self, row: int, value: bool | None) -> None:
        """Set the row's flag; None: unknown."""
        self._codes[row] = -1 if value is None else value

    def reserve(self, rows: int) -> None:
        """Make room for so many rows at least."""
        self._codes.reserve(rows)

    def get(self, rows: Rows) -> NDArray[np.float64]:
        """The flags of the rows as numbers `(n,)`."""
        numbers: NDArray[np.float64] = self._NUMBERS[self._codes[rows]]
        return numbers

    def saved(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """See `Column`."""
        return self._codes.saved(rows)

    def restore(self, arrays: Arrays, n: int) -> None:
        """See `Column`."""
        self._codes.restore(arrays, n)


class Dictionary:
    """Codes of texts: 0 is the empty text, others count up in the order of their coming."""

    def __init__(self) -> None:
        self._texts = [""]
        self._codes = {"": UNKNOWN}

    def __len__(self) -> int:
        return len(self._texts)

    def code(self, text: str) -> int:
        """The text's code, a new one where it has none."""
        code = self._codes.get(text)
        if code is None:
            code = self._codes[text] = len(self._texts)
            self._texts.append(text)
        return code

    def find(self, text: str) -> int:
        """The text's code, -1 where it has none."""
        return self._codes.get(text, -1)

    def text(self, code: int) -> str:
        """The text of a code."""
        return self._texts[code]

    @property
    def texts(self) -> Sequence[str]:
        """All texts, each at the place of its code."""
        return self._texts


class TextColumn:
    """Texts, dictionary-encoded; the empty text where unknown."""

    def __init__(self, dictionary: Dictionary | None = None) -> None:
        self.dictionary = dictionary if dictionary is not None else Dictionary()
        self._codes = Growable(np.int32, UNKNOWN)

    def put(self, row: int, value: str | None) -> None:
        """Set the row's text; None: unknown."""
        self._codes[row] = self.dictionary.code(value or "")

    def reserve(self, rows: int) -> None:
        """Make room for so many rows at least."""
        self._codes.reserve(rows)

    def get(self, rows: Rows) -> NDArray[np.int32]:
        """The codes of the rows' texts `(n,)`."""
        return self._codes[rows]

    def text(self, row: int) -> str:
        """The row's text."""
        return self.dictionary.text(int(self._codes[row]))

    def codes(self, rows: Rows) -> NDArray[np.int32]:
        """The codes of all texts of the rows."""
        return self.get(rows)

    def used(self, rows: Rows) -> set[str]:
        """The texts of these rows."""
        return {self.dictionary.text(code) for code in np.unique(self.get(rows)).tolist()}

    def recode(self, dictionary: Dictionary, codes: NDArray[np.int32]) -> None:
        """Take another dictionary: `codes` `(len of the old one,)` has each old code's new one."""
        self._codes.array[:] = codes[self._codes.array]
        self.dictionary = dictionary

    def saved(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """See `Column`: with the texts of these rows alone."""
        return _saved_codes(self._codes[rows], self.dictionary)

    def restore(self, arrays: Arrays, n: int) -> None:
        """See `Column`; the dictionary keeps what it holds."""
        self._codes.restore({"": _restored_codes(arrays, self.dictionary)}, n)

    def is_one_of(self, rows: Rows, texts: Iterable[str]) -> Mask:
        """True where the row's text is one of these."""
        codes = [self.dictionary.find(text) for text in texts]
        return np.isin(self.get(rows), [code for code in codes if code >= 0])


def has_many_unused(column: TextColumn | TextsColumn, rows: int) -> bool:
    """True where the column's dictionary has many more texts than so many rows can use."""
    in_use = column.size if isinstance(column, TextsColumn) else rows
    return len(column.dictionary) > _LEAST_TEXTS + 2 * in_use


def drop_unused_texts(columns: Sequence[TextColumn | TextsColumn], rows: Rows) -> None:
    """Write the dictionary that these columns share anew, with the texts of these rows alone.

    The codes change: all that keeps codes is to be made anew, too.
    """
    old = columns[0].dictionary
    used = np.unique(np.concatenate([[UNKNOWN], *(column.codes(rows) for column in columns)]))
    codes = np.full(len(old), UNKNOWN, np.int32)
    codes[used] = np.arange(len(used))
    dictionary = Dictionary()
    for code in used.tolist():
        dictionary.code(old.text(code))
    for column in columns:
        column.recode(dictionary, codes)


class TextsColumn:
    """Lists of texts, dictionary-encoded in one arena; an empty list where unknown."""

    def __init__(self, dictionary: Dictionary | None = None) -> None:
        self.dictionary = dictionary if dictionary is not None else Dictionary()
        self._starts = Growable(np.int64)
        self._lengths = Growable(np.int32)
        self._arena = Growable(np.int32)
        self._end = self._garbage = 0

    def put(self, row: int, values: Iterable[str] | None) -> None:
        """Set the row's list; None: an empty one."""
        self.reserve(row + 1)
        codes = [self.dictionary.code(text) for text in values or ()]
        self._garbage += int(self._lengths[row])
        self._starts[row], self._lengths[row] = self._end, len(codes)
        self._arena.reserve(self._end + len(codes))
        self._arena.array[self._end : self._end + len(codes)] = codes
        self._end += len(codes)
        if self._garbage > max(self._end // 2, _LEAST_ARENA):
            self._compact()

    def reserve(self, rows: int) -> None:
        """Make room for so many rows at least."""
        self._starts.reserve(rows)
        self._lengths.reserve(rows)

    def texts(self, row: int) -> list[str]:
        """The row's list."""
        start = int(self._starts[row])
        codes = self._arena[start : start + int(self._lengths[row])]
        return [self.dictionary.text(code) for code in codes.tolist()]

    def lengths(self, rows: Rows) -> NDArray[np.int32]:
        """The number of texts of each row `(n,)`."""
        return self._lengths[rows]

    @property
    def size(self) -> int:
        """The number of texts of all lists together."""
        return self._end - self._garbage

    def codes(self, rows: Rows) -> NDArray[np.int32]:
        """The codes of all texts of the rows."""
        return self.entries(rows)[1]

    def recode(self, dictionary: Dictionary, codes: NDArray[np.int32]) -> None:
        """Take another dictionary: `codes` `(len of the old one,)` has each old code's new one."""
        self._arena.array[:] = codes[self._arena.array]
        self.dictionary = dictionary

    def has_any(self, rows: Rows, texts: Iterable[str]) -> Mask:
        """True where the row's list holds one of these at least."""
        found = [self.dictionary.find(text) for text in texts]
        wanted = [code for code in found if code >= 0]
        return self.has_chosen(rows, lambda codes: np.isin(codes, wanted))

    def has_chosen(self, rows: Rows, choose: Callable[[NDArray[np.int32]], Mask]) -> Mask:
        """True where `choose` picks a code of the row's list.

        `choose` sees the codes of these rows, or, where these are many, of all.
        """
        if len(rows) * _MANY > len(self._lengths):
            return self._has_chosen_of_all(rows, choose)
        owners, codes = self.entries(rows)
        mask = np.zeros(len(rows), np.bool_)
        mask[owners[choose(codes)]] = True
        return mask

    def _has_chosen_of_all(self, rows: Rows, choose: Callable[[NDArray[np.int32]], Mask]) -> Mask:
        """One pass through the arena, and two look-ups a row."""
        chosen_before = np.zeros(self._end + 1, np.int32)
        np.cumsum(choose(self._arena[: self._end]), out=chosen_before[1:])
        starts = self._starts[rows]
        return np.asarray(chosen_before[starts + self._lengths[rows]] > chosen_before[starts])

    def entries(self, rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """All texts of the rows: `(m,)` places in `rows`, and `(m,)` codes."""
        lengths = self._lengths[rows].astype(np.int64)
        owners = np.repeat(np.arange(len(rows)), lengths)
        firsts = np.repeat(self._starts[rows] - (np.cumsum(lengths) - lengths), lengths)
        return owners, self._arena[firsts + np.arange(len(owners))]

    def saved(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """See `Column`: with the texts of these rows alone."""
        _, codes = self.entries(rows)
        return {"lengths": self._lengths[rows], **_saved_codes(codes, self.dictionary)}

    def restore(self, arrays: Arrays, n: int) -> None:
        """See `Column`; the dictionary keeps what it holds."""
        self._lengths.restore({"": arrays["lengths"]}, n)
        ends = np.cumsum(self._lengths.array, dtype=np.int64)
        self._end, self._garbage = int(ends[-1]) if n else 0, 0
        self._starts.restore({"": ends - self._lengths.array}, n)
        self._arena.restore({"": _restored_codes(arrays, self.dictionary)}, self._end)

    def _compact(self) -> None:
        rows = np.arange(len(self._lengths), dtype=np.int32)
        _, codes = self.entries(rows)
        lengths = self._lengths.array.astype(np.int64)
        self._starts.array[:] = np.cumsum(lengths) - lengths
        self._arena = Growable(np.int32)
        self._arena.reserve(len(codes))
        self._arena.array[: len(codes)] = codes
        self._end, self._garbage = len(codes), 0


def part_of(arrays: Arrays, name: str) -> Arrays:
    """The arrays whose names begin with this one and a dot, by the rest of their names."""
    prefix = f"{name}."
    return {key[len(prefix) :]: arrays[key] for key in arrays if key.startswith(prefix)}


def with_part(name: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Arrays under names from which `part_of` takes them."""
    return {f"{name}.{key}": array for key, array in arrays.items()}


def packed_texts(texts: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Texts in one array of UTF-8 bytes, and where each ends there `(n,)`."""
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    return {"bytes": np.frombuffer(b"".join(parts), np.uint8), "ends": ends}


def unpacked_texts(arrays: Arrays, n: int | None = None) -> list[str]:
    """The texts of `packed_texts`, the first `n` of them.

    Raises:
        KeyError: an array is missing.
        ValueError: the ends do not fit the bytes, or those are no UTF-8.
    """
    ends = arrays["ends"][:n].tolist()
    content = arrays["bytes"].tobytes()
    if n is not None and len(ends) != n:
        raise ValueError(f"expected {n} texts, got {len(ends)}")
    if ends and ends[-1] > len(content):
        raise ValueError(f"expected texts of {ends[-1]} bytes, got {len(content)}")
    return [
        content[start:end].decode("utf-8", "surrogatepass") for start, end in pairwise([0, *ends])
    ]


def _saved_codes(codes: NDArray[np.int32], dictionary: Dictionary) -> dict[str, NDArray[Any]]:
    """Codes that count through the texts used, and those texts."""
    used, places = np.unique(codes, return_inverse=True)
    texts = packed_texts(map(dictionary.text, used.tolist()))
    return {"codes": places.astype(np.int32), **texts}


def _restored_codes(arrays: Arrays, dictionary: Dictionary) -> NDArray[np.int32]:
    """The codes that the texts have in this dictionary, new ones where they have none."""
    codes = np.array([dictionary.code(text) for text in unpacked_texts(arrays)], np.int32)
    return codes[arrays["codes"]]

"""What attacks have found, and what of it need not be found again.

Belongs here: findings, outcomes and answers of an attack, the memory of what is settled while
ever more is hidden, and the fingerprint of a question. Does not belong here: asking (`asked.py`),
finding (`attack.py`), keeping answers between runs (`estimates_audit.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rcs_assets.disclosure.asked import Asked
from rcs_assets.disclosure.grid import Bools, Ints, Shown
from rcs_assets.disclosure.lp import Reached, System, Targets, without_fixed


@dataclass(frozen=True)
class Unsafe:
    """A hidden quantity of which a coalition learns too much.

    `low`, `high`: what it finds. `excess`: by how much the worse of both falls short of what must
    be possible.
    `by_files`: with files of answers. `school`: who holds the package of this school alone;
    `by_refusals`: and knows who refused there.
    """

    row: int
    place: int
    quantity: str
    low: float
    high: float
    excess: float
    by_files: bool = False
    school: str = ""
    by_refusals: bool = False

    @staticmethod
    def of(
        row: int,
        asked: Asked,
        found: Reached,
        is_found: Bools,
        *,
        by_files: bool = False,
        school: str = "",
    ) -> tuple[Unsafe, ...]:
        """Findings among the targets of the indicator at `row`, with the range reached of each."""
        t = asked.targets
        excess = np.maximum(found.low - t.low_ok, t.high_ok - found.high)
        return tuple(
            Unsafe(
                row,
                int(asked.place[i]),
                str(asked.quantity[i]),
                float(found.low[i]),
                float(found.high[i]),
                float(excess[i]),
                by_files,
                school,
            )
            for i in np.flatnonzero(is_found)
        )


@dataclass(frozen=True)
class Answer:
    """What was found of a question: `open_at`, targets that it did not certify, by position.

    Of a whole indicator these are the excused; `told_at` those that files of answers count, or of
    which who has such files knows too much by them alone: all others are safe from who counts
    everything in them. `programs_n`: linear programs that it took. `parts`: questions that it was
    answered from.
    """

    programs_n: int
    open_at: tuple[int, ...] = ()
    parts: tuple[str, ...] = ()
    told_at: tuple[int, ...] = ()


@dataclass(frozen=True)
class Attack:
    """Outcome of one attack: a coalition on one indicator.

    `cells_n` cells that the coalition's packages have rows for, `hidden_n` of them hidden,
    `targets_n` quantities asked for, `programs_n` linear programs, `unsafe` findings,
    `system_hash` of the question: all bounds, sums and targets. `answers`: of the question and
    its parts, by hash. `excused`: targets, by position, of which the release tells too much and
    yet no more than was known without it.
    """

    coalition: str
    survey: str
    indicator: str
    row: int
    cells_n: int
    hidden_n: int
    targets_n: int = 0
    programs_n: int = 0
    unsafe: tuple[Unsafe, ...] = ()
    system_hash: str = ""
    answers: Mapping[str, Answer] = field(default_factory=dict)
    excused: tuple[int, ...] = ()

    def answered(self, known: Mapping[str, Answer], *questions: str) -> Attack | None:
        """With the answer that the first of these questions had before; None if none had one."""
        for question in questions:
            if answer := known.get(question):
                return replace(
                    self,
                    programs_n=answer.programs_n,
                    system_hash=question,
                    answers={question: answer},
                    excused=answer.open_at,
                )
        return None

    def and_more(self, more: Attack) -> Attack:
        """With what another reader of the coalition finds."""
        return replace(
            self,
            targets_n=self.targets_n + more.targets_n,
            programs_n=self.programs_n + more.programs_n,
            unsafe=self.unsafe + more.unsafe,
            system_hash=fingerprint(self.system_hash, more.system_hash),
            answers={**self.answers, **more.answers},
        )


@dataclass(frozen=True)
class Hidden:
    """What indicators that are hidden alike came to.

    `state`: bytes of their rows × places, each 2 × note (0 none, 1 low, 2 high), and 1 more where
    the cell is hidden. `used`: answers used on the way, by question.
    """

    state: bytes
    used: Mapping[str, Answer]

    def of(self, rows_n: int) -> NDArray[np.int8]:
        """The state as so many rows × places."""
        return np.frombuffer(self.state, dtype=np.int8).reshape(rows_n, -1)


class Answers:
    """Answers known from before, and those that this run has used or found.

    The same question has the same answer. `known`: hash of a question → answer; `known_hidden`:
    of all that the hiding of some indicators hangs on → what they came to. `used`, `used_hidden`:
    those that will be asked again as long as nothing changes; the others need not be kept.
    """

    def __init__(
        self,
        known: Mapping[str, Answer] | None = None,
        known_hidden: Mapping[str, Hidden] | None = None,
    ) -> None:
        self.known = dict(known or {})
        self.known_hidden = dict(known_hidden or {})
        self.used: dict[str, Answer] = {}
        self.used_hidden: dict[str, Hidden] = {}

    def note(self, outcomes: Iterable[Attack]) -> None:
        """Keep what attacks have used or found."""
        for outcome in outcomes:
            self.known |= outcome.answers
            for question, answer in outcome.answers.items():
                self.used[question] = answer
                self.used |= {part: self.known[part] for part in answer.parts}

    def note_hidden(self, question: str, hidden: Hidden) -> None:
        """Keep what indicators came to, and the answers used on the way."""
        self.known |= hidden.used
        self.used |= hidden.used
        self.used_hidden[question] = hidden


@dataclass(frozen=True)
class Found:
    """Of targets asked: `findings`, which targets they are, which ones are excused."""

    findings: tuple[Unsafe, ...]
    is_found: Bools
    is_excused: Bools
    programs_n: int

    @staticmethod
    def nothing(size: int) -> Found:
        """Nothing is found of so many targets."""
        return Found((), np.zeros(size, dtype=bool), np.zeros(size, dtype=bool), 0)


@dataclass(frozen=True)
class Settled:
    """Targets of which nothing is to be found: safe, or `is_excused` by what is known before."""

    is_settled: Bools
    is_excused: Bools
    programs_n: int

    @staticmethod
    def none_of(size: int) -> Settled:
        """Nothing is settled of so many targets."""
        return Settled(np.zeros(size, dtype=bool), np.zeros(size, dtype=bool), 0)

    @staticmethod
    def all_of(size: int) -> Settled:
        """So many targets are not asked."""
        return Settled(np.ones(size, dtype=bool), np.zeros(size, dtype=bool), 0)

    def then(self, at: Ints, found: Found, programs_n: int) -> Settled:
        """With what has been found of some of them."""
        is_settled, is_excused = self.is_settled.copy(), self.is_excused.copy()
        is_settled[at] = ~found.is_found
        is_excused[at] |= found.is_excused
        return Settled(is_settled, is_excused, programs_n)


@dataclass(frozen=True)
class Memory:
    """What was settled of one indicator, and what was shown and asked then.

    Who is told less can rule out less: each point that fitted fits still. Who was excused by
    what his own package tells, is as long as that tells the same.
    """

    shown: Shown
    asked: Asked
    settled: Settled

    def still_holds(self, asked: Asked, shown: Shown, row: int, sees: Bools, own: Bools) -> Settled:
        """Which targets are settled as before; none if more, or anything else, is told now.

        Args:
            asked: the targets of today.
            shown: what is told today.
            row: the indicator's row in the grid.
            sees: places that the reader sees.
            own: those of his own package.
        """
        before, kept = self.asked, self.settled
        if not len(before.place) or self._tells_more(shown, row, sees):
            return Settled.none_of(len(asked.place))
        position = dict(zip(before.names(), range(len(before.place)), strict=True))
        at = np.array([position.get(name, -1) for name in asked.names()], dtype=np.int64)
        asks_less = (asked.targets.low_ok >= before.targets.low_ok[at]) & (
            asked.targets.high_ok <= before.targets.high_ok[at]
        )
        holds = (at >= 0) & asks_less & kept.is_settled[at]
        is_excused = holds & kept.is_excused[at]
        if not self._tells_the_same(shown, row, own):
            holds &= ~is_excused
        return Settled(holds, holds & is_excused, kept.programs_n)

    def _tells_more(self, shown: Shown, row: int, sees: Bools) -> bool:
        then, now = self.shown, shown
        is_shown, note = now.is_shown[row] & sees, np.where(sees, now.note[row], 0)
        if (is_shown & ~then.is_shown[row]).any() or ((note != 0) & (note != then.note[row])).any():
            return True
        return any(
            (getattr(now, name)[row, is_shown] != getattr(then, name)[row, is_shown]).any()
            for name in ("low_n", "high_n", "low_p", "high_p")
        )

    def _tells_the_same(self, shown: Shown, row: int, own: Bools) -> bool:
        return all(
            (getattr(self.shown, name)[row, own] == getattr(shown, name)[row, own]).all()
            for name in ("is_shown", "note", "was_shown", "was_noted")
        )


def question_hash(system: System, targets: Targets, *beside: NDArray[Any]) -> str:
    """Of a question: what can move, its sums and bounds, and how far is far enough.

    `beside`: what else its answer hangs on.
    """
    smaller, asked, _ = without_fixed(system, targets)
    return fingerprint(*parts_of(smaller), *parts_of(asked), *beside)


def knowing(question: str, was_told: NDArray[np.int8]) -> str:
    """The question of who knows cells from releases before; the plain one if there are none.

    The answer to the plain one is one to this, too: it found nothing, and who knew more before is
    told no more now, so that what it excused is excused.
    """
    return fingerprint(question, was_told) if was_told.any() else question


def parts_of(asked: System | Targets) -> Iterator[NDArray[Any] | str]:
    """What answers hang on; where a search starts from is no part of what is asked."""
    for each in fields(asked):
        if each.name not in ("start", "basis"):
            part = getattr(asked, each.name)
            yield "" if part is None else part


def fingerprint(*parts: str | NDArray[Any]) -> str:
    """sha256 of texts and arrays, each with its shape."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            data = part.encode()
        else:
            data = repr(part.tolist()).encode() if part.dtype == object else part.tobytes()
        digest.update(f"{np.shape(part)} {len(data)} ".encode())
        digest.update(data)
    return digest.hexdigest()

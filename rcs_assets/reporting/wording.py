"""Sentences and figures for people, as pure functions of released text.

Belongs here: how a released value reads, and every sentence that depends on results, with
all of its branches. Does not belong here: fixed words (`data/report.yaml`, templates), and
rounding: a value is shown as it was released (outputs.md, pitfall 2).
"""

from __future__ import annotations

from dataclasses import dataclass

from rcs_assets.reporting.package import Cell


@dataclass(frozen=True)
class Counts:
    """Measures of a domain by rating.

    `hidden`: the figure is not shown; `absent`: there is none; `withheld`: the rating is not
    shown, with its figure or without; `withheld_alone`: without it the figure is shown.
    """

    measures: int = 0
    better: int = 0
    similar: int = 0
    worse: int = 0
    hidden: int = 0
    absent: int = 0
    withheld: int = 0
    withheld_alone: int = 0

    @property
    def rated(self) -> int:
        """Measures that have a rating."""
        return self.better + self.similar + self.worse

    @property
    def unrated(self) -> int:
        """Measures that were not compared, so that there is no rating to show or to hide."""
        return self.measures - self.rated - self.withheld


_ONES = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def number(text: str) -> str:
    """A released number without empty decimals: `62.0` → `62`, `24.5` stays."""
    return text[:-2] if text.endswith(".0") else text


def value(cell: Cell) -> str:
    """The estimate with its unit: `62%`; a mean has one decimal."""
    return cell.estimate if cell.statistic == "mean" else f"{number(cell.estimate)}%"


def span(cell: Cell) -> str:
    """The likely range: `57% to 67%`; empty where none was released."""
    if not cell.ci_low:
        return ""
    if cell.statistic == "mean":
        return f"{cell.ci_low} to {cell.ci_high}"
    return f"{number(cell.ci_low)}% to {number(cell.ci_high)}%"


def mark(cell: Cell | None) -> str:
    """The marks of a row in square brackets, one a bracket; empty for a sound figure.

    A row that the package does not have is not available: `[x]`.
    """
    if cell is None:
        return "[x]"
    if cell.status == "published":
        return ""
    note = f" [{cell.note}]" if cell.note in ("low", "high") else ""
    return f"[{cell.status}]{note}"


def thousands(text: str) -> str:
    """A released count with commas: `12345` → `12,345`."""
    return f"{int(float(text)):,}"


def pounds(text: str) -> str:
    """Released pounds: `£1,234,000`."""
    return f"£{int(float(text)):,}"


def plural(n: int, one: str, many: str = "") -> str:
    """`1 measure`, `3 measures`."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def counted(n: int) -> str:
    """A small number in words: `eight`; figures from ten on."""
    return _ONES[n] if n < len(_ONES) else str(n)


def domain_sentence(counts: Counts, others: str) -> str:
    """One sentence before the table of a domain; all branches of outputs.md, pitfall 16.

    Nothing is called similar where nothing was rated.
    """
    better, worse = counts.better, counts.worse
    if not counts.rated:
        return _without_ratings(counts)
    parts = []
    if better:
        parts.append(f"{plural(better, 'measure')} {_verb(better)} better")
    if worse:
        words = f"{plural(worse, 'measure')} {_verb(worse)} worse"
        parts.append(f"{worse} {_verb(worse)} worse" if better else words)
    if not parts:
        size = "gaps of this size are small or could be chance"
        sentence = f"No clear difference from {others}: {size}."
    else:
        sentence = f"{' and '.join(parts)} than {others}."
    withheld = counts.withheld_alone
    more = f" {plural(withheld, 'rating')} {_verb(withheld)} not shown." if withheld else ""
    return sentence + hidden_sentence(counts.hidden) + more


def _without_ratings(counts: Counts) -> str:
    if counts.hidden == counts.measures and counts.hidden:
        return "Results are not shown."
    if withheld := counts.withheld_alone:
        said = "Ratings are not shown."
        if apart := counts.unrated:
            said = f"{plural(withheld, 'rating')} {_verb(withheld)} not shown; "
            said += f"{plural(apart, 'measure')} {_verb(apart)} not rated."
        return said + hidden_sentence(counts.hidden)
    shown = counts.measures - counts.hidden - counts.absent
    return f"{plural(shown, 'measure')} with results." + hidden_sentence(counts.hidden)


def hidden_sentence(hidden: int) -> str:
    """How many results are not shown, with a space before it; empty if none."""
    return f" {plural(hidden, 'result')} {_verb(hidden)} not shown." if hidden else ""


def hidden_by_domain(hidden: int) -> str:
    """What a page says first of hidden results.

    Tables by group and place may hide more, so that it never says that all are shown.
    """
    if not hidden:
        return "[c] marks what is not shown."
    return f"{plural(hidden, 'result')} by domain {_verb(hidden)} not shown [c]."


def _verb(n: int) -> str:
    return "is" if n == 1 else "are"


def empty_list(verdict: str, left_out: int, rated: int) -> str:
    """What stands in place of an empty list of what stands out.

    Args:
        verdict: better or worse.
        left_out: measures with that rating that rest on too few answers for a headline.
        rated: measures that have a rating at all.
    """
    if not rated:
        return "Ratings are not shown."
    if left_out:
        return (
            f"{plural(left_out, 'measure')} {_verb(left_out)} {verdict}, from few answers. "
            "See the tables below."
        )
    if verdict == "better":
        return "No measure is clearly better. That does not mean there are no strengths."
    return "No measure is clearly worse. That does not mean there are no worries."


def gap_sentence(first: Cell | None, last: Cell | None) -> str:
    """The gap between the ends of an ordered breakdown, from released figures alone.

    A gap is named only where the two likely ranges do not meet.
    """
    if first is None or last is None or not (first.is_shown and last.is_shown):
        return "Not shown"
    if not (first.ci_low and last.ci_low) or not ranges_apart(first, last):
        return "No clear gap"
    gap = float(first.estimate) - float(last.estimate)
    unit = "points" if first.statistic == "pct" else "on the scale"
    return f"{number(f'{abs(gap):.1f}')} {unit} {'higher' if gap > 0 else 'lower'}"


def points(text: str) -> str:
    """A released difference in points: `-6.0` → `6 points lower`; empty stays empty."""
    if not text:
        return ""
    size = number(text.lstrip("-"))
    if size == "0":
        return "0 points"
    unit = "point" if size == "1" else "points"
    return f"{size} {unit} {'lower' if text.startswith('-') else 'higher'}"


def points_span(low: str, high: str) -> str:
    """The likely range of a difference, the smaller size first; empty where none was released.

    `-8.0`, `-4.0` → `4 to 8 lower`; `-1.0`, `2.0` → `1 lower to 2 higher`.
    """
    if not (low and high):
        return ""
    below, above = (number(text.lstrip("-")) for text in (low, high))
    if float(low) < 0 < float(high):
        return f"{below} lower to {above} higher"
    if float(low) < 0:
        return f"{above} to {below} lower"
    return f"{below} to {above} higher"


def finding_sentence(clear: int, shown: int, factors: int) -> str:
    """How many factors go clearly with an outcome; every branch has its words.

    Args:
        clear: factors whose likely range leaves out "no difference".
        shown: factors with a result.
        factors: factors that were looked at.
    """
    if not shown:
        return "Results are not shown."
    hidden = hidden_sentence(factors - shown)
    if not clear:
        return f"No clear link with any of {plural(shown, 'factor')}.{hidden}"
    verb = "has" if clear == 1 else "have"
    return f"{clear} of {plural(shown, 'factor')} {verb} a clear link.{hidden}"


def ranges_apart(first: Cell, second: Cell) -> bool:
    """Whether the likely ranges of two shown rows do not meet."""
    return float(first.ci_low) > float(second.ci_high) or float(second.ci_low) > float(
        first.ci_high
    )

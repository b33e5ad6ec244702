"""From the view-model to a document: which blocks a report has, in which words and order.

Belongs here: the composition of reports, for both renderings. Does not belong here: figures
and sentences about results (`views.py`, `parts.py`, `wording.py`), fixed words
(`data/report.yaml`), looks (`render.py`, `pdf.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rcs_assets.reporting import wording
from rcs_assets.reporting.blocks import (
    Block,
    Bullets,
    Cell,
    Column,
    Contents,
    Document,
    Figure,
    Fold,
    Item,
    Key,
    Pair,
    Paragraph,
    Rated,
    Row,
    Run,
    Runs,
    Section,
    Table,
    Terms,
    Tiles,
    plain,
)
from rcs_assets.reporting.changes import ChangePart, ChangeRow
from rcs_assets.reporting.findings import FindingPart, OutcomePart
from rcs_assets.reporting.package import Measure
from rcs_assets.reporting.parts import (
    LEGEND,
    Bullet,
    DomainPart,
    GroupTable,
    MeasureRow,
    PlaceTable,
    Rating,
    SurveyPart,
    WhoTable,
)
from rcs_assets.reporting.services import ReachTable, SpendTable
from rcs_assets.reporting.settings import Settings
from rcs_assets.reporting.technical import technical_blocks
from rcs_assets.reporting.views import Page, PlacePart, ServicePart

_FEW_PLACES = 20


@dataclass(frozen=True)
class _Setter:
    """Sets one report in blocks."""

    page: Page
    settings: Settings

    def word(self, key: str, **values: object) -> str:
        """A fixed word or sentence with its names filled in."""
        return self.settings.words[key].format(**values)

    def suffix(self, survey: SurveyPart) -> str:
        """Whose results a heading is about, where a report has more than one survey."""
        return f": {survey.who.lower()}" if len(self.page.surveys) > 1 else ""

    # --- the whole ---------------------------------------------------------------------

    def document(self) -> Document:
        """The report."""
        sections = tuple(self.sections())
        blocks = (*self.opening(), *self.contents(sections), *sections)
        return self.set(self.page.path, self.page.kind, "head", blocks)

    def one_page(self) -> Document:
        """The summary for elected members: one page of what the report says."""
        page = self.page
        care = (page.care[1], page.chance) if page.has_ratings else page.care
        blocks = [*self.notes(), Tiles(page.tiles)]
        if page.stand_out and page.has_ratings:
            blocks.append(self.stand_out())
        blocks.append(self.glance())
        blocks.append(
            Pair(
                Section("talk", 2, self.word("talk"), (_list(page.talk),)),
                Section("care", 2, self.word("care"), (_list(care),)),
            )
        )
        marks = Terms(tuple((f"[{key}]", text) for key, text in page.marks if key == "c"), "marks")
        blocks.append(marks)
        if page.support:
            blocks.append(Paragraph(plain(page.support), "muted"))
        return self.set("summary", "summary", "head_summary", tuple(blocks))

    def technical(self, text: str) -> Document:
        """The technical report that the run wrote, as it stands."""
        blocks = technical_blocks(text, self.word("technical_opening"))
        sections = (block for block in blocks if isinstance(block, Section))
        links = Contents(self.word("contents"), tuple((s.anchor, s.title) for s in sections))
        made = self.set("technical_report", "technical", "head_technical", (links, *blocks))
        title = self.word("technical_title", title=self.page.title)
        simulated = f"{self.word('simulated_mark')} " if self.page.is_simulated else ""
        return replace(made, title=title, running=f"{simulated}{title}")

    def glance(self) -> Section:
        """One measure an outcome and survey of pupils: the first priority measure of each."""
        rows: list[Row] = []
        for survey in self.page.surveys:
            if not survey.stages:
                continue
            order = self.settings.priority[survey.key]
            for domain in survey.domains:
                found = [row for row in domain.rows if row.indicator in order]
                if found:
                    first = min(found, key=lambda row: order.index(row.indicator))
                    rows.append(self.glanced(f"{domain.title}, {survey.who.lower()}", first))
        columns = [
            Column(self.word("domain")),
            Column(self.word("measure")),
            Column(self.word(self.page.kind), "number"),
            Column(self.word("likely_range"), "number"),
        ]
        columns += [Column(self.page.area, "number")] * self.page.has_area
        caption = self.word("glance_caption")
        table = Table("glance", caption, tuple(columns), tuple(rows), scroll=caption)
        return Section("glance", 2, self.word("glance"), (table,))

    def glanced(self, head: str, row: MeasureRow) -> Row:
        """One measure of the summary."""
        title = f"{row.title} ({row.note})" if row.note else row.title
        cells = [Cell(title), Cell(row.value, "number own"), Cell(row.span, "number")]
        cells += [Cell(row.area, "number")] * self.page.has_area
        return Row(plain(head), tuple(cells), indicator=row.indicator)

    def set(self, path: str, kind: str, head_words: str, blocks: tuple[Block, ...]) -> Document:
        """Blocks with the head and the foot that every document of the package has."""
        page = self.page
        simulated = f"{self.word('simulated_mark')} " if page.is_simulated else ""
        head = self.word(head_words, title=page.title, release=page.release)
        running = self.word("running", title=page.title, year=page.year).rstrip()
        return Document(
            path=path,
            kind=kind,
            head=simulated + head,
            title=page.title,
            kicker=page.kicker,
            year=page.year,
            lines=" | ".join(page.lines),
            skip=self.word("skip"),
            running=simulated + running,
            page_words=(self.word("page"), self.word("of")),
            as_of=page.as_of,
            blocks=blocks,
            foot=(
                Terms(tuple(pair for pair in page.facts if pair[1]), "facts"),
                Paragraph(plain(self.word("foot"))),
            ),
        )

    def opening(self) -> Iterator[Block]:
        """What stands above the first heading, the summary of a CPP, and the tiles."""
        page = self.page
        yield from self.notes()
        if page.summary:
            said_by = self.word("authored" if page.is_authored else "standard")
            by = Paragraph(plain(said_by), "muted")
            yield Section("summary", 2, self.word("summary"), (*page.summary, by), "summary")
        yield Tiles(page.tiles)

    def notes(self) -> Iterator[Block]:
        """What the figures are: simulated, of which release, how many are not shown."""
        page = self.page
        if page.is_simulated:
            mark = Run(f"{self.word('simulated_mark')}.", "strong")
            yield Paragraph((mark, Run(f" {self.word('simulated')}")), "simulated")
        said = self.word("release", release=page.release, as_of=page.as_of, policy=page.policy)
        more = wording.hidden_by_domain(sum(part.hidden for part in page.surveys))
        yield Paragraph(plain(f"{said} {more}"), "release")
        if page.why_hidden:
            yield Paragraph(plain(page.why_hidden), "statement")
        if page.statement:
            yield Paragraph(plain(page.statement), "statement")

    def contents(self, sections: Sequence[Block]) -> Iterator[Block]:
        """Links to the main sections of a long page; a school's needs none."""
        if self.page.kind == "school":
            return
        links = tuple((s.anchor, s.title) for s in sections if isinstance(s, Section))
        yield Contents(self.word("contents"), links)

    def sections(self) -> Iterator[Block]:
        """Everything under a heading, in order."""
        page = self.page
        if page.stand_out:
            yield self.stand_out()
        for survey in page.surveys:
            if survey.is_rated and survey.count("rated"):
                yield self.overview(survey)
        yield self.reading()
        yield Pair(
            Section("talk", 2, self.word("talk"), (_list(page.talk),)),
            Section("care", 2, self.word("care"), (_list((*page.care, page.chance)),)),
        )
        for survey in page.surveys:
            yield self.results(survey)
            if survey.pairs:
                yield self.pairs(survey)
            for table in survey.groups:
                yield self.groups(survey, table)
        yield from self.more()
        yield self.about()

    def more(self) -> Iterator[Section]:
        """What the report of a CPP or of the programme adds."""
        page = self.page
        if page.findings:
            yield self.findings()
        if page.changes:
            yield self.changes()
        for at, part in enumerate(page.places, 1):
            yield self.places(part, at)
        for at, services in enumerate(page.services, 1):
            yield from self.services(services, at)
        if page.outcomes:
            yield self.plan()

    # --- the first page ----------------------------------------------------------------

    def stand_out(self) -> Section:
        """Strengths and what needs a closer look, side by side."""
        found = self.page.stand_out
        assert found is not None
        lists = [
            Section(kind, 3, self.word(title), (self.bullets(items, empty),), kind)
            for kind, title, items, empty in (
                ("better", "strengths", found.better, found.no_better),
                ("worse", "closer_look", found.worse, found.no_worse),
            )
        ]
        page = self.page
        about: tuple[Block, ...] = ()
        if page.has_ratings and page.others != page.area:
            said = self.word("stand_out_about", others=page.others)
            about = (Paragraph(plain(said), "muted"),)
        return Section("stands-out", 2, self.word("stand_out"), (*about, Pair(*lists)))

    def bullets(self, items: Sequence[Bullet], empty: str) -> Block:
        """One line a measure, or the sentence in their place."""
        if not items:
            return Paragraph(plain(empty))
        return Bullets(tuple(Item(tuple(self.bullet(item)), item.indicator) for item in items))

    def bullet(self, item: Bullet) -> Iterator[Run]:
        """As in: Has a trusted adult: 62% here, 48% across Falkirk. Likely range 57% to 67%."""
        yield Run(item.title, "strong")
        if len(self.page.surveys) > 1:
            yield Run(f", {item.who.lower()}")
        if item.note:
            yield Run(f" ({item.note})", "note")
        yield Run(f": {self.word('here', value=item.value)}")
        if item.beside:
            yield Run(self.word("across", value=item.beside))
            yield Run(self.page.area, "name")
        yield Run(".")
        if item.span:
            yield Run(f" {self.word('likely_range_is', span=item.span)}", "muted")

    def overview(self, survey: SurveyPart) -> Section:
        """The eight domains, one mark a measure."""
        heads = {"better": "better", "similar": "similar", "worse": "worse"}
        heads |= {"withheld": "not_shown"}
        has_unrated = any(domain.counts.unrated for domain in survey.domains)
        heads |= {"unrated": "not_rated"} if has_unrated else {}
        table = Table(
            "overview stacks",
            self.word("overview_unrated" if has_unrated else "overview_caption"),
            (
                Column(self.word("domain")),
                Column(self.word("shapes"), "marks"),
                *(Column(self.word(word), "number") for word in heads.values()),
            ),
            tuple(
                Row(
                    plain(domain.title),
                    (
                        Cell(domain.marks, "wide"),
                        *(Cell(str(getattr(domain.counts, of)), "number") for of in heads),
                    ),
                )
                for domain in survey.domains
            ),
        )
        title = self.word("overview") + self.suffix(survey)
        return Section(f"overview-{survey.key}", 2, title, (table,))

    def reading(self) -> Section:
        """The annotated example."""
        beside: tuple[Block, ...] = (Paragraph(plain(self.page.reading)),)
        if self.page.has_ratings:
            key = {kind: rating.word for kind, rating in LEGEND.items()}
            if any(survey.has_rings for survey in self.page.surveys):
                key["none"] = self.word("no_rating")
            beside += (Key(tuple(key.items())),)
        figure = Figure(self.page.example, self.word("example"), beside)
        return Section("reading", 2, self.word("how_to_read"), (figure,))

    # --- results -----------------------------------------------------------------------

    def results(self, survey: SurveyPart) -> Section:
        """Every measure of a survey, by domain."""
        said = [self.word("results_about", who=survey.one)]
        if survey.stages:
            said.append(f"{survey.stages}.")
        if survey.hidden:
            said.append(f"{survey.hidden} not shown [c].")
        domains = tuple(self.domain(survey, domain) for domain in survey.domains)
        title = self.word("results") + self.suffix(survey)
        # A campus has two surveys, and an overview can stand on a page of its own: there results
        # flow on, so that no page stays nearly empty.
        page = self.page
        is_first = survey.key == page.surveys[0].key
        starts_page = (
            len(page.surveys) == 1 if page.kind == "school" else not (is_first and page.has_ratings)
        )
        return Section(
            f"results-{survey.key}",
            2,
            title,
            (Paragraph(plain(" ".join(said)), "muted"), *domains),
            "page" if starts_page else "",
        )

    def domain(self, survey: SurveyPart, domain: DomainPart) -> Section:
        """One sentence, then the tables."""
        blocks: list[Block] = [Paragraph(plain(domain.sentence))]
        for rows, caption, axis in (
            (domain.rows, "per_cent_caption", "percent"),
            (domain.scores, "score_caption", "score"),
        ):
            if rows:
                words = self.word(caption, domain=domain.title, who=survey.one)
                blocks.append(self.measures(rows, words, axis, survey))
        anchor = f"{survey.key}-{domain.key}"
        return Section(anchor, 3, domain.title, tuple(blocks), "domain")

    def measures(
        self, rows: Sequence[MeasureRow], caption: str, axis: str, survey: SurveyPart
    ) -> Table:
        """Measures with chart, figure, range, the area's figure and the rating."""
        page = self.page
        columns = [
            Column(self.word("measure")),
            self.axis(axis),
            Column(self.word(page.kind), "number"),
            Column(self.word("likely_range"), "number"),
        ]
        if page.has_area:
            columns.append(Column(page.area, "number"))
        if survey.is_rated:
            columns.append(Column(self.word("compared")))
        looks = "measures stacks" + " beside" * page.has_area + " rated" * survey.is_rated
        return Table(
            looks, caption, tuple(columns), tuple(self.measure(row, survey) for row in rows)
        )

    def measure(self, row: MeasureRow, survey: SurveyPart) -> Row:
        """One measure as a row."""
        cells = [Cell(row.chart, "chart"), Cell(row.value, "number own"), Cell(row.span, "number")]
        if self.page.has_area:
            cells.append(Cell(row.area, "number"))
        if survey.is_rated:
            cells.append(Cell(_rated(row.rating)))
        return Row(_named(row.title, row.note), tuple(cells), indicator=row.indicator)

    def axis(self, kind: str) -> Column:
        """The head of a column of charts."""
        return Column(self.word(f"axis_{kind}"), kind)

    def pairs(self, survey: SurveyPart) -> Section:
        """Girls and boys."""
        found = survey.pairs
        assert found is not None
        blocks: list[Block] = [Paragraph(plain(found.sentence))]
        girls, boys = self.word("girls"), self.word("boys")
        if found.rows:
            blocks.append(
                Table(
                    "measures stacks pairs",
                    self.word("pairs_caption"),
                    (
                        Column(self.word("measure")),
                        self.axis("percent"),
                        Column(girls, "number"),
                        Column(boys, "number"),
                    ),
                    tuple(
                        Row(
                            plain(row.title),
                            (
                                Cell(row.chart, "chart"),
                                Cell(row.first, "number"),
                                Cell(row.second, "number"),
                            ),
                            indicator=row.indicator,
                        )
                        for row in found.rows
                    ),
                    keys=(("first", girls), ("second", boys)),
                )
            )
        title = self.word("pairs") + self.suffix(survey)
        return Section(f"pairs-{survey.key}", 2, title, tuple(blocks))

    def groups(self, survey: SurveyPart, table: GroupTable) -> Section:
        """Priority measures by one breakdown."""
        about = f"{table.about} {self.word('groups_gap')}" if table.has_gap else table.about
        blocks: list[Block] = [Paragraph(plain(about))]
        if table.rows:
            columns = [Column(self.word("measure")), self.axis("percent")]
            columns += [Column(group, "number") for group in table.groups]
            columns += [Column(self.word("gap"))] * table.has_gap
            rows = (
                Row(
                    _named(row.title, row.note),
                    (
                        Cell(row.chart, "chart"),
                        *(Cell(value, "number") for value in row.values),
                        *([Cell(row.gap, "derived")] if table.has_gap else []),
                    ),
                    indicator=row.indicator,
                )
                for row in table.rows
            )
            blocks.append(
                Table(
                    "groups",
                    self.word("groups_caption"),
                    tuple(columns),
                    tuple(rows),
                    scroll=f"{survey.who}: {table.title}",
                )
            )
        else:
            blocks.append(Paragraph(plain(self.word("results_hidden"))))
        title = table.title + self.suffix(survey)
        return Section(f"{survey.key}-{table.key}", 2, title, tuple(blocks))

    # --- change between waves -------------------------------------------------------------

    def changes(self) -> Section:
        """What changed since the wave before, a survey after the other."""
        parts = tuple(self.changed(part) for part in self.page.changes)
        return Section("changes", 2, self.word("changes"), parts, "page")

    def changed(self, part: ChangePart) -> Section:
        """One survey: its sentence, then main outcomes and priority measures."""
        about = self.word("changes_about", before=part.before, now=part.now)
        blocks: list[Block] = [Paragraph(plain(part.sentence)), Paragraph(plain(about), "muted")]
        for axis, is_score in (("percent", False), ("score", True)):
            rows = [row for row in part.rows if (row.indicator in self.settings.scales) == is_score]
            if rows:
                blocks.append(self.change_table(rows, axis))
        return Section(f"changes-{part.survey}", 3, part.who, tuple(blocks), "domain")

    def change_table(self, rows: Sequence[ChangeRow], axis: str) -> Table:
        """Measures then and now."""
        heads = ("before", "now", "change", "likely_range")
        return Table(
            "measures stacks changes",
            self.word("changes_caption"),
            (
                Column(self.word("measure")),
                self.axis(axis),
                *(Column(self.word(head), "number") for head in heads),
                Column(self.word("compared")),
            ),
            tuple(
                Row(
                    _named(row.title, row.note),
                    (
                        Cell(row.chart, "chart"),
                        Cell(row.before, "number"),
                        Cell(row.now, "number own"),
                        Cell(row.change, "number"),
                        Cell(row.span, "number"),
                        Cell(_rated(row.rating)),
                    ),
                    table="changes",
                )
                for row in rows
            ),
            keys=(("before", self.word("before")),),
        )

    # --- places ------------------------------------------------------------------------

    def places(self, part: PlacePart, at: int) -> Section:
        """One list a measure; a short first list is open."""
        about = Paragraph(plain(f"{part.about} {self.word('no_rank')}"))
        folds = tuple(
            self.place_fold(table, part, is_open=not i and len(table.rows) <= _FEW_PLACES)
            for i, table in enumerate(part.tables)
        )
        return Section(f"places-{at}", 2, part.title, (about, *folds), "page")

    def place_fold(self, table: PlaceTable, part: PlacePart, *, is_open: bool) -> Fold:
        """One measure over places, by name."""
        across = {"cluster": "across_cluster", "cpp": "across_area"}.get(
            self.page.kind, "across_all"
        )
        measure = table.title + (f" ({table.note})" if table.note else "")
        summary = self.word(
            "place_fold",
            measure=measure,
            area=table.area,
            across=self.word(across, title=self.page.title),
        )
        if table.hidden:
            summary += self.word("place_hidden", n=table.hidden)
        columns = [
            Column(part.noun),
            self.axis("percent"),
            Column(self.word("result"), "number"),
            Column(self.word("likely_range"), "number"),
        ]
        columns += [Column(self.word("compared"))] * table.is_rated
        rows = (
            Row(
                plain(row.name),
                (
                    Cell(row.chart, "chart"),
                    Cell(row.value, "number own"),
                    Cell(row.span, "number"),
                    *([Cell(_rated(row.rating))] if table.is_rated else []),
                ),
                indicator=table.indicator,
            )
            for row in table.rows
        )
        caption = self.word("place_caption", measure=measure, noun=part.noun.lower())
        set_table = Table("measures stacks places", caption, tuple(columns), tuple(rows))
        return Fold(summary, (set_table,), is_open)

    # --- services ----------------------------------------------------------------------

    def services(self, part: ServicePart, at: int) -> Iterator[Section]:
        """Need and reach, support without answers, and spend."""
        if part.reach:
            about = Paragraph(plain(self.word("reach_about")))
            tables = tuple(self.reach(table, at) for table in part.reach)
            yield Section(f"reach-{at}", 2, self.of(part, "reach"), (about, *tables), "page")
        if part.recipients:
            yield Section(
                f"recipients-{at}", 2, self.of(part, "recipients"), self.recipients(part), "page"
            )
        if part.spend:
            yield Section(
                f"spend-{at}", 2, self.of(part, "spend"), tuple(self.spend(part, part.spend))
            )

    def of(self, part: ServicePart, what: str) -> str:
        """A heading that names the CPP where there is more than one."""
        if self.page.kind != "public":
            return self.word(what)
        return self.word("services_of", name=part.name, what=self.word(what))

    def reach(self, table: ReachTable, at: int) -> Section:
        """One need."""
        blocks: list[Block] = [Paragraph(plain(sentence)) for sentence in table.sentences]
        if table.rows:
            heads = ("observed", "likely_range", "corrected", "bounds", "pupils")
            columns = (
                Column(self.word("reach_head")),
                self.axis("percent"),
                *(Column(self.word(head), "number") for head in heads),
            )
            rows = (
                Row(
                    plain(f"{row.level}: {row.service.lower()}"),
                    (
                        Cell(row.chart, "chart"),
                        Cell(row.value, "number own"),
                        Cell(row.span, "number"),
                        Cell(row.corrected, "number"),
                        Cell(row.bounds, "number"),
                        Cell(row.n, "number"),
                    ),
                    table="reach",
                )
                for row in table.rows
            )
            caption = self.word("reach_caption")
            blocks.append(Table("measures stacks reach", caption, columns, tuple(rows)))
        return Section(f"reach-{at}-{table.need}", 3, table.title, tuple(blocks), "domain")

    def recipients(self, part: ServicePart) -> tuple[Block, ...]:
        """Pupils with support on record of whom no answer says what they need."""
        columns = (
            Column(self.word("reach_head")),
            Column(self.word("not_answered"), "number"),
            Column(self.word("pupils"), "number"),
        )
        rows = (
            Row(
                plain(f"{row.survey}: {row.service.lower()}"),
                (Cell(row.value, "number own"), Cell(row.n, "number")),
                table="recipients",
            )
            for row in part.recipients
        )
        caption = self.word("recipients_caption")
        scroll = self.word("recipients_scroll", name=part.name)
        table = Table("plan", caption, columns, tuple(rows), scroll=scroll)
        return Paragraph(plain(self.word("recipients_about"))), table

    def spend(self, part: ServicePart, table: SpendTable) -> Iterator[Block]:
        """One stacked bar a sector, the prevention share as text."""
        said = [self.word("spend_about")]
        said += [table.per_child] if table.per_child else []
        said += [self.word("spend_hidden")] if table.hidden else []
        yield Paragraph(plain(" ".join(said)))
        yield Key(tuple((key, f"{word}: {about}") for key, word, about in table.legend))
        columns = (
            Column(self.word("sector")),
            Column(self.word("spend_chart"), "chart"),
            *(Column(word, "number") for word in table.columns),
            Column(self.word("total"), "number"),
            Column(self.word("prevention"), "number"),
        )
        rows = (
            Row(
                plain(row.sector),
                (
                    Cell(row.chart, "chart"),
                    *(Cell(value, "number") for value in row.tiers),
                    Cell(row.total, "number own"),
                    Cell(row.prevention, "number derived"),
                ),
                table="spend",
            )
            for row in table.rows
        )
        scroll = self.word("spend_scroll", name=part.name)
        yield Table("spend", self.word("spend_caption"), columns, tuple(rows), scroll=scroll)

    # --- the plan and the findings ---------------------------------------------------------

    def plan(self) -> Section:
        """The outcome table of a children's services plan, by SHANARRI outcome."""
        about = Paragraph(plain(self.word("plan_about")))
        tables = tuple(self.outcome(part) for part in self.page.outcomes)
        return Section("plan", 2, self.word("plan"), (about, *tables), "page")

    def outcome(self, part: OutcomePart) -> Section:
        """The sentences of one outcome."""
        columns = (
            Column(self.word("plan_sentence")),
            Column(self.word("result"), "number"),
            Column(self.word("likely_range"), "number"),
        )
        rows = (
            Row(
                plain(row.sentence),
                (Cell(row.value, "number own"), Cell(row.span, "number")),
                indicator=row.indicator,
            )
            for row in part.rows
        )
        caption = self.word("plan_caption", domain=part.title)
        table = Table("plan", caption, columns, tuple(rows), scroll=caption)
        return Section(f"plan-{part.key}", 3, part.title, (table,), "domain")

    def findings(self) -> Section:
        """What goes together with the outcomes of the published analysis."""
        about = Paragraph(plain(self.word("findings_about")))
        tables = tuple(self.finding(part) for part in self.page.findings)
        return Section("findings", 2, self.word("findings"), (about, *tables), "page")

    def finding(self, part: FindingPart) -> Section:
        """One outcome."""
        blocks: list[Block] = [Paragraph(plain(part.sentence))]
        if part.is_misfit:
            blocks.append(Paragraph(plain(self.word("findings_misfit"))))
        if part.rows:
            columns = (
                Column(self.word("factor")),
                Column(self.word("points"), "number"),
                Column(self.word("likely_range"), "number"),
            )
            rows = (
                Row(
                    plain(row.factor),
                    (Cell(row.points, "number own"), Cell(row.span, "number")),
                    table="models",
                )
                for row in part.rows
            )
            caption = self.word("findings_caption", outcome=part.title)
            blocks.append(Table("findings", caption, columns, tuple(rows), scroll=caption))
        return Section(f"findings-{part.key}", 3, part.title, tuple(blocks), "domain")

    # --- about -------------------------------------------------------------------------

    def about(self) -> Section:
        """Who took part, marks, rounding, support, method, definitions, accessibility."""
        return Section("about", 2, self.word("about"), tuple(self.about_parts()))

    def about_parts(self) -> Iterator[Block]:
        """The parts of the last section."""
        page = self.page
        beside = []
        for survey in page.surveys:
            if survey.took_part:
                title = self.word("took_part") + self.suffix(survey)
                table = self.took_part(survey, survey.took_part)
                beside.append(Section(f"took-part-{survey.key}", 3, title, (table,), "whole"))
        terms = Terms(tuple((f"[{key}]", text) for key, text in page.marks), "marks")
        beside.append(Section("marks", 3, self.word("marks"), (terms,)))
        while len(beside) > 1:
            yield Pair(beside.pop(0), beside.pop(0))
        yield from beside
        rounding = self.told("rounding", page.rounding)
        yield Pair(rounding, self.told("support", page.support)) if page.support else rounding
        if page.kind in ("cpp", "public"):
            keys = ["method_text", *(["method_cpp"] if page.kind == "cpp" else [])]
            keys += ["one_wave"] if page.kind == "cpp" and not page.changes else []
            keys += ["method_parent"] if any(s.key == "parent" for s in page.surveys) else []
            keys.append("method_protected")
            yield self.told("method", " ".join(self.word(key) for key in keys))
        yield self.definitions(page.definitions)
        lines = (*page.accessibility, self.word("statement", as_of=page.as_of))
        yield self.told("accessibility", *lines)

    def told(self, key: str, *lines: str) -> Section:
        """A short section of the last part."""
        return Section(key, 3, self.word(key), (Paragraph(plain(" ".join(lines))),))

    def took_part(self, survey: SurveyPart, found: WhoTable) -> Table:
        """Who answered, by stage and sex."""
        rows = (
            Row(
                plain(row.stage),
                tuple(Cell(value, "number") for value in row.values),
                indicator=found.indicator,
            )
            for row in found.rows
        )
        return Table(
            "who",
            self.word("took_part_caption", who=survey.who, measure=found.measure),
            (Column(self.word("stage")), *(Column(c, "number") for c in found.columns)),
            tuple(rows),
            scroll=self.word("took_part_scroll", who=survey.who),
        )

    def definitions(self, measures: Sequence[Measure]) -> Fold:
        """What each measure counts; the PDF of a school or cluster leaves them to the page."""
        heads = ("measure", "definition_columns", "of_whom", "stages", "source")
        table = Table(
            "definitions",
            self.word("definitions_caption"),
            tuple(Column(self.word(head)) for head in heads),
            tuple(
                Row(
                    plain(m.title),
                    tuple(
                        Cell(text)
                        for text in (
                            m.definition,
                            m.denominator,
                            m.stages,
                            self.settings.source_words(m.source),
                        )
                    ),
                )
                for m in measures
            ),
            scroll=self.word("definitions_scroll"),
        )
        summary = self.word("definitions", n=len(measures))
        return Fold(summary, (table,), in_print=self.page.kind in ("cpp", "public"))


def document(page: Page, settings: Settings) -> Document:
    """The report of a view."""
    return _Setter(page, settings).document()


def one_page(page: Page, settings: Settings) -> Document:
    """The summary for elected members, of the view of a CPP or of the programme."""
    return _Setter(page, settings).one_page()


def technical(page: Page, settings: Settings, text: str) -> Document:
    """The technical report of the package that a view is of."""
    return _Setter(page, settings).technical(text)


def _rated(rating: Rating) -> Rated:
    return Rated(rating.kind, rating.word)


def _named(title: str, note: str) -> Runs:
    return (Run(title), Run(f" ({note})", "note")) if note else plain(title)


def _list(lines: Sequence[str]) -> Bullets:
    return Bullets(tuple(Item(plain(line)) for line in lines))

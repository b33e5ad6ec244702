// The explorer: unpacks the released figures beside it and draws what is asked for.
// Belongs here: reading the data, drawing, controls, downloads. Does not belong here: any figure,
// rating or rounding of its own; a value is shown as it was released.
"use strict";
const RCS = { data: {}, load(unit, packed) { RCS.data[unit] = packed; } };
(() => {
  const VIEWS = {
    compare: "Compare places", profile: "Profile", groups: "Groups", change: "Change", reach: "Need and reach",
    spend: "Spend by tier", balance: "Need against spend", findings: "Findings", map: "Map", build: "Build a table",
    measures: "Measures", about: "About the data",
  };
  const LEVELS = { school: "Schools", cluster: "Clusters", cpp: "Areas", tranche: "Tranches", all: "All areas" };
  const ONE = { school: "School", cluster: "Cluster", cpp: "Area", tranche: "Tranche", all: "All areas" };
  const ABOVE = { school: "cpp", cluster: "cpp", cpp: "tranche", tranche: "all" };
  const WORDS = { better: "Better", similar: "Similar", worse: "Worse" };
  const SHORT = { c: "not shown", x: "not available", z: "does not apply" };
  const $ = (id) => document.getElementById(id);
  const units = {};
  let meta, state = {};

  // --- data ---------------------------------------------------------------------------------
  async function unpack(packed) {
    const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }
  const script = (unit) => new Promise((done, failed) => {
    const s = document.createElement("script");
    s.src = `data/${unit}.js`; s.onload = done; s.onerror = failed; document.head.append(s);
  });
  async function need(unit) {
    if (units[unit]) return;
    if (!RCS.data[unit]) await script(unit);
    const raw = await unpack(RCS.data[unit]);
    const cells = new Map();
    let key = 0, at = 0;
    raw.keys.forEach((step, i) => {
      key += step;
      const mark = raw.marks[i], cell = { mark };
      if (mark === "p" || mark === "u") {
        const value = raw.estimate[at];
        Object.assign(cell, { n: raw.n[at], value });
        if (raw.down[at] !== null) Object.assign(cell, { low: value - raw.down[at], high: value + raw.up[at] });
        at += 1;
      }
      cells.set(key, cell);
    });
    const verdicts = new Map(raw.verdicts.map((v) => [v.slice(0, 5).join("|"), v[5]]));
    units[unit] = { ...raw, cells, verdicts };
  }
  const cellOf = (place, measure, group) => {
    const unit = units[place.unit];
    return unit && unit.cells.get((place.i * meta.measures.length + measure.i) * meta.groups.length + group);
  };
  const verdictOf = (place, measure) => units[place.unit] &&
    units[place.unit].verdicts.get([place.level, place.code, place.engagement, measure.survey, measure.indicator].join("|"));
  const isShown = (cell) => cell && cell.value !== undefined;
  const tenth = (value) => (value % 10 ? (value / 10).toFixed(1) : String(value / 10));
  // A difference has a sign of its own; it is no per cent.
  const signed = (value, text = tenth) => `${value > 0 ? "+" : value < 0 ? "\u2212" : ""}${text(Math.abs(value))}`;
  const score = (value) => (value / 10).toFixed(1);
  const number = (value, measure) => measure.points ? signed(value) : measure.mean ? score(value) : `${tenth(value)}%`;
  const mark = (cell) => !cell ? "[x]" : { p: "", l: "[c] [low]", h: "[c] [high]" }[cell.mark] ?? `[${cell.mark}]`;
  const people = (n) => (n === null || n === undefined || n === "" ? "" : Number(n).toLocaleString("en-GB"));
  const figure = (cell, measure) => isShown(cell) ? `${number(cell.value, measure)} ${mark(cell)}`.trim() : mark(cell);
  const span = (cell, measure) => isShown(cell) && cell.low !== undefined
    ? `${number(cell.low, measure)} to ${number(cell.high, measure)}` : "";
  const ends = (measure) => measure.mean ? measure.scale : [0, 100];
  const called = (measure) => measure.title + (measure.direction === "lower_better" ? " (lower is better)" : "");
  const lower = (measure) => (measure.direction === "lower_better" ? " Lower is better." : "");
  const share = (value, measure) => {
    const [low, high] = ends(measure);
    return Math.min(Math.max((value / 10 - low) / (high - low), 0), 1);
  };

  // --- elements: text is always set as text --------------------------------------------------------
  function el(tag, attributes = {}, ...children) {
    const svg = ["svg", "g", "path", "circle", "rect", "line", "text", "tspan", "title", "desc"].includes(tag);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) node.setAttribute(name, value);
    node.append(...children.filter((c) => c !== null && c !== undefined));
    return node;
  }
  const shape = (kind, x, y, r = 6) => kind === "better" ? el("path", { class: kind, d: `M${x} ${y - r}l${r} ${1.8 * r}h${-2 * r}z` })
    : kind === "worse" ? el("path", { class: kind, d: `M${x} ${y + r}l${r} ${-1.8 * r}h${-2 * r}z` })
    : el("circle", { class: kind in WORDS || kind === "ring" ? kind : "plain", cx: x, cy: y, r: r - 1 });
  const icon = (kind) => el("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" }, shape(kind, 7, 7));
  const box = (kind) => el("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" }, el("rect", { class: kind, x: 1, y: 1, width: 12, height: 12 }));
  function rated(kind) {
    if (!(kind in WORDS)) return kind === "c" ? "[c]" : "not rated";
    return el("span", { class: `word-${kind}` }, icon(kind), WORDS[kind]);
  }
  function wrap(text, width) {
    const lines = [""];
    for (const word of text.split(" ")) {
      const last = lines.length - 1;
      if (lines[last] && (lines[last] + " " + word).length > width) lines.push(word);
      else lines[last] = lines[last] ? `${lines[last]} ${word}` : word;
    }
    return lines;
  }

  // A council's name in a tile: long words in two lines.
  const tileName = (name) => wrap(name.replace("Na h-Eileanan Siar", "Eilean Siar").replace(" and ", " & ").replace(/(\w{5,})shire\b/, "$1- shire"), 10);

  // --- charts ---------------------------------------------------------------------------------------
  // Rows of dot and range; on a narrow screen the label stands above its row. With `rings`, what is
  // not rated has another shape than what is similar.
  function dots(title, rows, measure, area, rings) {
    const width = Math.max($("chart").clientWidth, 260), narrow = width < 560;
    const left = narrow ? 8 : 250, right = 70, plot = width - left - right;
    const labels = rows.map((row) => wrap(row.label, narrow ? 32 : 28));
    const heights = labels.map((lines) => narrow ? 16 * lines.length + 26 : Math.max(16 * lines.length + 8, 26));
    const total = heights.reduce((a, b) => a + b, 34);
    const says = `${rows.length} rows. The same figures stand in the table below.`;
    const svg = el("svg", { viewBox: `0 0 ${width} ${total}`, role: "img" }, el("title", {}, title), el("desc", {}, says));
    const x = (value, m) => left + share(value, m) * plot;
    const [low, high] = measure ? ends(measure) : [0, 100];
    const unit = measure && measure.mean ? "" : "%";
    for (const part of [0, 0.25, 0.5, 0.75, 1]) {
      const at = left + part * plot;
      svg.append(el("line", { class: "grid", x1: at, x2: at, y1: 24, y2: total - 4 }));
      if (part * 2 % 1 === 0) svg.append(el("text", { x: narrow && !part ? 0 : at, y: 16, "text-anchor": narrow && !part ? "start" : "middle", class: "soft" }, `${String(+(low + part * (high - low)).toFixed(1)).replace("-", "\u2212")}${unit}`));
    }
    if (isShown(area)) {
      if (area.low !== undefined) svg.append(el("rect", { class: "areaband", x: x(area.low, measure), y: 24, width: Math.max(x(area.high, measure) - x(area.low, measure), 1), height: total - 28 }));
      svg.append(el("line", { class: "area", x1: x(area.value, measure), x2: x(area.value, measure), y1: 24, y2: total - 4 }));
    }
    let top = 30;
    rows.forEach((row, i) => {
      const middle = narrow ? top + 16 * labels[i].length + 8 : top + heights[i] / 2 - 2;
      labels[i].forEach((line, j) => svg.append(el("text", {
        x: narrow ? left : left - 12, y: narrow ? top + 12 + 16 * j : middle + 5 + 16 * (j - (labels[i].length - 1) / 2),
        "text-anchor": narrow ? "start" : "end", class: "halo",
      }, line)));
      const { cell } = row, m = row.measure || measure;
      if (isShown(cell) && ends(m)) {
        if (isShown(row.beside)) svg.append(el("line", { class: "area", x1: x(row.beside.value, m), x2: x(row.beside.value, m), y1: middle - 10, y2: middle + 10 }));
        if (cell.low !== undefined) svg.append(el("path", { class: "range", d: `M${x(cell.low, m)} ${middle}H${x(cell.high, m)}` }));
        if (row.before !== undefined) {
          const from = x(row.before, m), to = x(cell.value, m), way = Math.sign(to - from), tip = to - 8 * way;
          if (row.verdict in WORDS && row.verdict !== "similar" && Math.abs(to - from) > 16) svg.append(el("path", { class: "move", d: `M${from + 6 * way} ${middle}H${tip}m${-6 * way} -5l${6 * way} 5l${-6 * way} 5` }));
          svg.append(el("circle", { class: "before", cx: from, cy: middle, r: 5 }));
        }
        svg.append(shape(row.verdict in WORDS ? row.verdict : rings ? "ring" : "plain", x(cell.value, m), middle));
      } else svg.append(el("text", { x: left + 4, y: middle + 5, class: "soft" }, `${mark(cell)} ${SHORT[cell ? (cell.mark in SHORT ? cell.mark : "c") : "x"]}`));
      if (isShown(cell)) svg.append(el("text", { x: width - right + 8, y: middle + 5, class: "value" }, figure(cell, m)));
      top += heights[i];
    });
    return svg;
  }
  function bars(title, rows) {
    const width = Math.max($("chart").clientWidth, 260), step = 56, left = 4, plot = width - 8;
    const svg = el("svg", { viewBox: `0 0 ${width} ${rows.length * step + 6}`, role: "img" }, el("title", {}, title), el("desc", {}, "The same figures stand in the table below."));
    rows.forEach((row, i) => {
      const y = i * step;
      svg.append(el("text", { x: left, y: y + 16 }, row.label));
      if (row.words) svg.append(el("text", { x: left, y: y + 38, class: "soft" }, row.words));
      let start = 0;
      for (const [kind, part] of row.parts || []) {
        svg.append(el("rect", { class: kind, x: left + start * plot, y: y + 22, width: part * plot, height: 20 }));
        start += part;
      }
      if (row.range) {
        const [a, b] = row.range.map((v) => left + v * plot);
        svg.append(el("path", { class: "whisker", d: `M${a} ${y + 32}H${b}M${a} ${y + 27}v10M${b} ${y + 27}v10` }));
      }
    });
    return svg;
  }

  // --- what is asked ------------------------------------------------------------------------------
  const places = (level) => meta.places.filter((p) => p.level === level);
  const place = () => meta.places[state.place] || meta.places.find((p) => p.level === "cpp") || meta.places[0];
  const measure = () => meta.measures[state.measure] || meta.measures[0];
  const above = (p) => {
    const level = ABOVE[p.level];
    if (level === "cpp") return meta.places.find((q) => q.level === "cpp" && q.engagement === p.engagement);
    if (level === "tranche") {
      const links = meta.parents.filter((g) => g[0] === "cpp" && g[1] === p.code && g[3] === "tranche");
      const link = links.find((g) => p.engagement.startsWith(`${g[4]}-`)) || links[0];
      return meta.places.find((q) => q.level === "tranche" && (!link || q.code === link[4]));
    }
    return level && meta.places.find((q) => q.level === level);
  };
  // Who is all that the area above has would stand beside himself.
  const beside = (p) => (meta.alone.includes(p.i) ? undefined : above(p));
  // A wave that has one before it; both are places of the same council.
  const changesOf = (p) => ((units[p.unit] || {}).changes || []).filter((r) => r[0] === p.engagement);
  const pairs = () => meta.places.filter((p) => p.level === "cpp" && changesOf(p).some((r) => r[1]));
  const reachOf = (p, name) => {
    const levels = Object.keys(meta.reach.levels), services = Object.keys(meta.reach.services);
    return ((units[p.unit] || {}).reach || []).filter((r) => r[1] === "total" && r[3] === name)
      .sort((a, b) => levels.indexOf(a[4]) - levels.indexOf(b[4]) || services.indexOf(a[5]) - services.indexOf(b[5]));
  };
  const select = (name, label, options, change) => ({ name, label, options, change });
  // Only what the chosen places hold is offered.
  const hasSurvey = (survey) => {
    if (state.view === "change" && pairs().length) return changesOf(place()).some((r) => r[1] && r[2] === survey);
    const of = meta.measures.filter((m) => m.survey === survey);
    const where = state.view === "compare" ? places(state.level) : ["profile", "groups", "build", "balance"].includes(state.view) ? [place()] : meta.places;
    return of.some((m) => where.some((p) => cellOf(p, m, 0)));
  };
  const hasBreakdown = (breakdown) => breakdown !== "total" && meta.groups.some((g, i) => g[0] === breakdown
    && meta.measures.some((m) => m.survey === state.survey && cellOf(place(), m, i)));
  const choices = {
    survey: () => select("survey", "Survey", Object.keys(meta.surveys).filter(hasSurvey).map((s) => [s, meta.surveys[s].title]), firstMeasure),
    domain: () => select("domain", "Wellbeing domain", Object.entries(meta.domains).filter(([d]) => meta.measures.some((m) => m.domain === d && m.survey === state.survey)), firstMeasure),
    measure: () => select("measure", "Measure", meta.measures.filter((m) => m.survey === state.survey && m.domain === state.domain).map((m) => [m.i, called(m)])),
    group: () => {
      const held = heldGroups();
      return select("group", "Who", meta.groups.map((g, i) => [i, g[0] === "total" ? "All" : `${meta.breakdowns[g[0]] || g[0]}: ${g[2]}`]).filter(([i]) => held.has(i)));
    },
    level: () => select("level", "Show", ["school", "cluster", "cpp", "tranche"].filter((l) => meta.places.some((p) => p.level === l)).map((l) => [l, LEVELS[l]])),
    order: () => ({ ...select("order", "Order by", [["name", "Name"], ["value", "Result"]]), radio: true }),
    place: () => select("place", "Place", meta.places.map((p) => [p.i, p.level === "all" ? p.name : `${p.name} (${ONE[p.level].toLowerCase()})`])),
    breakdown: () => select("breakdown", "Groups", Object.entries(meta.breakdowns).filter(([b]) => hasBreakdown(b))),
    cpp: () => select("place", "Area", meta.places.filter((p) => p.level === "cpp").map((p) => [p.i, p.name])),
    waves: () => pairs().length ? choices.survey() : { options: [] },
    pair: () => select("place", "Area", pairs().map((p) => [p.i, p.name])),
    need: () => select("need", "Need", Object.entries(meta.reach.needs).filter(([n]) => reachOf(place(), n).length)),
    outcome: () => select("outcome", "Outcome", [...new Map(meta.findings.map((f) => [f.outcome, f.title]))]),
  };
  const CONTROLS = {
    compare: ["level", "survey", "domain", "measure", "group", "order"], profile: ["place", "survey"],
    groups: ["place", "survey", "domain", "measure", "breakdown"], change: ["pair", "waves"], findings: ["outcome"], reach: ["cpp", "need"], spend: ["cpp"],
    balance: ["cpp", "survey"], map: ["survey", "domain", "measure"], build: ["place", "survey", "breakdown"], measures: ["q"], about: [],
  };
  const heldGroups = () => {
    const held = new Set();
    for (const p of places(state.level)) for (const g of meta.groups.keys()) if (cellOf(p, measure(), g)) held.add(g);
    return held.size ? held : new Set([0]);
  };
  function firstMeasure() {
    const domains = choices.domain().options.map((o) => o[0]);
    if (!domains.includes(state.domain)) state.domain = domains[0];
    const options = choices.measure().options;
    if (!options.some(([i]) => String(i) === String(state.measure))) state.measure = options[0][0];
  }
  function valid() {
    if (!(state.view in VIEWS)) state.view = "compare";
    const area = meta.places.find((p) => p.level === "cpp").i;
    if (!meta.places[Number(state.place)]) state.place = area;
    if (["reach", "spend", "balance"].includes(state.view) && place().level !== "cpp") state.place = area;
    if (state.view === "change" && pairs().length && !pairs().includes(place())) state.place = pairs()[0].i;
    state.place = Number(state.place);
    for (const [name, value] of Object.entries({ level: null, survey: null, order: "name", need: null, breakdown: null, outcome: null })) {
      const options = choices[name]().options.map((o) => String(o[0]));
      if (!options.includes(String(state[name]))) state[name] = value || options[0] || "";
    }
    state.measure = Number(state.measure) || 0;
    if (!meta.measures[state.measure] || meta.measures[state.measure].survey !== state.survey) state.domain = state.domain || "";
    firstMeasure();
    state.measure = Number(state.measure);
    if (!heldGroups().has(Number(state.group))) state.group = 0;
    state.group = Number(state.group);
  }

  // --- controls -----------------------------------------------------------------------------------
  function controls(focused) {
    const form = $("controls");
    const names = CONTROLS[state.view].filter((name) => name === "q" || choices[name]().options.length);
    form.hidden = !names.length;
    form.replaceChildren(...names.flatMap((name) => {
      if (name === "q") {
        const input = el("input", { type: "search", id: "f-q", value: state.q || "" });
        input.addEventListener("input", () => { state.q = input.value; draw(); keep(); });
        return [el("label", { for: "f-q" }, "Search the measures"), input];
      }
      const { name: key, label, options, radio, change } = choices[name]();
      const set = (value) => { state[key] = value; if (change) change(); valid(); controls(document.activeElement && document.activeElement.id); draw(); keep(); };
      if (radio) {
        return [el("fieldset", {}, el("legend", {}, label), ...options.map(([value, words]) => {
          const input = el("input", { type: "radio", name: key, id: `f-${key}-${value}`, value });
          input.checked = String(state[key]) === String(value);
          input.addEventListener("change", () => set(value));
          return el("label", { for: input.id }, input, words);
        }))];
      }
      const list = el("select", { id: `f-${key}` }, ...options.map(([value, words]) => {
        const option = el("option", { value }, words);
        option.selected = String(state[key]) === String(value);
        return option;
      }));
      list.addEventListener("change", () => set(list.value));
      return [el("label", { for: list.id }, label), list];
    }));
    if (focused && $(focused)) $(focused).focus();
  }

  // --- views: each gives title, about, key, chart, table -------------------------------------------
  const show = {
    compare() {
      const m = measure(), found = places(state.level).map((p) => ({ p, label: p.name, cell: cellOf(p, m, state.group), verdict: state.group ? "" : verdictOf(p, m) })).filter((r) => r.cell && r.cell.mark !== "z");
      const byName = (a, b) => a.label.localeCompare(b.label) || a.p.i - b.p.i;
      found.sort((a, b) => state.order === "name" ? byName(a, b) : (isShown(b.cell) ? b.cell.value : -1) - (isShown(a.cell) ? a.cell.value : -1) || byName(a, b));
      // Areas of several tranches have each its own tranche beside it: there is no one bar for all.
      const uppers = new Set(found.map((r) => beside(r.p))), upper = uppers.size === 1 ? [...uppers][0] : null;
      const area = upper && cellOf(upper, m, state.group);
      if (uppers.size > 1) for (const r of found) r.beside = beside(r.p) && cellOf(beside(r.p), m, state.group);
      const n = (kind) => found.filter((r) => r.verdict === kind && isShown(r.cell)).length;
      const hidden = found.filter((r) => "clh".includes(r.cell.mark)).length, level = LEVELS[state.level].toLowerCase();
      // A school or cluster is held against the others, not against the whole that it is part of.
      const others = ["school", "cluster"].includes(state.level) ? `the other schools of ${upper ? upper.name : "their area"}` : upper ? upper.name : "their tranche";
      const isRated = n("better") + n("similar") + n("worse") > 0;
      return {
        title: isRated ? `${m.title}: of the ${level}, ${n("better")} ${n("better") === 1 ? "is" : "are"} better and ${n("worse")} worse than ${others}` : `${m.title}: ${found.length} ${level}`,
        about: `${meta.groups[state.group][2]}. ${upper ? `${upper.name}: ${figure(area, m)}${span(area, m) ? ` (likely range ${span(area, m)})` : ""}. ` : uppers.size > 1 ? "The dark bar of each row is its tranche; areas were asked in different years. " : ""}${isRated ? `Similar: ${n("similar")}; a gap this size is small or could be chance. ` : ""}Not shown [c]: ${hidden}.${lower(m)}`,
        key: isRated, rings: isRated && found.some((r) => isShown(r.cell) && !(r.verdict in WORDS)), chart: found.length && ends(m) ? dots(m.title, found, m, area, isRated) : null,
        head: [ONE[state.level], "Result", "Likely range", "Pupils who answered", ...(isRated ? ["Compared"] : [])],
        rows: found.map((r) => [r.label, figure(r.cell, m), span(r.cell, m), isShown(r.cell) ? people(r.cell.n) : mark(r.cell), ...(isRated ? [isShown(r.cell) ? rated(r.verdict) : mark(r.cell)] : [])]),
      };
    },
    profile() {
      const p = place(), upper = beside(p);
      const found = meta.measures.filter((m) => m.survey === state.survey && cellOf(p, m, 0)).map((m) => ({ m, measure: m, label: `${meta.domains[m.domain]}: ${called(m)}`, cell: cellOf(p, m, 0), beside: upper && cellOf(upper, m, 0), verdict: verdictOf(p, m) }));
      const order = Object.keys(meta.domains);
      found.sort((a, b) => order.indexOf(a.m.domain) - order.indexOf(b.m.domain) || a.m.i - b.m.i);
      const isRated = found.some((r) => r.verdict in WORDS);
      return {
        title: `${p.name}: ${found.filter((r) => isShown(r.cell)).length} measures with results`,
        about: `${meta.surveys[state.survey].title}. ${upper ? `The dark bar is ${upper.name}. ` : ""}Not shown: ${found.filter((r) => !isShown(r.cell)).length}.`,
        key: isRated, rings: isRated && found.some((r) => isShown(r.cell) && !(r.verdict in WORDS)), chart: found.length ? dots(p.name, found.filter((r) => !r.m.mean), null, null, isRated) : null,
        head: ["Measure", "Result", "Likely range", upper ? upper.name : "Beside", ...(isRated ? ["Compared"] : [])],
        rows: found.map((r) => [r.label, figure(r.cell, r.m), span(r.cell, r.m), r.beside ? figure(r.beside, r.m) : "[x]", ...(isRated ? [rated(r.verdict)] : [])]),
      };
    },
    groups() {
      const p = place(), m = measure();
      const found = meta.groups.map((g, i) => ({ g, label: g[2], cell: cellOf(p, m, i) })).filter((r) => r.g[0] === state.breakdown && r.cell && r.cell.mark !== "z");
      // Of two groups both or none: one side alone would be read as the whole.
      if (found.length === 2 && found.some((r) => "clh".includes(r.cell.mark))) {
        for (const r of found) if (isShown(r.cell)) r.cell = { mark: "c" };
      }
      return {
        title: `${m.title}: ${(meta.breakdowns[state.breakdown] || "no groups").toLowerCase()}`,
        about: `${p.name}. Groups not shown: ${found.filter((r) => !isShown(r.cell)).length} of ${found.length}. Groups of pupils differ in many ways; a gap does not say why.${lower(m)}`,
        chart: found.length && ends(m) ? dots(m.title, found, m, cellOf(p, m, 0)) : null,
        head: ["Group", "Result", "Likely range", "Pupils who answered"],
        rows: found.map((r) => [r.label, figure(r.cell, m), span(r.cell, m), isShown(r.cell) ? people(r.cell.n) : mark(r.cell)]),
      };
    },
    reach() {
      const p = place(), all = reachOf(p, state.need);
      if (!all.length) return { title: `${p.name}: need and reach are not shown`, about: "This release has no figures on need and reach of this area.", head: ["Need", "Status"], rows: Object.values(meta.reach.needs).map((words) => [words, "[x]"]) };
      const pct = (text) => text === "" ? "[x]" : `${text.replace(/\.0$/, "")}%`;
      const named = (r) => `${meta.reach.levels[r[4]] || r[4]}: ${(meta.reach.services[r[5]] || r[5]).toLowerCase()}`;
      const shown = (r) => r[13] === "published" || r[13] === "u";
      return {
        title: `${p.name}: who with a need has support on record?`,
        about: "The dark part has support on record, the pale part has none. Some records could not be joined to an answer, so the observed share is too low; the corrected share allows for that. A questionnaire is no diagnosis.",
        chart: bars(meta.reach.needs[state.need], all.filter((r) => r[5] !== "none").map((r) => shown(r)
          ? { label: `${named(r)}: ${pct(r[7])}`, parts: [["part", r[7] / 100], ["rest", 1 - r[7] / 100]], range: r[8] === "" ? null : [r[8] / 100, r[9] / 100] }
          : { label: named(r), words: `[${r[13]}] not shown` })),
        head: ["Pupils and support", "Observed", "Likely range", "Corrected", "Lowest to highest", "Pupils"],
        rows: all.map((r) => [named(r), ...(shown(r) ? [pct(r[7]), `${pct(r[8])} to ${pct(r[9])}`, pct(r[10]), `${pct(r[11])} to ${pct(r[12])}`, people(r[6]) || "[x]"] : Array(5).fill(`[${r[13]}]`))]),
      };
    },
    spend() {
      const p = place(), tiers = Object.keys(meta.tiers);
      const all = (units[p.unit] || { spend: [] }).spend.filter((r) => r[3] === "all" && r[4] === "all" && r[5] === "all");
      const sectors = [...new Set(all.map((r) => r[1]))];
      const of = (sector, tier) => all.find((r) => r[1] === sector && r[2] === tier);
      const pounds = (r) => !r ? "[x]" : r[8] === "published" || r[8] === "u" ? `£${Number(r[6]).toLocaleString("en-GB")}` : `[${r[8]}]`;
      const name = (s) => s === "all" ? "All sectors" : s[0].toUpperCase() + s.slice(1).replaceAll("_", " ");
      const parts = (s) => {
        const cells = tiers.map((t) => of(s, t)), sum = cells.reduce((a, r) => a + Number(r && r[6]), 0);
        return cells.every((r) => r && r[6] !== "") && sum ? cells.map((r, i) => [tiers[i], r[6] / sum]) : null;
      };
      // Of a sector on which nothing is spent nothing is hidden.
      const gap = (s) => tiers.every((t) => of(s, t) && of(s, t)[6] !== "") ? "z" : "c";
      return {
        title: `${p.name}: spend by tier`, about: "A year, by whom services are for. Prevention is what goes to all children or to children at risk.",
        boxes: tiers.map((t) => [t, meta.tiers[t]]),
        chart: sectors.length ? bars("Spend by tier", sectors.map((s) => ({ label: name(s), parts: parts(s), words: parts(s) ? "" : `[${gap(s)}] ${SHORT[gap(s)]}` }))) : null,
        head: ["Sector", ...tiers.map((t) => meta.tiers[t]), "Total", "Prevention"],
        rows: sectors.map((s) => {
          const found = parts(s);
          return [name(s), ...tiers.map((t) => pounds(of(s, t))), pounds(of(s, "all")), found ? `${Math.round(100 * found.filter(([t]) => meta.prevention.includes(t)).reduce((a, b) => a + b[1], 0))}%` : `[${gap(s)}]`];
        }),
      };
    },
    balance() {
      const p = place(), spent = (units[p.unit] || { spend: [] }).spend.filter((r) => r[1] === "all" && r[2] === "all" && r[3] === "all" && r[4] === "all" && r[5] !== "all");
      const rows = Object.entries(meta.domains).map(([d, words]) => {
        const r = spent.find((one) => one[5] === d);
        const worse = meta.measures.filter((m) => m.survey === state.survey && m.domain === d && verdictOf(p, m) === "worse").length;
        const of = meta.measures.filter((m) => m.survey === state.survey && m.domain === d && verdictOf(p, m) in WORDS).length;
        return { words, gbp: r && r[6] !== "" ? Number(r[6]) : null, mark: r ? `[${r[8]}]` : "[x]", worse, of };
      });
      // A hidden sum has no place in an order, and a domain without a comparison no need to tell.
      const told = rows.filter((r) => r.gbp !== null && r.of > 0);
      const bySpend = [...told].sort((a, b) => b.gbp - a.gbp), byNeed = [...told].sort((a, b) => b.worse - a.worse);
      const width = Math.max($("chart").clientWidth, 260), step = 30, half = width / 2;
      const svg = el("svg", { viewBox: `0 0 ${width} ${step * (told.length + 1)}`, role: "img" }, el("title", {}, "Need against spend"), el("desc", {}, "Two lists joined; the figures stand in the table below."));
      svg.append(el("text", { x: 0, y: 16, class: "value" }, "Most spend first"), el("text", { x: width, y: 16, "text-anchor": "end", class: "value" }, "Most worse first"));
      bySpend.forEach((r, i) => {
        const j = byNeed.indexOf(r);
        svg.append(el("text", { x: 0, y: 46 + i * step }, r.words), el("line", { class: "join", x1: half - 30, x2: half + 30, y1: 41 + i * step, y2: 41 + j * step }));
      });
      byNeed.forEach((r, i) => svg.append(el("text", { x: width, y: 46 + i * step, "text-anchor": "end" }, r.words)));
      return {
        title: `${p.name}: spend and results by wellbeing domain`, about: `Left: domains by what is spent. Right: by how many ${meta.surveys[state.survey].title.toLowerCase()} measures are worse than ${(above(p) || p).name}. The two are not on one scale.${told.length > 1 ? "" : " Fewer than two domains have both a sum that is shown and a comparison, so no lists are drawn."}`,
        chart: told.length > 1 ? svg : null, head: ["Domain", "Spend a year", "Measures worse", "Measures compared"],
        rows: rows.map((r) => [r.words, r.gbp === null ? r.mark : `£${r.gbp.toLocaleString("en-GB")}`, String(r.worse), String(r.of)]),
      };
    },
    // A release with one wave of each place has no change to show, and says so.
    change() {
      const p = place(), waves = changesOf(p).filter((r) => r[2] === state.survey && r[3] === "total"), earlier = waves.find((r) => r[1]);
      if (!pairs().length || !earlier) {
        const asked = meta.places.filter((q) => q.level === "cpp").map((q) => [q.name, (above(q) || { name: "[x]" }).name]);
        return {
          title: pairs().length ? `${p.name}: no change can be shown` : "No change can be shown in this release", about: "Each area was asked once, in the years of its tranche. A change needs two waves of the same area. Two areas asked in different years are not a change over time.",
          head: ["Area", "Asked in"], rows: asked,
        };
      }
      const WHY = { one_wave: "asked in one wave", stages_differ: "other stages were asked", not_comparable: "the question was changed" };
      const before = meta.places.find((q) => q.level === "cpp" && q.engagement === earlier[1]), named = before ? (above(before) || before).name : "Wave before";
      const found = waves.map((r) => ({ r, m: meta.measures.find((m) => m.survey === r[2] && m.indicator === r[5]) })).filter((f) => f.m).map(({ r, m }) => {
        const isHidden = r[9] === null, why = WHY[r[14]];
        return { r, m, measure: m, label: `${meta.domains[m.domain]}: ${called(m)}`, verdict: r[12], before: isHidden ? undefined : r[7], why, cell: isHidden ? { mark: r[13] } : { mark: r[13], value: r[8] } };
      });
      const order = Object.keys(meta.domains), points = (v, m) => signed(v, m.mean ? score : tenth);
      found.sort((a, b) => order.indexOf(a.m.domain) - order.indexOf(b.m.domain) || a.m.i - b.m.i);
      const n = (kind) => found.filter((f) => f.verdict === kind).length, tested = n("better") + n("similar") + n("worse");
      const hidden = found.filter((f) => f.before === undefined).length;
      const title = !tested ? "no change was tested" : n("better") + n("worse") ? `${n("better")} of ${tested} tested measures got better and ${n("worse")} worse` : "no clear change";
      return {
        title: hidden === found.length ? `${p.name}: changes are not shown` : `${p.name}: ${title}`,
        about: `${meta.surveys[state.survey].title}. From ${named} (hollow) to ${(above(p) || p).name} (filled). An arrow stands only where a test shows a clear change. Only the main outcomes were tested; for the others a gap this size could be chance. Other pupils were asked each time. Not shown: ${hidden}.`,
        key: tested > 0, chart: hidden < found.length ? dots(`${p.name}: change`, found.filter((f) => !f.m.mean), null) : null,
        head: ["Measure", "Before", "Now", "Change", "Likely range", "Compared"],
        rows: found.map((f) => [f.label, ...(f.before === undefined
          ? Array(4).fill(f.why ? `[${f.r[13]}] ${f.why}` : `[${f.r[13]}]`)
          : [number(f.r[7], f.m), number(f.r[8], f.m), points(f.r[9], f.m), f.r[10] === null ? "" : `${points(f.r[10], f.m)} to ${points(f.r[11], f.m)}`]), f.before === undefined ? `[${f.r[13]}]` : f.verdict in WORDS ? rated(f.verdict) : "not tested"]),
      };
    },
    findings() {
      const found = meta.findings.filter((f) => f.outcome === state.outcome).map((f) => ({ ...f, label: f.factor, cell: f.points === null ? { mark: f.mark } : { mark: f.mark, value: f.points, low: f.low, high: f.high } }));
      const points = { points: true, mean: true, scale: [-20, 20] };
      const clear = found.filter((f) => f.clear).length, rows = found.filter((f) => isShown(f.cell)).length;
      if (!found.length) return { title: "Findings are of all areas together", about: "They stand in the public package: what goes together with low mood and other outcomes was worked out from all areas, not from one.", head: ["Table", "Where"], rows: [["models", "public package"], ["risks", "public package"]] };
      return {
        title: `${found[0].title}: ${rows ? `${clear} of ${rows} factors ${clear === 1 ? "has" : "have"} a clear link` : "results are not shown"}`,
        about: `Points by which the share with the outcome is higher or lower with the factor, all else alike. What goes together need not be a cause. All areas together are not Scotland. Not shown [c]: ${found.length - rows}.`,
        chart: dots(found[0].title, found, points, null), head: ["Factor", "Points", "Likely range", "Link"],
        rows: found.map((f) => [f.label, figure(f.cell, points), span(f.cell, points), isShown(f.cell) ? (f.clear ? "Clear" : "Not clear") : mark(f.cell)]),
      };
    },
    map() {
      const m = measure(), shown = meta.places.filter((p) => p.level === "cpp").map((p) => ({ p, cell: cellOf(p, m, 0) }));
      const [low, high] = ends(m) || [0, 100], step = (high - low) / 3;
      // Two cuts, as the key words them: per cents in whole numbers, scores in tenths.
      const cuts = [1, 2].map((i) => Number((low + step * i).toFixed(m.mean ? 1 : 0)));
      const kind = (cell) => isShown(cell) ? `m${cuts.filter((cut) => cell.value / 10 >= cut).length + 1}` : "m0";
      // On a narrow screen a tile has a short name only; the table is its key, with all councils.
      const narrow = $("chart").clientWidth < 400, side = 62, svg = el("svg", { class: narrow ? "map narrow" : "map", viewBox: `0 0 ${7 * side + 4} ${8 * side + 4}`, role: "img" }, el("title", {}, `${m.title}: tiles of equal size, one a council`), el("desc", {}, "Only areas that took part have a result. The table below has the same figures."));
      for (const [code, name, column, row, short] of meta.councils) {
        const found = shown.filter((s) => s.p.code === code).pop(), x = (column - 2) * side + 2, y = row * side + 2;
        const fill = found ? kind(found.cell) : "m0";
        svg.append(el("rect", { class: fill, x, y, width: side - 4, height: side - 4 }), el("title", {}, name));
        const lines = narrow ? [short] : tileName(name), looks = fill > "m1" ? "onfill tile" : "tile";
        lines.forEach((line, i) => svg.append(el("text", { x: x + 4, y: y + (narrow ? 24 : 13) + 11 * i, class: looks, textLength: line.length > 9 ? side - 12 : null, lengthAdjust: line.length > 9 ? "spacingAndGlyphs" : null }, line)));
        const said = found ? figure(found.cell, m) : "", squeezed = narrow && said.length > 4;
        if (found) svg.append(el("text", { x: x + 4, y: y + (narrow ? 48 : 54), class: fill > "m1" ? "onfill value" : "value", textLength: squeezed ? side - 12 : null, lengthAdjust: squeezed ? "spacingAndGlyphs" : null }, said));
      }
      const [first, second] = cuts.map((cut) => m.mean ? cut.toFixed(1) : `${cut}%`);
      const others = meta.councils.filter(([code]) => !shown.some((s) => s.p.code === code));
      const named = (name, code) => narrow ? `${(meta.councils.find((c) => c[0] === code) || [])[4] || code}: ${name}` : name;
      const without = meta.kind === "public" ? "did not take part in this release" : "are not in this package";
      return {
        title: `${m.title}: councils that took part`, about: `Each tile is a council; its place is rough. An area that was asked twice has its later result. Councils without a mark or a figure ${without}.${lower(m)}`,
        boxes: [["m1", `under ${first}`], ["m2", `${first} to under ${second}`], ["m3", `${second} and over`], ["m0", "no result"]], chart: ends(m) ? svg : null,
        head: ["Council", "Result", "Likely range"], rows: [...shown.map(({ p, cell }) => [named(p.name, p.code), figure(cell, m), span(cell, m)]), ...(narrow ? others.map(([code, name]) => [named(name, code), "no result", ""]) : [])],
      };
    },
    build() {
      const p = place(), groups = meta.groups.map((g, i) => [g, i]).filter(([g]) => g[0] === "total" || g[0] === state.breakdown);
      const found = meta.measures.filter((m) => m.survey === state.survey && cellOf(p, m, 0));
      return {
        title: `${p.name}: your table`, about: `${meta.surveys[state.survey].title}${state.breakdown ? ` by ${meta.breakdowns[state.breakdown].toLowerCase()}` : ""}. Every cell is a released one: nothing is added up here, so nothing hidden can be worked out.`,
        head: ["Measure", ...groups.map(([g]) => g[2])], rows: found.map((m) => [called(m), ...groups.map(([, i]) => figure(cellOf(p, m, i), m))]),
      };
    },
    measures() {
      const words = (state.q || "").toLowerCase().split(/\s+/).filter(Boolean);
      const found = meta.measures.filter((m) => { const text = `${m.title} ${m.definition} ${meta.domains[m.domain]} ${m.source}`.toLowerCase(); return words.every((w) => text.includes(w)); });
      return {
        title: `${found.length} of ${meta.measures.length} measures`, about: "What each measure counts, of whom, and where the question comes from.",
        head: ["Measure", "Domain", "Survey", "Counts", "Of whom", "Stages", "Source"],
        rows: found.map((m) => [m.title, meta.domains[m.domain], meta.surveys[m.survey].title, m.definition, m.denominator, m.stages, m.source]),
      };
    },
    about() {
      return {
        title: "About the data", about: `Release ${meta.release}, disclosure policy ${meta.policy}. Figures are rounded so that no child can be picked out: per cents to 1 (or to 5 in small schools and for sensitive measures), pupils to 5 or 10. Better and worse come from a strict test, of gaps of at least 5 points (average scores: a fifth of their spread); about 1 in 20 of the measures marked for schools and clusters may be chance, and of 20 areas one may have a measure marked by chance. Areas were asked in their own years, so a gap between two areas is no change over time.\nAccessibility statement: ${meta.accessibility.join(" ")}`,
        head: ["Mark", "Meaning"], rows: Object.entries(meta.marks).map(([k, text]) => [`[${k}]`, text]), files: true,
      };
    },
  };

  // --- downloads: a cell that a spreadsheet would run is made text ------------------------------------
  const text = (cell) => typeof cell === "string" ? cell : cell.textContent;
  const field = (value) => { const safe = /^[=+\-@\t\r]/.test(value) && !/^[+-][\d.]+( to [+\u2212]?[\d.]+)?$/.test(value) ? `'${value}` : value; return `"${safe.replaceAll('"', '""')}"`; };
  function save(content, type, ending) {
    const name = `${meta.simulated ? "SIMULATED-" : ""}${state.view}-${$("finding").textContent}`.normalize("NFD").replace(/[^A-Za-z0-9]+/g, "-").slice(0, 80);
    const link = el("a", { href: URL.createObjectURL(new Blob([content], { type })), download: `${name}.${ending}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  const source = () => `${meta.simulated ? "SIMULATED. " : ""}${meta.title}, release ${meta.release}`;
  const csv = (shown) => "\ufeff" + [[shown.title], [shown.about], [source()], [], shown.head, ...shown.rows].map((row) => row.map((c) => field(text(c))).join(",")).join("\r\n") + "\r\n";
  async function picture() {
    const css = await look();
    const svg = $("chart").querySelector("svg").cloneNode(true), [, , w, h] = svg.getAttribute("viewBox").split(" ").map(Number);
    svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    svg.setAttribute("viewBox", `0 -44 ${w} ${h + 70}`);
    svg.prepend(el("rect", { x: 0, y: -44, width: w, height: h + 70, fill: "#fff" }), el("text", { x: 4, y: -20, "font-size": 16 }, $("finding").textContent), el("text", { x: 4, y: h + 18, "font-size": 11 }, source()));
    const style = document.createElementNS("http://www.w3.org/2000/svg", "style");
    style.textContent = css;
    svg.prepend(style);
    return new XMLSerializer().serializeToString(svg);
  }
  // Looks of the shapes as the page has them, so that the picture stands alone.
  function look() {
    const seen = new Map();
    for (const node of $("chart").querySelectorAll("svg [class]")) {
      const s = getComputedStyle(node);
      seen.set(node.getAttribute("class"), `fill:${s.fill};stroke:${s.stroke};stroke-width:${s.strokeWidth};paint-order:${s.paintOrder}`);
    }
    return ["text{font:14px sans-serif}", ...[...seen].map(([name, rule]) => `.${name.split(" ").join(".")}{${rule}}`)].join("");
  }

  // --- the page ----------------------------------------------------------------------------------
  function draw() {
    const shown = show[state.view]();
    $("finding").textContent = shown.title;
    $("about").textContent = shown.about;
    const keys = shown.key ? [...Object.keys(WORDS).map((k) => [icon(k), WORDS[k]]), ...(shown.rings ? [[icon("ring"), "No rating"]] : [])] : (shown.boxes || []).map(([k, words]) => [box(k), words]);
    $("key").replaceChildren(...keys.map(([drawn, words]) => el("li", {}, drawn, words)));
    $("key").hidden = !keys.length;
    $("chart").replaceChildren(...(shown.chart ? [shown.chart] : []));
    const isNumber = (cell) => /^[£\d[+\-\u2212]/.test(text(cell)) && text(cell).length < 24;
    const numbers = shown.head.map((_, i) => i > 0 && shown.rows.length > 0 && shown.rows.every((row) => isNumber(row[i]) || !text(row[i])));
    const table = el("table", {}, el("caption", {}, shown.title), el("thead", {}, el("tr", {}, ...shown.head.map((h, i) => el("th", { scope: "col", class: numbers[i] ? "number" : null }, h)))),
      el("tbody", {}, ...shown.rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row[0]), ...row.slice(1).map((cell, i) => el("td", { class: numbers[i + 1] ? "number" : null }, cell))))));
    $("table").replaceChildren(el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `Table: ${shown.title}` }, table));
    const buttons = [];
    const button = (words, act) => { const b = el("button", { type: "button" }, words); b.addEventListener("click", act); buttons.push(b); };
    if (shown.rows.length) button("Download this table (CSV)", () => save(csv(shown), "text/csv", "csv"));
    if (shown.chart) button("Download this chart (SVG)", async () => save(await picture(), "image/svg+xml", "svg"));
    if (shown.files) for (const [path, words] of [["../rcs.duckdb", "Whole package: database (DuckDB)"], ["../parquet/estimates.parquet", "Whole package: estimates (Parquet)"], ["../report.html", "Report"]]) buttons.push(el("a", { class: "button", href: path }, words));
    $("downloads").replaceChildren(...buttons);
    const sensitive = CONTROLS[state.view].includes("measure") ? measure().sensitive : ["profile", "change"].includes(state.view) || state.view === "findings" || state.view === "build" || state.view === "reach";
    $("support").textContent = sensitive ? meta.support : "";
    $("status").textContent = `${VIEWS[state.view]}: ${shown.title}`;
    document.title = `${meta.simulated ? "SIMULATED " : ""}${shown.title} (${VIEWS[state.view]}), release ${meta.release}`;
    for (const link of $("views").querySelectorAll("a")) {
      if (link.dataset.view === state.view) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
    }
  }
  const keep = () => { const words = new URLSearchParams({ view: state.view }); for (const name of ["level", "survey", "domain", "measure", "group", "order", "place", "breakdown", "need", "outcome", "q"]) if (state[name] !== undefined && state[name] !== "") words.set(name, state[name]); history.replaceState(null, "", `#${words}`); };
  function read() {
    const words = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    state = words.view || !state.view ? { ...state, ...words } : state;
    valid(); controls(); draw();
  }
  async function start() {
    await script("meta");
    meta = await unpack(RCS.data.meta);
    meta.places = meta.places.map(([level, code, name, engagement, unit], i) => ({ level, code, name, engagement, unit, i }));
    meta.measures.forEach((m, i) => { m.i = i; });
    await Promise.all([...new Set(meta.places.map((p) => p.unit))].map(need));
    $("views").replaceChildren(...Object.entries(VIEWS).map(([view, words]) => el("li", {}, el("a", { href: `#view=${view}`, "data-view": view }, words))));
    $("controls").addEventListener("submit", (event) => event.preventDefault());
    addEventListener("hashchange", read);
    let wide = innerWidth;
    addEventListener("resize", () => { if (innerWidth !== wide) { wide = innerWidth; draw(); } });
    read();
    performance.mark("first-chart");
    document.body.dataset.ready = "yes";
  }
  start().catch(() => { $("finding").textContent = "The figures could not be read"; $("about").textContent = "A file of the folder data is missing or was changed. Copy the whole folder of the explorer again."; });
})();

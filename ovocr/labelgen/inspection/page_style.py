"""The style sheet of an inspection's page, for light and dark screens, for narrow ones and for paper."""

from ovocr.pages.style import BASE_STYLE

STYLE = (
    BASE_STYLE
    + """
:root {
  --tag: #0b7a6f; --line-box: #3f5bd8; --left-out: #b8490b; --ok: #0b7a6f; --dropped: #96620a; --quarantined: #b3313b;
  --bar: 0px;
}
@media (prefers-color-scheme: dark) {
  :root {
    --tag: #35b8a6; --line-box: #93a6ff; --left-out: #f0975c; --ok: #35b8a6; --dropped: #dcab52; --quarantined: #f08890;
  }
}
header, main, footer { max-width: 1320px; }
h2 { margin: 32px 0 4px; }
[hidden] { display: none !important; }
td.text, th.text { text-align: left; white-space: normal; }
.panel .bars { width: 45%; }
.bar .ok { fill: var(--ok); } .bar .dropped { fill: var(--dropped); } .bar .quarantined { fill: var(--quarantined); }
.pill { padding: 1px 10px; border-radius: 999px; border: 1px solid currentColor; font-size: 13px; font-weight: 600; }
.pill.ok { color: var(--ok); } .pill.dropped { color: var(--dropped); } .pill.quarantined { color: var(--quarantined); }

.toolbar { display: flex; flex-wrap: wrap; align-items: end; gap: 10px 12px; padding: 12px 20px; margin: 0 0 20px; }
.toolbar label, legend { font-size: 13px; color: var(--faint); }
.find { flex: 1 1 150px; min-width: 0; }
.find label, .choice label { display: block; margin-bottom: 2px; }
.find input { width: 100%; }
.toolbar input:not([type=checkbox]), select, .toolbar button {
  height: 36px; padding: 0 10px; font: inherit; font-size: 15px; color: var(--ink); background: var(--ground);
  border: 1px solid var(--line); border-radius: 8px;
}
.choice select { width: 124px; }
.choice input { width: 112px; }
.boxes { display: flex; gap: 6px; margin: 0; padding: 0; border: 0; min-width: 0; }
.boxes legend { margin-bottom: 2px; padding: 0; }
.switch span {
  display: flex; align-items: center; gap: 7px; height: 36px; padding: 0 12px; cursor: pointer; font-size: 14px;
  border: 1px solid var(--line); border-radius: 8px; color: var(--faint); white-space: nowrap;
}
.switch span::before { content: ""; width: 12px; height: 12px; border: 2px solid currentColor; border-radius: 3px; }
.switch.tags { --own: var(--tag); } .switch.lines { --own: var(--line-box); }
.switch.left-out { --own: var(--left-out); }
.switch input { position: absolute; opacity: 0; }
.switch input:checked + span { color: var(--own); border-color: currentColor; font-weight: 600; }
.switch input:checked + span::before { background: currentColor; }
.found { display: flex; align-items: center; gap: 10px; height: 36px; margin: 0; font-weight: 600; }
.toolbar .found button { font-weight: 400; cursor: pointer; }
.above { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 2px 24px; margin: 0 0 12px; }
.above p { margin: 0; color: var(--faint); }
.keys { font-size: 13px; line-height: 24px; }
kbd { padding: 1px 6px; border: 1px solid var(--line); border-radius: 5px; font: inherit; font-size: 12px; }
#nothing { padding: 48px 0; text-align: center; color: var(--faint); }

article {
  margin: 0 0 20px; padding: 16px 20px 20px; background: var(--panel); border: 1px solid var(--line);
  border-radius: 12px; scroll-margin-top: calc(var(--bar) + 8px);
  content-visibility: auto; contain-intrinsic-size: auto 900px;
}
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
article:focus { outline: 2px solid var(--accent); outline-offset: 0; }
.switch input:focus-visible + span { outline: 2px solid var(--accent); outline-offset: 2px; }
.top { display: flex; align-items: baseline; gap: 12px; }
.top h3 { flex: 1; margin: 0; min-width: 0; overflow-wrap: anywhere; }
.number { color: var(--faint); font-variant-numeric: tabular-nums; font-size: 14px; }
.facts { display: flex; flex-wrap: wrap; gap: 0 6px; margin: 2px 0 0; color: var(--faint); font-size: 13px; }
.facts span { overflow-wrap: anywhere; }
.facts span:not(:last-child)::after { content: " ·"; }
.why { margin: 6px 0 0; font-size: 14px; overflow-wrap: anywhere; }
.body { display: grid; grid-template-columns: minmax(0, 1.15fr) minmax(0, 1fr); gap: 24px; margin-top: 14px; }
.side { position: sticky; top: calc(var(--bar) + 12px); align-self: start; text-align: center; }
.frame {
  position: relative; display: inline-block; max-width: 100%; line-height: 0; background: var(--track);
  box-shadow: 0 0 0 1px var(--line);
}
.large .body { grid-template-columns: minmax(0, 1fr); }
.large .side { position: static; overflow: auto; padding: 1px; }
.large .frame, .large .frame img { max-width: none; max-height: none; }
.zoom {
  padding: 1px 10px; font: inherit; font-size: 13px; color: var(--faint); background: none; cursor: pointer;
  border: 1px solid var(--line); border-radius: 999px; white-space: nowrap;
}
.zoom:hover { color: var(--ink); }
.zoom[aria-pressed=true] { color: var(--accent-ink); background: var(--accent-soft); border-color: transparent; }
.empty { margin: 0; color: var(--faint); font-size: 14px; }
.frame img { display: block; max-width: 100%; max-height: calc(100vh - var(--bar) - 40px); width: auto; height: auto; }
.frame svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.frame.none {
  display: block; margin: 0; padding: 40px 24px; line-height: 1.5; color: var(--faint); font-size: 14px;
  border: 1px dashed var(--quiet); border-radius: 8px; box-shadow: none; overflow-wrap: anywhere;
}
/* Over pictures, which are not of the page's colours: the same on light and dark screens. */
polygon { fill-opacity: 0; stroke-width: 1.5; vector-effect: non-scaling-stroke; stroke-linejoin: round; opacity: 0; }
.tag-boxes { stroke: #0aa594; fill: #0aa594; }
.line-boxes { stroke: #4c68f0; fill: #4c68f0; }
.left-out-boxes { stroke: #e8590c; fill: #e8590c; }
.show-tags .tag-boxes polygon { opacity: 1; fill-opacity: 0.12; }
.show-lines .line-boxes polygon { opacity: 1; }
.show-left-out .left-out-boxes polygon { opacity: 1; fill-opacity: 0.12; }
html .lighting polygon:not(.lit) { stroke-opacity: 0.3; fill-opacity: 0.03; }
.frame polygon.lit { opacity: 1; stroke-width: 3; fill-opacity: 0.28; }
.frame .line-boxes polygon.lit { fill-opacity: 0.08; stroke-width: 2; }
.frame polygon.hit { opacity: 1; stroke: #d68400; stroke-width: 3; }

h4 { margin: 0 0 6px; }
h4:not(:first-child) { margin-top: 18px; }
h4 small { font-weight: 400; }
ul, ol { margin: 0; padding: 0; list-style: none; }
.tags { display: flex; flex-wrap: wrap; gap: 5px; }
.tags li { min-width: 0; max-width: 100%; }
.tag {
  display: inline-flex; align-items: baseline; gap: 6px; max-width: 100%; padding: 1px 9px; font: inherit;
  font-size: 14px;
  color: var(--accent-ink); background: var(--accent-soft); border: 1px solid transparent; border-radius: 7px;
  text-align: start;
}
button.tag { cursor: pointer; }
.tag b { font-weight: 550; overflow-wrap: anywhere; min-width: 0; }
.tag small { color: inherit; opacity: 0.8; font-size: 11px; font-variant-numeric: tabular-nums; }
.tag.unused { background: none; border: 1px dashed var(--quiet); color: var(--faint); }
.tag.lit { background: var(--accent); color: var(--panel); }
.tag.near { border-color: var(--accent); }
.lines { font-size: 14px; max-height: 520px; overflow-y: auto; scrollbar-width: thin; }
.lines li { display: flex; gap: 12px; padding: 2px 6px; border-radius: 5px; scroll-margin: 40px; }
.lines li:nth-child(odd) { background: color-mix(in srgb, var(--track) 45%, transparent); }
.lines .text { flex: 1; min-width: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
.score { color: var(--faint); font-size: 12px; line-height: 21px; font-variant-numeric: tabular-nums; }
.score.low, .low .score { color: var(--left-out); font-weight: 600; }
/* Underlined by a picture that ends before the word does: words without a space between them stay apart. */
.w {
  padding-bottom: 2px; border-radius: 2px; background: linear-gradient(var(--tag) 0 0) 1px 100% / calc(100% - 2px) 2px
  no-repeat; -webkit-box-decoration-break: clone; box-decoration-break: clone;
}
.w.out {
  font-style: normal;
  background-image: repeating-linear-gradient(90deg, var(--left-out) 0 4px, transparent 4px 7px);
}
.lines li:is(:hover, .lit) { background: var(--track); }
.w.lit { background-color: var(--accent-soft); color: var(--accent-ink); }
.w.out.lit { background-color: color-mix(in srgb, var(--left-out) 22%, transparent); color: inherit; }
.tag.hit, .lines li.hit { box-shadow: inset 0 0 0 2px var(--dropped); }

@media (min-width: 900px) and (min-height: 560px) {
  .toolbar { position: sticky; top: 0; z-index: 1; border-radius: 0 0 12px 12px; box-shadow: 0 4px 16px #0002; }
}
@media (max-width: 760px) {
  .body { grid-template-columns: minmax(0, 1fr); gap: 14px; }
  .side { top: 0; z-index: 1; background: var(--panel); padding-bottom: 6px; }
  .frame img { max-height: 48vh; }
  .lines { max-height: none; }
}
@media (max-width: 640px) {
  article { padding: 12px 12px 16px; }
  .toolbar { padding: 12px; gap: 10px; }
  .choice { flex: 1 1 130px; min-width: 0; }
  .choice select, .choice input { width: 100%; max-width: none; }
  .find { flex-basis: 100%; }
  .keys { display: none; }
  .panel .bars { display: none; }
  th, td { padding: 7px 6px; }
  polygon { stroke-width: 1; }
}
@media (scripting: none) {
  .toolbar, .keys, .zoom { display: none; }
  .tag-boxes polygon { opacity: 1; fill-opacity: 0.12; }
  .lines { max-height: none; }
}
@media print {
  body { background: none; font-size: 11px; }
  .toolbar, .keys, .zoom { display: none; }
  article { break-inside: avoid; border-radius: 0; content-visibility: visible; }
  .side { position: static; }
  .frame img { max-height: 190mm; }
  .lines { max-height: none; overflow: visible; font-size: 10px; }
  .lines li { padding: 0 6px; }
  .score { font-size: 9px; line-height: 15px; }
  .tags { gap: 3px; }
  .tag { padding: 0 6px; font-size: 10px; }
  .tag small { font-size: 8px; }
  polygon, .w, .tag, .bar { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
)

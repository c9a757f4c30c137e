"""The style sheet of a coverage page, for light and dark screens, for narrow ones and for paper."""

from ovocr.pages.style import BASE_STYLE

STYLE = (
    BASE_STYLE
    + """
:root { --second: #a8632a; --best: #a3a39a; }
@media (prefers-color-scheme: dark) { :root { --second: #dd9a5f; --best: #77777a; } }
header dl { margin-top: 12px; gap: 2px 16px; font-size: 14px; }
header dd { grid-column: 2; overflow-wrap: anywhere; }
main { padding-top: 20px; }
h2 { margin-top: 40px; }
h3 { font-size: 17px; }
.headline { display: grid; grid-template-columns: 1.7fr 1fr 1fr 1fr; gap: 16px 32px; }
.headline .legend { grid-column: 1 / -1; }
.figure strong { display: block; font-size: 30px; font-variant-numeric: tabular-nums; }
.figure:not(:first-of-type) strong { line-height: 64px; }
.figure.first strong { font-size: 60px; line-height: 64px; }
.two .figure strong { font-size: 26px; line-height: 34px; }
.two .figure.first strong { font-size: 46px; line-height: 52px; }
.two .figure:not(.first) strong { line-height: 52px; }
.figure p { margin-bottom: 0; }
.headline .bar { grid-column: 1 / -1; height: 18px; }
.figure strong.v2 { color: var(--second); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 16px; }
.pair > .panel { margin: 0; min-width: 0; }
.pair, .panel { margin: 16px 0; }
.pair .bars { min-width: 80px; }
thead th { white-space: normal; vertical-align: bottom; line-height: 1.3; }
thead th.v1 bdi { color: var(--accent); }
thead th.v2 bdi { color: var(--second); }
rect.v1, circle.v1 { fill: var(--accent); }
rect.v2, circle.v2 { fill: var(--second); }
rect.best, circle.best { fill: var(--best); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.line.v1 { stroke: var(--accent); }
.line.v2 { stroke: var(--second); }
.line.best { stroke: var(--best); stroke-dasharray: 5 4; }
.line.by-images { stroke-dasharray: 2 3; }
circle.by-images { fill-opacity: 0.55; }
.plot { display: block; width: 100%; height: auto; max-width: 620px; margin: 4px auto 0; }
.plot .grid { stroke: var(--line); stroke-width: 1; }
.plot text { fill: var(--faint); font-size: 11px; font-variant-numeric: tabular-nums; }
.reach { fill: transparent; }
.dot:hover circle:not(.reach) { r: 5px; }
.plot rect:hover { opacity: 0.8; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 20px; margin: 0; padding: 0; list-style: none; font-size: 13px; }
.legend li { display: flex; align-items: center; gap: 8px; min-width: 0; overflow-wrap: anywhere; }
.legend svg { flex: none; width: 22px; height: 10px; }
details { margin-top: 12px; font-size: 14px; }
summary { cursor: pointer; color: var(--faint); }
summary:hover { color: var(--ink); }
.tall .scroll { max-height: 520px; overflow-y: auto; }
.tall thead th { position: sticky; top: 0; background: var(--panel); }
td.text, th.text { text-align: left; }
.faint { font-size: 13px; }
td.text { white-space: normal; overflow-wrap: anywhere; min-width: 16ch; }
tbody th { min-width: 11ch; font-weight: 550; white-space: normal; overflow-wrap: anywhere; }
thead th bdi { display: inline-block; min-width: 8ch; overflow-wrap: anywhere; }
.pair .percentiles tbody th { min-width: 0; }
.sources tbody th { min-width: 26ch; }
.sources .bars { width: 22%; }
h1, h2, h3, p, dd, summary { overflow-wrap: anywhere; }
.faint { color: var(--faint); }
.bar { min-width: 70px; }
.bars.of-two .bar { height: 20px; }
.none { color: var(--faint); font-weight: 400; }
.search label { display: block; font-weight: 600; }
.search input {
  width: 100%; max-width: 460px; margin: 8px 0 4px; padding: 10px 14px; font: inherit; font-size: 17px;
  color: var(--ink); background: var(--ground); border: 1px solid var(--line); border-radius: 9px;
}
.search input:focus-visible, summary:focus-visible, .scroll:focus-visible {
  outline: 2px solid var(--accent); outline-offset: 2px;
}
.search p { margin: 4px 0 10px; color: var(--faint); font-size: 14px; }
.search .scroll { margin: 6px 0 12px; }
tr.exact > * { background: var(--accent-soft); }
tr.exact > :first-child { padding-left: 10px; border-radius: 6px 0 0 6px; }
footer dl { margin-top: 8px; }
@media (max-width: 820px) {
  .headline { grid-template-columns: 1fr 1fr; }
  .figure.first { grid-column: 1 / -1; }
  .figure:not(.first) strong, .two .figure:not(.first) strong { line-height: 1.2; }
}
@media (max-width: 640px) {
  .headline { gap: 14px 20px; }
  th, td { padding: 7px 7px; }
  header dd { grid-column: 1; margin-bottom: 2px; }
  .pair .bars { display: none; }
}
@media (max-width: 420px) { .figure strong { font-size: 24px; } .figure.first strong { font-size: 52px; } }
@media print {
  body { background: none; font-size: 12px; }
  .search { display: none; }
  .panel, .headline { break-inside: avoid; }
  .tall, .tall.panel { break-inside: auto; }
  .tall .scroll { max-height: none; overflow: visible; }
}
"""
)

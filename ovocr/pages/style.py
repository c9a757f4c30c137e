"""The style sheet that all pages begin with, for light and dark screens and for narrow ones."""

BASE_STYLE = """
:root {
  --ground: #f4f4f1; --panel: #ffffff; --ink: #1d1d1b; --faint: #65655f; --line: #deded8; --track: #ecece7;
  --accent: #0b7a6f; --accent-soft: #d8efeb; --accent-ink: #075049; --quiet: #a3a39a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #141516; --panel: #1d1f21; --ink: #e9e9e4; --faint: #a0a099; --line: #34373a; --track: #2a2d30;
    --accent: #35b8a6; --accent-soft: #12403a; --accent-ink: #a9ece2; --quiet: #77777a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans CJK SC", sans-serif;
}
header, main, footer { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 40px; }
header p { margin: 4px 0 0; color: var(--faint); overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 30px; line-height: 1.2; letter-spacing: -0.01em; }
h2 { margin: 36px 0 12px; font-size: 21px; }
h3 { margin: 0 0 4px; font-size: 16px; }
h3 + p { margin: 0 0 12px; color: var(--faint); font-size: 14px; }
h4 { margin: 14px 0 6px; font-size: 13px; font-weight: 600; color: var(--faint); }
.headline, .panel { background: var(--panel); border: 1px solid var(--line); border-radius: 12px; }
.headline { display: flex; flex-wrap: wrap; gap: 8px 48px; padding: 24px 28px; }
.figure { flex: 1 1 300px; }
.figure strong { font-size: 56px; line-height: 1.1; font-weight: 650; color: var(--accent); letter-spacing: -0.02em; }
.figure p { margin: 4px 0 12px; max-width: 44ch; color: var(--faint); font-size: 14px; }
.panel { margin: 16px 0; padding: 20px 28px; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child { padding-left: 0; text-align: left; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { font-weight: 500; color: var(--faint); font-size: 13px; }
tbody th { font-weight: 600; }
.bars { width: 30%; min-width: 130px; text-align: left; }
.bars.wide { width: 80%; }
tr > :last-child { padding-right: 0; }
.bar { display: block; width: 100%; height: 16px; border-radius: 4px; overflow: hidden; }
.ground { fill: var(--track); }
footer { padding-bottom: 56px; font-size: 14px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 8px 24px; margin: 0; }
dt { font-weight: 600; }
dd { margin: 0; max-width: 80ch; color: var(--faint); }
@media (max-width: 640px) {
  header, main, footer { padding-left: 14px; padding-right: 14px; }
  .headline, .panel { padding: 16px; }
  dl { grid-template-columns: 1fr; gap: 2px; }
  dd { margin-bottom: 8px; }
}
"""

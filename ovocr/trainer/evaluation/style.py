"""The style sheet of an evaluation's page, for light and dark screens and for narrow ones."""

from ovocr.pages.style import BASE_STYLE

STYLE = (
    BASE_STYLE
    + """
article { background: var(--panel); border: 1px solid var(--line); border-radius: 12px; }
.figure.prior strong { color: var(--faint); }
.headline .bar { flex: 1 0 100%; height: 22px; }
td.prior, th.prior { color: var(--faint); font-weight: 400; }
.of-encoder { fill: var(--accent); }
.of-prior { fill: var(--quiet); }
section > h3 { margin-top: 32px; font-size: 19px; }
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); gap: 16px; }
article { display: flex; flex-direction: column; padding: 16px; min-width: 0; }
.picture { display: flex; height: 260px; background: var(--track); border-radius: 8px; overflow: hidden; }
.picture img { width: 100%; height: 100%; object-fit: contain; }
.name { margin: 8px 0 0; color: var(--faint); font-size: 12px; overflow-wrap: anywhere; }
ol, ul { margin: 0; padding: 0; list-style: none; font-size: 14px; }
ol li { display: flex; gap: 8px; padding: 1px 0; }
ol .wrong .word { color: var(--faint); }
ol .right .word { font-weight: 600; }
.word { overflow-wrap: anywhere; min-width: 0; }
.mark { color: var(--accent); font-weight: 700; }
.score { margin-left: auto; color: var(--faint); font-variant-numeric: tabular-nums; }
.tags { display: flex; flex-wrap: wrap; align-content: flex-start; gap: 5px; max-height: 190px; overflow-y: auto; }
.tags li, .key { padding: 0 8px; border: 1px solid transparent; border-radius: 999px; overflow-wrap: anywhere; }
.found { background: var(--accent-soft); color: var(--accent-ink); }
.tags .late, .key.late { border-color: var(--accent); color: var(--accent-ink); }
.tags .missed, .key.missed { border: 1px dashed var(--quiet); color: var(--faint); }
small { font-size: 11px; font-variant-numeric: tabular-nums; }
.key-prior { padding: 0 6px; border-radius: 4px; background: var(--quiet); color: var(--panel); }
@media print { .tags { max-height: none; } article { break-inside: avoid; } }
"""
)

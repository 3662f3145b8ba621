"""Style sheet of the report, for light and dark screens and for paper."""

__all__ = ["PLOTS", "STYLE"]

STYLE = """
:root{color-scheme:light dark;--ink:#1b1b1b;--soft:#666;--rule:#d5d5d5;--paper:#fff;--tint:#f5f5f2;--link:#0b5394;
--good:#1b6e3c;--warn:#8a5a00;--bad:#a52714;--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#aa5f8c}
@media(prefers-color-scheme:dark){:root{--ink:#e6e4df;--soft:#9b988f;--rule:#3b3a37;--paper:#181817;--tint:#232321;
--link:#8ab8e6;--good:#7ccf9a;--warn:#e0b35a;--bad:#f0907f;--c0:#56b4e9;--c1:#f08a4b;--c2:#3cc99d;--c3:#d99bc0}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 Charter,"Bitstream Charter","Source Serif 4","Noto Serif",Georgia,"DejaVu Serif",serif}
main{max-width:78rem;margin:0 auto;padding:2.5rem 1.5rem 5rem}
h1{font-size:1.75rem;margin:0;font-weight:600}
h2{font-size:1.25rem;margin:0 0 .3rem;font-weight:600;overflow-wrap:anywhere}
h3{font-size:1.05rem;margin:2rem 0 .3rem;font-weight:600;overflow-wrap:anywhere}
h4{font-size:.95rem;margin:1.4rem 0 .4rem;font-weight:600}
.made,.note,.facts{color:var(--soft);font-size:.875rem;margin:.25rem 0}
.facts b{color:var(--ink);font-weight:600}
header{margin-bottom:1.5rem}
section{margin-top:3.5rem;padding-top:1.5rem;border-top:1px solid var(--rule)}
.index{color:var(--soft);font-weight:400;margin-right:.35rem}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums lining-nums}
.overview,.equations,.front{width:100%;border-top:2px solid var(--ink);border-bottom:2px solid var(--ink)}
th{font-weight:600;text-align:left;vertical-align:bottom;border-bottom:1px solid var(--ink)}
th,td{padding:.3rem .7rem}
th:first-child,td:first-child{padding-left:.2rem}th:last-child,td:last-child{padding-right:.2rem}
td{vertical-align:top}
.n{text-align:right;white-space:nowrap}th.n{white-space:normal}
.overview tbody tr:hover,.front tbody tr:hover{background:var(--tint)}
.best{font-weight:700}.overview th,.overview td{padding:.3rem .5rem}.overview td:first-child{min-width:14rem}
.state{font:600 .75rem/1.4 system-ui,sans-serif;white-space:nowrap;color:var(--warn)}
.state.finished{color:var(--good)}.state.torn,.problem{color:var(--bad)}
h3 .state{margin-left:.4rem;vertical-align:.1em}
.equations tbody{border-bottom:1px solid var(--rule)}.equations tbody:last-child{border-bottom:0}
.scores td{padding-top:.6rem}
.equation{padding:.4rem 1.2rem 1rem!important}
.equation math{font-size:1.2rem;margin:.4rem 0;text-align:left}
code{font:.8125rem/1.5 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;overflow-wrap:anywhere}
details{margin:.5rem 0}summary{cursor:pointer;color:var(--soft);font-size:.875rem}
details.text{margin:0}details.text summary{font-size:.75rem}
tr.chosen{background:var(--tint)}
.metrics td{padding:.1rem .8rem .1rem .2rem}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:1rem;align-items:end}
figure{margin:0}figure.double{grid-column:1/-1}
figure img{display:block;width:100%;height:auto;max-height:34rem;object-fit:contain;background:#fff;
border:1px solid var(--rule);border-radius:3px}
figcaption{font-size:.8125rem;color:var(--soft);margin-top:.25rem}
.curves{width:100%;max-width:48rem;height:auto;display:block}
.curves text{font:11px system-ui,sans-serif;fill:var(--soft)}
.curves .grid{stroke:var(--rule);stroke-width:1}
.curves .c0,.curves .c1,.curves .c2,.curves .c3{fill:none;stroke-width:1.6;stroke-linejoin:round}
.curves .c0{stroke:var(--c0)}.curves .c1{stroke:var(--c1)}
.curves .c2{stroke:var(--c2)}.curves .c3{stroke:var(--c3)}
@media print{main{max-width:none;padding:0}section{break-before:page}.wide{overflow:visible}}
"""

PLOTS = """
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:1.5rem}
math{font-size:1.15rem}.formula{padding:1rem 1.2rem;background:var(--tint);border-radius:4px;overflow-x:auto}
.formula math{font-size:1.5rem}
.curves .dots{fill:none;stroke-linecap:round;stroke-width:4;opacity:.5}
.curves .dots.c0{stroke:var(--c0)}.curves .dots.c1{stroke:var(--c1)}
.curves .line{stroke:var(--soft);stroke-width:1;fill:none;stroke-dasharray:4 3}
.curves .curve{stroke:var(--ink);stroke-width:2;fill:none}
.curves .band{fill:var(--soft);opacity:.18;stroke:none}
.curves .mark{fill:var(--c0)}.curves .mark.chosen{fill:var(--c1)}
.curves .bar{fill:var(--c0)}.curves text.name{fill:var(--ink)}
"""
"""Further rules of a page with plots of points."""

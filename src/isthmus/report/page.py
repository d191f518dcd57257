"""Sections to one HTML file: styles and pictures inlined, no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from isthmus.report.blocks import Block, Code, Marked, Note, Picture, Section, Table
from isthmus.report.plots import INK, MUTED, PAPER, svg

__all__ = ["Chapter", "render"]

CSS = f"""
:root{{color-scheme:light dark;--ink:{INK};--muted:{MUTED};--paper:{PAPER};
--line:#e1e4e8;--card:#f5f6f8;--link:#1f6fc0}}
@media (prefers-color-scheme:dark){{:root{{--ink:#e4e7eb;--muted:#848b95;--paper:#14171b;--line:#30353c;
--card:#1c2026;--link:#79b8ff}}}}
*{{box-sizing:border-box}}
body{{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:62rem;background:var(--paper);color:var(--ink);
font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:break-word}}
h1{{font-size:1.7rem;line-height:1.2;margin:.5rem 0}}
h2{{font-size:1.4rem;margin:3rem 0 .5rem;padding-top:1rem;border-top:2px solid var(--line)}}
h3{{font-size:1.1rem;margin:2.2rem 0 .4rem}}
p{{max-width:46rem}} a{{color:var(--link)}}
nav{{font-size:.9rem;margin:.75rem 0}} nav a{{display:inline-block;padding:.2rem 0;margin-right:.9rem}}
.pictures{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:1rem 1.5rem}}
figure{{margin:.6rem 0;min-width:0}} figure.wide{{grid-column:1/-1}}
figure svg{{display:block;width:100%;height:auto}} svg *{{stroke-linejoin:round;stroke-linecap:butt}}
figcaption,.caption{{font-size:.87rem;line-height:1.45;color:var(--ink);opacity:.8;text-align:left;max-width:46rem}}
.caption{{margin:1rem 0 -.4rem}}
figure.wide{{overflow-x:auto}} figure.wide svg{{min-width:30rem}} figure.wide figcaption{{position:sticky;left:0}}
.scroll{{overflow-x:auto;margin:.8rem 0}}
table{{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}}
th,td{{padding:.32rem .8rem .32rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}}
th{{font-weight:600}}
td.number,th.number{{text-align:right}} td:not(.number){{min-width:6.5rem}}
mark{{background:#f6c9a8;color:#1f2329;border-radius:3px;padding:0 .1em}} td.text{{white-space:pre-wrap}}
pre{{background:var(--card);padding:.8rem 1rem;border-radius:6px;overflow-x:auto;font-size:.84rem;line-height:1.5}}
@media print{{nav{{display:none}} figure{{break-inside:avoid}}}}
"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Chapter(NamedTuple):
    """One model's sections; ``key`` keeps its anchors apart from another's."""

    key: str
    title: str
    sections: Sequence[Section]


def render(title: str, chapters: Sequence[Chapter], lead: Sequence[Block] = ()) -> str:
    """The whole document. One chapter has no heading of its own; several have an index."""
    single = len(chapters) == 1
    body = [f"<h1>{escape(title)}</h1>", *_blocks(lead, "lead")]
    if not single:
        body.append(_index([(chapter.key, chapter.title) for chapter in chapters]))
    for chapter in chapters:
        if not single:
            body.append(f'<h2 id="{escape(chapter.key)}">{escape(chapter.title)}</h2>')
        body.append(_index([(f"{chapter.key}-{section.key}", section.title) for section in chapter.sections]))
        for section in chapter.sections:
            body.extend(_section(chapter.key, section, "h2" if single else "h3"))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _index(entries: Sequence[tuple[str, str]]) -> str:
    return "<nav>" + "\n".join(f'<a href="#{escape(key)}">{escape(title)}</a>' for key, title in entries) + "</nav>"


def _section(chapter: str, section: Section, heading: str) -> list[str]:
    key = f"{chapter}-{section.key}"
    head = f'<section id="{escape(key)}">\n<{heading}>{escape(section.title)}</{heading}>'
    return [head, *_blocks(section.blocks, key), "</section>"]


def _blocks(blocks: Sequence[Block], key: str) -> list[str]:
    """HTML of the blocks; pictures that follow one another share a grid."""
    out: list[str] = []
    open_grid = False
    for index, block in enumerate(blocks):
        if isinstance(block, Picture) != open_grid:
            open_grid = not open_grid
            out.append('<div class="pictures">' if open_grid else "</div>")
        out.append(_block(block, f"{key}-{index}"))
    return [*out, "</div>"] if open_grid else out


def _block(block: Block, key: str) -> str:
    if isinstance(block, Note):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Code):
        caption = f"<p>{escape(block.caption)}</p>" if block.caption else ""
        return f"{caption}<pre><code>{escape(block.text)}</code></pre>"
    if isinstance(block, Table):
        return _table(block)
    return _picture(block, key)


def _picture(picture: Picture, key: str) -> str:
    limit = round(picture.figure.get_size_inches()[0] * 1.3 * 96)  # letters stay near the size of the text
    said = f'role="img" aria-label="{escape(picture.alt)}" style="max-width:{limit}px"'
    drawing = svg(picture.figure, key).replace("<svg", f"<svg {said}", 1)
    kind = ' class="wide"' if picture.wide else ""
    return f"<figure{kind}>{drawing}<figcaption>{escape(picture.caption)}</figcaption></figure>"


def _table(table: Table) -> str:
    numeric = [all(_is_number(row[column]) for row in table.rows) for column in range(len(table.head))]
    kind = [' class="number"' if number else "" for number in numeric]
    head = "".join(f'<th scope="col"{of}>{escape(name)}</th>' for of, name in zip(kind, table.head, strict=True))
    rows = [
        "<tr>" + "".join(_cell(cell, of) for of, cell in zip(kind, row, strict=True)) + "</tr>" for row in table.rows
    ]
    caption = f'<p class="caption">{escape(table.caption)}</p>' if table.caption else ""
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'{caption}<div class="scroll"><table>{body}</table></div>'


def _cell(cell: str | Marked, kind: str) -> str:
    if isinstance(cell, str):
        return f"<td{kind}>{escape(cell)}</td>"
    pieces = (f"<mark>{escape(text)}</mark>" if stands_out else escape(text) for text, stands_out in cell.pieces)
    return f'<td class="text">{"".join(pieces)}</td>'


def _is_number(cell: str | Marked) -> bool:
    return isinstance(cell, str) and not set(cell) - set("−-–+0123456789.,e∞ ")

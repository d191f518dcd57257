"""The report: one self-contained page, made for the model it is given.

A section is one function in one file of `isthmus.report.sections` and one line there. It reads a
`Subject` and gives a `Section`, or None where it has nothing to say about this model.
"""

from isthmus.report.blocks import Code, Marked, Note, Picture, Section, Table
from isthmus.report.page import Chapter
from isthmus.report.plots import png
from isthmus.report.subject import Subject
from isthmus.report.writing import build_sections, write_page, write_report, write_sections

__all__ = [
    "Chapter",
    "Code",
    "Marked",
    "Note",
    "Picture",
    "Section",
    "Subject",
    "Table",
    "build_sections",
    "png",
    "write_page",
    "write_report",
    "write_sections",
]
